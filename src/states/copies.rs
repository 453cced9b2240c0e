//! Copies of pages, as a fence captured them, between a shard and the checkpoint.
//!
//! A copy takes a few `memcpy`s into vectors that are used again. The encoding of a page happens later, without a lock.
//!
//! Invariant: the vectors hold the pages one after the other in the order of `heads`, each with its number of slots. In
//! memory only: a crash leaves nothing of it.

use std::sync::Arc;

use super::key::StateKey;
use super::shape::Shape;
use crate::SignalId;
use crate::cells::allocated_bytes;

/// The content of one page, up to the last slot that was ever used.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageSlices<'a, K> {
    /// One bit per slot.
    pub(super) occupied: u32,
    pub(super) keys: &'a [K],
    /// The cells of the hot tier.
    pub(super) hot: &'a [u64],
    /// The cells of the warm tier.
    pub(super) warm: &'a [u32],
}

impl<K: StateKey> PageSlices<'_, K> {
    /// The occupied slots, by their index in the page, and their keys.
    pub(super) fn occupied_keys(&self) -> impl Iterator<Item = (usize, K)> {
        let numbered = self.keys.iter().copied().enumerate();
        numbered.filter(|(slot, _)| self.occupied & (1 << slot) != 0)
    }
}

/// Copies of pages of one shard.
#[derive(Debug)]
pub(crate) struct PageCopies<K> {
    shapes: Arc<[Shape]>,
    heads: Vec<PageHead>,
    keys: Vec<K>,
    hot: Vec<u64>,
    warm: Vec<u32>,
}

/// The identity of a page, and its beginning in each vector.
#[derive(Debug, Clone, Copy)]
struct PageHead {
    signal: SignalId,
    page: u32,
    occupied: u32,
    slots_len: usize,
    first_slot: usize,
    first_hot: usize,
    first_warm: usize,
}

impl<K: StateKey> PageCopies<K> {
    pub(super) fn new(shapes: Arc<[Shape]>) -> Self {
        Self {
            shapes,
            heads: Vec::new(),
            keys: Vec::new(),
            hot: Vec::new(),
            warm: Vec::new(),
        }
    }

    /// Removes all pages, but retains the memory.
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.keys.clear();
        self.hot.clear();
        self.warm.clear();
    }

    /// Returns all pages with their memory, and leaves none.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(Arc::clone(&self.shapes)))
    }

    pub(super) fn push(&mut self, signal: SignalId, page: u32, slices: &PageSlices<'_, K>) {
        self.heads.push(PageHead {
            signal,
            page,
            occupied: slices.occupied,
            slots_len: slices.keys.len(),
            first_slot: self.keys.len(),
            first_hot: self.hot.len(),
            first_warm: self.warm.len(),
        });
        self.keys.extend_from_slice(slices.keys);
        self.hot.extend_from_slice(slices.hot);
        self.warm.extend_from_slice(slices.warm);
    }

    /// Appends the pages of `other`.
    pub(super) fn append(&mut self, other: &Self) {
        for i in 0..other.heads.len() {
            let (signal, page, slices) = other.page(i);
            self.push(signal, page, &slices);
        }
    }

    /// The page at `index`: its signal, its number and its content.
    fn page(&self, index: usize) -> (SignalId, u32, PageSlices<'_, K>) {
        let head = &self.heads[index];
        let shape = &self.shapes[usize::from(head.signal.0)];
        let slices = PageSlices {
            occupied: head.occupied,
            keys: &self.keys[head.first_slot..][..head.slots_len],
            hot: &self.hot[head.first_hot..][..head.slots_len * shape.hot_cells_len],
            warm: &self.warm[head.first_warm..][..head.slots_len * shape.warm_cells_len],
        };
        (head.signal, head.page, slices)
    }

    /// The pages in ascending order of signal and number: the shape of the signal, its id, the page's number and
    /// content.
    pub(super) fn pages(&self) -> impl Iterator<Item = (&Shape, SignalId, u32, PageSlices<'_, K>)> {
        let mut order: Vec<usize> = (0..self.heads.len()).collect();
        order.sort_unstable_by_key(|&i| (self.heads[i].signal, self.heads[i].page));
        order.into_iter().map(|i| {
            let (signal, page, slices) = self.page(i);
            (&self.shapes[usize::from(signal.0)], signal, page, slices)
        })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        allocated_bytes(&self.heads)
            + allocated_bytes(&self.keys)
            + allocated_bytes(&self.hot)
            + allocated_bytes(&self.warm)
    }
}
