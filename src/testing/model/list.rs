//! A list whose clones share all chunks except the changed ones.
//!
//! A sweep stores an oracle for each crash position of a run, and each oracle holds every call up to that position.
//! Full copies would need memory in the square of the length of the run. Invariant: every chunk except the last one is
//! full, and no chunk is empty.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// The number of items of a chunk. A change of a clone copies at most this many items.
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
