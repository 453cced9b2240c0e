//! The in-memory store, for tests. Clones share one content. A test opens the next database on a clone, as if it was
//! the disk of the crashed one. The content survives a panic, but not the end of the process.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{BatchOperation, Scan, StorageEngine, WriteBatch};
use crate::Error;
use crate::sync::{Mutex, MutexGuard, lock};

/// An in-memory [`StorageEngine`]. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn content(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        // No operation of this store can panic between two changes of the map, so the state is whole also after a panic.
        lock(&self.content)
    }
}

impl StorageEngine for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.content().get(key).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.content().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.content().remove(key);
        Ok(())
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        let content = self.content();
        let pairs: Vec<_> = content
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| Ok((key.clone(), value.clone())))
            .collect();
        Ok(Box::new(pairs.into_iter()))
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        let mut content = self.content();
        for operation in batch.into_operations() {
            match operation {
                BatchOperation::Put { key, value } => content.insert(key, value),
                BatchOperation::Delete { key } => content.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}
