//! The history value of a log: 64 bits over its frames and the openings that wrote them. Diverged copies of one
//! database have different values. This module also has the check of the opening that made the last segment.
//!
//! An empty log has the value 0. Each frame updates it: [`mix`]`(value, opening id XOR last 8 bytes of the frame
//! header)`. Those bytes are the payload checksum and the header checksum, little-endian.
//!
//! Frames of different openings give equal values with a probability of 1 in 2^64. Frames of one opening that differ
//! only in the payload give equal values with a probability of 1 in 2^32.
//!
//! This module writes nothing. The header of a [`segment`](super::segment) and the checkpoint
//! [`record`](crate::signals::checkpoint::record) store the value.

use super::frame::FRAME_HEADER_BYTES;
use crate::codec::mix::mix;

/// The history value of a log up to one of its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History(pub(crate) u64);

impl History {
    /// The value of an empty log.
    pub(crate) const NONE: Self = Self(0);

    /// The value after one more frame, which `opening` wrote. `frame` begins with the frame's header.
    pub(crate) fn after_frame(self, opening: u64, frame: &[u8]) -> Self {
        let checksums = frame[..FRAME_HEADER_BYTES]
            .last_chunk()
            .copied()
            .unwrap_or_default();
        Self(mix(self.0, opening ^ u64::from_le_bytes(checksums)))
    }
}

/// The last two openings in storage, which may have made the last segment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredOpenings {
    /// The id of the last opening. A crash may have ended it before it made a segment.
    pub(crate) last: u64,
    pub(crate) before: Option<PreviousOpening>,
}

/// The opening before the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PreviousOpening {
    pub(crate) opening: u64,
    /// The last sequence number that the last opening found.
    pub(crate) last_sequence: u64,
}

impl StoredOpenings {
    /// Returns true if `opening` may have made the last segment of a log that ends with `last_sequence`.
    ///
    /// An opening appends nothing before its segment exists. So if the last opening made no segment, the log ends no
    /// later than the end that the last opening found.
    pub(crate) fn allows(&self, opening: u64, last_sequence: u64) -> bool {
        let is_before =
            |before: PreviousOpening| opening == before.opening && last_sequence <= before.last_sequence;
        opening == self.last || self.before.is_some_and(is_before)
    }
}
