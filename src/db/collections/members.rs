//! The members of a collection in memory: the [blocks](super::block) of storage, by their lower bounds.
//!
//! Invariant: a block holds 1 to [`BLOCK_IDS_MAX`](crate::limits::BLOCK_IDS_MAX) ids. They are at least the lower bound
//! of the block and below the lower bound of the next block. The bounds depend on the order of the calls: equal members
//! can have different blocks.
//!
//! A change replaces one block by none, by one or by two, or two blocks by one. It is computed first and stored in one
//! batch. Then memory gets the same blocks. A crash between the last two steps leaves the change in storage.

use std::collections::BTreeMap;

use super::block::{self, IdRun};
use crate::limits::Limits;

/// The members of one collection: see the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    blocks: BTreeMap<u64, Box<[u8]>>,
    len: u64,
}

/// The new content of blocks by their lower bounds; `None` removes a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockChanges {
    pub(crate) blocks: Vec<(u64, Option<Vec<u8>>)>,
    /// The number of members after the change.
    len: u64,
}

impl Members {
    /// Returns true if `id` is a member.
    pub(crate) fn contains(&self, id: u64) -> bool {
        let block = self.blocks.range(..=id).next_back();
        block.is_some_and(|(lower, bytes)| {
            let mut runs = block::runs(*lower, bytes).take_while(|run| run.first <= id);
            runs.any(|run| id <= run.last)
        })
    }

    /// The number of members.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The members, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        let runs = self
            .blocks
            .iter()
            .flat_map(|(lower, bytes)| block::runs(*lower, bytes));
        runs.flat_map(|run| run.first..=run.last)
    }

    /// The lower bounds of the blocks.
    pub(crate) fn lower_bounds(&self) -> impl Iterator<Item = u64> {
        self.blocks.keys().copied()
    }

    /// The change that adds `id`; `None` if it is a member.
    pub(crate) fn adding(&self, id: u64, limits: &Limits) -> Option<BlockChanges> {
        // An id below all blocks begins a block with the lower bound 0.
        let covering = self.blocks.range(..=id).next_back();
        let (lower, mut runs) =
            covering.map_or((0, Vec::new()), |(lower, bytes)| (*lower, decode(*lower, bytes)));
        let is_added = block::insert(&mut runs, id);
        is_added.then(|| BlockChanges {
            blocks: divided(lower, runs, limits),
            len: self.len + 1,
        })
    }

    /// The change that removes `id`; `None` if it is not a member.
    pub(crate) fn removing(&self, id: u64, limits: &Limits) -> Option<BlockChanges> {
        let (&lower, bytes) = self.blocks.range(..=id).next_back()?;
        let mut runs = decode(lower, bytes);
        if !block::remove(&mut runs, id) {
            return None;
        }
        let blocks = if runs.is_empty() {
            vec![(lower, None)]
        } else {
            let merged = self.merged(lower, &runs, limits);
            merged.unwrap_or_else(|| divided(lower, runs, limits))
        };
        Some(BlockChanges {
            blocks,
            len: self.len - 1,
        })
    }

    /// Joins the block at `lower`, which now has `runs`, with the block before or after it. `None` if the joined block
    /// would be larger than half of the largest legal block. So a few members never stay spread over many blocks.
    fn merged(&self, lower: u64, runs: &[IdRun], limits: &Limits) -> Option<Vec<(u64, Option<Vec<u8>>)>> {
        let bytes_len = block::encode(lower, runs).len();
        let before = self.blocks.range(..lower).next_back();
        let after = self.blocks.range(lower..).nth(1);
        for (neighbour, bytes) in [before, after].into_iter().flatten() {
            if 2 * (bytes_len + bytes.len()) > limits.collection_block_bytes_max {
                continue;
            }
            let other = decode(*neighbour, bytes);
            if 2 * (block::ids_len(runs) + block::ids_len(&other)) > limits.collection_block_ids_max {
                continue;
            }
            let is_before = *neighbour < lower;
            let (mut joined, higher) = if is_before {
                (other, runs)
            } else {
                (runs.to_vec(), &other[..])
            };
            block::append(&mut joined, higher);
            let (joined_lower, removed) = (lower.min(*neighbour), lower.max(*neighbour));
            let bytes = block::encode(joined_lower, &joined);
            return Some(vec![(joined_lower, Some(bytes)), (removed, None)]);
        }
        None
    }

    /// Applies a change to memory, after storage has it.
    pub(crate) fn apply(&mut self, changes: BlockChanges) {
        for (lower, content) in changes.blocks {
            match content {
                Some(bytes) => self.blocks.insert(lower, bytes.into_boxed_slice()),
                None => self.blocks.remove(&lower),
            };
        }
        self.len = changes.len;
    }

    /// Adds a block that was read from storage and has `ids_len` ids, all above those of the blocks added before.
    pub(crate) fn push(&mut self, lower: u64, bytes: Vec<u8>, ids_len: u64) {
        self.blocks.insert(lower, bytes.into_boxed_slice());
        self.len += ids_len;
    }

    /// Memory that the members take, in bytes. Blocks count with the rounding of the allocator. Nodes of the map count
    /// as two thirds full.
    pub(crate) fn heap_bytes(&self) -> u64 {
        let entry_bytes = size_of::<(u64, Box<[u8]>)>() * 3 / 2;
        let blocks = self.blocks.values();
        blocks
            .map(|bytes| (entry_bytes + allocated(bytes.len())) as u64)
            .sum()
    }
}

fn decode(lower: u64, bytes: &[u8]) -> Vec<IdRun> {
    block::runs(lower, bytes).collect()
}

/// The change that stores `runs` as one block at `lower`, or as two halves if one block would exceed a limit.
fn divided(lower: u64, runs: Vec<IdRun>, limits: &Limits) -> Vec<(u64, Option<Vec<u8>>)> {
    let whole = block::encode(lower, &runs);
    let is_small = whole.len() <= limits.collection_block_bytes_max
        && block::ids_len(&runs) <= limits.collection_block_ids_max;
    let halves = if is_small { None } else { block::split(runs) };
    let Some([before, after]) = halves else {
        return vec![(lower, Some(whole))];
    };
    let middle = after[0].first;
    vec![
        (lower, Some(block::encode(lower, &before))),
        (middle, Some(block::encode(middle, &after))),
    ]
}

/// The bytes that an allocation of `len` takes.
fn allocated(len: usize) -> usize {
    (len + size_of::<usize>()).next_multiple_of(2 * size_of::<usize>())
}
