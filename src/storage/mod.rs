//! Storage: where checkpoints and collections are kept, behind the object-safe [`StorageEngine`].
//!
//! The embedded default is [`FileStore`], a log-structured file store; [`MemoryStore`] is for tests. Any
//! other ordered key-value store plugs in by implementing the trait.

mod file;
mod guarded;
pub(crate) mod keys;
mod memory;
#[cfg(test)]
mod tests;

use crate::Error;

pub use file::{FileStore, FileStoreOptions, FileStoreRecovery, FileStoreStats};
pub(crate) use guarded::GuardedStorage;
pub use memory::MemoryStore;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// What a prefix scan gives: pairs in ascending byte order of their keys.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<KeyValue, Error>> + 'a>;

/// An ordered key-value store with atomic batches.
///
/// # What an engine must promise
/// - A write (`put`, `delete`, `write_batch`) survives the end of the process, however it ends, once it
///   returned.
/// - It survives a power loss once a later [`flush`](Self::flush) or [`close`](Self::close) returned.
/// - After a crash every write is wholly there or wholly absent, a batch with all its operations. If a write is there, so is
///   every write that had returned before it began, also on other threads.
/// - After an error the content may be the old or the new one; tidaldb does not write to the engine again.
/// - Keys are at most [`STORAGE_KEY_BYTES_MAX`](crate::limits::STORAGE_KEY_BYTES_MAX) long and never empty.
///
/// `tidaldb::testing` has a conformance suite that proves these against an implementation.
///
/// # Errors
/// Implementations report their own failures through [`Error::storage`].
pub trait StorageEngine: Send + Sync {
    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// As the trait says.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Gives `key` the value `value`.
    ///
    /// # Errors
    /// As the trait says.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error>;

    /// Removes `key` and its value, if there is one.
    ///
    /// # Errors
    /// As the trait says.
    fn delete(&self, key: &[u8]) -> Result<(), Error>;

    /// All pairs whose key begins with `prefix`, in ascending byte order of the keys, as of this call: later
    /// writes do not show.
    ///
    /// # Errors
    /// As the trait says, from the call or from any item.
    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error>;

    /// Applies all operations of `batch` in order, atomically.
    ///
    /// # Errors
    /// As the trait says.
    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error>;

    /// Makes every write that returned before this call durable against a power loss.
    ///
    /// # Errors
    /// As the trait says.
    fn flush(&self) -> Result<(), Error>;

    /// Ends use: every write is durable on return. After it the handle only reads.
    ///
    /// An engine may record here that its content is complete, so that a later open can tell damage from a torn write. A
    /// wrapper must call the inner engine's `close`. The default calls [`flush`](Self::flush).
    ///
    /// # Errors
    /// As the trait says.
    fn close(&self) -> Result<(), Error> {
        self.flush()
    }

    /// Memory that the engine takes for its index, in bytes; 0 if it does not know. Waits for no disk. A wrapper must call the
    /// inner engine's.
    ///
    /// # Errors
    /// [`Error::Panicked`] if a thread panicked while it changed the index.
    fn index_bytes(&self) -> Result<u64, Error> {
        Ok(0)
    }
}

/// One operation of a [`WriteBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchOperation {
    /// Gives the key a value.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes the key.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// Operations that are applied together or not at all, in order: the last one of a key wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteBatch {
    operations: Vec<BatchOperation>,
}

impl From<Vec<BatchOperation>> for WriteBatch {
    fn from(operations: Vec<BatchOperation>) -> Self {
        Self { operations }
    }
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `key` the value `value`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.operations.push(BatchOperation::Put {
            key: key.into(),
            value: value.into(),
        });
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.operations.push(BatchOperation::Delete { key: key.into() });
    }

    /// The operations, in order.
    pub fn operations(&self) -> &[BatchOperation] {
        &self.operations
    }

    /// The operations, in order, by value.
    pub fn into_operations(self) -> Vec<BatchOperation> {
        self.operations
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}
