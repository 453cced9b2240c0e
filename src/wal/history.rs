//! The history of a log in 64 bits, and the openings that may have made its last segment: by these the files of copies of
//! one database that went different ways are told apart.
//!
//! The history of a log without a frame is 0. Each frame mixes one word of 8 bytes into it: the id of the opening that wrote
//! the frame, XOR the last 8 bytes of the frame's header, little-endian. Those are the checksums of the payload and of the
//! rest of the header.
//!
//! [`mix`] takes up the word. Two histories that differ become equal by chance only, once in 2^64 frames.
//!
//! In memory only. The header of a segment and the checkpoint record hold histories, see [`segment`](super::segment) and
//! [`record`](crate::signals::checkpoint::record).

use super::frame::FRAME_HEADER_BYTES;
use crate::codec::mix::mix;

/// All openings and frames of a log up to one of its frames, in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History(pub(crate) u64);

impl History {
    /// That of a log without a frame.
    pub(crate) const NONE: Self = Self(0);

    /// The history after one more frame that this opening wrote. `frame` begins with the frame's header.
    pub(crate) fn after_frame(self, opening: u64, frame: &[u8]) -> Self {
        let checksums = frame[..FRAME_HEADER_BYTES]
            .last_chunk()
            .copied()
            .unwrap_or_default();
        Self(mix(self.0, opening ^ u64::from_le_bytes(checksums)))
    }
}

/// The openings that storage knows, as far as they matter to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownOpenings {
    /// The last one. A crash may have ended it before it made a segment.
    pub(crate) last: u64,
    /// The one before it, and the last sequence number that the last one found.
    pub(crate) before: Option<(u64, u64)>,
}

impl KnownOpenings {
    /// Returns true if a log that goes up to `last_sequence` may have a last segment that `opening` made.
    ///
    /// An opening appends nothing before its segment is there. So if the last opening made none, the log goes no further
    /// than the last opening found.
    pub(crate) fn allow(&self, opening: u64, last_sequence: u64) -> bool {
        let is_before = |(before, found)| opening == before && last_sequence <= found;
        opening == self.last || self.before.is_some_and(is_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_has_its_golden_value_and_every_bit_of_the_opening_and_the_checksums_changes_it() {
        let header: [u8; FRAME_HEADER_BYTES] = std::array::from_fn(|at| at as u8);
        let history = History::NONE.after_frame(7, &header);
        assert_eq!(history, History(0x7e2c_a0ce_e1b8_1154));
        assert_eq!(
            History::NONE.after_frame(7, &[&header[..], b"payload"].concat()),
            history
        );
        assert_ne!(history.after_frame(7, &header), history);
        for bit in 0..64 {
            assert_ne!(History::NONE.after_frame(7 ^ 1 << bit, &header), history);
            assert_ne!(History(1 << bit).after_frame(7, &header), history);
        }
        for bit in header.len() * 8 - 64..header.len() * 8 {
            let mut other = header;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(History::NONE.after_frame(7, &other), history);
        }
    }

    #[test]
    fn the_last_segment_is_of_the_last_opening_or_of_the_one_before_that_and_then_it_ends_where_that_ended() {
        let known = KnownOpenings {
            last: 5,
            before: Some((4, 100)),
        };
        assert!(known.allow(5, 0) && known.allow(5, u64::MAX));
        assert!(known.allow(4, 99) && known.allow(4, 100) && !known.allow(4, 101));
        assert!(!known.allow(3, 0) && !known.allow(6, 0));
        let first = KnownOpenings {
            before: None,
            ..known
        };
        assert!(first.allow(5, 1) && !first.allow(4, 0));
    }
}
