//! What comes of a case: counts, and the reason if it failed.

use std::fmt;
use std::ops::AddAssign;

/// Events, summed over the comparisons of a case or of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Their call had returned before the crash.
    pub(crate) acknowledged: u64,
    /// Of those, found again after it.
    pub(crate) recovered: u64,
    /// Of those, not found.
    pub(crate) lost: u64,
    /// Found more than once.
    pub(crate) doubled: u64,
    /// Found in one structure and not in another.
    pub(crate) half: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.recovered += other.recovered;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.half += other.half;
    }
}

/// Why a case failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(String);

/// The usual result inside a case.
pub(crate) type Checked<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// What failed, with the error and the errors below it.
    pub(crate) fn of(doing: &str, error: &dyn std::error::Error) -> Self {
        let mut reason = format!("{doing}: {error}");
        let mut below = error.source();
        while let Some(cause) = below {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            below = cause.source();
        }
        Self(reason)
    }

    /// The same with a line of context.
    pub(crate) fn with(mut self, context: impl fmt::Display) -> Self {
        self.0.push('\n');
        self.0.push_str(&context.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fails the case with the formatted reason unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            return Err($crate::outcome::Failure::new(format!($($reason)+)));
        }
    };
}
pub(crate) use ensure;

/// The end of a case.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) failure: Option<Failure>,
}
