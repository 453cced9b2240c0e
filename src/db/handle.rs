//! The handle: open, record, collections, sync, close.
//!
//! Owns the shared state of a database, its threads and its lock. The module [`open`] has the steps of an open and the
//! state after a crash in each; [`TidalDb::close`] has those of a close.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::background::{WakeSignal, Workers};
use super::collections::Collections;
use super::growth::{GrowthLimits, NeededCheckpoint};
use super::open::{self, Opened};
use super::report::{RecoveryReport, TornTail};
use crate::fs;
use crate::ids::random_u128;
use crate::owner::Owner;
use crate::poison::Memory;
use crate::signals::checkpoint::{CheckpointTrigger, Checkpointer, Growth};
use crate::signals::ledger::{LedgerState, SignalLedger, validate};
use crate::storage::{FileStore, FileStoreOptions, FileStoreRecovery, GuardedStorage, StorageEngine};
use crate::sync::{AtomicI64, AtomicU64, Mutex, get_mut, lock};
use crate::wal::payload::Forget;
use crate::{
    Background, Durability, EntityId, Error, Options, Receipt, Schema, SetBack, SignalEvent, SignalId, UserId,
};

/// An open database. All methods take `&self` and may be called from many threads.
///
/// After a failed write, sync, storage call or checkpoint the handle is poisoned: writes fail with the first cause, and
/// reads continue. A panic has the same effect; if it left memory half changed, reads end too. A reopening recovers
/// every acknowledged call. Dropping the handle changes nothing on disk. [`close`](Self::close) makes a checkpoint and
/// appends the close marker to the log.
///
/// # Directory
/// [`open`](Self::open) resolves the path once. The handle holds that directory (and `log` and `store` in it) open and
/// uses it until it is dropped: also after a rename of the directory, after another directory took its name, and after
/// a `chdir`. It locks the directory and the file `LOCK` in it.
///
/// - Linux with `/proc` reaches the directory by its descriptor.
/// - Other systems reach it by its name. The name is compared with the open directory before and after the handle
///   creates, renames or removes a file, and before each sync and checkpoint. A rename between comparison and call is
///   not noticed.
/// - A file system without locks of directories, such as NFS: only `LOCK` is locked. If it was removed or replaced, the
///   next sync, rotation or checkpoint fails with [`Error::Poisoned`], and the cause is [`Error::DirectoryLost`].
/// - A removed directory gives the same error.
///
/// # Fork
/// Only the process that opened the handle may write. A forked child can drop its copy: this writes nothing and leaves
/// the parent's lock in place. `close` and other calls of the child that write fail with [`Error::Poisoned`], and the
/// cause is [`Error::Forked`]. Calls that read work.
///
/// The process id is compared in each sync, checkpoint, close and change of a collection. A call that records or
/// forgets compares it always under [`Durability::EverySynced`], otherwise once per millisecond of the
/// [`Clock`](crate::Clock): within that millisecond a child's write is not refused and can destroy acknowledged calls
/// of the parent. So do not record in a child. A daemon must open the database after its last fork.
///
/// A child that holds its copy and does not call `exec` holds the lock, also after the parent has ended. Dropping the
/// copy never blocks. But if another thread of the parent was inside a sync at the fork, the child holds the lock after
/// the drop too. A call that reads can block forever if another thread of the parent was inside a call at the fork. The
/// comparison does not detect a child with the same process id in a new process-id namespace. If the
/// [`Clock`](crate::Clock) does not advance, the millisecond does not end.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tidaldb::{EntityId, Options, Schema, Signal, SignalEvent, TidalDb};
/// # let dir = std::env::temp_dir().join(format!("tidaldb-doc-{}", std::process::id()));
/// let schema = Schema::new().signal(Signal::new("view").half_life_ms(3_600_000));
/// let db = TidalDb::open(&dir, Options::new(schema))?;
/// let view = db.schema().signal_id("view")?;
/// let now_ms = 1_700_000_000_000;
/// db.record(&SignalEvent::new(view, EntityId(7), now_ms))?;
/// assert_eq!(db.score(EntityId(7), view, 0, now_ms)?, 1.0);
/// assert_eq!(db.score(EntityId(7), view, 0, now_ms + 3_600_000)?, 0.5);
/// db.close()?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(())
/// # }
/// ```
pub struct TidalDb {
    pub(super) shared: Arc<Shared>,
    workers: Mutex<Option<Workers>>,
    wake_signal: Option<Arc<WakeSignal>>,
    report: RecoveryReport,
    /// Dropped last: the lock must be held until the storage engine is dropped, because its destructor may write.
    owner: Arc<Owner>,
}

/// The state that the handle and its threads share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) ledger: SignalLedger,
    pub(super) checkpointer: Checkpointer,
    pub(super) collections: Collections,
    pub(super) storage: Arc<GuardedStorage>,
    growth_limits: GrowthLimits,
    /// The time of the caller's last timed sync.
    synced_at_ms: AtomicI64,
    /// Events that were ahead of the clock and recorded at the time of the clock.
    pub(super) events_set_back: AtomicU64,
}

impl fmt::Debug for TidalDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TidalDb")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl TidalDb {
    /// Opens the database in the directory `path`, with the embedded store, and recovers it. A missing directory is
    /// created, unless [`Options::create`] forbids it; its parent must exist.
    ///
    /// An open with other bounds of co-engagement than the persisted ones makes a checkpoint, which stores the new
    /// bounds and the state reduced to them together.
    ///
    /// # Errors
    /// `DatabaseMissing` if the directory has no database and the options do not create one; `Locked` if the database
    /// is open already; `SchemaMismatch`. `Corrupt`, `CorruptValue`, `SegmentMissing`, `StorageMissing`,
    /// `ForeignDatabase`, `ForeignHistory`, `BadMagic` or `UnsupportedVersion` if the files are not sound: nothing was
    /// changed. `Io`, with the path. `InvalidInput` or `LimitExceeded` for an option.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let path = &fs::resolve(path.as_ref())?;
        options.validate()?;
        if !options.creates() && !open::exists(options.files.as_ref(), path)? {
            return Err(open::database_missing(path));
        }
        let (options, owner) = open::lock_directory(options, path)?;
        let store_options = FileStoreOptions {
            segment_bytes_max: options.store_segment_bytes_max,
            store_id: Some(options.database_id.unwrap_or_else(random_u128)),
        };
        let store_dir = open::store_dir(options.files.as_ref(), path)?;
        let storage = FileStore::open_unchanged(
            Arc::clone(&options.files),
            store_dir,
            &store_options,
            options.limits,
        )?;
        // Log and store have the same id, which seeds their checksums. So bytes of another database are not valid.
        let options = Options {
            database_id: Some(storage.id(options.database_id)?),
            ..options
        };
        let recovery = storage.recovery().clone();
        let torn_tail = recovery.torn_tail.clone();
        let opened = Self::open_locked(path, options, Arc::new(storage), owner)
            .map(|db| db.with_store_recovery(recovery));
        // A failed open leaves no store, so the caller gets the first cause instead of `Poisoned`.
        opened.map_err(|error| match (error.into_first_cause(), torn_tail) {
            // A damaged last record is a torn write. But the log lacks frames, so the record may have been a
            // checkpoint.
            (Error::SegmentMissing { sequence, .. }, Some(TornTail { path, offset, .. })) => {
                let what =
                    "the last record is damaged, and the log no longer holds the frames that it may have covered";
                Error::corrupt(&path, offset, Some(sequence), what)
            }
            (error, _) => error,
        })
    }

    /// Opens the database whose log is in the directory `path` and whose checkpoints and collections are in `storage`.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open), and those of the storage engine.
    pub fn open_with_storage(
        path: impl AsRef<Path>,
        options: Options,
        storage: Arc<dyn StorageEngine>,
    ) -> Result<Self, Error> {
        let path = &fs::resolve(path.as_ref())?;
        options.validate()?;
        if !options.creates() && !open::exists_in(storage.as_ref(), options.files.as_ref(), path)? {
            return Err(open::database_missing(path));
        }
        let (options, owner) = open::lock_directory(options, path)?;
        Self::open_locked(path, options, storage, owner)
    }

    fn open_locked(
        path: &Path,
        mut options: Options,
        storage: Arc<dyn StorageEngine>,
        owner: Arc<Owner>,
    ) -> Result<Self, Error> {
        let Opened {
            schema,
            ledger,
            checkpointer,
            collections,
            storage,
            report,
        } = open::open(path, &options, storage, &owner)?;
        options.schema = schema;
        let synced_at_ms = AtomicI64::new(options.clock.now_ms());
        let shared = Arc::new(Shared {
            growth_limits: GrowthLimits::new(&options),
            options,
            ledger,
            checkpointer,
            collections,
            storage,
            synced_at_ms,
            events_set_back: AtomicU64::new(0),
        });
        let workers = shared
            .start_workers()
            .map_err(|error| Error::io("start a thread for", path, error))?;
        let wake_signal = workers.as_ref().map(Workers::wake_signal);
        Ok(Self {
            shared,
            workers: Mutex::new(workers),
            wake_signal,
            report,
            owner,
        })
    }

    /// Adds the recovery of the embedded store to the report.
    fn with_store_recovery(mut self, recovery: FileStoreRecovery) -> Self {
        self.report.store = Some(recovery);
        self
    }

    /// The current schema. The parts that were not set at open have the values of the stored schema or the defaults.
    pub fn schema(&self) -> &Schema {
        &self.shared.options.schema
    }

    /// The id of the signal of this name.
    ///
    /// # Errors
    /// `UnknownSignal`.
    pub fn signal(&self, name: impl AsRef<[u8]>) -> Result<SignalId, Error> {
        self.schema().signal_id(name)
    }

    /// The report of the opening of this handle.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Records one event: appends it to the log, then applies it to every aggregate.
    ///
    /// The [`Durability`] of the database decides if it is durable on return. Reads may return it before this call
    /// returns.
    ///
    /// An event ahead of the clock by at most [`Options::skew_ms_max`] is recorded at the time of the clock, and
    /// [`Receipt::set_back`] reports this. Otherwise one client with a fast clock would push the events of all others
    /// out of a score and a window. The log holds the recorded time, so a reopening reads no clock. An event further
    /// ahead is refused. An event can have any age.
    ///
    /// # Errors
    /// `InvalidInput`, `LimitExceeded`, `UnknownSignal`, `Closed` or `Poisoned`: the event was refused. The field of
    /// `InvalidInput` is `at_ms` if the event is too far ahead of the clock.
    /// [`OutcomeUnknown`](Error::OutcomeUnknown), with the receipt: the event may be in the database after reopening.
    pub fn record(&self, event: &SignalEvent<'_>) -> Result<Receipt, Error> {
        self.record_batch(std::slice::from_ref(event))
    }

    /// Records the events of one call, at most [`BATCH_EVENTS_MAX`](crate::limits::BATCH_EVENTS_MAX). After a crash all
    /// of them are recovered, or none. The clock is read once, so all events that are ahead of it are set back to the
    /// same time. If one event is too far ahead, the whole call is refused.
    ///
    /// # Errors
    /// The errors of [`record`](Self::record). If the call has several events, the error of one event is within
    /// `InBatch`, with its index.
    pub fn record_batch(&self, events: &[SignalEvent<'_>]) -> Result<Receipt, Error> {
        let shared = &self.shared;
        let now_ms = shared.options.clock.now_ms();
        let Options {
            schema, skew_ms_max, ..
        } = &shared.options;
        let ahead_len = validate::events(schema, events, now_ms, *skew_ms_max)?;
        self.before_write(now_ms, |state| state.changed_bytes_max(events))?;
        let set_back = (ahead_len > 0).then_some(SetBack {
            events_len: ahead_len,
            to_ms: now_ms,
        });
        let recorded = if ahead_len == 0 {
            shared.ledger.record_signal(events)
        } else {
            shared.ledger.record_signal(&set_back_to(now_ms, events))
        };
        let receipt = recorded.map_err(|error| error.with_set_back(set_back))?;
        shared
            .events_set_back
            .fetch_add(ahead_len.into(), Ordering::Relaxed);
        Ok(Receipt { set_back, ..receipt })
    }

    /// Forgets an entity: its scores, windows, cohort values and related items, and its entries among the related items
    /// of others. Collections are lists of the application: the entity stays in them. An item whose related items were
    /// all forgotten still counts for the bounds of co-engagement, and so does a user whose recent items were all
    /// forgotten.
    ///
    /// Ordered with events: later events count again. It becomes durable like an event. A read that begins after this
    /// call returned shows only later events of the entity. The time grows with the number of states of the entity, not
    /// with the size of the database. A writer waits only for a small part of this time.
    ///
    /// # Bytes
    /// The states and the related items of the entity are removed from memory before the call returns. Its entries
    /// among the related items of others and in the rings of users are removed step by step: each later call that
    /// forgets an entity or records a positive event takes a few steps. When
    /// [`Statistics::tombstones_len`](crate::Statistics::tombstones_len) is 0, none is left. An open removes all of
    /// them.
    ///
    /// The first checkpoint after that stores no copy. Older copies stay in the files until the log is trimmed up to
    /// this checkpoint and the store has compacted its files; no open shows them. To remove the entries and the copies
    /// in the log immediately, close the database, open it and call [`checkpoint`](Self::checkpoint). The database
    /// cannot erase the blocks that the file system has freed.
    ///
    /// # Errors
    /// The errors of [`record`](Self::record).
    pub fn forget_entity(&self, entity: EntityId) -> Result<Receipt, Error> {
        self.forget(Forget::Entity(entity))
    }

    /// Forgets a user: the items that the user engaged with. The related items that follow from these stay, because
    /// they name no user.
    ///
    /// The items of the user are removed from memory before the call returns. Copies in the files are removed as by
    /// [`forget_entity`](Self::forget_entity): the next checkpoint stores none, and older ones stay until the log is
    /// trimmed and the store has compacted its files.
    ///
    /// # Errors
    /// The errors of [`record`](Self::record).
    pub fn forget_user(&self, user: UserId) -> Result<Receipt, Error> {
        self.forget(Forget::User(user))
    }

    fn forget(&self, forget: Forget) -> Result<Receipt, Error> {
        let adding_bytes = |state: &LedgerState| state.forget_bytes_max(forget);
        self.before_write(self.shared.options.clock.now_ms(), adding_bytes)?;
        self.shared.ledger.forget(forget)
    }

    /// Makes every acknowledged event and change of a collection durable.
    ///
    /// # Errors
    /// `Closed`; `Poisoned`, by an earlier failure or by this one.
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.ledger.check_open()?;
        self.shared.sync()
    }

    /// Makes a checkpoint, unless nothing has changed since the last one, and returns the sequence number that it
    /// covers.
    ///
    /// # Errors
    /// `Closed`; `Poisoned`, by an earlier failure or by this one.
    pub fn checkpoint(&self) -> Result<u64, Error> {
        self.check_process()?;
        self.shared.checkpoint(CheckpointTrigger::Grown(Growth::ANY))
    }

    /// Closes the database. On `Ok` every acknowledged call is durable. If one file of a database with the embedded
    /// store is damaged later, `open` refuses the database or recovers every call. Later calls of the handle fail with
    /// `Closed`.
    ///
    /// The steps, and the state that a crash after each leaves:
    ///
    /// 1. Wait for running calls, and stop the threads: the log holds the calls since the last checkpoint.
    /// 2. Write the checkpoint's batch: checkpoint and log.
    /// 3. Close the storage engine: a store that promises all its records.
    /// 4. Append and sync the close marker: a log that promises all its frames, and the collections in storage.
    /// 5. Release the lock.
    ///
    /// # Errors
    /// `Closed` if another call closes or has closed the handle. `Poisoned` with the cause `Forked`: the call did
    /// nothing, and the lock is still held. `Poisoned` with another cause: the handle is closed and the lock is
    /// released; a reopening recovers as after a crash.
    pub fn close(&self) -> Result<(), Error> {
        self.check_process()?;
        if !self.shared.ledger.close() {
            return Err(Error::Closed);
        }
        self.stop_workers();
        let closed = self.shared.finish_close();
        if closed.is_err() {
            self.shared.ledger.log.wait_for_sync();
            self.shared.storage.wait_for_flush();
        }
        // No call of this handle uses the files any more, also after an error.
        self.owner.release();
        closed
    }

    /// Creates an empty collection. Any 1 to 255 bytes are a legal name.
    ///
    /// Durable on return when every event is synced; otherwise after the next sync.
    ///
    /// # Errors
    /// `CollectionExists`, `InvalidInput` or `LimitExceeded` for the name, `Closed` or `Poisoned`: the change was
    /// refused. [`OutcomeUnknown`](Error::OutcomeUnknown): the change may be in the database after a reopening.
    pub fn create_collection(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.before_change()?;
        self.shared.collections.create_collection(name.as_ref())
    }

    /// Removes a collection and its members in one step. Becomes durable like
    /// [`create_collection`](Self::create_collection).
    ///
    /// # Errors
    /// `UnknownCollection`, `Closed` or `Poisoned`: the change was refused. [`OutcomeUnknown`](Error::OutcomeUnknown):
    /// the change may be in the database after a reopening.
    pub fn delete_collection(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.before_change()?;
        self.shared.collections.delete_collection(name.as_ref())
    }

    /// Adds a member. Returns true if the entity was not a member before. Becomes durable like
    /// [`create_collection`](Self::create_collection).
    ///
    /// # Errors
    /// `UnknownCollection`, `Closed` or `Poisoned`: the change was refused. [`OutcomeUnknown`](Error::OutcomeUnknown):
    /// the change may be in the database after a reopening.
    pub fn add_to_collection(&self, name: impl AsRef<[u8]>, entity: EntityId) -> Result<bool, Error> {
        self.before_change()?;
        self.shared.collections.add_to_collection(name.as_ref(), entity)
    }

    /// Removes a member. Returns true if the entity was a member. Becomes durable like
    /// [`create_collection`](Self::create_collection).
    ///
    /// # Errors
    /// `UnknownCollection`, `Closed` or `Poisoned`: the change was refused. [`OutcomeUnknown`](Error::OutcomeUnknown):
    /// the change may be in the database after a reopening.
    pub fn remove_from_collection(&self, name: impl AsRef<[u8]>, entity: EntityId) -> Result<bool, Error> {
        self.before_change()?;
        self.shared
            .collections
            .remove_from_collection(name.as_ref(), entity)
    }

    /// Checks that the handle may write, and makes the timed sync if it is due and the caller does the background work.
    fn before_change(&self) -> Result<(), Error> {
        self.check_process()?;
        self.shared.ledger.check_open()?;
        self.sync_if_due(|| self.shared.options.clock.now_ms())
    }

    /// Checks that the handle may write. Makes or requests the checkpoint that this call needs, and makes the timed sync
    /// if the caller does the background work. `adding_bytes` returns the most bytes that the call can add to the batch
    /// of the next checkpoint.
    fn before_write(
        &self,
        now_ms: i64,
        adding_bytes: impl FnOnce(&LedgerState) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        let shared = &self.shared;
        if shared.options.durability == Durability::EverySynced {
            self.check_process()?;
        } else {
            let checked = self.owner.check_process_once_per_ms(now_ms);
            checked.map_err(|error| shared.ledger.poison.fail(error))?;
        }
        shared.ledger.check_open()?;
        let growth = shared.checkpointer.growth(&shared.ledger);
        let needed = shared.growth_limits.needed_checkpoint(growth, || {
            let adding_bytes = adding_bytes(&shared.ledger.state);
            adding_bytes.map_err(|error| shared.ledger.poison.fail_unreadable(error))
        })?;
        match needed {
            NeededCheckpoint::None => {}
            NeededCheckpoint::Soon => {
                if let Some(wake_signal) = &self.wake_signal {
                    wake_signal.request_checkpoint();
                }
            }
            NeededCheckpoint::First(least) => {
                shared.checkpoint(CheckpointTrigger::Grown(least))?;
            }
        }
        self.sync_if_due(|| now_ms)
    }

    /// Makes the timed sync if it is due and the caller does the background work.
    fn sync_if_due(&self, now_ms: impl FnOnce() -> i64) -> Result<(), Error> {
        let shared = &self.shared;
        if self.wake_signal.is_none()
            && let Durability::SyncedEvery { interval_ms } = shared.options.durability
        {
            let now_ms = now_ms();
            // If the clock was set back far, the sync must not wait until the clock reaches the old time again.
            if now_ms.abs_diff(shared.synced_at_ms.load(Ordering::Relaxed)) >= interval_ms {
                shared.synced_at_ms.store(now_ms, Ordering::Relaxed);
                shared.sync()?;
            }
        }
        Ok(())
    }

    fn stop_workers(&self) {
        let workers = lock(&self.workers).take();
        drop(workers);
    }

    /// Ends writing in a forked child. Takes no lock: another thread of the parent may have held it during the fork.
    fn check_process(&self) -> Result<(), Error> {
        let checked = self.owner.check_process();
        checked.map_err(|error| self.shared.ledger.poison.fail(error))
    }
}

/// The events, with those later than `now_ms` set back to `now_ms`.
fn set_back_to<'a>(now_ms: i64, events: &[SignalEvent<'a>]) -> Vec<SignalEvent<'a>> {
    let set_back = |event: &SignalEvent<'a>| SignalEvent {
        at_ms: event.at_ms.min(now_ms),
        ..*event
    };
    events.iter().map(set_back).collect()
}

impl Drop for TidalDb {
    /// Stops the threads. Writes, syncs and removes nothing. Then the fields are dropped in their order, the lock last.
    ///
    /// In a forked child the threads do not exist, and the destructor of the engine may write: both are leaked. The
    /// child takes no lock here, because another thread of the parent may have held it during the fork.
    fn drop(&mut self) {
        if self.owner.is_this_process() {
            self.stop_workers();
            return;
        }
        std::mem::forget(Arc::clone(&self.shared));
        std::mem::forget(get_mut(&mut self.workers).take());
        self.owner.release_copy();
    }
}

impl Shared {
    fn start_workers(self: &Arc<Self>) -> std::io::Result<Option<Workers>> {
        if self.options.background == Background::Caller {
            return Ok(None);
        }
        let mut workers = Workers::default();
        let shared = Arc::clone(self);
        let trigger = CheckpointTrigger::Grown(self.growth_limits.due());
        workers.start_checkpoints(move || shared.checkpoint(trigger).is_ok())?;
        if let Durability::SyncedEvery { interval_ms } = self.options.durability {
            let shared = Arc::clone(self);
            workers.start_syncs(interval_ms, move || shared.sync().is_ok())?;
        }
        Ok(Some(workers))
    }

    fn checkpoint(&self, trigger: CheckpointTrigger<'_>) -> Result<u64, Error> {
        self.checkpointer.checkpoint(&self.ledger, &self.storage, trigger)
    }

    /// Ends a handle that accepts no new call. Waits for running changes and checkpoints. Later ones fail with `Closed`
    /// and do nothing.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one.
    fn finish_close(&self) -> Result<(), Error> {
        self.collections.close();
        self.checkpoint(CheckpointTrigger::Closing)?;
        // After all writes to the engine, and before the close marker, which promises its collections.
        self.storage.close()?;
        let collections = || self.collections.digest();
        self.ledger
            .log
            .append_close(self.storage.is_written(), collections)
    }

    fn sync(&self) -> Result<(), Error> {
        let poison = &self.ledger.poison;
        // Also if every write is synced, because the durable files may be in a removed directory.
        poison.attempt("sync", Memory::Intact, || poison.check_owner())?;
        self.ledger.log.sync_to(self.ledger.log.last_sequence())?;
        self.storage.flush()
    }
}
