//! The crash points: the eight places in the write paths where a test build can crash.
//!
//! Invariant: the text form of a point is the name of its variant. The doc of each variant has the state that a crash
//! at the point leaves.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// A place in a write path where a test can inject a crash.
///
/// The text form is the variant's name. Replay lines print it and [`FromStr`] parses it.
///
/// # Examples
/// ```
/// use tidaldb::testing::CrashPoint;
///
/// let point: CrashPoint = "WalPreAggregate".parse()?;
/// assert_eq!(point, CrashPoint::WalPreAggregate);
/// assert_eq!(point.to_string(), "WalPreAggregate");
/// # Ok::<(), tidaldb::testing::crash_injector::ParseCrashPointError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashPoint {
    /// After the log append, before the hot tier is updated: the log has the event, memory does not.
    WalPreAggregate,
    /// After the hot tier is updated, before the call returns: log and memory have the event, but the call is not
    /// acknowledged.
    WalPostAggregate,
    /// Before the checkpoint's batch is written: storage has the old checkpoint, and the log is complete.
    CheckpointPreFlush,
    /// After the checkpoint is flushed, before the marker in the log: storage has the new checkpoint, and the log still
    /// has the events that the checkpoint covers.
    CheckpointPostFlush,
    /// Between the first decay score and the others: one score has the event, the others do not.
    SignalAggregationUpdate,
    /// After a cohort's hot tier is updated, before its warm tier: the global ledger has the event, the cohort has it
    /// in one of two tiers.
    CohortLedgerUpdate,
    /// After the write to storage, before the collection in memory is updated: storage has the change, memory does not.
    CollectionIndexUpdate,
    /// After the edges are inserted, before the eviction: a node can exceed its degree bound.
    CoEngagementUpdate,
}

impl CrashPoint {
    /// Every crash point, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::WalPreAggregate,
        Self::WalPostAggregate,
        Self::CheckpointPreFlush,
        Self::CheckpointPostFlush,
        Self::SignalAggregationUpdate,
        Self::CohortLedgerUpdate,
        Self::CollectionIndexUpdate,
        Self::CoEngagementUpdate,
    ];

    /// The variant's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WalPreAggregate => "WalPreAggregate",
            Self::WalPostAggregate => "WalPostAggregate",
            Self::CheckpointPreFlush => "CheckpointPreFlush",
            Self::CheckpointPostFlush => "CheckpointPostFlush",
            Self::SignalAggregationUpdate => "SignalAggregationUpdate",
            Self::CohortLedgerUpdate => "CohortLedgerUpdate",
            Self::CollectionIndexUpdate => "CollectionIndexUpdate",
            Self::CoEngagementUpdate => "CoEngagementUpdate",
        }
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for CrashPoint {
    type Err = ParseCrashPointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|point| point.name() == text)
            .ok_or_else(|| ParseCrashPointError {
                text: text.to_owned(),
            })
    }
}

/// The error of parsing a text that is not the name of a [`CrashPoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseCrashPointError {
    text: String,
}

impl fmt::Display for ParseCrashPointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no crash point is named {:?}; the names are", self.text)?;
        for (index, point) in CrashPoint::ALL.into_iter().enumerate() {
            write!(f, "{} {point}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Error for ParseCrashPointError {}
