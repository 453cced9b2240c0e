//! The choice of the files that the next compaction replaces. A pure function of the files' lengths and needed bytes.
//!
//! A compaction copies the needed entries, which the index points at, and reclaims all other bytes. The choice begins
//! with the best file, the one with the highest share of bytes to reclaim. Within the limit this share must be at least
//! an eighth. Neighbours join the file while the needed bytes of all chosen files are at most a quarter of a segment,
//! and the files without their headers are together no longer than a segment. So the number of files is at most a
//! constant factor times the live data over the size of a segment.
//!
//! Over the limit the choice is the first of these that is possible:
//!
//! 1. the best file and its neighbours. This is possible if the best file has more bytes to reclaim than a record
//!    header, because a compaction may append a record without entries;
//! 2. two neighbours that fit into one segment, which saves a header.
//!
//! Each such compaction makes the files shorter, so after some compactions neither is possible. A removal is needed
//! only while an older value of its key is in the files, and it is no longer than that value. So at most half of the
//! garbage is needed removals, and near the limit some file has a high share to reclaim. At the end each file has, in
//! addition to live data, its header, at most 32 bytes to reclaim, and at most 32 bytes of removals, and any two
//! neighbours need more than a segment. With the smallest segment the excess is less than 0.9 of the live data and one
//! file.

use std::ops::Range;

use super::bounds::SizeLevel;
use super::format::{FILE_HEADER_LEN, RECORD_HEADER_LEN};
use super::log::LogFile;

/// The length of a file, and the length of its needed entries, which a compaction copies.
struct Candidate {
    bytes: u64,
    needed_bytes: u64,
}

impl Candidate {
    fn new(file: &LogFile) -> Self {
        Self {
            bytes: file.end,
            needed_bytes: file.file.needed_bytes(),
        }
    }

    /// The bytes that a compaction of this file alone reclaims.
    fn reclaimed_bytes(&self) -> u64 {
        self.bytes
            .saturating_sub(FILE_HEADER_LEN as u64 + self.needed_bytes)
    }

    fn has_higher_share_than(&self, other: &Self) -> bool {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        product(self.reclaimed_bytes(), other.bytes) > product(other.reclaimed_bytes(), self.bytes)
    }
}

/// The positions in `sealed` of the next files to compact; `None` if too little would be reclaimed.
pub(super) fn choose(sealed: &[LogFile], segment_bytes_max: u64, level: SizeLevel) -> Option<Range<usize>> {
    let candidates: Vec<_> = sealed.iter().map(Candidate::new).collect();
    let is_worth_it = |&index: &usize| {
        let candidate = &candidates[index];
        let least_bytes = if level == SizeLevel::OverLimit {
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
        None if level == SizeLevel::OverLimit => first_mergeable_pair(&candidates, segment_bytes_max),
        None => None,
    }
}

/// The positions of `best` and of the neighbours that join it.
fn with_neighbours(candidates: &[Candidate], best: usize, segment_bytes_max: u64) -> Range<usize> {
    let may_join = |range: Range<usize>| {
        let files = &candidates[range];
        let needed_bytes: u64 = files.iter().map(|file| file.needed_bytes).sum();
        let entries_bytes: u64 = files.iter().map(|file| file.bytes - FILE_HEADER_LEN as u64).sum();
        needed_bytes <= segment_bytes_max / 4 && entries_bytes <= segment_bytes_max
    };
    let (mut start, mut end) = (best, best + 1);
    while end < candidates.len() && may_join(start..end + 1) {
        end += 1;
    }
    while start > 0 && may_join(start - 1..end) {
        start -= 1;
    }
    start..end
}

/// The positions of the first two neighbours whose needed bytes fit into one segment.
fn first_mergeable_pair(candidates: &[Candidate], segment_bytes_max: u64) -> Option<Range<usize>> {
    let mut pairs = candidates.windows(2);
    let first =
        pairs.position(|pair| pair.iter().map(|file| file.needed_bytes).sum::<u64>() <= segment_bytes_max)?;
    Some(first..first + 2)
}
