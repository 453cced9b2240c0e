//! Copies of pages, as a fence captured them, on their way from a shard to the checkpoint.
//!
//! Copying is a few `memcpy`s into vectors that are used again; turning a page into bytes happens later, under no
//! lock.
//!
//! Invariant: the vectors hold the pages one after the other in the order of `heads`, each of its shape's size.

use std::sync::Arc;

use super::key::StateKey;
use super::{PAGE_SLOTS, Shape, page};
use crate::SignalId;
use crate::signals::allocated_bytes;
use crate::storage::KeyValue;

/// The content of one page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PageSlices<'a, K> {
    /// One bit per slot.
    pub(super) occupied: u32,
    pub(super) keys: &'a [K],
    pub(super) times: &'a [i64],
    pub(super) decay_scores: &'a [f64],
    pub(super) newest: &'a [i64],
    pub(super) counts: &'a [u32],
}

impl<K: StateKey> PageSlices<'_, K> {
    /// The occupied slots, by their place in the page, and their keys.
    pub(super) fn occupied_keys(&self) -> impl Iterator<Item = (usize, K)> {
        let numbered = self.keys.iter().copied().enumerate();
        numbered.filter(|(slot, _)| self.occupied & (1 << slot) != 0)
    }
}

/// Copies of pages of one shard.
#[derive(Debug)]
pub(crate) struct PageCopies<K> {
    shapes: Arc<[Shape]>,
    heads: Vec<Head>,
    pub(super) keys: Vec<K>,
    pub(super) times: Vec<i64>,
    pub(super) decay_scores: Vec<f64>,
    pub(super) newest: Vec<i64>,
    pub(super) counts: Vec<u32>,
}

/// Which page it is, and where it begins in each vector.
#[derive(Debug, Clone, Copy)]
struct Head {
    signal: SignalId,
    page: u32,
    occupied: u32,
    first_slot: usize,
    first_score: usize,
    first_newest: usize,
    first_count: usize,
}

impl<K: StateKey> PageCopies<K> {
    pub(super) fn new(shapes: Arc<[Shape]>) -> Self {
        Self {
            shapes,
            heads: Vec::new(),
            keys: Vec::new(),
            times: Vec::new(),
            decay_scores: Vec::new(),
            newest: Vec::new(),
            counts: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Removes all pages and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.keys.clear();
        self.times.clear();
        self.decay_scores.clear();
        self.newest.clear();
        self.counts.clear();
    }

    /// Hands all pages over, with their memory.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(Arc::clone(&self.shapes)))
    }

    /// Begins a page, whose slots are to be pushed to the vectors.
    pub(super) fn begin_page(&mut self, signal: SignalId, page: u32, occupied: u32) {
        self.heads.push(Head {
            signal,
            page,
            occupied,
            first_slot: self.keys.len(),
            first_score: self.decay_scores.len(),
            first_newest: self.newest.len(),
            first_count: self.counts.len(),
        });
    }

    pub(super) fn push(&mut self, signal: SignalId, page: u32, slices: &PageSlices<'_, K>) {
        self.begin_page(signal, page, slices.occupied);
        self.keys.extend_from_slice(slices.keys);
        self.times.extend_from_slice(slices.times);
        self.decay_scores.extend_from_slice(slices.decay_scores);
        self.newest.extend_from_slice(slices.newest);
        self.counts.extend_from_slice(slices.counts);
    }

    /// Appends the pages of `other`.
    pub(super) fn append(&mut self, other: &Self) {
        for i in 0..other.heads.len() {
            let (signal, page, slices) = other.page(i);
            self.push(signal, page, &slices);
        }
    }

    /// The page at `index`, and which one it is.
    pub(super) fn page(&self, index: usize) -> (SignalId, u32, PageSlices<'_, K>) {
        let head = &self.heads[index];
        let shape = &self.shapes[usize::from(head.signal.0)];
        let (half_lives_len, rings_len) = (shape.half_lives.len(), shape.rings.len());
        let slices = PageSlices {
            occupied: head.occupied,
            keys: &self.keys[head.first_slot..][..PAGE_SLOTS],
            times: &self.times[head.first_slot..][..PAGE_SLOTS],
            decay_scores: &self.decay_scores[head.first_score..][..PAGE_SLOTS * half_lives_len],
            newest: &self.newest[head.first_newest..][..PAGE_SLOTS * rings_len],
            counts: &self.counts[head.first_count..][..PAGE_SLOTS * shape.counts_len],
        };
        (head.signal, head.page, slices)
    }

    /// The pages as records for the storage, in ascending order of their keys.
    ///
    /// `shard` is the one they were taken from.
    pub(crate) fn records(&self, shard: usize) -> impl Iterator<Item = KeyValue> {
        let mut order: Vec<usize> = (0..self.heads.len()).collect();
        order.sort_unstable_by_key(|&i| (self.heads[i].signal, self.heads[i].page));
        order.into_iter().map(move |i| {
            let (signal, page, slices) = self.page(i);
            let place = page::Place {
                signal,
                shard: shard as u16,
                page,
            };
            let shape = &self.shapes[usize::from(signal.0)];
            (place.encode::<K>().to_vec(), page::encode(shape, &slices))
        })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        allocated_bytes(&self.heads)
            + allocated_bytes(&self.keys)
            + allocated_bytes(&self.times)
            + allocated_bytes(&self.decay_scores)
            + allocated_bytes(&self.newest)
            + allocated_bytes(&self.counts)
    }
}
