//! The table of the planted bugs: for each its promise, the kinds of its findings, the needs of its sweep, the calls that it
//! applies to and its action.

use std::fmt;
use std::sync::Arc;

use super::calls::{self, is_batch, is_record, is_set_back};
use super::storage::number_and_state;
use super::{BugPlace, FailureKind, Needs, files, storage, store, store_files};
use crate::limits::Limits;
use crate::storage::BatchOperation;
use crate::testing::faults::FileRole::{
    LogDir, NewSegment, NewStoreFile, Other, Segment, StoreDir, StoreFile,
};
use crate::testing::workload::Operation;
use crate::{Durability, Options};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct BugRow {
    kind: BugKind,
    caught_by: &'static [FailureKind],
    pub(super) needs: Needs,
    pub(super) place: BugPlace,
}

/// The feature of a sweep without which the bug is not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BugKind {
    /// Several sessions.
    Sessions,
    /// Changes of schema, options or clock between sessions.
    Changes,
    /// Sizes beyond limits inside the engine.
    Sizes,
    /// Faults of the disk, and images that not every disk leaves.
    Disk,
    /// None of these.
    Others,
}

impl BugKind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [Self; 5] = [
        Self::Sessions,
        Self::Changes,
        Self::Sizes,
        Self::Disk,
        Self::Others,
    ];

    /// The name of the variant, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Changes => "changes",
            Self::Sizes => "sizes",
            Self::Disk => "disk",
            Self::Others => "others",
        }
    }
}

impl fmt::Display for BugKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

macro_rules! planted_bugs {
    ($(
        $of:ident {$(
            $name:ident: $promise:literal,
                [$($kind:ident),+], $needs:ident, $place:expr;
        )*}
    )+) => {
        /// A bug that can be planted into a sweep.
        ///
        /// The first finding of a sweep with the bug is of the first kind. A sweep that looks for one of the other kinds alone
        /// finds that one as well.
        ///
        /// | bug | kind | broken promise | findings |
        /// |---|---|---|---|
        $($(#[doc = concat!(
            "| [`", stringify!($name), "`](Self::", stringify!($name), ") | ", stringify!($of), " | ", $promise, " |",
            $(" [`", stringify!($kind), "`](FailureKind::", stringify!($kind), ")",)+
            " |"
        )])*)+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum PlantedBug {
            $($(
                #[doc = concat!("Breaks a promise: ", $promise, ".")]
                $name,
            )*)+
        }

        impl PlantedBug {
            /// Every bug, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)+];

            /// The name of the variant.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$name => stringify!($name),)*)+
                }
            }

            pub(super) fn row(self) -> BugRow {
                match self {
                    $($(Self::$name => BugRow {
                        kind: BugKind::$of,
                        caught_by: &[$(FailureKind::$kind),+],
                        needs: Needs::$needs,
                        place: $place,
                    },)*)+
                }
            }
        }
    };
}

impl PlantedBug {
    /// The kinds of its findings: first the kind of a sweep's first finding, then others that a sweep finds as well.
    pub fn caught_by(self) -> &'static [FailureKind] {
        self.row().caught_by
    }

    /// The feature of a sweep without which it is not found.
    pub fn kind(self) -> BugKind {
        self.row().kind
    }
}

impl fmt::Display for PlantedBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

planted_bugs! {
Others {
    SegmentSyncSkipped: "every event synced: acknowledged is durable",
        [AcknowledgedBeforeDurable, Lost], Nothing, BugPlace::files(&["sync"], &[Segment], files::skip);
    ThirdSegmentSyncSkipped: "every event synced: acknowledged is durable, at any time",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::files(&["sync"], &[Segment], files::skip).one_in(3);
    WrittenAfterSync: "acknowledged once it is synced, not only asked for",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::files(&["write_at", "sync"], &[Segment], files::write_after_sync);
    TimedSyncSkipped: "synced every n ms: `durable_sequence()` is durable",
        [AcknowledgedBeforeDurable, Lost], TimedSyncs, BugPlace::files(&["sync"], &[Segment], files::skip);
    SegmentHeaderSyncSkipped: "a segment is synced before it is renamed",
        [Refused, Diverged], Nothing, BugPlace::files(&["sync"], &[NewSegment], files::skip);
    SealingSyncSkipped: "the old segment is synced before its successor takes a frame",
        [AcknowledgedBeforeDurable, Refused], NoBarriers, BugPlace::files(&["sync"], &[Segment], files::skip);
    StoreSyncSkipped: "storage is flushed before a change of a collection is acknowledged",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync"], &[StoreFile], files::skip);
    StoreHeaderSyncSkipped: "the store's file is synced before it is renamed",
        [AcknowledgedBeforeDurable, Refused], Nothing, BugPlace::files(&["sync"], &[NewStoreFile], files::skip);
    LogDirectorySyncSkipped: "the log's directory is synced before the first frame",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync_dir"], &[LogDir], files::skip);
    StoreDirectorySyncSkipped: "flush is power-safe, the names of files included",
        [AcknowledgedBeforeDurable, Refused], Nothing, BugPlace::files(&["sync_dir"], &[StoreDir], files::skip);
    DatabaseDirectorySyncSkipped: "the database's directories are durable before the first frame",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync_dir"], &[Other], files::skip);
    UnwatchedThread: "threads are spawned by one helper and inherit the injector",
        [Unwatched], Nothing, BugPlace::files(&["sync"], &[Segment], files::sync_elsewhere);
    RenamedBeforeSync: "made under a temporary name, synced, then renamed",
        [Refused], Nothing, BugPlace::files(&["sync", "rename"], &[], files::rename_before_sync);
    TemporaryNameSkipped: "made under a temporary name",
        [AcknowledgedBeforeDurable, Refused], Nothing, BugPlace::files(&["open", "rename"], &[], files::make_under_final_name);
    OldNameKept: "a crash inside open, twice, changes nothing",
        [NotIdempotent], Nothing, BugPlace::files(&["rename"], &[], files::keep_old_name);
    RemovalSkipped: "covered segments are deleted",
        [LeftBehind], Nothing, BugPlace::files(&["remove"], &[], files::skip);
    SegmentRemovedEarly: "only covered segments are deleted; a segment missing above N is an error",
        [Refused], Nothing, BugPlace::files(&["open", "remove"], &[Segment, NewSegment], files::remove_oldest);
    CompactedNameSyncSkipped: "a compacted file's name is durable before the files that it replaces are removed",
        [AcknowledgedBeforeDurable, Refused], Nothing, BugPlace::files(&["rename", "sync_dir"], &[], store_files::skip_sync_of_compacted_name);
    CompactedFileRemoved: "an older file is not taken for the compacted one that replaced it",
        [Refused], Nothing, BugPlace::files(&["remove"], &[StoreFile], store_files::remove_compacted);
    LockAlwaysGranted: "a second opener is told `Locked`",
        [NotLocked], Nothing, BugPlace::files(&["lock"], &[], files::grant_lock);
    LockLeftBehind: "`Drop` and `close` unlock explicitly",
        [LeftBehind], Nothing, BugPlace::files(&["lock"], &[], files::leak_lock);
    FileLeftOpen: "nothing of a dropped handle is left",
        [LeftBehind], Nothing, BugPlace::files(&["open"], &[], files::leak_file);
    WriteDeferred: "no user-space buffer holds an acknowledged event",
        [Lost], NoSyncs, BugPlace::files(&["write_at", "sync"], &[Segment], files::write_before_sync);
    WritesSwapped: "an acknowledgement waits until every earlier frame is written",
        [Lost], NoSyncs, BugPlace::files(&["write_at", "sync"], &[Segment], files::swap_writes);
    ShortWriteHidden: "a frame is wholly there",
        [Lost, Refused], Nothing, BugPlace::files(&["write_at"], &[Segment], files::write_half).one_in(3);
    SegmentBitFlipped: "a flipped bit is refused or cut, never wrong state, never silent where synced was promised",
        [Lost, Refused], Nothing, BugPlace::files(&["write_at"], &[Segment], files::flip_bit).one_in(3);
    StoreBitFlipped: "nothing is read from the store that was not written",
        [CannotContinue, Refused], Nothing, BugPlace::files(&["write_at"], &[StoreFile], files::flip_bit).one_in(3);
    DropSyncs: "`Drop` changes no durable state",
        [DropWrote], Nothing, BugPlace::files(&["close"], &[Segment], files::sync_at_close);
    WriteErrorSwallowed: "any failed write or sync poisons",
        [ContinuedAfterFault, AcknowledgedAfterFault], Nothing,
        BugPlace::files(&["write_at", "sync", "sync_dir"], &[], files::swallow_error);
    WriteRetried: "after a failure nothing is retried",
        [ContinuedAfterFault], Nothing, BugPlace::files(&["write_at"], &[], files::retry);

    CheckpointOneByOne: "`write_batch` is atomic",
        [Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, storage::one_by_one)
        });
    CheckpointNumberFirst: "state and N are written together: N is not ahead",
        [Lost], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| number_and_state(batch).into())
        });
    CheckpointNumberLast: "state and N are written together: N is not behind",
        [Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| number_and_state(batch).into_iter().rev().collect())
        });
    CheckpointNumberDropped: "every frame with a number above N is replayed exactly once",
        [Refused, Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| number_and_state(batch).into_iter().skip(1).collect())
        });
    CheckpointDeferred: "the checkpoint is flushed before the marker and before segments are deleted",
        [Refused], Nothing, BugPlace::storage(&["put", "delete", "write_batch"], |call, state| {
            storage::defer(call, state, storage::is_checkpoint)
        });
    CheckpointForgotten: "no checkpoint means replay from the start",
        [Refused], Nothing, BugPlace::storage(&["get"], storage::forget_checkpoint);
    OverwriteIgnored: "a put replaces the value",
        [CannotContinue, Half], Nothing, BugPlace::storage(&["write_batch"], storage::keep_old_states);
    CollectionDeletedInParts: "each change of a collection is atomic",
        [Wrong], Nothing, BugPlace::storage(&["write_batch"], storage::delete_one_by_one);
    BlockDividedInParts: "a block of a collection is divided by one batch",
        [Refused], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_blocks_in_parts(call, state, |last| matches!(last, BatchOperation::Put { .. }))
        });
    BlocksJoinedInParts: "blocks of a collection are joined by one batch",
        [Lost], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_blocks_in_parts(call, state, |last| matches!(last, BatchOperation::Delete { .. }))
        });
    CollectionNumberRepeated: "each collection has a number of its own",
        [Refused], Nothing, BugPlace::storage(&["put"], storage::repeat_collection_number);
    CollectionMembersKept: "a collection is removed with its members",
        [Refused], Nothing, BugPlace::storage(&["write_batch"], storage::keep_members);
    TombstonesDropped: "a checkpoint stores which items are forgotten until no record holds them",
        [CannotContinue], Nothing, BugPlace::storage(&["write_batch"], storage::drop_tombstones);
    FlushSkipped: "`flush` is power-safe when it returns",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing, BugPlace::storage(&["flush"], storage::skip);
    FirstFlushSkipped: "database id and schema are flushed before the first segment",
        [Refused], Nothing, BugPlace::storage(&["flush"], storage::skip_first_flush);
    CloseSkipped: "`close` makes every write durable",
        [AcknowledgedBeforeDurable], ChangeLast, BugPlace::storage(&["close"], storage::skip);
    PutDeferred: "storage writes survive a process crash once they return",
        [CannotContinue, Lost], NoSyncs,
        BugPlace::storage(&["put", "delete", "write_batch", "flush", "close"], |call, state| {
            storage::defer(call, state, storage::is_put)
        });
    DeleteIgnored: "a deleted key is gone",
        [Wrong], Nothing, BugPlace::storage(&["delete"], storage::skip);
    KeysCut: "names that are prefixes of one another are never confused",
        [Refused], Nothing, BugPlace::storage(&["get", "put", "delete", "write_batch"], storage::cut_keys);
    ScanTooLong: "`scan_prefix` shows what has the prefix and nothing else",
        [Refused], Nothing, BugPlace::storage(&["scan_prefix"], storage::scan_too_much);
    ScanWithoutLast: "`scan_prefix` shows all that has the prefix",
        [Refused, Lost], Nothing, BugPlace::storage(&["scan_prefix"], storage::scan_without_last);
    StorageErrorSwallowed: "any failed storage call poisons",
        [ContinuedAfterFault, AcknowledgedAfterFault], Nothing,
        BugPlace::storage(&["put", "delete", "write_batch", "flush", "close"], storage::swallow_error);

    AcknowledgedFirst: "acknowledged last, after everything else",
        [Lost], Nothing, BugPlace::calls(Operation::is_frame, calls::acknowledge_first);
    WeakerPolicy: "the policy in force is the one that was chosen",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::Options(|options, _| options.durability(Durability::OperatingSystem));
    SyncDropped: "`sync` makes everything acknowledged durable",
        [AcknowledgedBeforeDurable, Lost], NoSyncs,
        BugPlace::calls(|operation| *operation == Operation::Sync, calls::skip);
    CheckpointDropped: "a checkpoint makes durable what it covers",
        [Lost], NoSyncs, BugPlace::calls(|operation| *operation == Operation::Checkpoint, calls::skip);
    NumberRepeated: "every frame has a number of its own",
        [Wrong], Nothing, BugPlace::calls(Operation::is_frame, calls::repeat_number).one_in(3);
    CallTwice: "an event is never applied twice",
        [Doubled], Nothing, BugPlace::calls(Operation::is_frame, calls::call_twice).one_in(3);
    CallDropped: "no hole",
        [Lost], NoSyncs, BugPlace::calls(Operation::is_frame, calls::skip).one_in(3);
    CallSplit: "one call is one frame, wholly there or wholly absent",
        [Half], Nothing, BugPlace::calls(is_batch, calls::split_batch);
    BatchReversed: "user rings and co-engagement apply in log order",
        [Wrong], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_events(state, db, operation, |events| events.reverse())
        });
    CohortsDropped: "cohorts are fed from the same frame",
        [Half], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_each_event(state, db, operation, |event| event.cohorts.clear())
        });
    UserDropped: "co-engagement is fed from the same frame",
        [Half], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_each_event(state, db, operation, |event| event.user = None)
        });
    RefusedAndDone: "an error before the log leaves the state unchanged",
        [Wrong], Nothing, BugPlace::calls(Operation::is_frame, calls::refuse_too).one_in(3);
    SetBackIgnored: "an event ahead of the clock is recorded at the clock's now",
        [Wrong], Nothing, BugPlace::calls(is_set_back, calls::ignore_set_back);
    SkewUnlimited: "an event too far ahead of the clock is refused before the log",
        [Wrong], Nothing, BugPlace::Options(|options, _| options.skew_ms_max(u64::MAX));
    OtherDatabase: "another database's files are an error of their own",
        [Refused], Nothing, BugPlace::Options(|options, opening| options.database_id(opening.into()));
    RandomBytes: "with one caller a run is deterministic to the byte",
        [ModesDisagree], Nothing, BugPlace::Options(|options, _| Options { database_id: None, ..options });
    RunsDiffer: "a crash that is never reached is no pass",
        [ModesDisagree, NeverReached], Nothing, BugPlace::calls(Operation::is_frame, calls::refuse_later_runs);
}

Sessions {
    ReopenedSegmentSyncSkipped: "the segment that an open made is synced before an event in it is acknowledged",
        [AcknowledgedBeforeDurable, Lost], Sessions,
        BugPlace::files(&["rename", "sync"], &[], files::skip_sync_of_first_made);
    ThirdLogDirectorySyncSkipped: "the log's directory is synced before the first frame of every session",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::files(&["sync_dir"], &[LogDir], |call, state| {
            files::in_sessions(3..=3, call, state, files::skip)
        });
    CopySyncSkipped: "recovered frames are synced before `open` returns",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::files(&["sync"], &[NewSegment], files::skip_sync_of_copy);
    LaterStoreSyncSkipped: "flush is power-safe in every session",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::files(&["sync"], &[StoreFile], |call, state| {
            files::in_sessions(2.., call, state, files::skip)
        });
    SecondLockKept: "a dropped handle leaves no lock, in every session",
        [LeftBehind], Sessions, BugPlace::files(&["lock"], &[], |call, state| {
            files::in_sessions(2..=2, call, state, files::leak_lock)
        });
    EarlierSegmentsKept: "short sessions leave no segments behind",
        [LeftBehind], Sessions, BugPlace::files(&["rename", "remove"], &[Segment, NewSegment], files::keep_earlier);
    SegmentsPileUp: "many sessions without a close leave few segments",
        [LeftBehind], Nothing, BugPlace::LaterOptions(|options| {
            let limits = Limits { sealed_segments_len_max: u64::MAX, ..options.limits };
            Options { limits, ..options }
        });
    OpeningNotFlushed: "the opening record is flushed before the segment of the opening is made",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::storage(&["write_batch", "flush"], |call, state| {
            storage::in_sessions(2.., call, state, storage::skip_flush_of_opening)
        });
    TombstonesFirst: "a tombstone is removed together with the entries that it hides, not before",
        [Wrong], Sessions, BugPlace::storage(&["write_batch"], storage::remove_tombstones_first);
    ThirdScanWithoutLast: "every opening loads all collections",
        [Refused], Sessions, BugPlace::storage(&["scan_prefix"], |call, state| {
            storage::in_sessions(3.., call, state, storage::scan_without_last)
        });
}

Changes {
    AppendedSignalForgotten: "an appended signal is stored",
        [Wrong, Refused], Sessions, BugPlace::storage(&["write_batch"], |call, state| {
            storage::in_sessions(2.., call, state, storage::drop_schema)
        });
    SchemaWrittenLate: "an appended signal is durable before `open` returns",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::storage(&["write_batch", "flush"], |call, state| {
            storage::in_sessions(2.., call, state, storage::write_schema_late)
        });
    BoundsIgnored: "other bounds of co-engagement are in force after an open",
        [Wrong], Sessions, BugPlace::LaterOptions(calls::with_first_bounds);
    AppendedSignalNeutral: "an appended signal is the one that was declared",
        [Half], Sessions, BugPlace::LaterOptions(calls::with_neutral_signals);
    LaterPolicyIgnored: "the policy of each session is in force",
        [AcknowledgedBeforeDurable], Sessions,
        BugPlace::LaterOptions(|options| options.durability(Durability::OperatingSystem));
    LaterTimerStopped: "syncs are timed in every session",
        [AcknowledgedBeforeDurable], TimedSessions, BugPlace::LaterOptions(|options| match options.durability {
            Durability::SyncedEvery { .. } => options.durability(Durability::SyncedEvery { interval_ms: u64::MAX }),
            _ => options,
        });
    LaterSegmentSizeIgnored: "the segment size of each session is in force",
        [Wrong], Sessions, BugPlace::LaterOptions(|options| options.segment_bytes_max(1 << 20));
    ClockStopped: "the clock of each session tells which events are ahead",
        [Wrong], Sessions, BugPlace::LaterOptions(|options| options.clock(Arc::new(calls::StoppedClock)));
}

Sizes {
    LargeCallCut: "all events of a call are recorded, however many",
        [Wrong], LargeCalls, BugPlace::calls(calls::is_large, calls::cut_large);
    LargeCallSplit: "one call is one frame, however many events it has",
        [Wrong], LargeCalls, BugPlace::calls(calls::is_large, calls::split_batch);
    LargeCallRepeats: "an event is never applied twice, however many its call has",
        [Doubled], LargeCalls, BugPlace::calls(calls::is_large, calls::repeat_in_large);
    LargeBatchSplit: "a checkpoint is atomic, however many records it has",
        [Wrong], LargeCalls, BugPlace::storage(&["write_batch"], storage::split_large);
    LargeBatchCut: "a checkpoint holds every changed record, however many",
        [CannotContinue, Half], LargeCalls, BugPlace::storage(&["write_batch"], storage::cut_large);
    LongScanCut: "`scan_prefix` shows all that has the prefix, however much",
        [CannotContinue, Lost], LargeCalls, BugPlace::storage(&["scan_prefix"], storage::scan_few);
    LongWriteCut: "a frame is wholly there, however long",
        [Lost, CannotContinue, Refused], LargeCalls, BugPlace::files(&["write_at"], &[Segment], files::write_without_tail);
    LongRecordCut: "a record of the store is wholly there, however long",
        [CannotContinue], LargeCalls, BugPlace::files(&["write_at"], &[StoreFile], files::write_without_tail);
    LongReadCut: "what was written is read, however long",
        [Lost, CannotContinue, Refused], LargeCalls, BugPlace::files(&["read_at"], &[Segment], files::read_without_tail);
}

Disk {
    FailedSyncIgnored: "after a failed sync nothing is acknowledged: it may have kept some of the writes",
        [AcknowledgedBeforeDurable, AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["sync"], &[Segment, StoreFile], files::ignore_failure);
    FailedSyncRepeated: "a failed sync is not repeated: the next one reports lost writes as durable",
        [AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["sync"], &[Segment, StoreFile], files::repeat_once);
    FailedWriteContinued: "a write that failed in the middle is not continued",
        [AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["write_at"], &[Segment], files::continue_too_far);
    FullDiskIgnored: "a write on a full disk fails",
        [AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["write_at"], &[Segment], files::ignore_failure);
    FailedRenameIgnored: "a new file without its name is not used",
        [AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["rename"], &[], files::ignore_failure);
    ReadErrorAsEnd: "an error while reading is no torn tail: open fails with it",
        [Lost, Refused], Nothing, BugPlace::files(&["read_at"], &[Segment], files::end_early);
    StaleRead: "what was written is read",
        [CannotContinue], Nothing, BugPlace::files(&["read_at"], &[StoreFile], files::read_as_created);
    LeftoverPanics: "nothing read from disk can make it panic",
        [Panicked], Nothing, BugPlace::files(&["list"], &[LogDir], files::panic_at_leftover);
    LeftoverHangs: "nothing read from disk can make it loop",
        [Hang], ShortCases, BugPlace::files(&["list"], &[LogDir], files::hang_at_leftover);
    LastSegmentLost: "acknowledged events survive",
        [Wrong, Lost], Nothing, BugPlace::files(&[], &[], |call, state| {
            files::lose(call, state, |it| files::segments(it).into_iter().skip(1).last().into_iter().collect())
        });
    LogLost: "a missing log is an error, and no fresh database",
        [Refused], Nothing, BugPlace::files(&[], &[], |call, state| files::lose(call, state, files::segments));
    StoreLost: "a log without its storage is an error",
        [Refused], Nothing, BugPlace::files(&[], &[], |call, state| files::lose(call, state, files::store_files));
    StoreRolledBack: "continuity is required above N",
        [Refused, Lost], Nothing, BugPlace::files(&[], &[], files::roll_store_back);

    RecordEndsChecked: "a record whose middle is missing is not read: a write may have a hole",
        [Doubled], Nothing, BugPlace::Store(store::StoreFlaw::EndsChecked);
    BlockTakenForWhole: "a block of 4096 bytes is not written wholly or not at all",
        [Doubled], Nothing, BugPlace::Store(store::StoreFlaw::BlockTakenForWhole);
    StaleRecordRead: "the bytes of an extended file are those of a file that was removed, until they are written",
        [Wrong], Nothing, BugPlace::Store(store::StoreFlaw::OtherFilesAccepted);
    ReadBackTrusted: "what is read back after a failed sync is written anew: a later sync does not make it durable",
        [Refused], Nothing, BugPlace::Store(store::StoreFlaw::FileContinued);
}
}
