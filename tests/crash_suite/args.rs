//! The command line: that of the standard harness, as far as it makes sense here, and `--events`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Usage: crash_suite [FILTER...] [OPTIONS]

Crashes a database at every crash point, reopens it and compares the whole state with a naive model.
Runs the cases whose name contains one of the filters, or all.

Options:
    --events FILE      run the same crashes over the engagement events of a CSV or TSV file
    --list             list the cases instead of running them
    --exact            a filter is the whole name
    --skip FILTER      leave out the cases whose name contains it; may be repeated
    --test-threads N   how many cases run at once (default: two for each processor)
    -q, --quiet        no progress
    --color WHEN       auto, always or never
    --format FORMAT    pretty or terse
    --ignored          only the ignored cases: there are none
    --include-ignored, --nocapture, --no-capture, --show-output
                       accepted, without an effect
    -h, --help         this text
";

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
pub(crate) enum Mode {
    #[default]
    Run,
    List,
    Help,
}

/// The parsed command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Args {
    pub(crate) mode: Mode,
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    only_ignored: bool,
    pub(crate) quiet: bool,
    pub(crate) color: Color,
    threads: Option<NonZeroUsize>,
    pub(crate) events: Option<PathBuf>,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ArgsError(String);

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Args {
    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    /// The first argument that is not understood.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, ArgsError> {
        let mut args = Self::default();
        let mut arguments = arguments.into_iter();
        let mut only_filters = false;
        while let Some(argument) = arguments.next() {
            if only_filters || !argument.starts_with('-') {
                args.filters.push(argument);
                continue;
            }
            let (flag, inline) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
                _ => (argument, None),
            };
            let takes_value = matches!(
                flag.as_str(),
                "--events" | "--skip" | "--test-threads" | "--color" | "--format"
            );
            if takes_value {
                let value = inline
                    .or_else(|| arguments.next())
                    .ok_or_else(|| ArgsError(format!("{flag} needs a value")))?;
                args.set(&flag, value)?;
            } else if inline.is_some() {
                return Err(ArgsError(format!("{flag} takes no value")));
            } else if flag == "--" {
                only_filters = true;
            } else {
                args.switch(&flag)?;
            }
        }
        Ok(args)
    }

    fn set(&mut self, flag: &str, value: String) -> Result<(), ArgsError> {
        let not_one_of = |legal: &str| ArgsError(format!("{flag} is {value:?}: it is one of {legal}"));
        match flag {
            "--events" => self.events = Some(PathBuf::from(value)),
            "--skip" => self.skips.push(value),
            "--test-threads" => {
                let threads = value.parse().map_err(|_| {
                    ArgsError(format!(
                        "--test-threads is {value:?}: it is a number of at least 1"
                    ))
                })?;
                self.threads = Some(threads);
            }
            "--color" => {
                self.color = match value.as_str() {
                    "auto" => Color::Auto,
                    "always" => Color::Always,
                    "never" => Color::Never,
                    _ => return Err(not_one_of("auto, always, never")),
                };
            }
            _ if matches!(value.as_str(), "pretty" | "terse") => {}
            _ => return Err(not_one_of("pretty, terse")),
        }
        Ok(())
    }

    fn switch(&mut self, flag: &str) -> Result<(), ArgsError> {
        match flag {
            "--list" => self.mode = Mode::List,
            "-h" | "--help" => self.mode = Mode::Help,
            "--exact" => self.exact = true,
            "--ignored" => self.only_ignored = true,
            "-q" | "--quiet" => self.quiet = true,
            "--include-ignored" | "--nocapture" | "--no-capture" | "--show-output" | "--test" => {}
            _ => return Err(ArgsError(format!("unknown option {flag:?}; --help lists them"))),
        }
        Ok(())
    }

    /// Whether the case of this name is to be run or listed.
    pub(crate) fn selects(&self, name: &str) -> bool {
        let matches = |filter: &String| {
            if self.exact {
                name == filter
            } else {
                name.contains(filter.as_str())
            }
        };
        !self.only_ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skips.iter().any(matches)
    }

    /// How many cases run at once. Two for each processor unless said otherwise: most wait for the disk.
    pub(crate) fn threads_len(&self) -> usize {
        let by_processors = || available_parallelism().map_or(1, NonZeroUsize::get) * 2;
        self.threads.map_or_else(by_processors, NonZeroUsize::get)
    }
}
