//! The choice of the files that the next compaction replaces. A pure function of the files' counts.
//!
//! A compaction of adjacent files leaves one file with their values that the index points at, and with the removals that are
//! still needed: a removal is needed while a file before the run has outdated values, because its key may be among them, unless
//! that file was compacted after the removal.
//!
//! The first file of a run is the one with the highest share of bytes that a compaction reclaims. Neighbours join it while
//! little is kept of all of them together: files of which nothing is kept join always. So the number of files is within a
//! constant factor of the live data over the size of a segment.
//!
//! Under [`Urgency::Due`] the choice ends only when the files are as small as they can be:
//!
//! 1. any file of which a compaction reclaims more than the record costs that may precede the compaction;
//! 2. else the first file with outdated values that later removals may concern: these removals become superfluous;
//! 3. else two neighbours that fit into one segment: it saves a header.
//!
//! Choices of the second kind make such files fewer, and no choice makes them more; the others make the
//! files shorter. So they end. Then each file takes its header beside the live data, and any two neighbours have more live
//! data than a segment, so that with the smallest segment the headers are less than 0.6 of the live data and one header.

use std::ops::Range;

use super::format::{FILE_HEADER_LEN, RECORD_HEADER_LEN};
use super::log::LogFile;

/// The reason of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// The bound is near: only files are worth it of which a quarter is reclaimed.
    Ahead,
    /// The files are over the bound.
    Due,
}

/// The files of a compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunChoice {
    /// Their positions in the list of files.
    pub(super) files: Range<usize>,
    /// Removals by records after this one are kept.
    pub(super) removed_sequence: u64,
}

/// Returns true if a compaction keeps the removals of `file`: they may concern values in files before the run.
pub(super) fn keeps_removals(file: &LogFile, removed_sequence: u64) -> bool {
    removed_sequence < file.after.sequence
}

/// The most bytes of `file` that a compaction keeps.
pub(super) fn kept_bytes(file: &LogFile, removed_sequence: u64) -> u64 {
    let keeps_removals = keeps_removals(file, removed_sequence);
    let removal_bytes = if keeps_removals {
        file.file.removal_bytes()
    } else {
        0
    };
    file.file.live_bytes() + removal_bytes
}

struct Candidate {
    bytes: u64,
    kept_bytes: u64,
    removed_sequence: u64,
}

impl Candidate {
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

/// The next files to compact among `sealed`; `None` if no choice is worth it.
pub(super) fn choose(sealed: &[LogFile], segment_bytes_max: u64, urgency: Urgency) -> Option<RunChoice> {
    let mut removed_sequence = u64::MAX;
    let candidates: Vec<_> = sealed
        .iter()
        .map(|file| {
            let candidate = Candidate {
                bytes: file.end,
                kept_bytes: kept_bytes(file, removed_sequence),
                removed_sequence,
            };
            if file.file.outdated_bytes() > 0 {
                removed_sequence = removed_sequence.min(file.clean_sequence);
            }
            candidate
        })
        .collect();
    let is_worth_it = |candidate: &Candidate| match urgency {
        Urgency::Ahead => candidate.reclaimed_bytes() >= candidate.bytes / 4,
        Urgency::Due => true,
    };
    let worth = |&index: &usize| {
        let candidate = &candidates[index];
        candidate.reclaimed_bytes() > RECORD_HEADER_LEN as u64 && is_worth_it(candidate)
    };
    let best = (0..candidates.len()).filter(worth).reduce(|best, index| {
        let is_better = candidates[index].has_higher_share_than(&candidates[best]);
        if is_better { index } else { best }
    });
    let files = match (best, urgency) {
        (Some(best), _) => with_neighbours(&candidates, best, segment_bytes_max / 4),
        (None, Urgency::Ahead) => return None,
        (None, Urgency::Due) => {
            let unblocking = first_that_unblocks(sealed).map(|index| index..index + 1);
            unblocking.or_else(|| mergeable(&candidates, segment_bytes_max))?
        }
    };
    Some(RunChoice {
        removed_sequence: candidates[files.start].removed_sequence,
        files,
    })
}

/// The run of `best` and of neighbours of which little is kept.
fn with_neighbours(candidates: &[Candidate], best: usize, kept_bytes_max: u64) -> Range<usize> {
    let mut kept_bytes = candidates[best].kept_bytes;
    let kept_bytes_max = kept_bytes_max.max(kept_bytes);
    let mut joins = |candidate: Option<&Candidate>| {
        let joined_bytes = candidate.map(|candidate| kept_bytes + candidate.kept_bytes);
        let joins = joined_bytes.is_some_and(|bytes| bytes <= kept_bytes_max);
        kept_bytes = joined_bytes.filter(|_| joins).unwrap_or(kept_bytes);
        joins
    };
    let (mut start, mut end) = (best, best + 1);
    while joins(candidates.get(end)) {
        end += 1;
    }
    while start > 0 && joins(candidates.get(start - 1)) {
        start -= 1;
    }
    start..end
}

/// The first file with outdated values that a removal in a later file may concern.
fn first_that_unblocks(sealed: &[LogFile]) -> Option<usize> {
    (0..sealed.len()).find(|&index| {
        let (file, later) = (&sealed[index], &sealed[index + 1..]);
        let is_concerned =
            |later: &LogFile| later.file.removal_bytes() > 0 && keeps_removals(later, file.clean_sequence);
        file.file.outdated_bytes() > 0 && later.iter().any(is_concerned)
    })
}

/// The first two neighbours whose kept bytes fit into one segment.
fn mergeable(candidates: &[Candidate], segment_bytes_max: u64) -> Option<Range<usize>> {
    let mut pairs = candidates.windows(2);
    let first =
        pairs.position(|pair| pair.iter().map(|file| file.kept_bytes).sum::<u64>() <= segment_bytes_max)?;
    Some(first..first + 2)
}
