//! The choice of the files that the next compaction replaces. A pure function of the files' lengths and needed bytes.
//!
//! A compaction keeps the entries that the index points at and reclaims the rest. The first file of a run is the one of which the
//! highest share is reclaimed. Near the limit it is chosen only if that share is at least an eighth. Neighbours join it while the
//! bytes kept of all files of the run are at most a quarter of a segment, and the files without their headers no longer than a
//! segment. So the number of files is within a constant factor of the live data over the size of a segment.
//!
//! Over the limit the choice ends only when the files are as small as they can be:
//!
//! 1. the file of which the highest share is reclaimed, if that is more than the header of a record, since a record without
//!    entries may come with the compaction;
//! 2. else two neighbours that fit into one segment: it saves a header.
//!
//! Each makes the files shorter, so this ends. A removal is needed only while an older value of its key is in the files, and it is
//! no longer than that value. So at most half of the garbage is needed removals, and near the limit some file has a high share to
//! reclaim. At the end each file has its header, at most 32 bytes to reclaim and as many of removals beside the live data, and any
//! two neighbours need more than a segment: with the smallest segment less than 0.9 of the live data and one file.

use std::ops::Range;

use super::format::{FILE_HEADER_LEN, RECORD_HEADER_LEN};
use super::log::LogFile;

/// Files are not divided below this length, so that a header is a small part of a file.
const FILE_BYTES_MIN: u64 = 32 * FILE_HEADER_LEN as u64;

/// The bounds on the files of a store with so much live data.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreBounds {
    pub(super) live_bytes: u64,
    pub(super) segment_bytes_max: u64,
}

impl StoreBounds {
    /// Returns true if files of this length, and the promise record of a close, are over the limit between calls.
    pub(super) fn are_exceeded_by(self, bytes: u64) -> bool {
        bytes + RECORD_HEADER_LEN as u64 > 2 * self.live_bytes + self.segment_bytes_max
    }

    /// The length of all files above which writes compact.
    fn bytes_ahead(self) -> u64 {
        self.live_bytes + self.live_bytes / 2 + self.segment_bytes_max / 2
    }

    /// The length at which a file takes no more records. Files of a store with little data are shorter, so that a copy of one
    /// file beside the rest is within the limit.
    pub(super) fn file_bytes_max(self) -> u64 {
        let file_bytes_min = (self.segment_bytes_max / 4).max(FILE_BYTES_MIN);
        (self.live_bytes / 2)
            .max(file_bytes_min)
            .min(self.segment_bytes_max)
    }

    /// The level of files of this length.
    pub(super) fn level(self, bytes: u64) -> Level {
        if self.are_exceeded_by(bytes) {
            Level::Over
        } else if bytes > self.bytes_ahead() {
            Level::Ahead
        } else {
            Level::Low
        }
    }
}

/// The length of the files against their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// At most [`StoreBounds::bytes_ahead`].
    Low,
    /// Above [`StoreBounds::bytes_ahead`].
    Ahead,
    /// Over the limit.
    Over,
}

/// The bytes of a file, and those that a compaction keeps.
struct Candidate {
    bytes: u64,
    kept_bytes: u64,
}

impl Candidate {
    fn new(file: &LogFile) -> Self {
        Self {
            bytes: file.end,
            kept_bytes: file.file.needed_bytes(),
        }
    }

    /// The bytes that a compaction of this file alone reclaims.
    fn reclaimed_bytes(&self) -> u64 {
        self.bytes
            .saturating_sub(FILE_HEADER_LEN as u64 + self.kept_bytes)
    }

    fn has_higher_share_than(&self, other: &Self) -> bool {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.reclaimed_bytes(), other.bytes) > product(other.reclaimed_bytes(), self.bytes)
    }
}

/// The positions of the next files to compact among `sealed`; `None` if no choice is worth it.
pub(super) fn choose(sealed: &[LogFile], segment_bytes_max: u64, level: Level) -> Option<Range<usize>> {
    let candidates: Vec<_> = sealed.iter().map(Candidate::new).collect();
    let is_worth_it = |&index: &usize| {
        let candidate = &candidates[index];
        let least_bytes = if level == Level::Over {
            0
        } else {
            candidate.bytes / 8
        };
        candidate.reclaimed_bytes() >= least_bytes.max(RECORD_HEADER_LEN as u64 + 1)
    };
    let best = (0..candidates.len()).filter(is_worth_it).reduce(|best, index| {
        let is_better = candidates[index].has_higher_share_than(&candidates[best]);
        if is_better { index } else { best }
    });
    match best {
        Some(best) => Some(with_neighbours(&candidates, best, segment_bytes_max)),
        None if level == Level::Over => mergeable(&candidates, segment_bytes_max),
        None => None,
    }
}

/// The run of `best` and of the neighbours that join it.
fn with_neighbours(candidates: &[Candidate], best: usize, segment_bytes_max: u64) -> Range<usize> {
    let joins = |run: Range<usize>| {
        let files = &candidates[run];
        let kept_bytes: u64 = files.iter().map(|file| file.kept_bytes).sum();
        let entries_bytes: u64 = files.iter().map(|file| file.bytes - FILE_HEADER_LEN as u64).sum();
        kept_bytes <= segment_bytes_max / 4 && entries_bytes <= segment_bytes_max
    };
    let (mut start, mut end) = (best, best + 1);
    while end < candidates.len() && joins(start..end + 1) {
        end += 1;
    }
    while start > 0 && joins(start - 1..end) {
        start -= 1;
    }
    start..end
}

/// The first two neighbours whose kept bytes fit into one segment.
fn mergeable(candidates: &[Candidate], segment_bytes_max: u64) -> Option<Range<usize>> {
    let mut pairs = candidates.windows(2);
    let first =
        pairs.position(|pair| pair.iter().map(|file| file.kept_bytes).sum::<u64>() <= segment_bytes_max)?;
    Some(first..first + 2)
}
