//! The crash points: the eight places in the write paths where a test build can crash.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// A place in a write path where a crash can be injected.
///
/// Its text form is the variant's name, as a replay line prints it and [`FromStr`] reads it.
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
    /// After the log append returned, before the hot tier is updated: the log has the event, memory does not.
    WalPreAggregate,
    /// After the hot tier is updated, before the caller is acknowledged: log and memory have the event,
    /// nobody was told.
    WalPostAggregate,
    /// Before the checkpoint's batch is written: the old checkpoint, the whole log.
    CheckpointPreFlush,
    /// After the checkpoint is flushed, before the log's marker: the new checkpoint, and a log that still
    /// holds what it covers.
    CheckpointPostFlush,
    /// Between the first decay score and the others: one score has the event, the others do not.
    SignalAggregationUpdate,
    /// After a cohort's hot tier, before its warm tier: the global ledger is done, the cohort is half done.
    CohortLedgerUpdate,
    /// After the write to storage, before the collection in memory: storage has the change, memory does not.
    CollectionIndexUpdate,
    /// After the edges are inserted, before eviction: a node may exceed its degree bound.
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

/// A text that names no [`CrashPoint`].
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
