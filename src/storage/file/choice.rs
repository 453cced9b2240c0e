//! The choice of the files that the next compaction replaces. A pure function of the files' counts.
//!
//! A compaction keeps the live values of its files and the removals that are still needed. A removal is needed while a file before
//! the run may hold an outdated value of its key: if that file has outdated values and was not compacted after the removal.
//!
//! The first file of a run is the one of which the highest share is reclaimed. Near the limit it is chosen only if that share is a
//! quarter. Neighbours join it while the bytes kept of all files of the run are at most a quarter of a segment. So the number of
//! files is within a constant factor of the live data over the size of a segment.
//!
//! Over the limit the choice ends only when the files are as small as they can be:
//!
//! 1. the file of which the highest share is reclaimed, if that is more than the header of a record, since a record without
//!    entries may come with the compaction;
//! 2. else the first file with outdated values that later removals may concern: these removals become superfluous;
//! 3. else two neighbours that fit into one segment: it saves a header.
//!
//! Choices of the second kind make such files fewer, and no choice makes them more; the others make the
//! files shorter. So they end. Then each file takes its header beside the live data, and any two neighbours have more live
//! data than a segment, so that with the smallest segment the headers are less than 0.6 of the live data and one header.

use std::ops::Range;

use super::compaction::Level;
use super::format::{FILE_HEADER_LEN, RECORD_HEADER_LEN};
use super::log::LogFile;

/// The files of a compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunChoice {
    /// Their positions in the list of files.
    pub(super) files: Range<usize>,
    /// Removals are dropped in files whose records all come before or are this one.
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

/// A file of the log, and the bytes that a compaction keeps of it.
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
pub(super) fn choose(sealed: &[LogFile], segment_bytes_max: u64, level: Level) -> Option<RunChoice> {
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
    let is_worth_it = |&index: &usize| {
        let candidate = &candidates[index];
        let least_bytes = if level == Level::Over {
            0
        } else {
            candidate.bytes / 4
        };
        candidate.reclaimed_bytes() >= least_bytes.max(RECORD_HEADER_LEN as u64 + 1)
    };
    let best = (0..candidates.len()).filter(is_worth_it).reduce(|best, index| {
        let is_better = candidates[index].has_higher_share_than(&candidates[best]);
        if is_better { index } else { best }
    });
    let files = match best {
        Some(best) => with_neighbours(&candidates, best, segment_bytes_max / 4),
        None if level < Level::Over => return None,
        None => {
            let unblocking = first_that_unblocks(sealed).map(|index| index..index + 1);
            unblocking.or_else(|| mergeable(&candidates, segment_bytes_max))?
        }
    };
    Some(RunChoice {
        removed_sequence: candidates[files.start].removed_sequence,
        files,
    })
}

/// The run of `best` and of the neighbours that join it.
fn with_neighbours(candidates: &[Candidate], best: usize, kept_bytes_max: u64) -> Range<usize> {
    let kept_bytes_max = kept_bytes_max.max(candidates[best].kept_bytes);
    let joins =
        |run: Range<usize>| candidates[run].iter().map(|it| it.kept_bytes).sum::<u64>() <= kept_bytes_max;
    let (mut start, mut end) = (best, best + 1);
    while end < candidates.len() && joins(start..end + 1) {
        end += 1;
    }
    while start > 0 && joins(start - 1..end) {
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
