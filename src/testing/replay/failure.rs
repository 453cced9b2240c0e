//! The error of a replay.

use std::error::Error;
use std::fmt;

use crate::testing::plan::ParsePlanError;
use crate::testing::schedule::ScheduleFinding;
use crate::testing::sweep::{Failure, Finding};
use crate::testing::text::error_chain;

/// The error of a replay.
#[non_exhaustive]
pub enum ReplayFailure {
    /// The line is not a plan.
    NotAPlan(ParsePlanError),
    /// The line is not a schedule, or is one of another application. The text names the wrong part and the reason.
    NotASchedule(String),
    /// The schedule does not fit the run: the program or the engine has changed since the line was printed. The text names
    /// the part that does not fit.
    DoesNotFit(String),
    /// The run of the plan has a finding.
    Found(Box<Finding>),
    /// The run of the schedule has a finding.
    FoundSchedule(Box<ScheduleFinding>),
}

impl ReplayFailure {
    /// The finding, if a plan ran.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Found(finding) => Some(finding),
            _ => None,
        }
    }

    /// The finding, if a schedule ran.
    pub fn schedule_finding(&self) -> Option<&ScheduleFinding> {
        match self {
            Self::FoundSchedule(finding) => Some(finding),
            _ => None,
        }
    }

    /// The failure of the finding, if the plan or the schedule ran.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Found(finding) => Some(&finding.failure),
            Self::FoundSchedule(finding) => Some(&finding.failure),
            _ => None,
        }
    }
}

impl fmt::Debug for ReplayFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `unwrap` prints this form, so it is the readable text.
        f.write_str(&error_chain(self))
    }
}

impl fmt::Display for ReplayFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPlan(_) => f.write_str("the line is not a plan"),
            Self::NotASchedule(reason) => write!(f, "the line is not a schedule: {reason}"),
            Self::DoesNotFit(part) => write!(
                f,
                "the schedule does not fit the run, because the program or the engine has changed: {part}"
            ),
            Self::Found(finding) => write!(f, "{finding}"),
            Self::FoundSchedule(finding) => write!(f, "{finding}"),
        }
    }
}

impl Error for ReplayFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotAPlan(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ParsePlanError> for ReplayFailure {
    fn from(error: ParsePlanError) -> Self {
        Self::NotAPlan(error)
    }
}

impl From<Box<Finding>> for ReplayFailure {
    fn from(finding: Box<Finding>) -> Self {
        Self::Found(finding)
    }
}

impl From<Box<ScheduleFinding>> for ReplayFailure {
    fn from(finding: Box<ScheduleFinding>) -> Self {
        Self::FoundSchedule(finding)
    }
}
