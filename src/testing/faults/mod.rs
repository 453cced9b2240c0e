//! Faults of your own: wrappers that show each call to a file system or a storage engine to one closure, which makes the
//! call, changes it, fails it, skips it or makes it later. Every call that the closure forwards behaves as without the
//! wrapper. To make a write later, keep its bytes and the open file ([`FileCall::file`]), and skip the call.
//!
//! | to | use |
//! |---|---|
//! | intercept the calls to a file system | [`ForwardingFiles`], [`FileCall`], [`FileAnswer`] |
//! | intercept the calls to a storage engine | [`ForwardingStorage`], [`StorageCall`], [`StorageAnswer`] |
//! | know the purpose of a path in a database | [`FileRole`], [`log_dir`], [`store_dir`], [`lock_file`] |
//! | prove that a fault acted at all | [`FaultCount`] |
//!
//! # Examples
//! A file system that does not sync the log. A sweep must find that, and the fault must have acted, or the test proves
//! nothing:
//! ```
//! use std::sync::Arc;
//! use tidaldb::testing::CrashSweep;
//! use tidaldb::testing::faults::{Acts, FileOperation, FileRole, ForwardingFiles};
//!
//! let acts = Acts::default();
//! let counted = acts.clone();
//! let sweep = CrashSweep::standard(7, 12).files(move |files| {
//!     let acts = counted.clone();
//!     Arc::new(ForwardingFiles::new(files, move |call| match call.operation {
//!         FileOperation::Sync if call.role() == FileRole::Segment => {
//!             acts.count();
//!             call.skip()
//!         }
//!         _ => call.forward(),
//!     }))
//! });
//! let report = sweep.findings_max(1).shrink(false).run();
//! assert!(!acts.is_empty(), "no segment was synced");
//! assert!(!report.is_ok(), "the sweep missed a log that is not synced");
//! ```
//! A storage engine whose third batch fails:
//! ```
//! use std::sync::Arc;
//! use tidaldb::Error;
//! use tidaldb::storage::{MemoryStore, StorageEngine, WriteBatch};
//! use tidaldb::testing::faults::{Acts, ForwardingStorage, StorageOperation};
//!
//! let batches = Acts::default();
//! let counted = batches.clone();
//! let storage = ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| {
//!     if let StorageOperation::WriteBatch(_) = call.operation {
//!         counted.count();
//!         if counted.len() == 3 {
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

/// The number of times that a fault acted. Clones share one count.
#[derive(Debug, Clone, Default)]
pub struct FaultCount(Arc<AtomicU64>);

impl FaultCount {
    /// The count.
    pub fn len(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns true if the fault never acted: a test that found nothing then proves nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
