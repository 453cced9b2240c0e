//! Custom faults. A wrapper passes each call to a file system or a storage engine to one closure. The closure can make
//! the call, change it, fail it, skip it or delay it.
//!
//! Invariant: a call that the closure forwards behaves as without the wrapper. To delay a write, store its bytes and
//! the open file ([`FileCall::file`]), and skip the call. The wrappers store no content, so after a crash the disk has
//! the effects of exactly the forwarded calls.
//!
//! | task | items |
//! |---|---|
//! | intercept the calls to a file system | [`ForwardingFiles`], [`FileCall`], [`FileAnswer`] |
//! | intercept the calls to a storage engine | [`ForwardingStorage`], [`StorageCall`], [`StorageAnswer`] |
//! | find the purpose of a path in a database | [`FileRole`], [`log_dir`], [`store_dir`], [`lock_file`] |
//! | prove that a fault was active | [`FaultCount`] |
//!
//! # Examples
//! A file system that does not sync the log. The sweep must find this fault. The test also checks that the fault was
//! active, because otherwise it proves nothing:
//! ```
//! use std::sync::Arc;
//! use tidaldb::testing::CrashSweep;
//! use tidaldb::testing::faults::{FaultCount, FileOperation, FileRole, ForwardingFiles};
//!
//! let skipped_syncs = FaultCount::default();
//! let counter = skipped_syncs.clone();
//! let sweep = CrashSweep::standard(7, 12).files(move |files| {
//!     let counter = counter.clone();
//!     Arc::new(ForwardingFiles::new(files, move |call| match call.operation {
//!         FileOperation::Sync if call.role() == FileRole::Segment => {
//!             counter.count();
//!             call.skip()
//!         }
//!         _ => call.forward(),
//!     }))
//! });
//! let report = sweep.findings_max(1).shrink(false).run();
//! assert!(!skipped_syncs.is_empty(), "no segment was synced");
//! assert!(!report.is_ok(), "the sweep missed a log that is not synced");
//! ```
//! A storage engine whose third batch fails:
//! ```
//! use std::sync::Arc;
//! use tidaldb::Error;
//! use tidaldb::storage::{MemoryStore, StorageEngine, WriteBatch};
//! use tidaldb::testing::faults::{FaultCount, ForwardingStorage, StorageOperation};
//!
//! let batches = FaultCount::default();
//! let storage = ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| {
//!     if let StorageOperation::WriteBatch(_) = call.operation {
//!         batches.count();
//!         if batches.len() == 3 {
//!             return Err(Error::storage("write_batch", "the engine is broken"));
//!         }
//!     }
//!     call.forward()
//! });
//! storage.write_batch(WriteBatch::new())?;
//! storage.write_batch(WriteBatch::new())?;
//! storage.write_batch(WriteBatch::new()).unwrap_err();
//! # Ok::<(), Error>(())
//! ```

mod files;
mod names;
mod storage;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use files::{FileAnswer, FileCall, FileOperation, ForwardingFiles};
pub use names::{FileRole, lock_file, log_dir, store_dir};
pub use storage::{ForwardingStorage, StorageAnswer, StorageCall, StorageOperation};

/// Counts the calls that a fault changed. Clones share one count.
#[derive(Debug, Clone, Default)]
pub struct FaultCount(Arc<AtomicU64>);

impl FaultCount {
    /// The number of counted calls.
    pub fn len(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns true if no call was counted. Then a test without findings proves nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts one call.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
