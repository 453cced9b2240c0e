//! Iteration over the ids of a bitmap.

use std::collections::{BTreeMap, btree_map};
use std::iter::FusedIterator;

use super::LOW_BITS;
use super::container::{Container, Values};

/// The ids of a [`Bitmap`](super::Bitmap) in ascending order.
///
/// `size_hint` is exact as long as the number of ids left fits a `usize`. It need not on a 32-bit machine, where
/// 2<sup>32</sup> ids take only 512 MiB; hence no `ExactSizeIterator`.
#[derive(Debug, Clone)]
pub(crate) struct Iter<'a> {
    /// The containers after the current one.
    containers: btree_map::Iter<'a, u64, Container>,
    /// The smallest id the current container could hold, and its values still to come.
    current: Option<(u64, Values<'a>)>,
    /// The number of ids still to come.
    remaining_len: u64,
}

impl<'a> Iter<'a> {
    /// Starts at the smallest id; `len` must be the number of ids in all containers.
    pub(super) fn new(containers: &'a BTreeMap<u64, Container>, len: u64) -> Self {
        Self {
            containers: containers.iter(),
            current: None,
            remaining_len: len,
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some((base, values)) = &mut self.current
                && let Some(low) = values.next()
            {
                self.remaining_len -= 1;
                return Some(*base | u64::from(low));
            }
            let (high, container) = self.containers.next()?;
            self.current = Some((high << LOW_BITS, container.iter()));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = usize::try_from(self.remaining_len).ok();
        (len.unwrap_or(usize::MAX), len)
    }
}

impl FusedIterator for Iter<'_> {}
