//! The report of the checks: the outcome of each check, a table of them, and a panic for tests.

use std::fmt;

/// The report of one call of [`Conformance::check`](super::Conformance::check).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a failed check is only in the report: call `assert_conforms`, which panics if a check failed"]
pub struct ConformanceReport {
    /// The engine's name.
    pub engine: String,
    /// The seed of random choices.
    pub seed: u64,
    /// The checks, in the order they were made.
    pub checks: Vec<Check>,
}

/// One check and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, from [`CHECKS`](super::CHECKS).
    pub name: &'static str,
    /// The outcome.
    pub outcome: CheckOutcome,
    /// The counts of its work, each with its unit. In a check that passed every count is at least 1.
    pub exercised: Vec<(&'static str, u64)>,
    /// Omissions and other remarks.
    pub notes: Vec<String>,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckOutcome {
    /// The engine kept its promise.
    Passed,
    /// The engine broke a promise, panicked or hung, or the check did not do its work.
    Failed {
        /// The observation, as text.
        reason: String,
    },
    /// The check was not made. This outcome is no statement about the engine.
    NotApplicable {
        /// The reason.
        reason: String,
    },
}

impl ConformanceReport {
    /// The check with this name, if it was selected.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// The names of the checks that passed.
    pub fn passed(&self) -> impl Iterator<Item = &'static str> {
        self.names(|check| matches!(check.outcome, CheckOutcome::Passed))
    }

    /// The names of the checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &'static str> {
        self.names(|check| matches!(check.outcome, CheckOutcome::Failed { .. }))
    }

    /// The names of the checks that were not made.
    pub fn not_applicable(&self) -> impl Iterator<Item = &'static str> {
        self.names(|check| matches!(check.outcome, CheckOutcome::NotApplicable { .. }))
    }

    fn names(&self, is_selected: impl Fn(&&Check) -> bool) -> impl Iterator<Item = &'static str> {
        self.checks.iter().filter(is_selected).map(|check| check.name)
    }

    /// Returns true if at least one check passed and none failed.
    pub fn conforms(&self) -> bool {
        self.failed().next().is_none() && self.passed().next().is_some()
    }

    /// Prints the report.
    ///
    /// # Panics
    /// If a check failed or no check passed. The message is the report.
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
            .map(|(unit, count)| format!("{count} {unit}"));
        let (verdict, text) = match &self.outcome {
            CheckOutcome::Passed => ("passed", counts.collect::<Vec<_>>().join(", ")),
            CheckOutcome::Failed { reason } => ("FAILED", reason.clone()),
            CheckOutcome::NotApplicable { reason } => ("NOT APPLICABLE", reason.clone()),
        };
        writeln!(f, "  {:width$}  {verdict:14}  {text}", self.name)?;
        let mut notes = self.notes.iter();
        notes.try_for_each(|note| writeln!(f, "  {:width$}  {:14}  ({note})", "", ""))
    }
}

/// The counts of a check that reached its end, or the reason why it stopped.
pub(super) type CheckResult = Result<CheckTally, CheckStop>;

/// The counts and notes of a check.
#[derive(Debug, Default)]
pub(super) struct CheckTally {
    exercised: Vec<(&'static str, u64)>,
    notes: Vec<String>,
}

/// A note of the checks that lose power, for an engine that does not claim to survive a power loss.
pub(super) const ONLY_PROCESS_CRASHES: &str =
    "only process crashes: the engine does not claim to survive a power loss";

/// The reason why a check stopped.
#[derive(Debug)]
pub(super) enum CheckStop {
    Failed(String),
    NotApplicable(String),
}

impl CheckStop {
    /// Changes the text of a failure.
    pub(super) fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Failed(reason) => Self::Failed(change(reason)),
            Self::NotApplicable(reason) => Self::NotApplicable(reason),
        }
    }
}

impl CheckTally {
    /// A tally with required units. The check fails if the count of one of them remains 0.
    pub(super) fn of(units: &[&'static str]) -> Self {
        Self {
            exercised: units.iter().map(|unit| (*unit, 0)).collect(),
            notes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, unit: &'static str, count: u64) {
        match self.exercised.iter_mut().find(|(other, _)| *other == unit) {
            Some((_, sum)) => *sum += count,
            None if count == 0 => {}
            None => self.exercised.push((unit, count)),
        }
    }

    pub(super) fn count(&self, unit: &str) -> u64 {
        let counted = self.exercised.iter().find(|(other, _)| *other == unit);
        counted.map_or(0, |(_, count)| *count)
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Check {
    /// A check with this result. It passed only if no count is 0.
    pub(super) fn new(name: &'static str, checked: CheckResult) -> Self {
        let failed = |reason: String| CheckOutcome::Failed { reason };
        let (outcome, tally) = match checked {
            Ok(tally) => {
                let missing = tally.exercised.iter().find(|(_, count)| *count == 0);
                let outcome = match missing {
                    Some((unit, _)) => failed(format!("the check tested nothing: it counted no {unit}")),
                    None if tally.exercised.is_empty() => failed("the check counted nothing".to_owned()),
                    None => CheckOutcome::Passed,
                };
                (outcome, tally)
            }
            Err(CheckStop::Failed(reason)) => (failed(reason), CheckTally::default()),
            Err(CheckStop::NotApplicable(reason)) => {
                (CheckOutcome::NotApplicable { reason }, CheckTally::default())
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
