//! The storage engine of an open handle, with the handle's poison and owner checks.
//!
//! Invariants: one flush runs at a time, and its failure is recorded before the next flush starts, because an engine
//! may report a lost write only once. After a recorded failure no writing call starts.
//!
//! A crash leaves each write whole or absent. After a flush or close has returned, all earlier writes are durable.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::StorageEngine;
use crate::Error;
use crate::poison::{Memory, Poison};
use crate::sync::{AtomicU64, Mutex, lock};

/// See the module's documentation.
pub(crate) struct GuardedStorage {
    engine: Arc<dyn StorageEngine>,
    poison: Arc<Poison>,
    /// The number of writes that have returned.
    written: AtomicU64,
    /// The number of flushed writes. The lock is held during a flush.
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
    /// The storage of a handle. Expects an engine whose writes are all flushed.
    pub(crate) fn new(engine: Arc<dyn StorageEngine>, poison: Arc<Poison>) -> Self {
        Self {
            engine,
            poison,
            written: AtomicU64::new(0),
            flushed: Mutex::new(0),
        }
    }

    /// See [`StorageEngine::index_bytes`].
    pub(crate) fn index_bytes(&self) -> Result<u64, Error> {
        self.engine.index_bytes()
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
            .attempt(operation, Memory::Intact, || call(self.engine.as_ref()))?;
        self.written.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Returns true if a writing call has returned.
    pub(crate) fn is_written(&self) -> bool {
        self.written.load(Ordering::Acquire) > 0
    }

    /// Flushes the engine, unless every returned write is flushed.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut flushed = lock(&self.flushed);
        let written = self.written.load(Ordering::Acquire);
        if *flushed == written {
            return self.poison.check_write();
        }
        self.poison.attempt("flush", Memory::Intact, || {
            self.poison.check_owner()?;
            self.engine.flush()
        })?;
        *flushed = written;
        Ok(())
    }

    /// Waits for a running flush. If writing has ended before the call, no later flush reaches the engine.
    pub(crate) fn wait_for_flush(&self) {
        drop(lock(&self.flushed));
    }

    /// Closes the engine: every write is durable on return. The caller must make sure that no write is in progress or
    /// follows. Later flushes do not reach the engine.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut flushed = lock(&self.flushed);
        self.poison.attempt("close", Memory::Intact, || {
            self.poison.check_owner()?;
            self.engine.close()
        })?;
        *flushed = self.written.load(Ordering::Acquire);
        Ok(())
    }
}
