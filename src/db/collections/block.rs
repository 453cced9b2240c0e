//! The format of a block: some members of a collection, as runs.
//!
//! Value, without its [checksum](crate::storage::keys::seal). A varint is LEB128. For each run, ascending:
//!
//! | field | content |
//! |---|---|
//! | varint | first run: first id, less the lower bound; later runs: number of ids in the gap before the run, less 1 |
//! | varint | the number of ids of the run, less 1 |
//!
//! A block holds 1 to [`BLOCK_IDS_MAX`] ids, all at or above the lower bound in its key. The format cannot express runs
//! that touch or overlap, so equal sets of ids have equal runs.

use crate::codec::{Reader, Write};
use crate::limits::BLOCK_IDS_MAX;

/// Ids without a gap: `first`, `last` and all between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdRun {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl IdRun {
    /// The number of ids, less 1. A run of all ids has 2^64 of them, which no `u64` can hold.
    fn len_less_1(self) -> u64 {
        self.last - self.first
    }
}

/// Iterates over the runs of an encoded block, up to the first one that is not legal.
#[derive(Debug, Clone)]
pub(crate) struct IdRuns<'a> {
    reader: Reader<'a>,
    /// The lowest legal first id of the next run; `None` if no id is left above the last run.
    least: Option<u64>,
}

/// The runs of the block `bytes` with this lower bound.
pub(crate) fn runs(lower: u64, bytes: &[u8]) -> IdRuns<'_> {
    IdRuns {
        reader: Reader::new(bytes),
        least: Some(lower),
    }
}

impl Iterator for IdRuns<'_> {
    type Item = IdRun;

    fn next(&mut self) -> Option<IdRun> {
        let first = self.least?.checked_add(self.reader.varint()?)?;
        let last = first.checked_add(self.reader.varint()?)?;
        self.least = last.checked_add(2);
        Some(IdRun { first, last })
    }
}

/// Encodes these runs, which ascend, do not touch, and begin at or above `lower`.
pub(crate) fn encode(lower: u64, runs: &[IdRun]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut least = lower;
    for run in runs {
        bytes.put_varint(run.first - least);
        bytes.put_varint(run.len_less_1());
        // After a run at the end of the range this value is wrong, but no run follows.
        least = run.last.saturating_add(2);
    }
    bytes
}

/// The number of ids of these runs.
pub(crate) fn ids_len(runs: &[IdRun]) -> u64 {
    runs.iter().map(|run| run.len_less_1() + 1).sum()
}

/// Checks a block that was read from storage. Returns the number of its ids and its last id.
///
/// # Errors
/// The reason why `bytes` are no block.
pub(crate) fn check(lower: u64, bytes: &[u8]) -> Result<(u64, u64), &'static str> {
    let mut runs = runs(lower, bytes);
    let mut found = None;
    while !runs.reader.is_empty() {
        let run = runs.next().ok_or("a run of its ids is not legal")?;
        let (len, _) = found.unwrap_or((0, 0));
        if run.len_less_1() >= BLOCK_IDS_MAX - len {
            return Err("it has more ids than a block can have");
        }
        found = Some((len + run.len_less_1() + 1, run.last));
    }
    found.ok_or("it has no ids")
}

/// Adds `id`. Returns false if a run contains it already.
pub(crate) fn insert(runs: &mut Vec<IdRun>, id: u64) -> bool {
    let index = runs.partition_point(|run| run.first <= id);
    let (before, after) = runs.split_at_mut(index);
    let before = before
        .last_mut()
        .filter(|run| run.last >= id || run.last + 1 == id);
    let after = after.first_mut().filter(|run| run.first - 1 == id);
    match (before, after) {
        (Some(before), _) if before.last >= id => return false,
        (Some(before), Some(after)) => {
            before.last = after.last;
            runs.remove(index);
        }
        (Some(before), None) => before.last = id,
        (None, Some(after)) => after.first = id,
        (None, None) => runs.insert(index, IdRun { first: id, last: id }),
    }
    true
}

/// Removes `id`. Returns false if no run contains it.
pub(crate) fn remove(runs: &mut Vec<IdRun>, id: u64) -> bool {
    let Some(index) = runs.iter().position(|run| (run.first..=run.last).contains(&id)) else {
        return false;
    };
    let run = runs[index];
    // A side without ids gets no run. There `id - 1` or `id + 1` is outside of `run` and could overflow.
    let before = (run.first < id).then(|| IdRun { last: id - 1, ..run });
    let after = (id < run.last).then(|| IdRun { first: id + 1, ..run });
    runs.splice(index..=index, before.into_iter().chain(after));
    true
}

/// Splits the runs into two halves, neither of them empty. A single run is split in its middle. `None` for a single id.
pub(crate) fn split(mut runs: Vec<IdRun>) -> Option<[Vec<IdRun>; 2]> {
    if let [run] = runs[..] {
        let middle = run.first + run.len_less_1().div_ceil(2);
        if middle == run.first {
            return None;
        }
        let (before, after) = (
            IdRun {
                last: middle - 1,
                ..run
            },
            IdRun { first: middle, ..run },
        );
        return Some([vec![before], vec![after]]);
    }
    let after = runs.split_off(runs.len() / 2);
    Some([runs, after])
}

/// Appends runs of higher ids. The first of them may touch the last one.
pub(crate) fn append(runs: &mut Vec<IdRun>, higher: &[IdRun]) {
    for run in higher {
        match runs.last_mut() {
            Some(last) if last.last + 1 == run.first => last.last = run.last,
            _ => runs.push(*run),
        }
    }
}
