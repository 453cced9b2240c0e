//! The command line of the suite: the options of the standard test harness that apply here, `--events` and `--minutes`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use tidaldb::testing::lab::command_line::{CommandLine, Filters, GivenArguments};

/// The default time of a run over the events of a file.
const TIME_OF_EVENTS: Duration = Duration::from_secs(60);

/// The use of colours in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Color {
    /// Coloured if the output is a terminal.
    #[default]
    Auto,
    Always,
    Never,
}

/// The treatment of the selected cases.
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
    /// The time limit of a run over the events of a file; `None` in other runs.
    pub(crate) time: Option<Duration>,
}

/// The options of the suite.
pub(crate) fn command_line() -> CommandLine {
    // Most cases wait for the disk.
    let threads = available_parallelism().map_or(1, NonZeroUsize::get) * 2;
    let line = CommandLine::new("crash_suite [FILTER...] [OPTIONS]").option(
        "--events FILE",
        "",
        "crashes the embedded store over the engagement events of a CSV or TSV file, or a pipe",
    );
    Filters::declare(line)
        .option(
            "--minutes N",
            "",
            "with --events: ends after this time and leaves out the remaining cases; fractions are legal; default 1",
        )
        .option("--list", "", "lists the cases instead of running them")
        .option("--test-threads N", threads, "the number of cases that run at the same time")
        .option("-q, --quiet", "", "shows no progress")
        .option("--color WHEN", "", "auto, always or never")
        .option("--format FORMAT", "", "pretty or terse; has no effect")
        .option("--ignored", "", "selects the ignored cases: there are none")
        .option(
            "--nocapture, --no-capture",
            "",
            "has no effect; --include-ignored and --show-output have none either",
        )
        .option("--include-ignored, --show-output, --test", "", "")
        .after("Crashes a database at every crash point, reopens it and compares the whole state with a naive model.")
}

/// Reads the values of the options.
///
/// # Errors
/// The message for the first wrong value.
pub(crate) fn read(given: &GivenArguments) -> Result<SuiteArgs, String> {
    given.value("--format", "pretty or terse", |format| {
        ["pretty", "terse"].contains(&format).then_some(())
    })?;
    let color = given.value("--color", "auto, always or never", |when| match when {
        "auto" => Some(Color::Auto),
        "always" => Some(Color::Always),
        "never" => Some(Color::Never),
        _ => None,
    })?;
    let events = given.path("--events");
    let time = given.has("--minutes").then(|| given.minutes("--minutes"));
    let time = time.transpose()?;
    if time.is_some() && events.is_none() {
        return Err("--minutes needs --events".to_owned());
    }
    Ok(SuiteArgs {
        mode: if given.has("--list") {
            SuiteMode::List
        } else {
            SuiteMode::Run
        },
        filters: Filters::of(given),
        only_ignored: given.has("--ignored"),
        quiet: given.has("--quiet"),
        color: color.unwrap_or_default(),
        threads: given.number("--test-threads", 1..=1024)?,
        time: events.is_some().then(|| time.unwrap_or(TIME_OF_EVENTS)),
        events,
    })
}

impl SuiteArgs {
    /// Returns true if the run or the list includes the case of this name.
    pub(crate) fn selects(&self, name: &str) -> bool {
        !self.only_ignored && self.filters.selects(name)
    }

    /// Refuses filters that no case matches: such a run would pass without a test.
    ///
    /// # Errors
    /// The message for a filter without a case.
    pub(crate) fn check(&self, names: &[&str]) -> Result<(), String> {
        if self.only_ignored {
            return Ok(());
        }
        self.filters.check(names)
    }

    /// The number of cases that run at the same time.
    pub(crate) fn threads_len(&self) -> usize {
        self.threads
    }
}
