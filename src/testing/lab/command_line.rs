//! The command lines of the project's own programs: each option is declared once, and parsing, `--help` and error messages
//! follow from the declaration.
//!
//! A value comes after its option, in the next argument or behind `=`. An argument that does not begin with `-`, and each one
//! after `--`, is an operand. An option that is given again replaces its value, unless its declaration collects values.
//! Uses the standard library alone: a program that is built without the kit includes this file by its path.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "a program that includes the file uses a part"
)]

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// The width of the help text in columns.
const HELP_COLUMNS: usize = 110;
/// A year: sums of times cannot overflow.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Stores a value. The error says what the option expects.
type Set<T> = Box<dyn Fn(&mut T, &OsStr) -> Result<(), String>>;
/// Stores an operand. The error is the whole message.
type SetOperand<T> = Box<dyn Fn(&mut T, String) -> Result<(), String>>;

struct Declared<T> {
    /// With hyphens, as in `-q, --quiet`.
    names: &'static str,
    /// The word for the value in the help text; empty for an option without a value.
    value: &'static str,
    help: String,
    is_hidden: bool,
    set: Set<T>,
}

/// The declared options of a program, and their values `T`, which begin as the defaults.
#[must_use]
pub struct CommandLine<T> {
    usage: &'static str,
    values: T,
    options: Vec<Declared<T>>,
    operand: Option<SetOperand<T>>,
    after: String,
}

impl<T> fmt::Debug for CommandLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandLine")
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl<T: 'static> CommandLine<T> {
    /// A command line without options. `usage` begins with the name of the program; `values` holds the default values.
    pub fn new(usage: &'static str, values: T) -> Self {
        Self {
            usage,
            values,
            options: Vec::new(),
            operand: None,
            after: String::new(),
        }
    }

    /// Declares an option without a value that changes the values.
    pub fn switch(self, names: &'static str, help: &str, change: impl Fn(&mut T) + 'static) -> Self {
        self.declare(names, "", help, move |values, _| {
            change(values);
            Ok(())
        })
    }

    /// Declares an option without a value that sets a field to true.
    pub fn flag(self, names: &'static str, help: &str, field: fn(&mut T) -> &mut bool) -> Self {
        self.switch(names, help, move |values| *field(values) = true)
    }

    /// Declares an option with a value. `set` stores it; its error says what the option expects, as in `2 or 3`.
    pub fn value(
        self,
        names: &'static str,
        value: &'static str,
        help: &str,
        set: impl Fn(&mut T, &str) -> Result<(), String> + 'static,
    ) -> Self {
        self.declare(names, value, help, move |values, text| {
            set(values, text.to_str().ok_or("valid UTF-8")?)
        })
    }

    /// Declares a whole number in a range. The help text names the default, unless it is out of the range.
    pub fn number<N>(
        mut self,
        names: &'static str,
        help: &str,
        range: RangeInclusive<N>,
        field: fn(&mut T) -> &mut N,
    ) -> Self
    where
        N: FromStr + PartialOrd + Display + 'static,
    {
        let default = field(&mut self.values);
        let help = if range.contains(default) {
            format!("{help}; default {default}")
        } else {
            help.to_owned()
        };
        self.value(names, "N", &help, move |values, text| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            let expected = || format!("a whole number from {} to {}", range.start(), range.end());
            *field(values) = number.ok_or_else(expected)?;
            Ok(())
        })
    }

    /// Declares a time in minutes, above 0 and up to a year; fractions are legal. The help text names the default.
    pub fn minutes(mut self, names: &'static str, help: &str, field: fn(&mut T) -> &mut Duration) -> Self {
        let minutes = field(&mut self.values).as_secs_f64() / 60.0;
        let help = format!("{help}; fractions are legal; default {minutes}");
        self.value(names, "N", &help, move |values, text| {
            let time = text
                .parse()
                .ok()
                .and_then(|minutes: f64| Duration::try_from_secs_f64(minutes * 60.0).ok());
            let time = time.filter(|time| !time.is_zero() && *time <= TIME_MAX);
            *field(values) = time.ok_or("a number of minutes above 0")?;
            Ok(())
        })
    }

    /// Declares a path, which need not be UTF-8. The help text describes the default.
    pub fn path(
        self,
        names: &'static str,
        value: &'static str,
        help: &str,
        set: impl Fn(&mut T, PathBuf) + 'static,
    ) -> Self {
        self.declare(names, value, help, move |values, path| {
            set(values, path.into());
            Ok(())
        })
    }

    /// Declares that operands are accepted. The error of `set` is the whole message.
    pub fn operands(mut self, set: impl Fn(&mut T, String) -> Result<(), String> + 'static) -> Self {
        self.operand = Some(Box::new(set));
        self
    }

    /// Leaves the last declared option out of the help text.
    pub fn hidden(mut self) -> Self {
        if let Some(last) = self.options.last_mut() {
            last.is_hidden = true;
        }
        self
    }

    /// Appends a paragraph to the help text.
    pub fn after(mut self, text: &str) -> Self {
        self.after.push('\n');
        self.after.push_str(text);
        self.after.push('\n');
        self
    }

    /// Declares that operands are some of these words, which the help text lists with their meanings.
    pub fn words(
        mut self,
        title: &str,
        words: &[(&'static str, &'static str)],
        field: fn(&mut T) -> &mut Vec<String>,
    ) -> Self {
        writeln!(self.after, "\n{title}").ok();
        for (word, meaning) in words {
            wrap(&mut self.after, &format!("  {word}"), meaning, 19);
        }
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.operands(move |values, operand| {
            if !words.contains(&operand.as_str()) {
                return Err(format!("{operand} is none of {}", words.join(", ")));
            }
            field(values).push(operand);
            Ok(())
        })
    }

    fn declare(
        mut self,
        names: &'static str,
        value: &'static str,
        help: &str,
        set: impl Fn(&mut T, &OsStr) -> Result<(), String> + 'static,
    ) -> Self {
        self.options.push(Declared {
            names,
            value,
            help: help.to_owned(),
            is_hidden: false,
            set: Box::new(set),
        });
        self
    }

    /// The text that `--help` prints.
    pub fn help(&self) -> String {
        let shown = self.options.iter().filter(|option| !option.is_hidden);
        let lines = shown.map(|option| (format!("{} {}", option.names, option.value), option.help.as_str()));
        let lines: Vec<_> = lines
            .chain([("-h, --help".to_owned(), "prints this text")])
            .collect();
        let column = lines
            .iter()
            .map(|(names, _)| names.trim_end().len())
            .max()
            .unwrap_or(0)
            + 4;
        let mut text = format!("usage: {}\n\n", self.usage);
        for (names, help) in lines {
            wrap(&mut text, &format!("  {}", names.trim_end()), help, column);
        }
        text + &self.after
    }

    /// Parses the arguments after the name of the program. Returns `None` if one of them asks for help.
    ///
    /// # Errors
    /// The first argument that is wrong, and what is expected in its place.
    pub fn parse(mut self, arguments: impl IntoIterator<Item = OsString>) -> Result<Option<T>, String> {
        let mut arguments = arguments.into_iter();
        let mut only_operands = false;
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            if only_operands || !text.starts_with('-') {
                let set = self
                    .operand
                    .as_ref()
                    .ok_or_else(|| format!("no operand is expected: {text}"))?;
                set(&mut self.values, text)?;
            } else if text == "--" {
                only_operands = true;
            } else if text == "-h" || text == "--help" {
                return Ok(None);
            } else {
                self.set(&argument, &mut arguments)?;
            }
        }
        Ok(Some(self.values))
    }

    /// Parses one option; a value that is not part of `argument` is taken from `rest`.
    fn set(&mut self, argument: &OsStr, rest: &mut impl Iterator<Item = OsString>) -> Result<(), String> {
        let (name, inline) = split(argument);
        let is_of_name = |option: &&Declared<T>| option.names.split(", ").any(|known| known == name);
        let Some(option) = self.options.iter().find(is_of_name) else {
            return Err(format!("there is no option {name}"));
        };
        let value = match (option.value.is_empty(), inline) {
            (true, Some(_)) => return Err(format!("{name} takes no value")),
            (true, None) => OsString::new(),
            (false, inline) => inline
                .or_else(|| rest.next())
                .ok_or_else(|| format!("{name} needs a value: {}", option.help))?,
        };
        let set = (option.set)(&mut self.values, &value);
        set.map_err(|expected| format!("{name} takes {expected}, not {:?}", value.display().to_string()))
    }

    /// Parses the arguments of this process. If the program has nothing to do, prints why.
    ///
    /// # Errors
    /// The exit status: success if help was asked for, 2 if an argument is wrong.
    pub fn of_process(self) -> Result<T, ExitCode> {
        let (program, help) = (self.usage.split(' ').next().unwrap_or_default(), self.help());
        match self.parse(std::env::args_os().skip(1)) {
            Ok(Some(values)) => Ok(values),
            Ok(None) => {
                print!("{help}");
                Err(ExitCode::SUCCESS)
            }
            Err(why) => {
                eprintln!("{program}: {why}; --help lists the options");
                Err(ExitCode::from(2))
            }
        }
    }
}

/// The name of an option, and the value behind its `=`. A value that is not UTF-8 is an argument of its own.
fn split(argument: &OsStr) -> (String, Option<OsString>) {
    match argument.to_str().and_then(|text| text.split_once('=')) {
        Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.into())),
        _ => (argument.to_string_lossy().into_owned(), None),
    }
}

/// Appends `names`, and `help` from `column` on, in lines of at most [`HELP_COLUMNS`].
fn wrap(text: &mut String, names: &str, help: &str, column: usize) {
    let mut line = format!("{names:column$}");
    for word in help.split(' ') {
        if line.len() + word.len() > HELP_COLUMNS {
            writeln!(text, "{}", line.trim_end()).ok();
            line = " ".repeat(column);
        }
        line.push_str(word);
        line.push(' ');
    }
    writeln!(text, "{}", line.trim_end()).ok();
}

/// Selects test cases by name with the options of the standard harness.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    words: Vec<String>,
    skips: Vec<String>,
    is_exact: bool,
}

impl Filters {
    /// Declares the operands, `--exact` and `--skip` of a command line.
    pub fn declare<T: 'static>(line: CommandLine<T>, field: fn(&mut T) -> &mut Self) -> CommandLine<T> {
        line.operands(move |values, word| {
            field(values).words.push(word);
            Ok(())
        })
        .switch(
            "--exact",
            "a filter is the whole name of a case, not a part",
            move |values| {
                field(values).is_exact = true;
            },
        )
        .value(
            "--skip",
            "FILTER",
            "leaves out the cases that match it; may be repeated",
            move |values, word| {
                field(values).skips.push(word.to_owned());
                Ok(())
            },
        )
    }

    /// Returns true if the case of this name is selected: some filter matches it, or there is none, and no skip matches.
    pub fn selects(&self, name: &str) -> bool {
        let is_wanted = self.words.is_empty() || self.words.iter().any(|word| self.matches(word, name));
        is_wanted && !self.skips.iter().any(|word| self.matches(word, name))
    }

    fn matches(&self, word: &str, name: &str) -> bool {
        if self.is_exact {
            name == word
        } else {
            name.contains(word)
        }
    }

    /// Refuses filters that would pass without a test.
    ///
    /// # Errors
    /// A filter that matches no case, or that every case is skipped.
    pub fn check(&self, names: &[&str]) -> Result<(), String> {
        let matches_none = |word: &&String| !names.iter().any(|name| self.matches(word, name));
        if let Some(word) = self.words.iter().find(matches_none) {
            let how = if self.is_exact {
                "is named"
            } else {
                "has a name with"
            };
            return Err(format!("no case {how} {word:?}; --list shows the names"));
        }
        if !names.iter().any(|name| self.selects(name)) {
            return Err("every case is skipped".to_owned());
        }
        Ok(())
    }
}
