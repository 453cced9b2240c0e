//! Storage: the key-value store of checkpoints and collections, behind the object-safe [`StorageEngine`].
//!
//! The embedded default is [`FileStore`], a log-structured file store. [`MemoryStore`] is for tests. An application can
//! use any other ordered key-value store that implements the trait. The docs of the trait list the states after a
//! crash.

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

/// The result of a prefix scan: pairs in ascending byte order of their keys.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<KeyValue, Error>> + 'a>;

/// An ordered key-value store with atomic batches.
///
/// # Promises of an engine
/// - A write (`put`, `delete`, `write_batch`) survives any end of the process once it has returned.
/// - It survives a power loss once a later [`flush`](Self::flush) or [`close`](Self::close) has returned.
/// - After a crash every write is wholly present or wholly absent, a batch with all its operations. If a write is
///   present, every write that returned before it began is present too, also a write of another thread.
/// - After an error the content may be the old or the new one. tidaldb does not write to the engine again.
/// - A key has 1 to [`STORAGE_KEY_BYTES_MAX`](crate::limits::STORAGE_KEY_BYTES_MAX) bytes.
///
/// `tidaldb::testing` has a conformance suite that tests these promises of an implementation.
///
/// # Errors
/// Implementations report their own failures through [`Error::storage`].
pub trait StorageEngine: Send + Sync {
    /// The value of `key`; `None` if it has none.
    ///
    /// # Errors
    /// See the trait.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Gives `key` the value `value`.
    ///
    /// # Errors
    /// See the trait.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error>;

    /// Removes `key` and its value, if `key` is present.
    ///
    /// # Errors
    /// See the trait.
    fn delete(&self, key: &[u8]) -> Result<(), Error>;

    /// All pairs whose key begins with `prefix`, in ascending byte order of the keys. The scan returns the content at
    /// the time of this call, without later writes.
    ///
    /// # Errors
    /// See the trait, from the call or from any item.
    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error>;

    /// Applies all operations of `batch` in order, atomically.
    ///
    /// # Errors
    /// See the trait.
    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error>;

    /// Makes every write that returned before this call durable against a power loss.
    ///
    /// # Errors
    /// See the trait.
    fn flush(&self) -> Result<(), Error>;

    /// Ends the writes: every write is durable on return. After it the handle only reads.
    ///
    /// An engine may record in this call that its content is complete, so that a later open does not treat damage as a
    /// torn write. A wrapper must call the inner engine's `close`. The default calls [`flush`](Self::flush).
    ///
    /// # Errors
    /// See the trait.
    fn close(&self) -> Result<(), Error> {
        self.flush()
    }

    /// The memory of the engine's index, in bytes; 0 if the engine does not measure it. Waits for no disk. A wrapper
    /// must call the inner engine's `index_bytes`.
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

/// Operations that are applied in order, all of them or none: the last operation of a key decides.
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

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Returns true if the batch has no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}
