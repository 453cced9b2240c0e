//! The report of the checks: one line for each check, a table for people, and a panic for tests.

use std::fmt;

/// The report of one call of [`Conformance::check`](super::Conformance::check).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a report says nothing unless it is looked at: `assert_conforms` panics if a check failed"]
pub struct ConformanceReport {
    /// The engine's name.
    pub engine: String,
    /// The seed of random choices.
    pub seed: u64,
    /// The checks, in the order they were made.
    pub checks: Vec<Check>,
}

/// One check and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, from [`CHECKS`](super::CHECKS).
    pub name: &'static str,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// Counts of its work. In a check that passed each is at least 1.
    pub exercised: Vec<(&'static str, u64)>,
    /// Omissions and other remarks, each a sentence.
    pub notes: Vec<String>,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckOutcome {
    /// The engine kept its promise.
    Passed,
    /// The engine broke a promise, panicked or hung; or the check did not reach its work.
    Failed {
        /// The observation, in words.
        reason: String,
    },
    /// The check was not made: it says nothing of the engine.
    NotApplicable {
        /// The reason.
        why: String,
    },
}

impl ConformanceReport {
    /// The check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// The names of the checks that passed.
    pub fn passed(&self) -> impl Iterator<Item = &'static str> {
        self.named(|check| matches!(check.outcome, CheckOutcome::Passed))
    }

    /// The names of the checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &'static str> {
        self.named(|check| matches!(check.outcome, CheckOutcome::Failed { .. }))
    }

    /// The names of the checks that were not made.
    pub fn not_applicable(&self) -> impl Iterator<Item = &'static str> {
        self.named(|check| matches!(check.outcome, CheckOutcome::NotApplicable { .. }))
    }

    fn named(&self, is_wanted: impl Fn(&&Check) -> bool) -> impl Iterator<Item = &'static str> {
        self.checks.iter().filter(is_wanted).map(|check| check.name)
    }

    /// Returns true if some check passed and none failed.
    pub fn conforms(&self) -> bool {
        self.failed().next().is_none() && self.passed().next().is_some()
    }

    /// Prints the report.
    ///
    /// # Panics
    /// With the report, if a check failed or none was made.
    #[track_caller]
    pub fn assert_conforms(&self) {
        assert!(self.conforms(), "{self}");
        println!("{self}");
    }
}

impl fmt::Display for ConformanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "storage conformance of {}, seed {:#x}", self.engine, self.seed)?;
        let width = self.checks.iter().map(|check| check.name.len()).max();
        for check in &self.checks {
            check.write_row(f, width.unwrap_or(0))?;
        }
        write!(
            f,
            "{} passed, {} FAILED, {} not applicable",
            self.passed().count(),
            self.failed().count(),
            self.not_applicable().count()
        )
    }
}

impl Check {
    fn write_row(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        let counts = self
            .exercised
            .iter()
            .map(|(what, count)| format!("{count} {what}"));
        let (verdict, what) = match &self.outcome {
            CheckOutcome::Passed => ("passed", counts.collect::<Vec<_>>().join(", ")),
            CheckOutcome::Failed { reason } => ("FAILED", reason.clone()),
            CheckOutcome::NotApplicable { why } => ("NOT APPLICABLE", why.clone()),
        };
        writeln!(f, "  {:width$}  {verdict:14}  {what}", self.name)?;
        let mut notes = self.notes.iter();
        notes.try_for_each(|note| writeln!(f, "  {:width$}  {:14}  ({note})", "", ""))
    }
}

/// What a check did, counted; and why it stopped, if it did.
pub(super) type CheckResult = Result<CheckTally, CheckStop>;

/// What a check did.
#[derive(Debug, Default)]
pub(super) struct CheckTally {
    exercised: Vec<(&'static str, u64)>,
    notes: Vec<String>,
}

/// A note of the checks that lose power, for an engine that does not claim to survive it.
pub(super) const PROCESS_CRASHES_ALONE: &str =
    "process crashes alone: the engine is not said to survive a power loss";

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum CheckStop {
    Failed(String),
    NotApplicable(String),
}

impl CheckStop {
    /// Says more of a failure.
    pub(super) fn map(self, say: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Failed(reason) => Self::Failed(say(reason)),
            Self::NotApplicable(why) => Self::NotApplicable(why),
        }
    }
}

impl CheckTally {
    /// Announces what will be counted: it is a failure of the check if it is never done.
    pub(super) fn of(whats: &[&'static str]) -> Self {
        Self {
            exercised: whats.iter().map(|what| (*what, 0)).collect(),
            notes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, what: &'static str, count: u64) {
        match self.exercised.iter_mut().find(|(counted, _)| *counted == what) {
            Some((_, counted)) => *counted += count,
            None if count == 0 => {}
            None => self.exercised.push((what, count)),
        }
    }

    pub(super) fn count(&self, what: &str) -> u64 {
        let counted = self.exercised.iter().find(|(counted, _)| *counted == what);
        counted.map_or(0, |(_, count)| *count)
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Check {
    /// Passed only if everything that was announced was done.
    pub(super) fn new(name: &'static str, checked: CheckResult) -> Self {
        let failed = |reason: String| CheckOutcome::Failed { reason };
        let (outcome, tally) = match checked {
            Ok(tally) => {
                let never = tally.exercised.iter().find(|(_, count)| *count == 0);
                let outcome = match never {
                    Some((what, _)) => failed(format!("the check tested nothing: there were no {what}")),
                    None if tally.exercised.is_empty() => failed("the check counted nothing".to_owned()),
                    None => CheckOutcome::Passed,
                };
                (outcome, tally)
            }
            Err(CheckStop::Failed(reason)) => (failed(reason), CheckTally::default()),
            Err(CheckStop::NotApplicable(why)) => {
                (CheckOutcome::NotApplicable { why }, CheckTally::default())
            }
        };
        let CheckTally { exercised, notes } = tally;
        Self {
            name,
            outcome,
            exercised,
            notes,
        }
    }
}
