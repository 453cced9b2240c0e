//! The storage engine of an open handle, with the handle's poison and owner checks.
//!
//! Invariants: one flush runs at a time, and every thread knows its result before the next one starts, because an engine may
//! report a lost write only once. Once a failure is known, no writing call starts.
//!
//! A crash leaves each write whole or absent; after a flush or close returned, all earlier writes are durable.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::StorageEngine;
use crate::Error;
use crate::lock::lock;
use crate::poison::{Memory, Poison};

/// See the module's documentation.
pub(crate) struct GuardedStorage {
    engine: Arc<dyn StorageEngine>,
    poison: Arc<Poison>,
    /// How many writes have returned.
    written: AtomicU64,
    /// How many of them are flushed. The lock is held during a flush.
    flushed: Mutex<u64>,
}

impl fmt::Debug for GuardedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedStorage")
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl GuardedStorage {
    /// The storage of a handle. Expects an engine without an unflushed write.
    pub(crate) fn new(engine: Arc<dyn StorageEngine>, poison: Arc<Poison>) -> Self {
        Self {
            engine,
            poison,
            written: AtomicU64::new(0),
            flushed: Mutex::new(0),
        }
    }

    /// Makes one writing call on the engine.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this call, which may have been applied.
    pub(crate) fn write(
        &self,
        operation: &'static str,
        call: impl FnOnce(&dyn StorageEngine) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.poison
            .attempt(operation, Memory::Whole, || call(self.engine.as_ref()))?;
        self.written.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Returns true once a writing call has returned.
    pub(crate) fn is_written(&self) -> bool {
        self.written.load(Ordering::Acquire) > 0
    }

    /// Flushes the engine, unless every write that has returned is flushed.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut flushed = lock(&self.flushed);
        let written = self.written.load(Ordering::Acquire);
        if *flushed == written {
            return self.poison.check_write();
        }
        self.poison.attempt("flush", Memory::Whole, || {
            self.poison.check_owner()?;
            self.engine.flush()
        })?;
        *flushed = written;
        Ok(())
    }

    /// Closes the engine: every write is durable on return. No write may be running or follow. Later flushes do not reach the
    /// engine.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut flushed = lock(&self.flushed);
        self.poison.attempt("close", Memory::Whole, || {
            self.poison.check_owner()?;
            self.engine.close()
        })?;
        *flushed = self.written.load(Ordering::Acquire);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, OnceLock};

    use super::GuardedStorage;
    use crate::Error;
    use crate::storage::{MemoryStore, Scan, StorageEngine, WriteBatch};

    /// Flushes its own storage in the middle of a put, as another thread may, and notes both.
    #[derive(Default)]
    struct Engine {
        inner: MemoryStore,
        storage: OnceLock<Arc<GuardedStorage>>,
        notes: Mutex<Vec<&'static str>>,
    }

    impl StorageEngine for Engine {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
            self.inner.get(key)
        }
        fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
            if let Some(storage) = self.storage.get() {
                storage.flush()?;
            }
            self.inner.put(key, value)?;
            self.notes.lock().unwrap().push("put");
            Ok(())
        }
        fn delete(&self, key: &[u8]) -> Result<(), Error> {
            self.inner.delete(key)
        }
        fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
            self.inner.scan_prefix(prefix)
        }
        fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
            self.inner.write_batch(batch)
        }
        fn flush(&self) -> Result<(), Error> {
            self.notes.lock().unwrap().push("flush");
            Ok(())
        }
        fn close(&self) -> Result<(), Error> {
            self.notes.lock().unwrap().push("close");
            Ok(())
        }
    }

    #[test]
    fn a_flush_that_begins_before_a_write_has_returned_does_not_count_for_it() {
        let engine = Arc::new(Engine::default());
        let shared: Arc<dyn StorageEngine> = Arc::clone(&engine) as _;
        let storage = Arc::new(GuardedStorage::new(shared, Arc::default()));
        engine.storage.set(Arc::clone(&storage)).unwrap();
        storage
            .write("put", |engine| engine.put(b"key", b"value"))
            .unwrap();
        storage.flush().unwrap();
        storage.flush().unwrap();
        let notes = engine.notes.lock().unwrap();
        assert_eq!(*notes, ["put", "flush"]);
    }

    #[test]
    fn closing_reaches_the_engine_though_all_is_flushed_and_no_flush_does_after_it() {
        let engine = Arc::new(Engine::default());
        let storage = GuardedStorage::new(Arc::clone(&engine) as _, Arc::default());
        storage
            .write("put", |engine| engine.put(b"key", b"value"))
            .unwrap();
        storage.flush().unwrap();
        storage
            .write("put", |engine| engine.put(b"key", b"other"))
            .unwrap();
        storage.close().unwrap();
        storage.flush().unwrap();
        let notes = engine.notes.lock().unwrap();
        assert_eq!(*notes, ["put", "flush", "put", "close"]);
    }
}
