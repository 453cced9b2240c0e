//! The receipt of a call, by which it is known across openings.

/// The identity of a call that records or forgets: an acknowledged call returns it, and `Error::OutcomeUnknown` carries it.
/// No other call of the database has the same pair of `opening` and `sequence`.
///
/// Sequence numbers alone are not enough to tell calls apart: a call that failed, or that a power loss took away, may have
/// had a number that the next opening gives to another call. [`RecoveryReport::survived`](crate::RecoveryReport::survived)
/// says of a receipt of an earlier opening whether its call is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Receipt {
    /// The id of the opening that the call was made in.
    pub opening: u64,
    /// The sequence number of the call's frame; an event of it is known by this and its index in the call.
    pub sequence: u64,
    /// The events that were ahead of the clock and were recorded at its now; not part of the identity. `None` without any.
    pub set_back: Option<SetBack>,
}

/// The events of a call that were ahead of the clock, see [`TidalDb::record`](crate::TidalDb::record).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetBack {
    /// How many events were set back. At least 1.
    pub events_len: u32,
    /// The time at which they were recorded, in milliseconds since the Unix epoch: the clock's now.
    pub to_ms: i64,
}

impl Receipt {
    /// The receipt of this pair, for an application that has stored the two numbers.
    pub fn new(opening: u64, sequence: u64) -> Self {
        Self {
            opening,
            sequence,
            set_back: None,
        }
    }
}
