//! The command line: that of the standard harness, as far as it makes sense here, and `--events`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use tidaldb::testing::lab::command_line::{CommandLine, Filters};

/// Whether the output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Color {
    /// In a terminal.
    #[default]
    Auto,
    Always,
    Never,
}

/// What to do with the selected cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SuiteMode {
    #[default]
    Run,
    List,
}

/// The parsed command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct SuiteArgs {
    pub(crate) mode: SuiteMode,
    filters: Filters,
    only_ignored: bool,
    pub(crate) quiet: bool,
    pub(crate) color: Color,
    threads: usize,
    pub(crate) events: Option<PathBuf>,
}

/// The options of the suite.
pub(crate) fn command_line() -> CommandLine<SuiteArgs> {
    let by_processors = || available_parallelism().map_or(1, NonZeroUsize::get) * 2;
    let values = SuiteArgs {
        threads: by_processors(),
        ..SuiteArgs::default()
    };
    let line = CommandLine::new("crash_suite [FILTER...] [OPTIONS]", values).path(
        "--events",
        "FILE",
        "runs the same crashes over the engagement events of a CSV or TSV file",
        |it, path| it.events = Some(path),
    );
    Filters::declare(line, |it| &mut it.filters)
        .switch("--list", "lists the cases instead of running them", |it| {
            it.mode = SuiteMode::List;
        })
        // Most cases wait for the disk.
        .number("--test-threads", "how many cases run at once", 1..=1024, |it| {
            &mut it.threads
        })
        .flag("-q, --quiet", "no progress", |it| &mut it.quiet)
        .value("--color", "WHEN", "auto, always or never", |it, when| {
            it.color = match when {
                "auto" => Color::Auto,
                "always" => Color::Always,
                "never" => Color::Never,
                _ => return Err("auto, always or never".to_owned()),
            };
            Ok(())
        })
        .value("--format", "FORMAT", "pretty or terse; without an effect", |_, format| {
            let is_known = ["pretty", "terse"].contains(&format);
            is_known.then_some(()).ok_or_else(|| "pretty or terse".to_owned())
        })
        .flag("--ignored", "only the ignored cases: there are none", |it| {
            &mut it.only_ignored
        })
        .switch(
            "--nocapture, --no-capture",
            "accepted without an effect, as are --include-ignored and --show-output",
            |_| {},
        )
        .switch("--include-ignored, --show-output, --test", "", |_| {})
        .hidden()
        .after("Crashes a database at every crash point, reopens it and compares the whole state with a naive model.")
}

impl SuiteArgs {
    /// Returns true if the case of this name is to be run or listed.
    pub(crate) fn selects(&self, name: &str) -> bool {
        !self.only_ignored && self.filters.selects(name)
    }

    /// Refuses filters that no case matches: such a run would pass without a test.
    ///
    /// # Errors
    /// The filter.
    pub(crate) fn check(&self, names: &[&str]) -> Result<(), String> {
        if self.only_ignored {
            return Ok(());
        }
        self.filters.check(names)
    }

    /// How many cases run at once.
    pub(crate) fn threads_len(&self) -> usize {
        self.threads
    }
}
