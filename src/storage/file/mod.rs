//! The embedded store: a log-structured file store.
//!
//! The files of a directory hold one sequence of records. Each record is an atomic batch. Memory holds an ordered index
//! from each key to the entry with its value. A write appends one record to the last file. A read takes the value from
//! its file. Compaction replaces adjacent older files by one file, in steps, so that the files stay within twice the
//! live data and one segment. Each write does a limited share of the steps.
//!
//! | file | role |
//! |---|---|
//! | `names` | file names |
//! | `format` | bytes in files |
//! | `open_files` | the handles for reading |
//! | `data_file` | one file |
//! | `log` | the files in order: the state behind the writer's lock |
//! | `writer` | append, sync, rotate, and the locks |
//! | `index` | key to entry |
//! | `bounds` | the limit of the files' length, and the levels below it |
//! | `choice` | the choice of the files of the next compaction |
//! | `entry_reader` | reads these files in chunks |
//! | `running_compaction` | the steps of a compaction |
//! | `compaction` | the share of each call in the compaction |
//! | `recovery` | open |
//! | `store` | the state of an open store |
//! | `options` | options and settings |
//! | `report` | the report of an open, and the sizes |
//!
//! Invariant: the index equals a replay of the files in order. It changes only after the write has returned, so a
//! reader gets a whole batch or nothing of it, and never a failed write. The docs of `log`, `running_compaction` and
//! `recovery` list the content that a crash at each step leaves.

mod bounds;
mod choice;
mod compaction;
mod data_file;
mod entry_reader;
mod format;
mod index;
mod log;
mod names;
mod open_files;
mod options;
mod recovery;
mod report;
mod running_compaction;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::compaction::CompactionGoal;
use self::format::KeyChange;
use self::store::LogState;
use super::{BatchOperation, Scan, StorageEngine, WriteBatch};
use crate::Error;
use crate::fs::{self, FileAccess, RootedFiles};
use crate::intact::Intact;
use crate::limits::{Limits, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::poison::Poison;
use crate::sync::{self, AtomicBool, AtomicU64, Mutex, RwLock};

pub use self::options::FileStoreOptions;
pub use self::report::{FileStoreRecovery, FileStoreStats};
pub use self::store::FileStore;

impl FileStore {
    /// Opens the store in the directory `dir`. Makes the directory if it is missing; its parent must exist.
    ///
    /// The store has every write that returned before the last process crash, and every write that was flushed before
    /// the last power loss. Other files in the directory are ignored.
    ///
    /// # Errors
    /// - [`Error::Corrupt`], [`Error::BadMagic`], [`Error::UnsupportedVersion`], [`Error::SegmentMissing`],
    ///   [`Error::ForeignDatabase`], [`Error::ForeignHistory`] if the files do not form one whole store: nothing was
    ///   changed.
    /// - [`Error::InvalidInput`] for an option out of range: nothing was changed.
    /// - [`Error::Io`] if a file operation fails: no acknowledged write is lost, and the store can be opened again.
    pub fn open(
        files: Arc<dyn FileAccess>,
        dir: impl AsRef<Path>,
        options: &FileStoreOptions,
    ) -> Result<Self, Error> {
        Self::open_within(files, dir, options, Limits::default())
    }

    /// Like [`open`](Self::open), with these limits.
    pub(crate) fn open_within(
        files: Arc<dyn FileAccess>,
        dir: impl AsRef<Path>,
        options: &FileStoreOptions,
        limits: Limits,
    ) -> Result<Self, Error> {
        let dir = fs::resolve(dir.as_ref())?;
        let files = Arc::new(RootedFiles::new(files, dir.clone()));
        let mut store = Self::open_unchanged(Arc::clone(&files) as _, dir, options, limits)?;
        store.files = Some(files);
        match store.repair() {
            Ok(()) => Ok(store),
            Err(error) => {
                drop(store);
                Err(error.into_first_cause())
            }
        }
    }

    /// Returns true if the directory `dir` holds a store, valid or not. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory exists and cannot be listed.
    pub(crate) fn exists(files: &dyn FileAccess, dir: &Path) -> Result<bool, Error> {
        recovery::has_files(files, dir)
    }

    /// Like [`open`](Self::open), but only reads. The first write, flush or close runs the repair. So the caller can
    /// validate other files before the repair.
    pub(crate) fn open_unchanged(
        files: Arc<dyn FileAccess>,
        dir: impl AsRef<Path>,
        options: &FileStoreOptions,
        limits: Limits,
    ) -> Result<Self, Error> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&options.segment_bytes_max) {
            let reason = "it must lie between SEGMENT_BYTES_MIN and SEGMENT_BYTES_MAX";
            return Err(Error::invalid(
                "segment_bytes_max",
                options.segment_bytes_max,
                reason,
            ));
        }
        let recovered = recovery::recover(files, dir.as_ref(), options, limits)?;
        Ok(Self {
            settings: recovered.settings,
            files: None,
            index: RwLock::new(Intact::new("a change of the storage index", recovered.index)),
            poison: Poison::default(),
            recovery: recovered.report,
            total_bytes: AtomicU64::new(recovered.total_bytes),
            files_len: AtomicU64::new(recovered.files_len as u64),
            compaction: Mutex::new(None),
            syncing: Mutex::new(()),
            writer: Mutex::new(LogState::Unrepaired(recovered.pending)),
            is_repaired: AtomicBool::new(false),
        })
    }

    /// The id of the store. The first write stores the id of a new store.
    ///
    /// The caller must call it before the first write: after it `expected` is not checked.
    ///
    /// # Errors
    /// [`Error::ForeignDatabase`] if the store exists and has another id than `expected`.
    pub(crate) fn id(&self, expected: Option<u128>) -> Result<u128, Error> {
        if let (Some(expected), LogState::Unrepaired(pending)) = (expected, &*sync::lock(&self.writer)) {
            pending.check_store_id(expected)?;
        }
        Ok(self.settings.store_id)
    }

    /// The report of the open: files found, records replayed, bytes truncated.
    pub fn recovery(&self) -> &FileStoreRecovery {
        &self.recovery
    }

    /// The present sizes. Never waits for a disk.
    ///
    /// # Errors
    /// [`Error::Panicked`] if a thread panicked while it changed the index.
    pub fn stats(&self) -> Result<FileStoreStats, Error> {
        let index = sync::read(&self.index);
        let index = index.get()?;
        Ok(FileStoreStats {
            live_bytes: index.live_bytes(),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            files_len: self.files_len.load(Ordering::Relaxed),
            keys_len: index.len() as u64,
            index_bytes: index.index_bytes(),
        })
    }

    /// Checks that the directory was not removed or replaced: a sync of a removed file would succeed.
    ///
    /// # Errors
    /// `DirectoryLost`.
    fn check_directory(&self) -> Result<(), Error> {
        let checked = self.files.as_ref().map_or(Ok(()), |files| files.check());
        checked.map_err(|source| Error::DirectoryLost {
            path: self.settings.dir.clone(),
            source,
        })
    }
}

impl StorageEngine for FileStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        // The lock is released before the read. The location refers to its file, so no compaction removes the file
        // meanwhile.
        let location = sync::read(&self.index).get()?.get(key).cloned();
        location.map(|location| location.read_value(key)).transpose()
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let value = Some(value);
        self.commit(&[KeyChange { key, value }])
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.commit(&[KeyChange { key, value: None }])
    }

    /// Holds the keys in memory; each item reads its value.
    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        let found = sync::read(&self.index).get()?.scan(prefix);
        Ok(Box::new(found.into_iter().map(|(key, location)| {
            let value = location.read_value(&key)?;
            Ok((key, value))
        })))
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        let changes: Vec<_> = batch.operations().iter().map(KeyChange::from).collect();
        self.commit(&changes)
    }

    fn flush(&self) -> Result<(), Error> {
        self.repair()?;
        self.sync_alone("flush", || {
            self.check_directory()?;
            let tail = self.with_log(|log| Ok(log.tail_state()))?;
            self.sync_tail(&tail)
        })
    }

    /// Compacts until the files are within their limit and no compaction is in progress, and removes replaced files.
    /// Then appends a promise record, unless every record is promised. Later writes are legal; the next close promises
    /// them.
    fn close(&self) -> Result<(), Error> {
        self.repair()?;
        self.sync_alone("close", || self.check_directory())?;
        self.compact(CompactionGoal::Finished)?;
        self.promise("close")
    }

    fn index_bytes(&self) -> Result<u64, Error> {
        Ok(self.stats()?.index_bytes)
    }
}

impl<'a> From<&'a BatchOperation> for KeyChange<'a> {
    fn from(operation: &'a BatchOperation) -> Self {
        match operation {
            BatchOperation::Put { key, value } => Self {
                key,
                value: Some(value),
            },
            BatchOperation::Delete { key } => Self { key, value: None },
        }
    }
}
