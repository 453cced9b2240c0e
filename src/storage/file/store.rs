//! The state of an open store: its files, its index in memory, and the locks of both.
//!
//! The modules of this folder add the calls: opening and the calls of `StorageEngine` in `mod.rs`, writes and syncs in
//! `writer`, compaction in `compaction`.

use std::fmt;
use std::sync::Arc;

use super::index::KeyIndex;
use super::log::StoreLog;
use super::options::StoreSettings;
use super::recovery::PendingRepair;
use super::report::FileStoreRecovery;
use super::running_compaction::RunningCompaction;
use crate::Error;
use crate::fs::RootedFiles;
use crate::intact::Intact;
use crate::poison::Poison;
use crate::sync::{AtomicBool, AtomicU64, Mutex, RwLock};

/// The embedded [`StorageEngine`](crate::storage::StorageEngine): a log-structured file store in a separate directory.
///
/// One write is one record in one file, so it is atomic. After a crash the store holds the first writes, in order, up
/// to some point. `flush` syncs the last file, the only one with unsynced records; other threads read and write
/// meanwhile.
///
/// Between calls the files take at most twice the live data and one segment. Replaced files that a scan or a read still
/// uses do not count; the next write or close after the scan or read removes them. For this bound each write does a
/// limited share of the compaction. It reads at most eight times the bytes that it wrote and made garbage, or 64 KiB if
/// that is more. It writes at most as many bytes as it reads. The share is up to twice as large if other threads left
/// their shares. If the files are still over the limit, the write continues until they are within it. This happens only
/// after a batch longer than a segment, which is one file, or if other threads left very large shares.
///
/// The number of open files is limited, for any number of files.
///
/// A failed write, sync or compaction returns [`Error::Poisoned`] with its cause, and so does every later write and
/// flush: nothing is retried. A panic in a file call counts as a failure. Reads still work and return all earlier
/// writes. A reopened store has all acknowledged writes.
///
/// The store does not lock its directory: the caller must make sure that only one store uses it. The store does not
/// detect forks: a forked child must not write with its copy. [`TidalDb`](crate::TidalDb) does both for the store in
/// its directory.
pub struct FileStore {
    /// The open directory of a store without a database; `None` if the database checks the directory.
    pub(super) files: Option<Arc<RootedFiles>>,
    pub(super) settings: Arc<StoreSettings>,
    pub(super) index: RwLock<Intact<KeyIndex>>,
    /// The compaction in progress.
    pub(super) compaction: Mutex<Option<RunningCompaction>>,
    /// Held for a sync of the tail or the directory, until its result is recorded.
    pub(super) syncing: Mutex<()>,
    /// Held for a write, until its result is recorded.
    pub(super) writer: Mutex<LogState>,
    pub(super) is_repaired: AtomicBool,
    /// The first failure; after it the files are not changed.
    pub(super) poison: Poison,
    pub(super) recovery: FileStoreRecovery,
    /// The sizes of the files after their last change, or the read sizes if the repair failed. They are outside the
    /// writer's lock, so that `stats` never waits for a disk.
    pub(super) total_bytes: AtomicU64,
    pub(super) files_len: AtomicU64,
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("dir", &self.settings.dir)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// The store's files, which take records only after the repair.
#[derive(Debug)]
pub(super) enum LogState {
    /// The store was read. Its files are unchanged.
    Unrepaired(PendingRepair),
    /// The store is repaired and takes records.
    Open(StoreLog),
    /// The repair failed. The store is poisoned, and the repair is not tried again.
    Failed,
}

impl LogState {
    pub(super) fn log(&mut self) -> Result<&mut StoreLog, Error> {
        match self {
            Self::Open(log) => Ok(log),
            Self::Unrepaired(_) | Self::Failed => Err(Error::Panicked { operation: "open" }),
        }
    }
}
