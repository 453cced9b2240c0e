//! The verdict of the oracle on a recovered state: counts, the recovered prefix, and the differences.

use std::fmt;
use std::ops::AddAssign;

use crate::testing::model::Difference;

/// Numbers of events. Each event is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Acknowledged events since the database was new.
    pub acknowledged: u64,
    /// Recovered events.
    pub recovered: u64,
    /// Guaranteed events that were not recovered.
    pub lost: u64,
    /// Events that were recovered twice.
    pub doubled: u64,
    /// Events that were recovered in some structures only, or without other events of their call.
    pub half: u64,
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

/// The operations that a recovered state contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix {
    /// The number of frames (calls that record or forget) since the database was new.
    pub frames: usize,
    /// The sequence number of the last frame whose number the database returned. 0 without such a frame.
    pub sequence: u64,
    /// The number of changes of collections since the last reopening.
    pub collection_changes: usize,
}

/// The verdict of the oracle on a recovered state.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "the verdict holds the findings of the oracle"]
pub struct Verdict {
    /// The differences between the state and the nearest legal state. Empty if the state is legal.
    pub differences: Vec<Difference>,
    /// The numbers of events.
    pub counts: Counts,
    /// The recovered legal state, or the nearest one.
    pub prefix: Prefix,
    /// The frames of [`prefix`](Self::prefix) in order, then its changes of collections, those of each collection in
    /// order. Each is an index in the oracle's calls.
    pub(super) recovered_calls: Vec<usize>,
    /// The last sequence number of the recovered database.
    pub(super) last_sequence: u64,
}

impl Verdict {
    /// Returns true if the state is legal.
    pub fn is_ok(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Verdict {
    /// One line of counts, then one line for each difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            acknowledged,
            recovered,
            lost,
            doubled,
            half,
        } = self.counts;
        let Prefix {
            frames,
            sequence,
            collection_changes,
        } = self.prefix;
        write!(
            f,
            "{acknowledged} events acknowledged, {recovered} recovered, {lost} lost, {doubled} doubled, \
             {half} half; {frames} frames up to sequence {sequence}, {collection_changes} changes of collections"
        )?;
        self.differences
            .iter()
            .try_for_each(|difference| write!(f, "\n  {difference}"))
    }
}
