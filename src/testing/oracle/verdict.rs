//! What the oracle says.

use std::fmt;
use std::ops::AddAssign;

use crate::testing::model::Difference;

/// How many events, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Acknowledged, since the database was new.
    pub acknowledged: u64,
    /// Found.
    pub recovered: u64,
    /// Guaranteed and not found.
    pub lost: u64,
    /// Found twice.
    pub doubled: u64,
    /// Found in some structures only, or with only some of the events of their call.
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

/// Which operations a recovered state holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix {
    /// Frames, that is calls that recorded or forgot something, since the database was new.
    pub frames: usize,
    /// The sequence number of the last of them, as far as it is known; 0 without one.
    pub sequence: u64,
    /// Changes of collections, since the database was last opened.
    pub collection_changes: usize,
}

/// What the oracle says of a recovered state.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "the oracle says what is wrong in its verdict"]
pub struct Verdict {
    /// How the state differs from the nearest legal one; empty if it is legal.
    pub differences: Vec<Difference>,
    /// The events.
    pub counts: Counts,
    /// The legal state that was found, or the one that is nearest.
    pub prefix: Prefix,
    /// The frames of [`prefix`](Self::prefix) in order, then its changes of collections; by their index among the calls.
    pub(super) found: Vec<usize>,
    pub(super) last_sequence: u64,
}

impl Verdict {
    /// Whether the state is legal.
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
        let said = if self.is_ok() { "legal" } else { "not legal" };
        write!(
            f,
            "{said}: {acknowledged} events acknowledged, {recovered} recovered, {lost} lost, {doubled} doubled, \
             {half} half; {frames} frames up to sequence {sequence}, {collection_changes} changes of collections"
        )?;
        self.differences
            .iter()
            .try_for_each(|difference| write!(f, "\n  {difference}"))
    }
}
