//! A list whose clones share all but its end.
//!
//! A sweep keeps an oracle for each moment of a run, and each of them knows every call up to there: copied as a whole, they
//! would take memory in the square of the run's length. Invariant: every chunk but the last one is full, and none is
//! empty.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// The length of a chunk: how much of a clone is copied at the next change at most.
pub(super) const CHUNK_LEN: usize = 64;

/// Items in the order in which they were pushed.
#[derive(Debug, Clone)]
pub(in crate::testing) struct List<T> {
    pub(super) chunks: Vec<Arc<Vec<T>>>,
}

impl<T: Clone> List<T> {
    pub(in crate::testing) fn len(&self) -> usize {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK_LEN + last.len())
    }

    pub(in crate::testing) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub(in crate::testing) fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK_LEN => Arc::make_mut(last).push(item),
            _ => self.chunks.push(Arc::new(vec![item])),
        }
    }
}

impl<T: Clone> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self { chunks: Vec::new() };
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

impl<T> Index<usize> for List<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.chunks[index / CHUNK_LEN][index % CHUNK_LEN]
    }
}

impl<T: Clone> IndexMut<usize> for List<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.chunks[index / CHUNK_LEN])[index % CHUNK_LEN]
    }
}
