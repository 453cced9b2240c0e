//! The check of the index's invariants.

use std::collections::BTreeMap;

use crate::storage::file::index::{KeyIndex, allocated_bytes};

impl KeyIndex {
    /// Checks the invariants. `values_len` is the number of values of each key in the store's files.
    pub(in crate::storage::file) fn validate(&self, values_len: Option<&BTreeMap<Vec<u8>, u32>>) {
        let mut by_file: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (key, location) in self.values.iter().chain(&self.removals) {
            assert!(!key.is_empty());
            let file = by_file.entry(location.file.number).or_default();
            *file = (file.0 + u64::from(location.len), location.file.needed_bytes());
        }
        let keys = || self.values.keys().chain(self.removals.keys());
        assert_eq!(
            self.key_bytes,
            keys().map(|key| allocated_bytes(key)).sum::<u64>()
        );
        let live_bytes = self.values.values().map(|location| u64::from(location.len));
        assert_eq!(self.live_bytes, live_bytes.sum::<u64>());
        for (number, (expected, found)) in by_file {
            assert_eq!(found, expected, "needed bytes of file {number}");
        }
        let mut expected: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for (key, location) in &self.values {
            expected.insert(key.to_vec(), location.outdated_len + 1);
        }
        for (key, location) in &self.removals {
            assert!(location.outdated_len > 0, "a removal is not needed: {key:?}");
            expected.insert(key.to_vec(), location.outdated_len);
        }
        if let Some(values_len) = values_len {
            assert_eq!(&expected, values_len, "values of each key");
        }
    }
}
