//! The recent distinct positive items of one user.
//!
//! Owns the order of the items. Invariant: no item twice, and never longer than the bound of each call. A ring whose
//! items were all forgotten is empty. "Recent" means late in the log, not late in time: an event with an old time makes
//! its item the newest one too. In memory only.

/// Recent distinct items, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UserRing {
    items: Vec<u64>,
}

impl UserRing {
    /// A ring with these items, oldest first. They are distinct.
    pub(super) fn from_items(items: Vec<u64>) -> Self {
        Self { items }
    }

    /// Oldest first.
    pub(super) fn items(&self) -> &[u64] {
        &self.items
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn contains(&self, item: u64) -> bool {
        self.items.contains(&item)
    }

    /// Makes `item` the newest one. Drops the oldest one if the ring would have more than `len_max` items.
    pub(super) fn push(&mut self, item: u64, len_max: usize) {
        self.retain(|other| other != item);
        if self.items.len() >= len_max {
            self.items.remove(0);
        }
        self.items.push(item);
    }

    /// Drops the oldest items until at most `len_max` are left.
    pub(super) fn drop_oldest(&mut self, len_max: usize) {
        self.items.drain(..self.items.len().saturating_sub(len_max));
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.items.retain(|&item| keep(item));
    }
}
