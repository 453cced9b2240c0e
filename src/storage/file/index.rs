//! The index: from each key to the location of its entry. In memory only: a crash leaves nothing of it, and open builds
//! it again.
//!
//! The index points at the last value of each key. For a removed key it points at the removal while an older value of
//! the key is in the files: without the removal, open would find that value. All other entries are garbage.
//!
//! Invariants: `live_bytes` is the sum of the lengths of the values' entries. `needed_bytes` of a file is the sum of
//! the lengths of its entries that the index points at. `key_bytes` is the memory of the keys. `outdated_len` of a key
//! is the number of its older values in the store's files.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::data_file::DataFile;
use super::format::KeyChange;
use crate::Error;

/// The location of an entry.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) file: Arc<DataFile>,
    pub(super) offset: u64,
    pub(super) len: u32,
    /// The number of older values of the key in the files. At `u32::MAX` it does not change any more.
    pub(super) outdated_len: u32,
}

impl Location {
    pub(super) fn new(file: &Arc<DataFile>, offset: u64, len: u32) -> Self {
        Self {
            file: Arc::clone(file),
            offset,
            len,
            outdated_len: 0,
        }
    }

    fn is_at(&self, number: u64, offset: u64) -> bool {
        self.file.number == number && self.offset == offset
    }

    fn subtract_outdated(&mut self) {
        debug_assert!(self.outdated_len > 0, "an older value was not counted");
        if self.outdated_len < u32::MAX {
            self.outdated_len = self.outdated_len.saturating_sub(1);
        }
    }

    pub(super) fn read_value(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        self.file.read_value(key, self.offset, self.len)
    }
}

/// The number of entries of a full node of a `BTreeMap`.
const FULL_NODE_ENTRIES_LEN: u64 = 11;
/// The number of entries of a node after inserts at random; after ascending inserts it is 6.
const NODE_ENTRIES_LEN: u64 = 7;
/// The bytes of a node and its share of the parent node, which has a pointer to each of its nodes.
const NODE_BYTES: u64 =
    FULL_NODE_ENTRIES_LEN * size_of::<(Box<[u8]>, Location)>() as u64 * (NODE_ENTRIES_LEN + 1)
        / NODE_ENTRIES_LEN
        + 32;

/// The memory of a key: an allocation is a multiple of 16 bytes, and the allocator uses 8 bytes of it.
pub(super) fn allocated_bytes(key: &[u8]) -> u64 {
    (key.len() as u64 + 8).next_multiple_of(16).max(32)
}

/// The entries that the files need, by key.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    /// The values of the keys that have one.
    pub(super) values: BTreeMap<Box<[u8]>, Location>,
    /// The removals of the keys without a value that have older values in the files.
    pub(super) removals: BTreeMap<Box<[u8]>, Location>,
    pub(super) live_bytes: u64,
    pub(super) key_bytes: u64,
}

impl KeyIndex {
    /// Applies the changes of adjacent entries in `file`, the first at `offset`. Returns the length of the entries that
    /// become garbage: outdated values, and all removals, although some of them are needed for some time.
    pub(super) fn apply<'a>(
        &mut self,
        changes: impl Iterator<Item = KeyChange<'a>>,
        file: &Arc<DataFile>,
        mut offset: u64,
    ) -> u64 {
        let mut garbage_bytes = 0;
        for change in changes {
            let location = Location::new(file, offset, change.entry_len() as u32);
            offset += u64::from(location.len);
            garbage_bytes += match change.value {
                Some(_) => self.apply_value(change.key, location),
                None => self.apply_removal(change.key, location),
            };
        }
        garbage_bytes
    }

    fn apply_value(&mut self, key: &[u8], mut location: Location) -> u64 {
        location.file.add_needed(location.len);
        self.live_bytes += u64::from(location.len);
        if let Some(old) = self.values.get_mut(key) {
            location.outdated_len = old.outdated_len.saturating_add(1);
            let old = std::mem::replace(old, location);
            self.live_bytes -= u64::from(old.len);
            old.file.subtract_needed(old.len);
            return old.len.into();
        }
        let key = if let Some((key, removal)) = self.removals.remove_entry(key) {
            location.outdated_len = removal.outdated_len;
            removal.file.subtract_needed(removal.len);
            key
        } else {
            self.key_bytes += allocated_bytes(key);
            key.into()
        };
        self.values.insert(key, location);
        0
    }

    fn apply_removal(&mut self, key: &[u8], mut location: Location) -> u64 {
        let removal_bytes = u64::from(location.len);
        // The removal of a key without a value is garbage: an earlier removal is enough.
        let Some((key, old)) = self.values.remove_entry(key) else {
            return removal_bytes;
        };
        self.live_bytes -= u64::from(old.len);
        old.file.subtract_needed(old.len);
        location.file.add_needed(location.len);
        location.outdated_len = old.outdated_len.saturating_add(1);
        self.removals.insert(key, location);
        u64::from(old.len) + removal_bytes
    }

    /// Points the key at a copy of its entry, if it still points at the original at `offset` of file `number`.
    /// Otherwise the copy is garbage, like the original.
    pub(super) fn apply_copy(&mut self, key: &[u8], number: u64, offset: u64, copy: Location) {
        let found = [&mut self.values, &mut self.removals]
            .into_iter()
            .find_map(|entries| entries.get_mut(key));
        if let Some(location) = found.filter(|location| location.is_at(number, offset)) {
            copy.file.add_needed(copy.len);
            location.file.subtract_needed(location.len);
            *location = Location {
                outdated_len: location.outdated_len,
                ..copy
            };
        }
    }

    /// Returns true if a compaction must copy this entry at `offset` of file `number`, because the index points at it.
    /// Otherwise the compaction discards the entry. Then this function subtracts an older value from the count of its
    /// key; without older values the removal of the key becomes garbage.
    pub(super) fn select_for_compaction(&mut self, change: &KeyChange<'_>, number: u64, offset: u64) -> bool {
        let is_value = change.value.is_some();
        if let Some(location) = self.values.get_mut(change.key) {
            let is_needed = location.is_at(number, offset);
            if is_value && !is_needed {
                location.subtract_outdated();
            }
            return is_needed;
        }
        let Some(location) = self.removals.get_mut(change.key) else {
            debug_assert!(!is_value, "the index did not count an older value");
            return false;
        };
        if location.is_at(number, offset) {
            return true;
        }
        if is_value {
            location.subtract_outdated();
            if location.outdated_len == 0 {
                location.file.subtract_needed(location.len);
                self.removals.remove(change.key);
                self.key_bytes -= allocated_bytes(change.key);
            }
        }
        false
    }

    /// The location of the value of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Location> {
        self.values.get(key)
    }

    /// The keys that begin with `prefix`, in order, and the locations of their values.
    pub(super) fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Location)> {
        self.values
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, location)| (key.to_vec(), location.clone()))
            .collect()
    }

    /// The length of the entries of all values.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// The estimated memory of the index.
    pub(super) fn index_bytes(&self) -> u64 {
        let nodes_len = |entries_len: usize| (entries_len as u64).div_ceil(NODE_ENTRIES_LEN);
        self.key_bytes + (nodes_len(self.values.len()) + nodes_len(self.removals.len())) * NODE_BYTES
    }

    /// The number of keys that have a value.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}
