//! The command lines of the project's own programs.
//!
//! Owns one table of options for each program. Parsing, `--help` and error messages follow from this table. A program
//! looks up the values by the names of their options.
//!
//! A value is the next argument after its option, or follows `=` in the same argument. An argument is an operand if it
//! does not begin with `-` or comes after `--`. If an option is given several times, the last value counts, except in
//! [`GivenArguments::texts`].
//!
//! This file uses only the standard library, because programs that are built without the kit include it by its path.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "a program that includes the file uses only a part of it"
)]

use std::ffi::{OsStr, OsString};
use std::fmt::{Display, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// One year. With this limit, sums of times cannot overflow.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, Clone, PartialEq, Eq)]
struct CommandOption {
    /// With hyphens, as in `-q, --quiet`.
    names: &'static str,
    /// The word for the value in the help text; empty for an option without a value.
    value: &'static str,
    /// The value that is used if the option is not given; may be empty.
    default: String,
    /// The help text; empty for an option that `--help` does not list.
    help: String,
}

/// The options of a program.
#[derive(Debug)]
#[must_use]
pub struct CommandLine {
    usage: &'static str,
    options: Vec<CommandOption>,
    /// The legal operands; an empty list allows any operand, and `None` allows no operand.
    operands: Option<Vec<&'static str>>,
    /// The help text after the list of options.
    after: String,
}

impl CommandLine {
    /// A command line without options. `usage` begins with the name of the program.
    pub fn new(usage: &'static str) -> Self {
        Self {
            usage,
            options: Vec::new(),
            operands: None,
            after: String::new(),
        }
    }

    /// Declares an option: for example `-q, --quiet`, or `--images N` with a value. `--help` shows a default that is
    /// not empty. It does not list an option with an empty `help`.
    pub fn option(mut self, declared: &'static str, default: impl Display, help: &str) -> Self {
        let value = declared.rsplit(' ').next().filter(|word| !word.starts_with('-'));
        let value = value.unwrap_or_default();
        let default = default.to_string();
        let shown_default = if default.is_empty() || help.is_empty() {
            String::new()
        } else {
            format!("; default {default}")
        };
        self.options.push(CommandOption {
            names: declared.strip_suffix(value).unwrap_or(declared).trim_end(),
            value,
            default,
            help: format!("{help}{shown_default}"),
        });
        self
    }

    /// Declares that any operand is legal.
    pub fn operands(mut self) -> Self {
        self.operands = Some(Vec::new());
        self
    }

    /// Declares that only these words are legal operands. The help text lists the words with their meanings.
    pub fn words(
        mut self,
        title: &str,
        words: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Self {
        writeln!(self.after, "\n{title}").ok();
        let legal = self.operands.get_or_insert_default();
        for (word, meaning) in words {
            writeln!(self.after, "  {word:17}{meaning}").ok();
            legal.push(word);
        }
        self
    }

    /// Appends a paragraph to the help text.
    pub fn after(mut self, text: &str) -> Self {
        writeln!(self.after, "\n{text}").ok();
        self
    }

    /// The text that `--help` prints.
    pub fn help(&self) -> String {
        let shown = self.options.iter().filter(|option| !option.help.is_empty());
        let lines = shown.map(|option| (format!("{} {}", option.names, option.value), option.help.as_str()));
        let lines: Vec<_> = lines
            .chain([("-h, --help".to_owned(), "prints this text")])
            .collect();
        let widths = lines.iter().map(|(names, _)| names.trim_end().len());
        let column = widths.max().unwrap_or(0) + 2;
        let mut text = format!("usage: {}\n\n", self.usage);
        for (names, help) in lines {
            writeln!(text, "  {names:column$}{help}").ok();
        }
        text + &self.after
    }

    /// Parses the arguments after the name of the program. Returns `None` if one of them asks for help.
    ///
    /// # Errors
    /// A text with the first wrong argument and the expected form.
    pub fn parse(
        self,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<GivenArguments>, String> {
        let mut arguments = arguments.into_iter();
        let (mut values, mut operands, mut only_operands) = (Vec::new(), Vec::new(), false);
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            if only_operands || !text.starts_with('-') {
                let legal = self.operands.as_ref();
                let legal = legal.ok_or_else(|| format!("unexpected operand: {text}"))?;
                if !legal.is_empty() && !legal.contains(&text.as_str()) {
                    return Err(format!("{text} is not one of {}", legal.join(", ")));
                }
                operands.push(text);
            } else if text == "--" {
                only_operands = true;
            } else if text == "-h" || text == "--help" {
                return Ok(None);
            } else {
                // A value after `=` must be UTF-8. Any other value must be a separate argument.
                let inline = argument.to_str().and_then(|text| text.split_once('='));
                let inline = inline.filter(|(name, _)| name.starts_with("--"));
                let (name, inline) =
                    inline.map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
                let index = index_of(&self.options, name).ok_or_else(|| format!("unknown option {name}"))?;
                let option = &self.options[index];
                let value = match (option.value, inline) {
                    ("", Some(_)) => return Err(format!("{name} does not accept a value")),
                    ("", None) => OsString::new(),
                    (_, Some(inline)) => inline.into(),
                    (_, None) => arguments
                        .next()
                        .ok_or_else(|| format!("{name} needs a value: {}", option.help))?,
                };
                values.push((index, value));
            }
        }
        Ok(Some(GivenArguments {
            options: self.options,
            values,
            operands,
        }))
    }

    /// Parses the arguments of this process and looks up their values with `read`.
    ///
    /// # Errors
    /// The exit status of the program. It is success after printing the help text, and 2 after printing an error about
    /// a wrong argument.
    pub fn of_process<T>(
        self,
        read: impl FnOnce(&GivenArguments) -> Result<T, String>,
    ) -> Result<T, ExitCode> {
        let (program, help) = (self.usage.split(' ').next().unwrap_or_default(), self.help());
        let parsed = self.parse(std::env::args_os().skip(1));
        match parsed.and_then(|given| given.as_ref().map(read).transpose()) {
            Ok(Some(values)) => Ok(values),
            Ok(None) => {
                print!("{help}");
                Err(ExitCode::SUCCESS)
            }
            Err(error) => {
                eprintln!("{program}: {error}; --help lists the options");
                Err(ExitCode::from(2))
            }
        }
    }
}

fn index_of(options: &[CommandOption], name: &str) -> Option<usize> {
    let has_name = |option: &CommandOption| option.names.split(", ").any(|declared| declared == name);
    options.iter().position(has_name)
}

/// The parsed arguments of a program. Each look-up panics if the program does not declare an option with that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenArguments {
    options: Vec<CommandOption>,
    /// The index of an option and its value, in the order of the arguments.
    values: Vec<(usize, OsString)>,
    pub operands: Vec<String>,
}

impl GivenArguments {
    fn of_option(&self, name: &str) -> (&CommandOption, impl DoubleEndedIterator<Item = &OsString>) {
        let index = index_of(&self.options, name).unwrap_or_else(|| panic!("{name} is not declared"));
        let values = self.values.iter().filter(move |(of, _)| *of == index);
        (&self.options[index], values.map(|(_, value)| value))
    }

    /// Returns true if the option is given.
    pub fn has(&self, name: &str) -> bool {
        self.of_option(name).1.next().is_some()
    }

    /// All values of an option, as text.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let values = self.of_option(name).1;
        values.map(|value| value.to_string_lossy().into_owned()).collect()
    }

    /// The path that is the value of an option. It need not be UTF-8.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.of_option(name).1.next_back().map(PathBuf::from)
    }

    /// The parsed value or default; `None` if the option has neither.
    ///
    /// # Errors
    /// A text with the option and `expected`, if `parse` returns `None` or the value is not UTF-8.
    pub fn value<V>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<V>,
    ) -> Result<Option<V>, String> {
        let (option, mut values) = self.of_option(name);
        let default = Some(OsStr::new(&option.default)).filter(|default| !default.is_empty());
        let Some(text) = values.next_back().map(OsString::as_os_str).or(default) else {
            return Ok(None);
        };
        let value = text.to_str().and_then(parse);
        let wrong = || format!("{name} must be {expected}, not {:?}", text.display().to_string());
        value.map(Some).ok_or_else(wrong)
    }

    /// A whole number in a range; zero if the option has neither a value nor a default.
    ///
    /// # Errors
    /// A text with the option and the range, if the value is not such a number.
    pub fn number<N>(&self, name: &str, range: RangeInclusive<N>) -> Result<N, String>
    where
        N: FromStr + PartialOrd + Display + Default,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.value(name, &expected, parse).map(Option::unwrap_or_default)
    }

    /// A time in minutes, above 0 and at most a year. Fractions are legal.
    ///
    /// # Errors
    /// A text with the option and the legal values, if the value is not such a time.
    pub fn minutes(&self, name: &str) -> Result<Duration, String> {
        let parse = |text: &str| {
            let time = Duration::try_from_secs_f64(text.parse::<f64>().ok()? * 60.0).ok()?;
            Some(time).filter(|time| !time.is_zero() && *time <= TIME_MAX)
        };
        let time = self.value(name, "a number of minutes above 0", parse);
        time.map(Option::unwrap_or_default)
    }
}

/// Selects test cases by name, with the options of the standard test harness.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    included: Vec<String>,
    skipped: Vec<String>,
    is_exact: bool,
}

impl Filters {
    /// Declares the operands, `--exact` and `--skip` of a command line.
    pub fn declare(line: CommandLine) -> CommandLine {
        line.operands()
            .option(
                "--exact",
                "",
                "a filter matches only a case with exactly this name",
            )
            .option(
                "--skip FILTER",
                "",
                "skips the cases that match FILTER; may be repeated",
            )
    }

    /// The filters in the arguments.
    pub fn of(given: &GivenArguments) -> Self {
        Self {
            included: given.operands.clone(),
            skipped: given.texts("--skip"),
            is_exact: given.has("--exact"),
        }
    }

    /// Returns true if the case with this name is selected: a filter matches it or no filter is given, and no skip
    /// matches it.
    pub fn selects(&self, name: &str) -> bool {
        let matches_any = |filters: &[String]| filters.iter().any(|filter| self.matches(filter, name));
        (self.included.is_empty() || matches_any(&self.included)) && !matches_any(&self.skipped)
    }

    fn matches(&self, filter: &str, name: &str) -> bool {
        name == filter || !self.is_exact && name.contains(filter)
    }

    /// Refuses filters that select nothing, because a run without a case would pass.
    ///
    /// # Errors
    /// A text with a filter that matches no case, or a text that every case is skipped.
    pub fn check(&self, names: &[&str]) -> Result<(), String> {
        let matches_none = |filter: &&String| !names.iter().any(|name| self.matches(filter, name));
        if let Some(filter) = self.included.iter().find(matches_none) {
            let relation = if self.is_exact {
                "has the name"
            } else {
                "has a name with"
            };
            return Err(format!("no case {relation} {filter:?}; --list shows the names"));
        }
        if !names.iter().any(|name| self.selects(name)) {
            return Err("every case is skipped".to_owned());
        }
        Ok(())
    }
}
