//! The bounds on the length of the files, from the live data and the size of a segment, and the levels below the limit. Pure
//! functions, so a crash leaves nothing of them.

use super::format::{FILE_HEADER_LEN, RECORD_HEADER_LEN};

/// A file is not full below this length, so that its header is a small part of it. A smaller segment limits the length
/// further.
const FILE_BYTES_MIN: u64 = 32 * FILE_HEADER_LEN as u64;

/// The bounds on the files of a store with this many live bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreBounds {
    pub(super) live_bytes: u64,
    pub(super) segment_bytes_max: u64,
}

impl StoreBounds {
    /// Returns true if files of this total length, and the promise record of a close, exceed the limit between calls.
    pub(super) fn are_exceeded_by(self, bytes: u64) -> bool {
        bytes + RECORD_HEADER_LEN as u64 > 2 * self.live_bytes + self.segment_bytes_max
    }

    /// The total length of all files above which writes begin a compaction.
    fn high_bytes(self) -> u64 {
        self.live_bytes + self.live_bytes / 2 + self.segment_bytes_max / 2
    }

    /// The length at which a file takes no more records. Files of a store with little data are shorter, so that all
    /// files and a copy of one of them are within the limit.
    pub(super) fn file_bytes_max(self) -> u64 {
        let file_bytes_min = (self.segment_bytes_max / 4).max(FILE_BYTES_MIN);
        (self.live_bytes / 2)
            .max(file_bytes_min)
            .min(self.segment_bytes_max)
    }

    /// The level of files of this total length.
    pub(super) fn level(self, bytes: u64) -> SizeLevel {
        if self.are_exceeded_by(bytes) {
            SizeLevel::OverLimit
        } else if bytes > self.high_bytes() {
            SizeLevel::High
        } else {
            SizeLevel::Low
        }
    }
}

/// The total length of the files in relation to their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SizeLevel {
    /// At most [`StoreBounds::high_bytes`]: writes begin no compaction.
    Low,
    /// Above [`StoreBounds::high_bytes`]: writes begin a compaction.
    High,
    /// Over the limit: a write compacts until the files are within the limit.
    OverLimit,
}
