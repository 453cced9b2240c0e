//! The table of the planted bugs: for each its promise, the kinds of its findings, the needs of its sweep, the calls that it
//! applies to and its action.

use std::fmt;

use super::calls::{self, is_batch, is_record, is_set_back};
use super::storage::number_and_state;
use super::{BugPlace, FailureKind, Needs, files, storage};
use crate::testing::faults::FileRole::{
    LogDir, NewSegment, NewStoreFile, Other, Segment, StoreDir, StoreFile,
};
use crate::testing::workload::Operation;
use crate::{Durability, Options};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct BugRow {
    promise: &'static str,
    caught_by: &'static [FailureKind],
    pub(super) needs: Needs,
    pub(super) place: BugPlace,
}

macro_rules! planted_bugs {
    ($(
        $(#[$doc:meta])*
        $name:ident: $promise:literal,
            [$($kind:ident),+], $needs:ident, $place:expr;
    )+) => {
        /// A bug that can be planted into a sweep.
        ///
        /// The first finding of a sweep with the bug is of the first kind. A sweep that looks for one of the other kinds alone
        /// finds that one as well.
        ///
        /// | bug | broken promise | findings |
        /// |---|---|---|
        $(#[doc = concat!(
            "| [`", stringify!($name), "`](Self::", stringify!($name), ") | ", $promise, " |",
            $(" [`", stringify!($kind), "`](FailureKind::", stringify!($kind), ")",)+
            " |"
        )])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum PlantedBug {
            $($(#[$doc])* $name,)+
        }

        impl PlantedBug {
            /// Every bug, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name of the variant.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            pub(super) fn row(self) -> BugRow {
                match self {
                    $(Self::$name => BugRow {
                        promise: $promise,
                        caught_by: &[$(FailureKind::$kind),+],
                        needs: Needs::$needs,
                        place: $place,
                    },)+
                }
            }
        }
    };
}

impl PlantedBug {
    /// The promise that it breaks.
    pub fn promise(self) -> &'static str {
        self.row().promise
    }

    /// The kinds of its findings: first the kind of a sweep's first finding, then others that a sweep finds as well.
    pub fn caught_by(self) -> &'static [FailureKind] {
        self.row().caught_by
    }
}

impl fmt::Display for PlantedBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

planted_bugs! {
    /// Syncs of segments do nothing.
    SegmentSyncSkipped: "every event synced: acknowledged is durable",
        [AcknowledgedBeforeDurable, Lost], Nothing, BugPlace::files(&["sync"], &[Segment], files::skip);
    /// Every third sync of a segment does nothing.
    ThirdSegmentSyncSkipped: "every event synced: acknowledged is durable, at any time",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::files(&["sync"], &[Segment], files::skip).one_in(3);
    /// Writes of segments are made after the sync that was to make them durable.
    WrittenAfterSync: "acknowledged once it is synced, not only asked for",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::files(&["write_at", "sync"], &[Segment], files::write_after_sync);
    /// Timed syncs of segments do nothing.
    TimedSyncSkipped: "synced every n ms: `durable_sequence()` is durable",
        [AcknowledgedBeforeDurable, Lost], TimedSyncs, BugPlace::files(&["sync"], &[Segment], files::skip);
    /// The new segment's content is not synced before it has its name.
    SegmentHeaderSyncSkipped: "a segment is synced before it is renamed",
        [Refused, Diverged], Nothing, BugPlace::files(&["sync"], &[NewSegment], files::skip);
    /// The segment that is full is not synced.
    SealingSyncSkipped: "the old segment is synced before its successor takes a frame",
        [AcknowledgedBeforeDurable, Refused], NoBarriers, BugPlace::files(&["sync"], &[Segment], files::skip);
    /// Syncs of the store's files do nothing.
    StoreSyncSkipped: "storage is flushed before a change of a collection is acknowledged",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync"], &[StoreFile], files::skip);
    /// A new file of the store is not synced before it has its name.
    StoreHeaderSyncSkipped: "the store's file is synced before it is renamed",
        [Refused, Diverged], Nothing, BugPlace::files(&["sync"], &[NewStoreFile], files::skip);
    /// Syncs of the log's directory do nothing.
    LogDirectorySyncSkipped: "the log's directory is synced before the first frame",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync_dir"], &[LogDir], files::skip);
    /// Syncs of the store's directory do nothing.
    StoreDirectorySyncSkipped: "flush is power-safe, the names of files included",
        [AcknowledgedBeforeDurable, Refused], Nothing, BugPlace::files(&["sync_dir"], &[StoreDir], files::skip);
    /// Syncs of the other directories do nothing.
    DatabaseDirectorySyncSkipped: "the database's directories are durable before the first frame",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync_dir"], &[Other], files::skip);
    /// A thread that does not inherit the injector syncs segments.
    UnwatchedThread: "threads are spawned by one helper and inherit the injector",
        [Unwatched], Nothing, BugPlace::files(&["sync"], &[Segment], files::sync_elsewhere);
    /// A new file gets its final name, and is synced then.
    RenamedBeforeSync: "made under a temporary name, synced, then renamed",
        [Refused], Nothing, BugPlace::files(&["sync", "rename"], &[], files::rename_before_sync);
    /// A new file is made under its final name.
    TemporaryNameSkipped: "made under a temporary name",
        [Refused], Nothing, BugPlace::files(&["open", "rename"], &[], files::make_under_final_name);
    /// A file that is renamed keeps its old name as well.
    OldNameKept: "a crash inside open, twice, changes nothing",
        [NotIdempotent], Nothing, BugPlace::files(&["rename"], &[], files::keep_old_name);
    /// Removals do nothing.
    RemovalSkipped: "covered segments are deleted",
        [LeftBehind], Nothing, BugPlace::files(&["remove"], &[], files::skip);
    /// Segments are removed that no checkpoint covers.
    SegmentRemovedEarly: "only covered segments are deleted; a segment missing above N is an error",
        [Refused], Nothing, BugPlace::files(&["open", "remove"], &[Segment, NewSegment], files::remove_oldest);
    /// Every opener gets the lock.
    LockAlwaysGranted: "a second opener is told `Locked`",
        [NotLocked], Nothing, BugPlace::files(&["lock"], &[], files::grant_lock);
    /// The lock outlives its holder.
    LockLeftBehind: "`Drop` and `close` unlock explicitly",
        [LeftBehind], Nothing, BugPlace::files(&["lock"], &[], files::leak_lock);
    /// Files are never closed.
    FileLeftOpen: "nothing of a dropped handle is left",
        [LeftBehind], Nothing, BugPlace::files(&["open"], &[], files::leak_file);
    /// Writes of segments stay in memory until a sync.
    WriteDeferred: "no user-space buffer holds an acknowledged event",
        [Lost], NoSyncs, BugPlace::files(&["write_at", "sync"], &[Segment], files::write_before_sync);
    /// Of two writes of a segment the later one is made first.
    WritesSwapped: "an acknowledgement waits until every earlier frame is written",
        [Lost], NoSyncs, BugPlace::files(&["write_at", "sync"], &[Segment], files::swap_writes);
    /// Half of a write is made, and all of it reported.
    ShortWriteHidden: "a frame is wholly there",
        [Lost, Refused], Nothing, BugPlace::files(&["write_at"], &[Segment], files::write_half).one_in(3);
    /// A bit of a segment is wrong.
    SegmentBitFlipped: "a flipped bit is refused or cut, never wrong state, never silent where synced was promised",
        [Lost, Refused], Nothing, BugPlace::files(&["write_at"], &[Segment], files::flip_bit).one_in(3);
    /// A bit of the store is wrong.
    StoreBitFlipped: "nothing is read from the store that was not written",
        [Refused], Nothing, BugPlace::files(&["write_at"], &[StoreFile], files::flip_bit).one_in(3);
    /// Dropping the handle syncs.
    DropSyncs: "`Drop` changes no durable state",
        [DropWrote], Nothing, BugPlace::files(&["close"], &[Segment], files::sync_at_close);
    /// Failed writes and syncs are reported as successful.
    WriteErrorSwallowed: "any failed write or sync poisons",
        [LifeAfterDeath, AcknowledgedAfterDeath], Nothing,
        BugPlace::files(&["write_at", "sync", "sync_dir"], &[], files::swallow_error);
    /// A failed write is tried again.
    WriteRetried: "after a failure nothing is retried",
        [LifeAfterDeath], Nothing, BugPlace::files(&["write_at"], &[], files::retry);
    /// An error while reading is reported as the end of the file.
    ReadErrorAsEnd: "an error while reading is no torn tail: open fails with it",
        [Lost, Refused], Nothing, BugPlace::files(&["read_at"], &[Segment], files::end_early);
    /// A new file of the store is read as it was when it was opened.
    StaleRead: "what was written is read",
        [CannotGoOn], Nothing, BugPlace::files(&["read_at"], &[StoreFile], files::read_as_created);
    /// Opening panics at a leftover temporary file.
    LeftoverPanics: "nothing read from disk can make it panic",
        [Panicked], Nothing, BugPlace::files(&["list"], &[LogDir], files::panic_at_leftover);
    /// Opening hangs at a leftover temporary file.
    LeftoverHangs: "nothing read from disk can make it loop",
        [Hang], ShortCases, BugPlace::files(&["list"], &[LogDir], files::hang_at_leftover);
    /// The last segment is gone at open.
    LastSegmentLost: "acknowledged events survive",
        [Lost], Nothing, BugPlace::files(&[], &[], |call, state| {
            files::lose(call, state, |it| files::segments(it).into_iter().skip(1).last().into_iter().collect())
        });
    /// All segments are gone at open.
    LogLost: "a missing log is an error, and no fresh database",
        [Refused], Nothing, BugPlace::files(&[], &[], |call, state| files::lose(call, state, files::segments));
    /// The store is gone at open.
    StoreLost: "a log without its storage is an error",
        [Refused], Nothing, BugPlace::files(&[], &[], |call, state| files::lose(call, state, files::store_files));
    /// The store is an older one at open.
    StoreRolledBack: "continuity is required above N",
        [Refused, Lost], Nothing, BugPlace::files(&[], &[], files::roll_store_back);

    /// The checkpoint's batch is applied operation by operation.
    CheckpointOneByOne: "`write_batch` is atomic",
        [Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, storage::one_by_one)
        });
    /// The checkpoint's number is written before its state.
    CheckpointNumberFirst: "state and N are written together: N is not ahead",
        [Lost], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| number_and_state(batch).into())
        });
    /// The checkpoint's number is written after its state.
    CheckpointNumberLast: "state and N are written together: N is not behind",
        [Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| number_and_state(batch).into_iter().rev().collect())
        });
    /// The checkpoint's number is not written: replay applies its events again.
    CheckpointNumberDropped: "every frame with a number above N is replayed exactly once",
        [Refused, Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| number_and_state(batch).into_iter().skip(1).collect())
        });
    /// The log's marker is written, and the log trimmed, before the checkpoint.
    CheckpointDeferred: "the checkpoint is flushed before the marker and before segments are deleted",
        [Refused], Nothing, BugPlace::storage(&["put", "delete", "write_batch"], |call, state| {
            storage::defer(call, state, storage::is_checkpoint)
        });
    /// The storage has no checkpoint.
    CheckpointForgotten: "no checkpoint means replay from the start",
        [Refused], Nothing, BugPlace::storage(&["get"], storage::forget_checkpoint);
    /// A checkpoint does not overwrite the states that are there.
    OverwriteIgnored: "a put replaces the value",
        [CannotGoOn, Half], Nothing, BugPlace::storage(&["write_batch"], storage::keep_old_states);
    /// The members of a deleted collection go one by one.
    CollectionDeletedInParts: "each change of a collection is atomic",
        [Lost, Wrong], Nothing, BugPlace::storage(&["write_batch"], storage::delete_one_by_one);
    /// Flushes do nothing.
    FlushSkipped: "`flush` is power-safe when it returns",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing, BugPlace::storage(&["flush"], storage::skip);
    /// The identity is not flushed before the first segment.
    FirstFlushSkipped: "database id and schema are flushed before the first segment",
        [Refused], Nothing, BugPlace::storage(&["flush"], storage::skip_first_flush);
    /// Closing the storage does nothing.
    CloseSkipped: "`close` makes every write durable",
        [AcknowledgedBeforeDurable], ChangeLast, BugPlace::storage(&["close"], storage::skip);
    /// A put stays in memory until the next write.
    PutDeferred: "storage writes survive a process crash once they return",
        [CannotGoOn, Lost], NoSyncs,
        BugPlace::storage(&["put", "delete", "write_batch", "flush", "close"], |call, state| {
            storage::defer(call, state, storage::is_put)
        });
    /// Deletions do nothing.
    DeleteIgnored: "a deleted key is gone",
        [Wrong], Nothing, BugPlace::storage(&["delete"], storage::skip);
    /// Keys are cut, so that some are confused.
    KeysCut: "names that are prefixes of one another are never confused",
        [Refused], Nothing, BugPlace::storage(&["get", "put", "delete", "write_batch"], storage::cut_keys);
    /// A scan shows a pair that has another prefix.
    ScanTooLong: "`scan_prefix` shows what has the prefix and nothing else",
        [Refused], Nothing, BugPlace::storage(&["scan_prefix"], storage::scan_too_much);
    /// A scan leaves out its last pair.
    ScanWithoutLast: "`scan_prefix` shows all that has the prefix",
        [Refused, Lost], Nothing, BugPlace::storage(&["scan_prefix"], storage::scan_without_last);
    /// Failed storage calls are reported as successful.
    StorageErrorSwallowed: "any failed storage call poisons",
        [LifeAfterDeath, AcknowledgedAfterDeath], Nothing,
        BugPlace::storage(&["put", "delete", "write_batch", "flush", "close"], storage::swallow_error);

    /// A call is acknowledged, and made with the next one.
    AcknowledgedFirst: "acknowledged last, after everything else",
        [Lost], Nothing, BugPlace::calls(Operation::is_frame, calls::acknowledge_first);
    /// The database is opened with a weaker policy than the promised one.
    WeakerPolicy: "the policy in force is the one that was chosen",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::Options(|options, _| options.durability(Durability::OperatingSystem));
    /// A sync is acknowledged and not made.
    SyncDropped: "`sync` makes everything acknowledged durable",
        [AcknowledgedBeforeDurable, Lost], NoSyncs,
        BugPlace::calls(|operation| *operation == Operation::Sync, calls::skip);
    /// A checkpoint is acknowledged and not made.
    CheckpointDropped: "a checkpoint makes durable what it covers",
        [Lost], NoSyncs, BugPlace::calls(|operation| *operation == Operation::Checkpoint, calls::skip);
    /// The receipt of every third frame has the number of the frame before.
    NumberRepeated: "every frame has a number of its own",
        [Wrong], Nothing, BugPlace::calls(Operation::is_frame, calls::repeat_number).one_in(3);
    /// Every third frame is recorded twice.
    CallTwice: "an event is never applied twice",
        [Doubled], Nothing, BugPlace::calls(Operation::is_frame, calls::call_twice).one_in(3);
    /// Every third frame is acknowledged and not recorded.
    CallDropped: "no hole",
        [Lost], NoSyncs, BugPlace::calls(Operation::is_frame, calls::skip).one_in(3);
    /// A batch is recorded in two calls.
    CallSplit: "one call is one frame, wholly there or wholly absent",
        [Half], Nothing, BugPlace::calls(is_batch, calls::split_batch);
    /// The events of a batch are recorded in the reverse order.
    BatchReversed: "user rings and co-engagement apply in log order",
        [Wrong], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_events(state, db, operation, |events| events.reverse())
        });
    /// Events lose their cohorts.
    CohortsDropped: "cohorts are fed from the same frame",
        [Half], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_each_event(state, db, operation, |event| event.cohorts.clear())
        });
    /// Events lose their user.
    UserDropped: "co-engagement is fed from the same frame",
        [Half], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_each_event(state, db, operation, |event| event.user = None)
        });
    /// Every third frame is recorded and its call refused.
    RefusedAndDone: "an error before the log leaves the state unchanged",
        [Wrong], Nothing, BugPlace::calls(Operation::is_frame, calls::refuse_too).one_in(3);
    /// An event ahead of the clock is recorded at its own time, and the receipt has the clock's.
    SetBackIgnored: "an event ahead of the clock is recorded at the clock's now",
        [Wrong], Nothing, BugPlace::calls(is_set_back, calls::ignore_set_back);
    /// The database is opened with no bound on how far ahead of the clock an event may be.
    SkewUnlimited: "an event too far ahead of the clock is refused before the log",
        [Wrong], Nothing, BugPlace::Options(|options, _| options.skew_ms_max(u64::MAX));
    /// Each opening is given the id of another database.
    OtherDatabase: "another database's files are an error of their own",
        [Refused], Nothing, BugPlace::Options(|options, opening| options.database_id(opening.into()));
    /// The database's id is random.
    RandomBytes: "with one caller a run is deterministic to the byte",
        [ModesDisagree], Nothing, BugPlace::Options(|options, _| Options { database_id: None, ..options });
    /// Later runs do less than the first.
    RunsDiffer: "a crash that is never reached is no pass",
        [ModesDisagree, NeverReached], Nothing, BugPlace::calls(Operation::is_frame, calls::refuse_later_runs);
}
