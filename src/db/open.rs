//! The open of a database. Invariant: before an open changes an existing database, it has read and validated all of it.
//! Only a missing lock file is created earlier.
//!
//! The steps that write, and the state that a crash during or after each leaves. The next open continues from this
//! state:
//!
//! 1. The directory and the lock file `LOCK`: no database.
//! 2. New database: one batch with identity, schema and opening record, flushed: no database, or one without a log.
//! 3. Existing database: storage is flushed. Writes of a crashed process may not be durable, but the log was trimmed
//!    because of them. Here the embedded store makes its repair. Log and store have the same content as before.
//! 4. The directory of the log, then a copy of the last segment without its torn tail. Log and store have the same
//!    content as before.
//! 5. Existing database: the opening record, flushed, with the signals that were appended to the schema (with new
//!    bounds the schema is stored in step 8). The store is as before, or one opening ahead of the log, whose frames are
//!    durable.
//! 6. The segment of this opening; then covered segments and temporary files are removed. The store is one opening
//!    ahead until the name of the segment is durable. Then both are at this opening.
//! 7. The first checkpoint record, if storage has none: it requires that the log exists. Without the record the
//!    database also opens without a log.
//! 8. New bounds of co-engagement, in a checkpoint. Before its batch: the old bounds and the full state. After it: the
//!    new bounds and the reduced state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::collections::{CollectionIndex, Collections};
use super::identity;
use super::opening_record::OpeningRecord;
use super::report::RecoveryReport;
use crate::fs::{DirName, FileAccess, RootedFiles, list_if_present, make_dir};
use crate::ids::random_u128;
use crate::owner::Owner;
use crate::poison::Poison;
use crate::signals::checkpoint::{CheckpointTrigger, Checkpointer, record, restore};
use crate::signals::ledger::replay::Replay;
use crate::signals::ledger::{LedgerState, SignalLedger};
use crate::storage::{FileStore, GuardedStorage, StorageEngine, WriteBatch, keys};
use crate::wal::history::History;
use crate::wal::recovery::{self, CheckpointRecord};
use crate::wal::{Log, LogOptions};
use crate::{Error, Options, Schema};

const LOCK_NAME: &str = "LOCK";
const LOG_NAME: &str = "log";
const STORE_NAME: &str = "store";

/// The parts of an opened database.
pub(super) struct Opened {
    /// The current schema.
    pub(super) schema: Schema,
    pub(super) ledger: SignalLedger,
    pub(super) checkpointer: Checkpointer,
    pub(super) collections: Collections,
    pub(super) storage: Arc<GuardedStorage>,
    pub(super) report: RecoveryReport,
}

/// Returns true if the directory `path` holds any part of a database with the embedded store.
///
/// The name of the lock file is durable before the first file of the store has a name. So an open that finds a store
/// finds the lock file too, unless it was removed.
///
/// # Errors
/// `Io`.
pub(super) fn exists(files: &dyn FileAccess, path: &Path) -> Result<bool, Error> {
    Ok(recovery::has_segments(files, &path.join(LOG_NAME))?
        || FileStore::exists(files, &path.join(STORE_NAME))?)
}

/// Returns true if the directory `path` holds a log, or if `storage` holds the identity of a database.
///
/// # Errors
/// `Io`, or the error of the storage engine.
pub(super) fn exists_in(
    storage: &dyn StorageEngine,
    files: &dyn FileAccess,
    path: &Path,
) -> Result<bool, Error> {
    Ok(recovery::has_segments(files, &path.join(LOG_NAME))? || storage.get(keys::IDENTITY)?.is_some())
}

/// Makes the directory of the database, opens it and takes its lock. The files of the returned options reach that
/// directory, also after it was renamed.
///
/// The lock file is the first file in the directory. Before it is made, the name of the directory is durable. A crash
/// leaves no directory, an empty one, or one with the lock file.
///
/// # Errors
/// `Io`; `Locked` if another handle has the lock.
pub(super) fn lock_directory(options: Options, path: &Path) -> Result<(Options, Arc<Owner>), Error> {
    let lock_path = path.join(LOCK_NAME);
    let by_name = options.files.as_ref();
    let has_lock_file = by_name
        .list(path)
        .is_ok_and(|names| names.iter().any(|name| name == LOCK_NAME));
    let name = DirName::durable_if(has_lock_file);
    make_dir(by_name, path, name)?;
    let files = Arc::new(RootedFiles::new(Arc::clone(&options.files), path.to_path_buf()));
    let lock = files
        .lock(&lock_path)
        .map_err(|error| Error::io("lock", &lock_path, error))?;
    let lock = lock.ok_or(Error::Locked { path: lock_path })?;
    let owner = Arc::new(Owner::new(path.to_path_buf(), Arc::clone(&files), lock));
    Ok((options.files(files), owner))
}

/// The directory of the embedded store of the database at `path`.
///
/// # Errors
/// `StorageMissing` if the directory is empty or missing and a log exists: a store that is put back later must not find
/// another store in its place. `Io`.
pub(super) fn store_dir(files: &dyn FileAccess, path: &Path) -> Result<PathBuf, Error> {
    let (store_dir, log_dir) = (path.join(STORE_NAME), path.join(LOG_NAME));
    if list_if_present(files, &store_dir)?.is_empty() && recovery::has_segments(files, &log_dir)? {
        return Err(Error::StorageMissing { path: log_dir });
    }
    Ok(store_dir)
}

/// Opens the log and the aggregates of the locked database at `path`, whose checkpoints are in `storage`.
pub(super) fn open(
    path: &Path,
    options: &Options,
    engine: Arc<dyn StorageEngine>,
    owner: &Arc<Owner>,
) -> Result<Opened, Error> {
    let storage = engine.as_ref();
    let log_dir = path.join(LOG_NAME);
    let StoredRecords {
        database_id,
        created,
        schema,
        persisted,
        stored_opening,
    } = read_or_create(options, path, storage)?;
    let log_options = LogOptions {
        files: Arc::clone(&options.files),
        dir: log_dir,
        database_id,
        segment_bytes_max: options.segment_bytes_max,
        preallocate_bytes: options.preallocate_bytes,
        zeros_bytes_max: options.limits.zeros_bytes_max,
    };

    let bounds = *persisted.co_engagement_config();
    let changes_bounds = bounds != *schema.co_engagement_config();
    // The frames were recorded under the persisted bounds. Under other bounds replay would give another state.
    let mut state = LedgerState::new(&schema.clone().co_engagement(bounds), &options.limits)?;
    let checkpoint = restore::load(&mut state, storage)?;
    let mut replay = Replay::new(
        &state,
        schema.signals().len(),
        checkpoint.sequence,
        options.limits.replayed_changes_len_max,
    );
    let recovered = recovery::read(
        &log_options,
        checkpoint,
        stored_opening.stored_openings(),
        |frame| replay.apply(frame),
    )?;
    let replayed = replay.finish()?;
    let index = CollectionIndex::load(storage)?;
    if let (Some(promised), Some((path, offset))) = (replayed.collections, &recovered.last_frame)
        && promised != index.digest()
    {
        let what = "storage holds other collections than this close marker promises";
        return Err(Error::corrupt(path, *offset, Some(recovered.last_sequence), what));
    }
    let opening = if created {
        stored_opening
    } else {
        stored_opening.after(
            recovered.last_opening,
            recovered.last_sequence,
            options.opening_id_step,
            options.limits.earlier_openings_len_max,
        )
    };
    let report = RecoveryReport {
        created,
        opening: opening.opening,
        earlier_openings: opening.earlier.clone(),
        checkpoint_sequence: checkpoint.sequence,
        segments_found: recovered.segments_found,
        frames_replayed: replayed.frames,
        events_replayed: replayed.events,
        last_sequence: recovered.last_sequence,
        torn_tail: recovered.torn_tail.clone(),
        leftovers_removed: recovered.temporary_len(),
        store: None,
    };
    if !created {
        // A process crash may have left writes in the engine that are not durable, and the log was trimmed because of
        // them.
        storage.flush()?;
    }
    // Storage gets its first record about the log after the name of the log directory is durable.
    let name = DirName::durable_if(checkpoint.log_exists);
    make_dir(options.files.as_ref(), &log_options.dir, name)?;
    recovered.repair()?;
    if !created {
        // After the repair, because then a power loss cannot remove the segment of the opening before.
        let appends = schema != persisted && !changes_bounds;
        persist_opening(&opening, appends.then_some(&schema), storage)?;
    }
    let resumed = recovered.resume(opening.opening)?;
    confirm_log(storage, checkpoint)?;

    let poison = Arc::new(Poison::of(Arc::clone(owner)));
    let storage = Arc::new(GuardedStorage::new(engine, Arc::clone(&poison)));
    let collections = Collections::new(
        index,
        Arc::clone(&storage),
        Arc::clone(&poison),
        options.durability,
        options.limits,
    );
    let log = Log::new(log_options, Arc::clone(&poison), resumed);
    let checkpointer = Checkpointer::new(checkpoint.sequence, replayed.frames, &state, &log, options.limits);
    let mut ledger = SignalLedger::new(state, log, poison, options);
    if changes_bounds && let Err(error) = change_bounds(&mut ledger, &checkpointer, &storage, &schema) {
        // These hold references to the cause. Without them the caller gets the cause itself.
        drop((ledger, storage, collections));
        return Err(error.into_first_cause());
    }
    Ok(Opened {
        schema,
        ledger,
        checkpointer,
        collections,
        storage,
        report,
    })
}

/// Reduces the state to the bounds of `schema`, and stores it together with the schema.
fn change_bounds(
    ledger: &mut SignalLedger,
    checkpointer: &Checkpointer,
    storage: &GuardedStorage,
    schema: &Schema,
) -> Result<(), Error> {
    ledger
        .state
        .set_co_engagement_bounds(*schema.co_engagement_config())?;
    checkpointer.checkpoint(ledger, storage, CheckpointTrigger::Opening(schema))?;
    Ok(())
}

/// The records of the database in storage.
struct StoredRecords {
    database_id: u128,
    /// True if this open created the database.
    created: bool,
    /// The current schema, from this opening on.
    schema: Schema,
    /// The schema in storage.
    persisted: Schema,
    /// The record of this opening if the database was created, otherwise of the opening before.
    stored_opening: OpeningRecord,
}

/// Reads the records of the database from storage. Creates the database if storage has no records, no log exists and
/// the options allow it.
fn read_or_create(
    options: &Options,
    path: &Path,
    storage: &dyn StorageEngine,
) -> Result<StoredRecords, Error> {
    let Some(sealed) = storage.get(keys::IDENTITY)? else {
        let log_dir = path.join(LOG_NAME);
        if recovery::has_segments(options.files.as_ref(), &log_dir)? {
            return Err(Error::StorageMissing { path: log_dir });
        }
        if !options.creates() {
            return Err(database_missing(path));
        }
        let schema = options.schema.resolved(None);
        let database_id = options.database_id.unwrap_or_else(random_u128);
        let stored_opening = OpeningRecord::first(options.opening_id_step);
        let mut batch = WriteBatch::new();
        put(&mut batch, keys::IDENTITY, identity::encode(database_id));
        put(&mut batch, keys::OPENING, stored_opening.encode());
        put(&mut batch, keys::SCHEMA, schema.encode());
        storage.write_batch(batch)?;
        storage.flush()?;
        return Ok(StoredRecords {
            database_id,
            created: true,
            persisted: schema.clone(),
            schema,
            stored_opening,
        });
    };
    let found = identity::decode(keys::unseal(keys::IDENTITY, &sealed)?, keys::IDENTITY)?;
    if let Some(expected) = options.database_id
        && expected != found
    {
        return Err(Error::ForeignDatabase {
            path: PathBuf::from("the storage engine"),
            found,
            expected,
        });
    }
    let persisted = read_record(storage, keys::SCHEMA, Schema::decode)?;
    Ok(StoredRecords {
        database_id: found,
        created: false,
        schema: schema_in_force(options, &persisted)?,
        persisted,
        stored_opening: read_record(storage, keys::OPENING, OpeningRecord::decode)?,
    })
}

pub(super) fn database_missing(path: &Path) -> Error {
    Error::DatabaseMissing {
        path: path.to_path_buf(),
    }
}

/// The record under `key`, which every database has.
fn read_record<T>(
    storage: &dyn StorageEngine,
    key: &[u8],
    decode: impl FnOnce(&[u8], &[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    let sealed = storage.get(key)?.ok_or_else(|| Error::CorruptValue {
        key: key.to_vec(),
        what: "it is missing",
    })?;
    decode(keys::unseal(key, &sealed)?, key)
}

/// The schema of the options, for a database with the schema `persisted`. All unset parts are set.
fn schema_in_force(options: &Options, persisted: &Schema) -> Result<Schema, Error> {
    if options.schema_stored {
        return Ok(persisted.clone());
    }
    options.schema.check_extends(persisted)?;
    Ok(options.schema.resolved(Some(persisted)))
}

/// Makes the record of this opening durable, and with it the schema if signals were appended.
fn persist_opening(
    opening: &OpeningRecord,
    schema: Option<&Schema>,
    storage: &dyn StorageEngine,
) -> Result<(), Error> {
    let mut batch = WriteBatch::new();
    put(&mut batch, keys::OPENING, opening.encode());
    if let Some(schema) = schema {
        put(&mut batch, keys::SCHEMA, schema.encode());
    }
    storage.write_batch(batch)?;
    storage.flush()
}

/// Stores the first checkpoint record if storage has none. From now on an open refuses a missing log.
fn confirm_log(storage: &dyn StorageEngine, checkpoint: CheckpointRecord) -> Result<(), Error> {
    if checkpoint.log_exists {
        return Ok(());
    }
    storage.put(
        keys::CHECKPOINT,
        &keys::seal(keys::CHECKPOINT, record::encode(0, 0, History::NONE)),
    )?;
    storage.flush()
}

fn put(batch: &mut WriteBatch, key: &[u8], value: Vec<u8>) {
    batch.put(key, keys::seal(key, value));
}
