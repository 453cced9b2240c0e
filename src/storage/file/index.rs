//! The index: from each key to the location of its entry. Memory only, rebuilt by open.
//!
//! Invariant: `live_bytes` is the sum of the lengths of the entries pointed at, and each file's count is the sum over its own
//! entries. `key_bytes` is the memory of the keys.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::data_file::DataFile;
use super::format::KeyChange;
use crate::Error;

/// Where an entry is.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) file: Arc<DataFile>,
    pub(super) offset: u64,
    pub(super) len: u32,
}

impl Location {
    fn is_at(&self, number: u64, offset: u64) -> bool {
        self.file.number == number && self.offset == offset
    }

    pub(super) fn read_value(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        self.file.read_value(key, self.offset, self.len)
    }
}

/// Entries of a full node of a `BTreeMap`.
const FULL_NODE_ENTRIES_LEN: u64 = 11;
/// Entries of a node after inserts at random; after ascending inserts there are 6.
const NODE_ENTRIES_LEN: u64 = 7;
/// A node and its share of the node above, which has a pointer to each of its nodes.
const NODE_BYTES: u64 =
    FULL_NODE_ENTRIES_LEN * size_of::<(Box<[u8]>, Location)>() as u64 * (NODE_ENTRIES_LEN + 1)
        / NODE_ENTRIES_LEN
        + 32;

/// The memory of a key: allocators use multiples of 16 bytes, and 8 bytes of each for themselves.
fn allocated_bytes(key: &[u8]) -> u64 {
    (key.len() as u64 + 8).next_multiple_of(16).max(32)
}

/// All keys that have a value.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    entries: BTreeMap<Box<[u8]>, Location>,
    live_bytes: u64,
    key_bytes: u64,
}

impl KeyIndex {
    /// Applies operations that lie as entries in `file`, one after another from `offset` on. Returns the length of the
    /// entries that are garbage now: outdated values and removals.
    pub(super) fn apply<'a>(
        &mut self,
        operations: impl Iterator<Item = KeyChange<'a>>,
        file: &Arc<DataFile>,
        mut offset: u64,
    ) -> u64 {
        let mut garbage_bytes = 0;
        for operation in operations {
            let len = operation.entry_len() as u32;
            let outdated = if operation.value.is_some() {
                file.add_live(len);
                self.live_bytes += u64::from(len);
                let file = Arc::clone(file);
                self.insert(operation.key, Location { file, offset, len })
            } else {
                file.add_removal(len);
                garbage_bytes += u64::from(len);
                let removed = self.entries.remove(operation.key);
                if removed.is_some() {
                    self.key_bytes -= allocated_bytes(operation.key);
                }
                removed
            };
            if let Some(outdated) = outdated {
                garbage_bytes += u64::from(outdated.len);
                self.live_bytes -= u64::from(outdated.len);
                outdated.file.subtract_live(outdated.len);
            }
            offset += u64::from(len);
        }
        garbage_bytes
    }

    /// Points the key at a copy of its entry, if it still points at the original at `offset` of file `number`. The copy counts
    /// as outdated otherwise.
    pub(super) fn apply_copy(&mut self, key: &[u8], number: u64, offset: u64, copy: Location) {
        match self.entries.get_mut(key) {
            Some(location) if location.is_at(number, offset) => {
                copy.file.add_live(copy.len);
                location.file.subtract_live(location.len);
                *location = copy;
            }
            _ => copy.file.add_outdated(copy.len),
        }
    }

    /// Points the key at this location. Returns the old one.
    fn insert(&mut self, key: &[u8], location: Location) -> Option<Location> {
        if let Some(old) = self.entries.get_mut(key) {
            return Some(std::mem::replace(old, location));
        }
        self.key_bytes += allocated_bytes(key);
        self.entries.insert(key.into(), location)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Location> {
        self.entries.get(key)
    }

    /// Returns true if the value of `key` is the one in the entry at `offset` of file `number`.
    pub(super) fn points_at(&self, key: &[u8], number: u64, offset: u64) -> bool {
        self.get(key)
            .is_some_and(|location| location.is_at(number, offset))
    }

    /// The keys that begin with `prefix`, in order, and where their values are.
    pub(super) fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Location)> {
        self.entries
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, location)| (key.to_vec(), location.clone()))
            .collect()
    }

    /// The length of all entries pointed at.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// The memory that the index takes, estimated.
    pub(super) fn index_bytes(&self) -> u64 {
        let nodes_len = (self.entries.len() as u64).div_ceil(NODE_ENTRIES_LEN);
        self.key_bytes + nodes_len * NODE_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, KeyIndex, allocated_bytes};

    impl KeyIndex {
        /// Checks the invariant.
        pub(in crate::storage::file) fn validate(&self) {
            let mut by_file: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
            for (key, location) in &self.entries {
                assert!(!key.is_empty());
                let file = by_file.entry(location.file.number).or_default();
                *file = (file.0 + u64::from(location.len), location.file.live_bytes());
            }
            let key_bytes = self.entries.keys().map(|key| allocated_bytes(key)).sum::<u64>();
            assert_eq!(self.key_bytes, key_bytes);
            assert_eq!(self.live_bytes, by_file.values().map(|file| file.0).sum::<u64>());
            for (number, (counted, kept)) in by_file {
                assert_eq!(counted, kept, "live bytes of file {number}");
            }
        }
    }
}
