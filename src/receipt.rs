//! The receipt of a call: its identity in all openings of the database.

/// The identity of a call that records or forgets. An acknowledged call returns it, and `Error::OutcomeUnknown`
/// contains it. No other call of the database has the same pair of `opening` and `sequence`.
///
/// A sequence number alone does not identify a call: if a call fails, or if its frame is lost in a power loss, the next
/// opening may use its number for another call. [`RecoveryReport::survived`](crate::RecoveryReport::survived) takes a
/// receipt of an earlier opening and returns true if the call was recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Receipt {
    /// The id of the opening that the call was made in.
    pub opening: u64,
    /// The sequence number of the call's frame. This number and the index of an event in the call identify the event.
    pub sequence: u64,
    /// The events that were ahead of the clock and were recorded at the clock's time; not part of the identity. `None`
    /// if no event was set back.
    pub set_back: Option<SetBack>,
}

/// The events of a call that were ahead of the clock, see [`TidalDb::record`](crate::TidalDb::record).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetBack {
    /// The number of events that were set back, at least 1.
    pub events_len: u32,
    /// The time at which they were recorded, in milliseconds since the Unix epoch: the clock's time during the call.
    pub to_ms: i64,
}

impl Receipt {
    /// The receipt with these two numbers, for an application that has stored them.
    pub fn new(opening: u64, sequence: u64) -> Self {
        Self {
            opening,
            sequence,
            set_back: None,
        }
    }
}
