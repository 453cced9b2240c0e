//! A list whose clones share all but its end.
//!
//! A sweep keeps an oracle for each moment of a run, and each of them knows every call up to there: copied as a whole, they
//! would take memory in the square of the run's length. Invariant: every chunk but the last one is full, and none is
//! empty.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// The length of a chunk: how much of a clone is copied at the next change at most.
const CHUNK_LEN: usize = 64;

/// Items in the order in which they were pushed.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    chunks: Vec<Arc<Vec<T>>>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> List<T> {
    pub(super) fn len(&self) -> usize {
        match self.chunks.split_last() {
            Some((last, full)) => full.len() * CHUNK_LEN + last.len(),
            None => 0,
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index / CHUNK_LEN)?.get(index % CHUNK_LEN)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
    }
}

impl<T: Clone> List<T> {
    pub(super) fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK_LEN => Arc::make_mut(last).push(item),
            _ => self.chunks.push(Arc::new(vec![item])),
        }
    }

    pub(super) fn fill(&mut self, item: &T) {
        for chunk in &mut self.chunks {
            *chunk = Arc::new(vec![item.clone(); chunk.len()]);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A list and a vector after the same pushes.
    fn pushed(len: usize) -> (List<usize>, Vec<usize>) {
        let mut list = List::default();
        let all: Vec<usize> = (0..len).map(|index| index * 7).collect();
        for &item in &all {
            list.push(item);
        }
        (list, all)
    }

    #[test]
    fn a_list_holds_what_was_pushed_in_its_order() {
        for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN + 5] {
            let (list, all) = pushed(len);
            assert_eq!(list.iter().copied().collect::<Vec<_>>(), all);
            assert_eq!(list.len(), len);
            assert_eq!(list.get(len), None);
            assert!((0..len).all(|index| list[index] == all[index] && list.get(index) == Some(&all[index])));
        }
    }

    #[test]
    fn a_change_of_a_clone_leaves_the_other_as_it_was() {
        let (list, all) = pushed(2 * CHUNK_LEN + 3);
        let mut other = list.clone();
        other[0] = 1;
        other[CHUNK_LEN] = 2;
        other.push(3);
        let mut expected = all.clone();
        (expected[0], expected[CHUNK_LEN]) = (1, 2);
        expected.push(3);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), all);
        assert_eq!(other.iter().copied().collect::<Vec<_>>(), expected);
        other.fill(&9);
        assert_eq!(other.iter().copied().collect::<Vec<_>>(), vec![9; expected.len()]);
        other.clear();
        assert_eq!((other.len(), list.len()), (0, all.len()));
    }

    #[test]
    fn clones_share_all_but_the_chunk_that_changes() {
        let (list, _) = pushed(4 * CHUNK_LEN + 1);
        let mut other = list.clone();
        other.push(0);
        let shared = list.chunks.iter().zip(&other.chunks);
        assert_eq!(shared.filter(|(a, b)| Arc::ptr_eq(a, b)).count(), 4);
    }
}
