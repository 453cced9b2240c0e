//! Bugs in the storage engine: their actions, and the calls that they apply to. The engine is that of the sweep, or an
//! embedded store.
//!
//! Each open of the database has a separate bug state, because the memory of a process is lost in a crash.

use std::mem;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::Error;
use crate::fs::FileAccess;
use crate::storage::{
    BatchOperation, FileStore, FileStoreOptions, KeyValue, StorageEngine, WriteBatch, keys,
};
use crate::testing::CrashSweep;
use crate::testing::faults::{FaultCount, ForwardingStorage, StorageAnswer, StorageCall, StorageOperation};
use crate::testing::lock::lock;
use crate::testing::sweep::{OpenStorage, Setup};
use crate::testing::workload::{Session, session};

/// The directory of the embedded store, for a sweep without its own storage. It lies outside of the database's
/// directory, which does not exist yet when the storage opens.
const STORE_DIR: &str = "/store";

pub(crate) type StorageResult<'a> = Result<StorageAnswer<'a>, Error>;

/// An action that replaces a call.
pub(crate) type StorageAction = for<'a> fn(&mut StorageCall<'a>, &StorageBugState) -> StorageResult<'a>;

/// A bug in the storage engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StorageBug {
    /// The names of the calls that the bug applies to.
    pub(crate) calls: &'static [&'static str],
    pub(crate) action: StorageAction,
}

/// The state of one bug during one open of the database.
#[derive(Debug, Default)]
pub(crate) struct StorageBugState {
    pub(crate) faults: FaultCount,
    /// A write that is acknowledged but not yet made, or whose flush will be skipped.
    pending: Mutex<Option<StorageOperation>>,
    has_skipped_flush: AtomicBool,
    /// The number of the session in which the database was opened.
    session: u32,
}

/// Plants `bug` between the database and the storage of `sweep`.
pub(super) fn plant(bug: StorageBug, sweep: CrashSweep, faults: &FaultCount) -> CrashSweep {
    let faults = faults.clone();
    sweep.with_setup(move |setup| {
        let before = setup.storage.take();
        let unchanged = setup.clone();
        setup.storage = Some(OpenStorage::OverFiles(Arc::new(move |files| {
            let inner = match &before {
                Some(OpenStorage::OverFiles(open)) => open(files)?,
                _ => open_embedded_store(&unchanged, files)?,
            };
            Ok(Arc::new(bug.wrap(inner, &faults)))
        })));
    })
}

impl StorageBug {
    /// Returns `engine` with this bug, for one open.
    pub(crate) fn wrap(self, engine: Arc<dyn StorageEngine>, faults: &FaultCount) -> ForwardingStorage {
        let state = StorageBugState {
            faults: faults.clone(),
            session: session(),
            ..StorageBugState::default()
        };
        ForwardingStorage::new(engine, move |call| {
            if self.calls.contains(&call.operation.name()) {
                (self.action)(call, &state)
            } else {
                call.forward()
            }
        })
    }
}

fn open_embedded_store(setup: &Setup, files: Arc<dyn FileAccess>) -> Result<Arc<dyn StorageEngine>, Error> {
    let options = setup.options(&Session::first());
    let store_options = FileStoreOptions {
        segment_bytes_max: options.store_segment_bytes_max,
        store_id: options.database_id,
    };
    Ok(Arc::new(FileStore::open(files, STORE_DIR, &store_options)?))
}

fn key_of(operation: &BatchOperation) -> &[u8] {
    match operation {
        BatchOperation::Put { key, .. } | BatchOperation::Delete { key } => key,
    }
}

/// Returns true for the write of a checkpoint's number.
fn is_number(operation: &BatchOperation) -> bool {
    key_of(operation) == keys::CHECKPOINT
}

fn batch_of(operation: &StorageOperation) -> &[BatchOperation] {
    match operation {
        StorageOperation::WriteBatch(batch) => batch.operations(),
        _ => &[],
    }
}

pub(super) fn is_checkpoint(operation: &StorageOperation) -> bool {
    batch_of(operation).iter().any(is_number)
}

pub(crate) fn is_put(operation: &StorageOperation) -> bool {
    matches!(operation, StorageOperation::Put { .. })
}

/// Returns true for the deletion of a collection.
fn is_deletion(operation: &StorageOperation) -> bool {
    let mut batch = batch_of(operation).iter();
    batch.all(|operation| matches!(operation, BatchOperation::Delete { .. }))
}

// Actions of any call.

pub(crate) fn skip<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    state.faults.count();
    call.skip()
}

pub(crate) fn swallow_error<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    call.forward().or_else(|_| skip(call, state))
}

/// Acts only in these sessions.
pub(super) fn in_sessions<'a>(
    sessions: impl RangeBounds<u32>,
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
    action: StorageAction,
) -> StorageResult<'a> {
    if sessions.contains(&state.session) {
        return action(call, state);
    }
    call.forward()
}

/// Skips the flush after the write of an opening record.
pub(super) fn skip_flush_of_opening<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    let writes = |operation: &BatchOperation| key_of(operation) == keys::OPENING;
    if batch_of(&call.operation).iter().any(writes) {
        *lock(&state.pending) = Some(call.operation.clone());
    } else if call.operation == StorageOperation::Flush && lock(&state.pending).take().is_some() {
        return skip(call, state);
    }
    call.forward()
}

/// Removes the schema from a batch and returns it. A batch has a schema in the first session and in a session that
/// changes the schema.
fn take_schema(call: &mut StorageCall<'_>) -> Option<StorageOperation> {
    let is_schema = |operation: &BatchOperation| key_of(operation) == keys::SCHEMA;
    let (schema, rest): (Vec<_>, Vec<_>) = take_batch(call).into_iter().partition(is_schema);
    call.operation = StorageOperation::WriteBatch(batch(rest));
    (!schema.is_empty()).then(|| StorageOperation::WriteBatch(batch(schema)))
}

/// Writes a batch without its schema.
pub(super) fn drop_schema<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    if take_schema(call).is_some() {
        state.faults.count();
    }
    call.forward()
}

/// Writes the schema after the flush that must make it durable.
pub(super) fn write_schema_late<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    if let StorageOperation::WriteBatch(_) = call.operation {
        let schema = take_schema(call);
        let mut pending = lock(&state.pending);
        *pending = schema.or(pending.take());
        drop(pending);
        return call.forward();
    }
    let answer = call.forward()?;
    if let Some(StorageOperation::WriteBatch(schema)) = lock(&state.pending).take() {
        state.faults.count();
        call.engine().write_batch(schema)?;
    }
    Ok(answer)
}

// Actions of batches.

/// A batch of more than this number of operations is large.
const LARGE_BATCH_LEN: usize = 64;
/// The number of pairs of a shortened scan.
const SHORT_SCAN_LEN: usize = 32;

/// Writes a large batch in two parts.
pub(super) fn split_large<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    if batch_of(&call.operation).len() <= LARGE_BATCH_LEN {
        return call.forward();
    }
    write_in_parts(call, state, |mut batch| {
        let rest = batch.split_off(LARGE_BATCH_LEN);
        vec![batch, rest]
    })
}

/// Removes the last operation of a large batch that is not the checkpoint's number.
pub(super) fn truncate_large<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    if batch_of(&call.operation).len() > LARGE_BATCH_LEN {
        let mut operations = take_batch(call);
        let last = operations.iter().rposition(|operation| !is_number(operation));
        last.map(|last| operations.remove(last));
        state.faults.count();
        call.operation = StorageOperation::WriteBatch(batch(operations));
    }
    call.forward()
}

/// Returns only the first pairs of a scan.
pub(super) fn scan_first_pairs<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    let (_, mut pairs) = scan(call)?;
    if pairs.len() > SHORT_SCAN_LEN {
        state.faults.count();
        pairs.truncate(SHORT_SCAN_LEN);
    }
    Ok(scanned(pairs))
}

/// Removes the operations from the call's batch and returns them.
pub(crate) fn take_batch(call: &mut StorageCall<'_>) -> Vec<BatchOperation> {
    match &mut call.operation {
        StorageOperation::WriteBatch(batch) => mem::take(batch).into_operations(),
        _ => Vec::new(),
    }
}

pub(crate) fn batch(operations: impl IntoIterator<Item = BatchOperation>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for operation in operations {
        match operation {
            BatchOperation::Put { key, value } => batch.put(key, value),
            BatchOperation::Delete { key } => batch.delete(key),
        }
    }
    batch
}

/// Writes the call's batch as several batches, one after the other.
pub(crate) fn write_in_parts<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
    split: fn(Vec<BatchOperation>) -> Vec<Vec<BatchOperation>>,
) -> StorageResult<'a> {
    state.faults.count();
    for part in split(take_batch(call)) {
        call.engine().write_batch(batch(part))?;
    }
    call.skip()
}

/// Writes the batch of a checkpoint as several batches.
pub(super) fn write_checkpoint<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
    split: fn(Vec<BatchOperation>) -> Vec<Vec<BatchOperation>>,
) -> StorageResult<'a> {
    if is_checkpoint(&call.operation) && batch_of(&call.operation).len() > 1 {
        return write_in_parts(call, state, split);
    }
    call.forward()
}

pub(crate) fn one_by_one(batch: Vec<BatchOperation>) -> Vec<Vec<BatchOperation>> {
    batch.into_iter().map(|one| vec![one]).collect()
}

/// The operation that writes the number of a checkpoint, and the operations that write its state.
pub(super) fn split_number_and_state(batch: Vec<BatchOperation>) -> [Vec<BatchOperation>; 2] {
    batch.into_iter().partition(is_number).into()
}

/// Deletes a collection in reverse order, one operation after the other: first its members, then its record.
pub(crate) fn delete_one_by_one<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    if is_deletion(&call.operation) && batch_of(&call.operation).len() > 1 {
        return write_in_parts(call, state, |batch| {
            batch.into_iter().rev().map(|one| vec![one]).collect()
        });
    }
    call.forward()
}

/// Writes the two operations of a batch on blocks one after the other, in reverse order.
pub(super) fn write_blocks_in_parts<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
    applies_to: fn(&BatchOperation) -> bool,
) -> StorageResult<'a> {
    let is_block = |operation: &BatchOperation| key_of(operation).starts_with(keys::COLLECTION_BLOCKS);
    match batch_of(&call.operation) {
        [first, last] if is_block(first) && is_block(last) && applies_to(last) => {
            write_in_parts(call, state, |batch| {
                batch.into_iter().rev().map(|one| vec![one]).collect()
            })
        }
        _ => call.forward(),
    }
}

/// Stores the number of the first collection for every new collection.
pub(super) fn repeat_collection_number<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    if let StorageOperation::Put { key, value } = &mut call.operation
        && key.starts_with(keys::COLLECTIONS)
    {
        state.faults.count();
        *value = keys::seal(key, 0_u64.to_le_bytes().to_vec());
    }
    call.forward()
}

/// Removes the record of a collection, but not its blocks.
pub(super) fn delete_without_members<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    if is_deletion(&call.operation) && batch_of(&call.operation).len() > 1 {
        let mut operations = take_batch(call);
        operations.retain(|operation| key_of(operation).starts_with(keys::COLLECTIONS));
        state.faults.count();
        call.operation = StorageOperation::WriteBatch(batch(operations));
    }
    call.forward()
}

/// Makes the pending write. Then defers this call if `is_deferred` returns true, else makes it.
pub(crate) fn defer<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
    is_deferred: fn(&StorageOperation) -> bool,
) -> StorageResult<'a> {
    let earlier = lock(&state.pending).take();
    if let Some(earlier) = earlier {
        let operation = mem::replace(&mut call.operation, earlier);
        call.forward()?;
        call.operation = operation;
    }
    if !is_deferred(&call.operation) {
        return call.forward();
    }
    *lock(&state.pending) = Some(call.operation.clone());
    skip(call, state)
}

pub(crate) fn hide_checkpoint<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    match (call.forward()?, &call.operation) {
        (StorageAnswer::Value(Some(_)), StorageOperation::Get { key }) if key == keys::CHECKPOINT => {
            skip(call, state)
        }
        (answer, _) => Ok(answer),
    }
}

/// Leaves out the state pages that the engine already has.
pub(crate) fn skip_overwrites_of_states<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    let mut operations = Vec::new();
    for operation in take_batch(call) {
        let key = key_of(&operation);
        if key.starts_with(keys::STATES) && call.engine().get(key)?.is_some() {
            state.faults.count();
        } else {
            operations.push(operation);
        }
    }
    call.operation = StorageOperation::WriteBatch(batch(operations));
    call.forward()
}

/// Leaves out new tombstones of forgotten items.
pub(crate) fn drop_tombstones<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    let mut operations = take_batch(call);
    let len = operations.len();
    operations.retain(|operation| !matches!(operation, BatchOperation::Put { key, .. } if is_tombstone(key)));
    (operations.len()..len).for_each(|_| state.faults.count());
    call.operation = StorageOperation::WriteBatch(batch(operations));
    call.forward()
}

/// Removes tombstones before it writes the rest of the checkpoint.
pub(crate) fn remove_tombstones_first<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    let is_removal =
        |operation: &BatchOperation| matches!(operation, BatchOperation::Delete { key } if is_tombstone(key));
    if !batch_of(&call.operation).iter().any(is_removal) {
        return call.forward();
    }
    write_in_parts(call, state, |batch| {
        let (first, rest) = batch
            .into_iter()
            .partition(|it| matches!(it, BatchOperation::Delete { key } if is_tombstone(key)));
        vec![first, rest]
    })
}

fn is_tombstone(key: &[u8]) -> bool {
    key.starts_with(keys::CO_ENGAGEMENT[1])
}

/// Skips the first flush after the identity was written. An open begins with a flush of earlier content, and a new
/// database has no earlier content.
pub(crate) fn skip_first_flush<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    let is_before_identity = call.engine().get(keys::IDENTITY)?.is_none();
    if is_before_identity || state.has_skipped_flush.swap(true, Ordering::Relaxed) {
        return call.forward();
    }
    skip(call, state)
}

pub(crate) fn truncate_keys<'a>(call: &mut StorageCall<'a>, state: &StorageBugState) -> StorageResult<'a> {
    const BYTES_MAX: usize = 8;
    let cut = |key: &mut Vec<u8>| {
        if key.len() > BYTES_MAX {
            state.faults.count();
            key.truncate(BYTES_MAX);
        }
    };
    match &mut call.operation {
        StorageOperation::Get { key }
        | StorageOperation::Put { key, .. }
        | StorageOperation::Delete { key } => cut(key),
        StorageOperation::WriteBatch(whole) => {
            let mut operations = mem::take(whole).into_operations();
            for operation in &mut operations {
                let (BatchOperation::Put { key, .. } | BatchOperation::Delete { key }) = operation;
                cut(key);
            }
            *whole = batch(operations);
        }
        _ => {}
    }
    call.forward()
}

/// The prefix of the call's scan, and its pairs.
pub(crate) fn scan(call: &StorageCall<'_>) -> Result<(Vec<u8>, Vec<KeyValue>), Error> {
    let prefix = match &call.operation {
        StorageOperation::ScanPrefix { prefix } => prefix.clone(),
        _ => Vec::new(),
    };
    let pairs = call.engine().scan_prefix(&prefix)?.collect::<Result<_, _>>()?;
    Ok((prefix, pairs))
}

pub(crate) fn scanned<'a>(pairs: Vec<KeyValue>) -> StorageAnswer<'a> {
    StorageAnswer::Scan(Box::new(pairs.into_iter().map(Ok)))
}

/// Adds the first pair after the range of the prefix.
pub(crate) fn scan_beyond_prefix<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    let (prefix, mut pairs) = scan(call)?;
    for pair in call.engine().scan_prefix(&[])? {
        let (key, value) = pair?;
        if key > prefix && !key.starts_with(&prefix) {
            state.faults.count();
            pairs.push((key, value));
            break;
        }
    }
    Ok(scanned(pairs))
}

pub(crate) fn scan_without_last<'a>(
    call: &mut StorageCall<'a>,
    state: &StorageBugState,
) -> StorageResult<'a> {
    let (_, mut pairs) = scan(call)?;
    if pairs.pop().is_some() {
        state.faults.count();
    }
    Ok(scanned(pairs))
}
