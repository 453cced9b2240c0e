//! The embedded store: a log-structured file store.
//!
//! A directory of files holds one sequence of records, each an atomic batch; memory holds an ordered index
//! from key to the entry that has its value. A write appends one record at the end of the last file; a read
//! takes the value from its file. Compaction replaces adjacent older files by one, step by step, so that the files stay
//! within twice the live data and one segment, and each write does a limited share of it.
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
//! | `choice` | the files of the next compaction |
//! | `entry_reader` | reading them piece by piece |
//! | `run` | the steps of a compaction |
//! | `compaction` | the bound on the files' size |
//! | `recovery` | open |
//!
//! Invariant: the index equals a replay of the files in order. It changes only after the write returned, so a reader sees a
//! whole batch or nothing, and never a failed write. The docs of `log`, `run` and `recovery` list the content that a crash at
//! each step leaves.

mod choice;
mod compaction;
mod data_file;
mod entry_reader;
mod format;
mod index;
mod log;
mod names;
mod open_files;
mod recovery;
mod run;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use self::compaction::CompactionGoal;
use self::format::KeyChange;
use self::index::KeyIndex;
use self::log::Setting;
use self::run::CompactionRun;
use self::writer::Writer;
use super::{BatchOperation, Scan, StorageEngine, WriteBatch};
use crate::Error;
use crate::fs::{self, FileAccess, RootedFiles};
use crate::limits::{
    Limits, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, STORAGE_KEY_BYTES_MAX, STORE_BATCH_BYTES_MAX,
};
use crate::lock::{self, Intact};
use crate::poison::Poison;
use crate::torn_tail::TornTail;

/// How a [`FileStore`] is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStoreOptions {
    /// A file that has reached this length, in bytes, takes no more records; the last record may exceed it. While the live data
    /// is less than twice this, files end earlier: at half the live data, but not below a quarter of this or 4864 bytes. Default
    /// 4 MiB, from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`]. It may differ from open to open.
    pub segment_bytes_max: u64,
    /// The id of a new store; random by default. A fixed id makes the files of a test the same in each run. An existing store
    /// keeps its own.
    pub store_id: Option<u128>,
}

impl Default for FileStoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: 4 << 20,
            store_id: None,
        }
    }
}

/// The report of [`FileStore::open`]: files found, records replayed, bytes cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStoreRecovery {
    /// Data files that were found, including files that another one replaced.
    pub files_found: usize,
    /// Replayed records, one for each write; records without entries do not count, and a compacted file counts as one.
    pub records_replayed: u64,
    /// The torn tail that was cut from the last file, if there was one.
    pub torn_tail: Option<TornTail>,
    /// Temporary files and files that another one replaced, which the repair removes.
    pub leftovers_removed: usize,
}

/// The sizes of a [`FileStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStoreStats {
    /// The live data as stored: keys and values of all pairs and 10 bytes for each.
    pub live_bytes: u64,
    /// The length of all files. Between calls at most twice `live_bytes` and one segment, apart from replaced files that a scan
    /// or a read still holds.
    pub total_bytes: u64,
    /// How many files there are.
    pub files_len: u64,
    /// How many pairs there are.
    pub keys_len: u64,
    /// The memory of the index, estimated: the keys and the nodes of an ordered map, about 75 bytes for each pair beside its
    /// key.
    pub index_bytes: u64,
}

/// The embedded [`StorageEngine`]: a log-structured file store in a directory of its own.
///
/// One write is one record in one file, so it is atomic. After a crash the store holds the first writes, in order, up to some
/// point. `flush` syncs the last file, the only one with unsynced records; other threads read and write meanwhile.
///
/// Between calls the files take at most twice the live data and one segment, apart from replaced files that a scan or a read
/// still holds; the next write or close removes what it held. Each write does a limited share of the compaction for that: it
/// reads at most eight times the bytes that it wrote and made garbage, or 64 KiB if that is more, and writes at most as many;
/// twice as much if other threads left their shares. If the files are still over the limit, it continues until they are not.
/// That happens only after a batch longer than a segment, which is one file, or if other threads left very much.
///
/// The number of open files is limited, whatever the number of files.
///
/// A failed write, sync or compaction gives [`Error::Poisoned`] with its cause, and so does every later write and flush:
/// nothing is retried. A panic in a file call counts as a failure. Reads still work and show all earlier writes.
/// Reopening the store shows all that was acknowledged.
///
/// The store does not lock its directory: the caller must make sure that only one store uses it. It does not know of forks:
/// a forked child must not write with its copy. [`TidalDb`](crate::TidalDb) does both for the store in its own directory.
pub struct FileStore {
    /// The open directory of a store that is opened on its own; `None` if the database checks the directory.
    files: Option<Arc<RootedFiles>>,
    setting: Arc<Setting>,
    index: RwLock<Intact<KeyIndex>>,
    /// The compaction in progress.
    compaction: Mutex<Option<CompactionRun>>,
    /// Held for a sync of the tail or the directory, until its outcome is known.
    syncing: Mutex<()>,
    /// Held for a write until its outcome is known.
    writer: Mutex<Writer>,
    is_repaired: AtomicBool,
    /// The first failure; after it the log is not changed.
    poison: Poison,
    recovery: FileStoreRecovery,
    /// The log's sizes after its last change, or as read if the repair failed. Apart from the log, so that `stats` never waits
    /// for a disk.
    total_bytes: AtomicU64,
    files_len: AtomicU64,
}

impl FileStore {
    /// Opens the store in the directory `dir`, which is made if need be; its parent must exist.
    ///
    /// All that was written before the last process crash or flushed before the last power loss is there.
    /// Files in the directory that are not the store's are ignored.
    ///
    /// # Errors
    /// - [`Error::Corrupt`], [`Error::BadMagic`], [`Error::UnsupportedVersion`], [`Error::SegmentMissing`],
    ///   [`Error::ForeignDatabase`], [`Error::ForeignHistory`] if the files are not those of one whole store: nothing was
    ///   changed.
    /// - [`Error::InvalidInput`] for an option out of range: nothing was changed.
    /// - [`Error::Io`] if a file operation fails: no acknowledged write is lost, open again.
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

    /// Returns true if the directory `dir` holds a store, sound or not. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed, and is not missing either.
    pub(crate) fn exists(files: &dyn FileAccess, dir: &Path) -> Result<bool, Error> {
        recovery::has_files(files, dir)
    }

    /// Like [`open`](Self::open), but reads only. The first write, flush or close runs the repair. For a caller that
    /// validates other files first.
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
            setting: recovered.setting,
            files: None,
            index: RwLock::new(Intact::new("a change of the storage index", recovered.index)),
            poison: Poison::default(),
            recovery: recovered.report,
            total_bytes: AtomicU64::new(recovered.total_bytes),
            files_len: AtomicU64::new(recovered.files_len as u64),
            compaction: Mutex::new(None),
            syncing: Mutex::new(()),
            writer: Mutex::new(Writer::Found(recovered.pending)),
            is_repaired: AtomicBool::new(false),
        })
    }

    /// The id of the store; a new store gets it with the first write.
    ///
    /// Call it before the first write: afterwards `expected` is not checked.
    ///
    /// # Errors
    /// [`Error::ForeignDatabase`] if the store exists and has another id than `expected`.
    pub(crate) fn id(&self, expected: Option<u128>) -> Result<u128, Error> {
        if let (Some(expected), Writer::Found(pending)) = (expected, &*lock::lock(&self.writer)) {
            pending.check_store_id(expected)?;
        }
        Ok(self.setting.store_id)
    }

    /// The report of open: files found, records replayed, bytes cut.
    pub fn recovery(&self) -> &FileStoreRecovery {
        &self.recovery
    }

    /// The sizes now. Never waits for a disk.
    ///
    /// # Errors
    /// [`Error::Panicked`] if a thread panicked while it changed the index.
    pub fn stats(&self) -> Result<FileStoreStats, Error> {
        let index = lock::read(&self.index);
        let index = index.get()?;
        Ok(FileStoreStats {
            live_bytes: index.live_bytes(),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            files_len: self.files_len.load(Ordering::Relaxed),
            keys_len: index.len() as u64,
            index_bytes: index.index_bytes(),
        })
    }

    /// Checks that the directory was not removed or replaced: a sync of a removed file succeeds.
    ///
    /// # Errors
    /// `DirectoryLost`.
    fn check_directory(&self) -> Result<(), Error> {
        let checked = self.files.as_ref().map_or(Ok(()), |files| files.check());
        checked.map_err(|source| Error::DirectoryLost {
            path: self.setting.dir.clone(),
            source,
        })
    }
}

impl StorageEngine for FileStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        // The lock is given back before the read; the location keeps its file readable whatever compaction
        // does.
        let location = lock::read(&self.index).get()?.get(key).cloned();
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
        let found = lock::read(&self.index).get()?.scan(prefix);
        Ok(Box::new(found.into_iter().map(|(key, location)| {
            let value = location.read_value(&key)?;
            Ok((key, value))
        })))
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        let operations: Vec<_> = batch.operations().iter().map(KeyChange::from).collect();
        self.commit(&operations)
    }

    fn flush(&self) -> Result<(), Error> {
        self.repair()?;
        self.sync_alone("flush", || {
            self.check_directory()?;
            let tail = self.with_log(|log| Ok(log.tail_state()))?;
            self.sync_tail(&tail)
        })
    }

    /// Compacts until the files are within their limit and no compaction is in progress, removes replaced files, and appends a
    /// promise record unless every record is promised. Later writes are legal; the next close promises them.
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

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("dir", &self.setting.dir)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Fails if a key or the batch exceeds a limit.
fn check(operations: &[KeyChange<'_>]) -> Result<(), Error> {
    let mut batch_bytes = 0;
    for operation in operations {
        if operation.key.is_empty() {
            return Err(Error::invalid(
                "key",
                "empty",
                "a storage key has at least one byte",
            ));
        }
        check_limit(
            "storage key bytes",
            STORAGE_KEY_BYTES_MAX as u64,
            operation.key.len() as u64,
        )?;
        batch_bytes += operation.entry_len() as u64;
    }
    check_limit("storage batch bytes", STORE_BATCH_BYTES_MAX, batch_bytes)
}

fn check_limit(what: &'static str, limit: u64, found: u64) -> Result<(), Error> {
    if found > limit {
        return Err(Error::LimitExceeded { what, limit, found });
    }
    Ok(())
}
