//! Bugs of the storage engine: a wrapper around the one that the sweep uses, or around an embedded store, that breaks
//! one promise of [`StorageEngine`].
//!
//! Each bug is a type of its own, made anew for every opening of the database, as those of the file access are.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Acts, PlantedBug};
use crate::Error;
use crate::fs::FileAccess;
use crate::storage::{BatchOperation, FileStore, FileStoreOptions, Scan, StorageEngine, WriteBatch, keys};
use crate::testing::CrashSweep;
use crate::testing::sweep::{OpenStorage, Setup};

/// Where the store is put if the sweep has no storage of its own: beside the database, whose directory does not exist
/// yet when the storage is made.
const STORE_DIR: &str = "/store";

type Result<T> = std::result::Result<T, Error>;

/// A bug. What it does not break it leaves to the engine behind it.
trait StorageBug: Send + Sync + fmt::Debug {
    fn get(&self, store: &dyn StorageEngine, key: &[u8]) -> Result<Option<Vec<u8>>> {
        store.get(key)
    }

    fn put(&self, store: &dyn StorageEngine, key: &[u8], value: &[u8]) -> Result<()> {
        store.put(key, value)
    }

    fn delete(&self, store: &dyn StorageEngine, key: &[u8]) -> Result<()> {
        store.delete(key)
    }

    fn scan_prefix<'a>(&self, store: &'a dyn StorageEngine, prefix: &[u8]) -> Result<Scan<'a>> {
        store.scan_prefix(prefix)
    }

    fn write_batch(&self, store: &dyn StorageEngine, batch: WriteBatch) -> Result<()> {
        store.write_batch(batch)
    }

    fn flush(&self, store: &dyn StorageEngine) -> Result<()> {
        store.flush()
    }

    fn close(&self, store: &dyn StorageEngine) -> Result<()> {
        store.close()
    }
}

/// Puts `bug` between the database and the storage of `sweep`.
pub(super) fn plant(bug: PlantedBug, sweep: CrashSweep, acts: &Acts) -> CrashSweep {
    let acts = acts.clone();
    with_storage(sweep, move |inner| wrap(bug, inner, &acts))
}

/// `inner` with `bug` in it.
fn wrap(bug: PlantedBug, inner: Arc<dyn StorageEngine>, acts: &Acts) -> Arc<dyn StorageEngine> {
    Arc::new(PlantedStorage {
        inner,
        bug: make(bug, acts),
    })
}

/// Puts what `wrap` makes of it in the place of the storage of `sweep`.
pub(super) fn with_storage(
    sweep: CrashSweep,
    wrap: impl Fn(Arc<dyn StorageEngine>) -> Arc<dyn StorageEngine> + Send + Sync + 'static,
) -> CrashSweep {
    sweep.with_setup(move |setup| {
        let before = setup.storage.take();
        let as_it_was = setup.clone();
        setup.storage = Some(OpenStorage::OverFiles(Arc::new(move |files| {
            let inner = match &before {
                Some(OpenStorage::OverFiles(open)) => open(files)?,
                _ => embedded(&as_it_was, files)?,
            };
            Ok(wrap(inner))
        })));
    })
}

/// The wrapper with no bug in it.
#[cfg(test)]
pub(super) fn with_nothing_wrong(inner: Arc<dyn StorageEngine>) -> Arc<dyn StorageEngine> {
    #[derive(Debug)]
    struct Nothing;
    impl StorageBug for Nothing {}
    Arc::new(PlantedStorage {
        inner,
        bug: Box::new(Nothing),
    })
}

fn embedded(setup: &Setup, files: Arc<dyn FileAccess>) -> Result<Arc<dyn StorageEngine>> {
    let options = setup.options();
    let store_options = FileStoreOptions {
        segment_bytes_max: options.store_segment_bytes_max,
        store_id: options.database_id,
    };
    Ok(Arc::new(FileStore::open(files, STORE_DIR, &store_options)?))
}

fn make(bug: PlantedBug, acts: &Acts) -> Box<dyn StorageBug> {
    let acts = acts.clone();
    match bug {
        PlantedBug::CheckpointOneByOne => Box::new(InParts(Parts::OneByOne, acts)),
        PlantedBug::CheckpointNumberFirst => Box::new(InParts(Parts::NumberFirst, acts)),
        PlantedBug::CheckpointNumberLast => Box::new(InParts(Parts::NumberLast, acts)),
        PlantedBug::CheckpointNumberDropped => Box::new(InParts(Parts::WithoutNumber, acts)),
        PlantedBug::CollectionDeletedInParts => Box::new(CollectionDeletedInParts(acts)),
        PlantedBug::CheckpointDeferred => Box::new(CheckpointDeferred {
            kept: Mutex::default(),
            acts,
        }),
        PlantedBug::CheckpointForgotten => Box::new(CheckpointForgotten(acts)),
        PlantedBug::OverwriteIgnored => Box::new(OverwriteIgnored(acts)),
        PlantedBug::FlushSkipped => Box::new(FlushSkipped {
            only_first: false,
            done: Mutex::default(),
            acts,
        }),
        PlantedBug::FirstFlushSkipped => Box::new(FlushSkipped {
            only_first: true,
            done: Mutex::default(),
            acts,
        }),
        PlantedBug::CloseSkipped => Box::new(CloseSkipped(acts)),
        PlantedBug::PutDeferred => Box::new(PutDeferred {
            kept: Mutex::default(),
            acts,
        }),
        PlantedBug::DeleteIgnored => Box::new(DeleteIgnored(acts)),
        PlantedBug::KeysCut => Box::new(KeysCut(acts)),
        PlantedBug::ScanTooLong => Box::new(WrongScan(Wrong::TooLong, acts)),
        PlantedBug::ScanWithoutLast => Box::new(WrongScan(Wrong::WithoutLast, acts)),
        PlantedBug::StorageErrorSwallowed => Box::new(StorageErrorSwallowed(acts)),
        _ => unreachable!("{bug} is no bug of the storage"),
    }
}

struct PlantedStorage {
    inner: Arc<dyn StorageEngine>,
    bug: Box<dyn StorageBug>,
}

impl StorageEngine for PlantedStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.bug.get(self.inner.as_ref(), key)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.bug.put(self.inner.as_ref(), key, value)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.bug.delete(self.inner.as_ref(), key)
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>> {
        self.bug.scan_prefix(self.inner.as_ref(), prefix)
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<()> {
        self.bug.write_batch(self.inner.as_ref(), batch)
    }

    fn flush(&self) -> Result<()> {
        self.bug.flush(self.inner.as_ref())
    }

    fn close(&self) -> Result<()> {
        self.bug.close(self.inner.as_ref())
    }
}

fn key_of(operation: &BatchOperation) -> &[u8] {
    match operation {
        BatchOperation::Put { key, .. } | BatchOperation::Delete { key } => key,
    }
}

fn is_number(operation: &BatchOperation) -> bool {
    key_of(operation) == keys::CHECKPOINT
}

fn is_checkpoint(batch: &WriteBatch) -> bool {
    batch.operations().iter().any(is_number)
}

fn write_one(store: &dyn StorageEngine, operation: BatchOperation) -> Result<()> {
    match operation {
        BatchOperation::Put { key, value } => store.put(&key, &value),
        BatchOperation::Delete { key } => store.delete(&key),
    }
}

fn batch_of(operations: Vec<BatchOperation>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for operation in operations {
        match operation {
            BatchOperation::Put { key, value } => batch.put(key, value),
            BatchOperation::Delete { key } => batch.delete(key),
        }
    }
    batch
}

/// The batch of a checkpoint is not atomic.
#[derive(Debug)]
struct InParts(Parts, Acts);

#[derive(Debug, Clone, Copy)]
enum Parts {
    OneByOne,
    /// The number of the checkpoint, then the state.
    NumberFirst,
    /// The state, then the number.
    NumberLast,
    WithoutNumber,
}

impl StorageBug for InParts {
    fn write_batch(&self, store: &dyn StorageEngine, batch: WriteBatch) -> Result<()> {
        if !is_checkpoint(&batch) || batch.len() < 2 {
            return store.write_batch(batch);
        }
        self.1.count();
        let operations = batch.into_operations();
        if matches!(self.0, Parts::OneByOne) {
            return operations
                .into_iter()
                .try_for_each(|operation| write_one(store, operation));
        }
        let (number, state): (Vec<_>, Vec<_>) = operations.into_iter().partition(is_number);
        let (number, state) = (batch_of(number), batch_of(state));
        match self.0 {
            Parts::NumberFirst => store.write_batch(number).and_then(|()| store.write_batch(state)),
            Parts::NumberLast => store.write_batch(state).and_then(|()| store.write_batch(number)),
            Parts::OneByOne | Parts::WithoutNumber => store.write_batch(state),
        }
    }
}

/// The members of a collection that is deleted go one by one before it.
#[derive(Debug)]
struct CollectionDeletedInParts(Acts);

impl StorageBug for CollectionDeletedInParts {
    fn write_batch(&self, store: &dyn StorageEngine, batch: WriteBatch) -> Result<()> {
        let is_deletion = |operation: &BatchOperation| matches!(operation, BatchOperation::Delete { .. });
        if is_checkpoint(&batch) || batch.len() < 2 || !batch.operations().iter().all(is_deletion) {
            return store.write_batch(batch);
        }
        self.0.count();
        let mut operations = batch.into_operations().into_iter().rev();
        operations.try_for_each(|operation| write_one(store, operation))
    }
}

/// A checkpoint stays in memory until something else is written.
#[derive(Debug)]
struct CheckpointDeferred {
    kept: Mutex<Option<WriteBatch>>,
    acts: Acts,
}

impl CheckpointDeferred {
    fn write_kept(&self, store: &dyn StorageEngine) -> Result<()> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or(Ok(()), |batch| store.write_batch(batch))
    }
}

impl StorageBug for CheckpointDeferred {
    fn put(&self, store: &dyn StorageEngine, key: &[u8], value: &[u8]) -> Result<()> {
        self.write_kept(store)?;
        store.put(key, value)
    }

    fn delete(&self, store: &dyn StorageEngine, key: &[u8]) -> Result<()> {
        self.write_kept(store)?;
        store.delete(key)
    }

    fn write_batch(&self, store: &dyn StorageEngine, batch: WriteBatch) -> Result<()> {
        self.write_kept(store)?;
        if !is_checkpoint(&batch) {
            return store.write_batch(batch);
        }
        self.acts.count();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(batch);
        Ok(())
    }
}

/// There never was a checkpoint, says who is asked for it.
#[derive(Debug)]
struct CheckpointForgotten(Acts);

impl StorageBug for CheckpointForgotten {
    fn get(&self, store: &dyn StorageEngine, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = store.get(key)?;
        if key == keys::CHECKPOINT && value.is_some() {
            self.0.count();
            return Ok(None);
        }
        Ok(value)
    }
}

/// A batch does not overwrite the states that are there.
#[derive(Debug)]
struct OverwriteIgnored(Acts);

impl StorageBug for OverwriteIgnored {
    fn write_batch(&self, store: &dyn StorageEngine, batch: WriteBatch) -> Result<()> {
        let mut operations = Vec::new();
        for operation in batch.into_operations() {
            let key = key_of(&operation);
            if key.starts_with(keys::STATES) && store.get(key)?.is_some() {
                self.0.count();
            } else {
                operations.push(operation);
            }
        }
        store.write_batch(batch_of(operations))
    }
}

/// A flush does nothing.
#[derive(Debug)]
struct FlushSkipped {
    only_first: bool,
    done: Mutex<bool>,
    acts: Acts,
}

impl StorageBug for FlushSkipped {
    fn flush(&self, store: &dyn StorageEngine) -> Result<()> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // Opening begins with a flush of what may have been there before, which has nothing to do in a new database.
        let is_opening = self.only_first && store.get(keys::IDENTITY)?.is_none();
        if is_opening || (self.only_first && *done) {
            return store.flush();
        }
        *done = true;
        self.acts.count();
        Ok(())
    }
}

/// A put stays in memory until the next call but a read.
#[derive(Debug)]
struct PutDeferred {
    kept: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
    acts: Acts,
}

impl PutDeferred {
    fn write_kept(&self, store: &dyn StorageEngine) -> Result<()> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or(Ok(()), |(key, value)| store.put(&key, &value))
    }
}

impl StorageBug for PutDeferred {
    fn put(&self, store: &dyn StorageEngine, key: &[u8], value: &[u8]) -> Result<()> {
        self.write_kept(store)?;
        self.acts.count();
        let kept = Some((key.to_vec(), value.to_vec()));
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(())
    }

    fn delete(&self, store: &dyn StorageEngine, key: &[u8]) -> Result<()> {
        self.write_kept(store)?;
        store.delete(key)
    }

    fn write_batch(&self, store: &dyn StorageEngine, batch: WriteBatch) -> Result<()> {
        self.write_kept(store)?;
        store.write_batch(batch)
    }

    fn flush(&self, store: &dyn StorageEngine) -> Result<()> {
        self.write_kept(store)?;
        store.flush()
    }

    fn close(&self, store: &dyn StorageEngine) -> Result<()> {
        self.write_kept(store)?;
        store.close()
    }
}

/// Nothing is done at the end.
#[derive(Debug)]
struct CloseSkipped(Acts);

impl StorageBug for CloseSkipped {
    fn close(&self, _: &dyn StorageEngine) -> Result<()> {
        self.0.count();
        Ok(())
    }
}

/// What is deleted stays.
#[derive(Debug)]
struct DeleteIgnored(Acts);

impl StorageBug for DeleteIgnored {
    fn delete(&self, _: &dyn StorageEngine, _: &[u8]) -> Result<()> {
        self.0.count();
        Ok(())
    }
}

/// Keys are cut, so that some are confused.
#[derive(Debug)]
struct KeysCut(Acts);

impl KeysCut {
    const BYTES_MAX: usize = 8;

    fn cut(&self, key: &[u8]) -> Vec<u8> {
        if key.len() > Self::BYTES_MAX {
            self.0.count();
        }
        key[..key.len().min(Self::BYTES_MAX)].to_vec()
    }
}

impl StorageBug for KeysCut {
    fn get(&self, store: &dyn StorageEngine, key: &[u8]) -> Result<Option<Vec<u8>>> {
        store.get(&self.cut(key))
    }

    fn put(&self, store: &dyn StorageEngine, key: &[u8], value: &[u8]) -> Result<()> {
        store.put(&self.cut(key), value)
    }

    fn delete(&self, store: &dyn StorageEngine, key: &[u8]) -> Result<()> {
        store.delete(&self.cut(key))
    }

    fn write_batch(&self, store: &dyn StorageEngine, batch: WriteBatch) -> Result<()> {
        let cut = |operation| match operation {
            BatchOperation::Put { key, value } => BatchOperation::Put {
                key: self.cut(&key),
                value,
            },
            BatchOperation::Delete { key } => BatchOperation::Delete { key: self.cut(&key) },
        };
        store.write_batch(batch_of(batch.into_operations().into_iter().map(cut).collect()))
    }
}

/// A scan gives something else than what it was asked for.
#[derive(Debug)]
struct WrongScan(Wrong, Acts);

#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// With the pair after the last one.
    TooLong,
    WithoutLast,
}

impl StorageBug for WrongScan {
    fn scan_prefix<'a>(&self, store: &'a dyn StorageEngine, prefix: &[u8]) -> Result<Scan<'a>> {
        let mut pairs = store.scan_prefix(prefix)?.collect::<Result<Vec<_>>>()?;
        match self.0 {
            Wrong::TooLong => {
                let all = store.scan_prefix(&[])?.collect::<Result<Vec<_>>>()?;
                let is_after = |key: &[u8]| key > prefix && !key.starts_with(prefix);
                if let Some(after) = all.into_iter().find(|(key, _)| is_after(key)) {
                    self.1.count();
                    pairs.push(after);
                }
            }
            Wrong::WithoutLast => {
                if pairs.pop().is_some() {
                    self.1.count();
                }
            }
        }
        Ok(Box::new(pairs.into_iter().map(Ok)))
    }
}

/// What failed is reported as done.
#[derive(Debug)]
struct StorageErrorSwallowed(Acts);

impl StorageErrorSwallowed {
    fn swallow(&self, result: Result<()>) -> Result<()> {
        result.or_else(|_| {
            self.0.count();
            Ok(())
        })
    }
}

impl StorageBug for StorageErrorSwallowed {
    fn put(&self, store: &dyn StorageEngine, key: &[u8], value: &[u8]) -> Result<()> {
        self.swallow(store.put(key, value))
    }

    fn delete(&self, store: &dyn StorageEngine, key: &[u8]) -> Result<()> {
        self.swallow(store.delete(key))
    }

    fn write_batch(&self, store: &dyn StorageEngine, batch: WriteBatch) -> Result<()> {
        self.swallow(store.write_batch(batch))
    }

    fn flush(&self, store: &dyn StorageEngine) -> Result<()> {
        self.swallow(store.flush())
    }

    fn close(&self, store: &dyn StorageEngine) -> Result<()> {
        self.swallow(store.close())
    }
}
