//! The shape of the states of one signal: its half-lives and window rings, and the sizes that follow from them.
//!
//! Invariant: a shape does not change while its table exists. In memory only: an open computes it from the schema.

use std::sync::Arc;

use super::stored;
use crate::decay::HalfLife;
use crate::limits;
use crate::signals::hot;
use crate::signals::warm::{self, RingShape};

/// The shape of the states of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignalShape {
    /// One or more.
    pub(crate) half_lives_ms: Vec<u64>,
    /// The bucket length in milliseconds and the number of buckets of each window ring.
    pub(crate) rings: Vec<(u64, u32)>,
}

/// A [`SignalShape`] prepared for fast use.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) half_lives: Arc<[HalfLife]>,
    pub(super) rings: Arc<[RingShape]>,
    pub(super) hot_cells_len: usize,
    pub(super) warm_cells_len: usize,
    /// The most bytes of a slot in the stored form of its page, without its buckets.
    pub(super) stored_slot_bytes_max: u64,
}

impl Shape {
    pub(super) fn new(shape: &SignalShape) -> Self {
        assert!((1..=limits::HALF_LIVES_MAX).contains(&shape.half_lives_ms.len()));
        let half_lives: Arc<[HalfLife]> = shape.half_lives_ms.iter().map(|&ms| HalfLife::new(ms)).collect();
        let rings = RingShape::prepare(&shape.rings);
        Self {
            stored_slot_bytes_max: stored::slot_bytes_max(half_lives.len(), rings.len()),
            hot_cells_len: hot::cells_len(&half_lives),
            warm_cells_len: warm::cells_len(&rings),
            half_lives,
            rings,
        }
    }

    /// The most bytes that a change of a state adds to the stored form of its page, which may be a new one.
    pub(super) fn growth_bytes_max(&self) -> u64 {
        let buckets = self.rings.len() as u64 * stored::BUCKET_BYTES_MAX;
        stored::PAGE_BYTES_MAX + self.stored_slot_bytes_max + buckets
    }
}
