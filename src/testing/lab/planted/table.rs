//! The table of the planted bugs. Each row has the broken promise, the kinds of the findings, the needs of the sweep,
//! the calls that the bug applies to, and its action.

use std::fmt;
use std::sync::Arc;

use super::calls::{self, is_batch, is_record, is_set_back};
use super::storage::split_number_and_state;
use super::{BugPlace, FailureKind, Needs, files, storage, store, store_files};
use crate::limits::Limits;
use crate::storage::BatchOperation;
use crate::testing::TestClock;
use crate::testing::faults::FileRole::{
    LogDir, NewSegment, NewStoreFile, Other, Segment, StoreDir, StoreFile,
};
use crate::testing::workload::{Operation, STANDARD_NOW_MS};
use crate::{Durability, Options};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct BugRow {
    kind: BugKind,
    caught_by: &'static [FailureKind],
    pub(super) needs: Needs,
    pub(super) place: BugPlace,
}

/// The feature that a sweep needs to find a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BugKind {
    /// Several sessions.
    Sessions,
    /// Changes of schema, options or clock between sessions.
    Changes,
    /// Sizes above limits inside the engine.
    Sizes,
    /// Faults of the disk, and images that only some disks leave.
    Disk,
    /// No special feature.
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
        /// The first finding of a sweep with the bug is of the first kind. A sweep that looks only for one of the other
        /// kinds finds that kind.
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
    /// The kinds of its findings: first the kind of a sweep's first finding, then further kinds that a sweep can find.
    pub fn caught_by(self) -> &'static [FailureKind] {
        self.row().caught_by
    }

    /// The feature that a sweep needs to find the bug.
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
    SegmentSyncSkipped: "with every event synced, an acknowledged event is durable",
        [AcknowledgedBeforeDurable, Lost], Nothing, BugPlace::files(&["sync"], &[Segment], files::skip);
    ThirdSegmentSyncSkipped: "with every event synced, an acknowledged event is durable, in every call",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::files(&["sync"], &[Segment], files::skip).one_in(3);
    WrittenAfterSync: "an event is acknowledged after its sync returns, not when the sync is requested",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::files(&["write_at", "sync"], &[Segment], files::write_after_sync);
    TimedSyncSkipped: "with a sync every n ms, every frame up to `durable_sequence()` is durable",
        [AcknowledgedBeforeDurable, Lost], TimedSyncs, BugPlace::files(&["sync"], &[Segment], files::skip);
    SegmentHeaderSyncSkipped: "a segment is synced before it is renamed",
        [Refused, Diverged], Nothing, BugPlace::files(&["sync"], &[NewSegment], files::skip);
    SealingSyncSkipped: "the old segment is synced before a frame is appended to its successor",
        [AcknowledgedBeforeDurable, Refused], NoBarriers, BugPlace::files(&["sync"], &[Segment], files::skip);
    StoreSyncSkipped: "storage is flushed before a change of a collection is acknowledged",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync"], &[StoreFile], files::skip);
    StoreHeaderSyncSkipped: "the store's file is synced before it is renamed",
        [AcknowledgedBeforeDurable, Refused], Nothing, BugPlace::files(&["sync"], &[NewStoreFile], files::skip);
    LogDirectorySyncSkipped: "the log's directory is synced before the first frame",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync_dir"], &[LogDir], files::skip);
    StoreDirectorySyncSkipped: "after a flush, written data and file names survive a power loss",
        [AcknowledgedBeforeDurable, Refused], Nothing, BugPlace::files(&["sync_dir"], &[StoreDir], files::skip);
    DatabaseDirectorySyncSkipped: "the database's directories are durable before the first frame",
        [AcknowledgedBeforeDurable, Lost, Refused], Nothing,
        BugPlace::files(&["sync_dir"], &[Other], files::skip);
    UnwatchedThread: "one helper spawns all threads, and they inherit the injector",
        [Unwatched], Nothing, BugPlace::files(&["sync"], &[Segment], files::sync_on_unwatched_thread);
    RenamedBeforeSync: "a file is created under a temporary name, synced, then renamed",
        [Refused], Nothing, BugPlace::files(&["sync", "rename"], &[], files::rename_before_sync);
    TemporaryNameSkipped: "a file is created under a temporary name",
        [AcknowledgedBeforeDurable, Refused], Nothing,
        BugPlace::files(&["open", "rename"], &[], files::create_under_final_name);
    OldNameNotRemoved: "a crash inside open, twice, does not change the recovered state",
        [NotIdempotent], Nothing, BugPlace::files(&["rename"], &[], files::leave_old_name);
    RemovalSkipped: "covered segments are trimmed",
        [LeftBehind], Nothing, BugPlace::files(&["remove"], &[], files::skip);
    SegmentRemovedEarly: "only covered segments are trimmed; a missing segment above N is an error",
        [Refused], Nothing, BugPlace::files(&["open", "remove"], &[Segment, NewSegment], files::remove_oldest);
    CompactedNameSyncSkipped: "a compacted file's name is durable before the files that it replaces are removed",
        [AcknowledgedBeforeDurable, Refused], Nothing,
        BugPlace::files(&["rename", "sync_dir"], &[], store_files::skip_sync_of_compacted_name);
    CompactedFileRemoved: "open does not use an older file instead of the compacted file that replaced it",
        [Refused], Nothing, BugPlace::files(&["remove"], &[StoreFile], store_files::remove_compacted);
    LockAlwaysGranted: "a second open returns `Locked`",
        [NotLocked], Nothing, BugPlace::files(&["lock"], &[], files::grant_lock);
    LockLeftBehind: "`Drop` and `close` unlock explicitly",
        [LeftBehind], Nothing, BugPlace::files(&["lock"], &[], files::leak_lock);
    FileLeftOpen: "a dropped handle leaves no open file",
        [LeftBehind], Nothing, BugPlace::files(&["open"], &[], files::leak_file);
    WriteDeferred: "no user-space buffer holds an acknowledged event",
        [Lost], NoSyncs, BugPlace::files(&["write_at", "sync"], &[Segment], files::write_before_sync);
    WritesSwapped: "an acknowledgement waits until every earlier frame is written",
        [Lost], NoSyncs, BugPlace::files(&["write_at", "sync"], &[Segment], files::swap_writes);
    ShortWriteHidden: "a frame is complete",
        [Lost, Refused], Nothing, BugPlace::files(&["write_at"], &[Segment], files::write_half).one_in(3);
    SegmentBitFlipped: "a flipped bit never leads to a wrong state or to a silent loss of synced frames",
        [Lost, Refused], Nothing, BugPlace::files(&["write_at"], &[Segment], files::flip_bit).one_in(3);
    StoreBitFlipped: "the store returns only written data",
        [CannotContinue, Refused], Nothing, BugPlace::files(&["write_at"], &[StoreFile], files::flip_bit).one_in(3);
    DropSyncs: "`Drop` changes no durable state",
        [DropWrote], Nothing, BugPlace::files(&["close"], &[Segment], files::sync_at_close);
    WriteErrorSwallowed: "every failed write or sync poisons the handle",
        [ContinuedAfterFault, AcknowledgedAfterFault], Nothing,
        BugPlace::files(&["write_at", "sync", "sync_dir"], &[], files::swallow_error);
    WriteRetried: "no operation is retried after a failure",
        [ContinuedAfterFault], Nothing, BugPlace::files(&["write_at"], &[], files::retry);

    CheckpointOneByOne: "`write_batch` is atomic",
        [Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, storage::one_by_one)
        });
    CheckpointNumberFirst: "state and N are written together: N is not ahead of the state",
        [Lost], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| split_number_and_state(batch).into())
        });
    CheckpointNumberLast: "state and N are written together: N is not behind the state",
        [Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| split_number_and_state(batch).into_iter().rev().collect())
        });
    CheckpointNumberDropped: "every frame with a number above N is replayed exactly once",
        [Refused, Doubled], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_checkpoint(call, state, |batch| split_number_and_state(batch).into_iter().skip(1).collect())
        });
    CheckpointDeferred: "the checkpoint is flushed before the marker and before segments are deleted",
        [Refused], Nothing, BugPlace::storage(&["put", "delete", "write_batch"], |call, state| {
            storage::defer(call, state, storage::is_checkpoint)
        });
    CheckpointHidden: "without a checkpoint, the log is replayed from its start",
        [Refused], Nothing, BugPlace::storage(&["get"], storage::hide_checkpoint);
    OverwriteIgnored: "a put replaces the value",
        [CannotContinue, Half], Nothing, BugPlace::storage(&["write_batch"], storage::skip_overwrites_of_states);
    CollectionDeletedInParts: "each change of a collection is atomic",
        [Wrong], Nothing, BugPlace::storage(&["write_batch"], storage::delete_one_by_one);
    BlockDividedInParts: "one batch divides a block of a collection",
        [Refused], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_blocks_in_parts(call, state, |last| matches!(last, BatchOperation::Put { .. }))
        });
    BlocksJoinedInParts: "one batch joins two blocks of a collection",
        [Lost], Nothing, BugPlace::storage(&["write_batch"], |call, state| {
            storage::write_blocks_in_parts(call, state, |last| matches!(last, BatchOperation::Delete { .. }))
        });
    CollectionNumberRepeated: "each collection has a unique number",
        [Refused], Nothing, BugPlace::storage(&["put"], storage::repeat_collection_number);
    CollectionMembersNotDeleted: "a collection is deleted together with its members",
        [Refused], Nothing, BugPlace::storage(&["write_batch"], storage::delete_without_members);
    TombstonesDropped: "a checkpoint stores the forgotten items until no record contains them",
        [CannotContinue], Nothing, BugPlace::storage(&["write_batch"], storage::drop_tombstones);
    FlushSkipped: "after `flush` returns, written data survives a power loss",
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
    DeleteIgnored: "a deleted key has no value",
        [Wrong], Nothing, BugPlace::storage(&["delete"], storage::skip);
    KeysTruncated: "keys that are prefixes of one another are different keys",
        [Refused], Nothing, BugPlace::storage(&["get", "put", "delete", "write_batch"], storage::truncate_keys);
    ScanTooLong: "`scan_prefix` returns only pairs with the prefix",
        [Refused], Nothing, BugPlace::storage(&["scan_prefix"], storage::scan_beyond_prefix);
    ScanWithoutLast: "`scan_prefix` returns every pair with the prefix",
        [Refused, Lost], Nothing, BugPlace::storage(&["scan_prefix"], storage::scan_without_last);
    StorageErrorSwallowed: "every failed storage call poisons the handle",
        [ContinuedAfterFault, AcknowledgedAfterFault], Nothing,
        BugPlace::storage(&["put", "delete", "write_batch", "flush", "close"], storage::swallow_error);

    AcknowledgedFirst: "the acknowledgement is the last step of a call",
        [Lost], Nothing, BugPlace::calls(Operation::is_frame, calls::acknowledge_first);
    WeakerPolicy: "the chosen durability policy takes effect",
        [AcknowledgedBeforeDurable, Lost], Nothing,
        BugPlace::Options(|options, _| options.durability(Durability::OperatingSystem));
    SyncDropped: "`sync` makes every acknowledged call durable",
        [AcknowledgedBeforeDurable, Lost], NoSyncs,
        BugPlace::calls(|operation| *operation == Operation::Sync, calls::skip);
    CheckpointDropped: "a checkpoint makes the frames that it covers durable",
        [Lost], NoSyncs, BugPlace::calls(|operation| *operation == Operation::Checkpoint, calls::skip);
    SequenceNumberRepeated: "every frame has a unique sequence number",
        [Wrong], Nothing, BugPlace::calls(Operation::is_frame, calls::repeat_sequence_number).one_in(3);
    CallTwice: "an event is never applied twice",
        [Doubled], Nothing, BugPlace::calls(Operation::is_frame, calls::call_twice).one_in(3);
    CallDropped: "no frame is missing between two recovered frames",
        [Lost], NoSyncs, BugPlace::calls(Operation::is_frame, calls::skip).one_in(3);
    CallSplit: "one call is one frame, recovered completely or not",
        [Half], Nothing, BugPlace::calls(is_batch, calls::split_batch);
    BatchReversed: "user rings and co-engagement apply in log order",
        [Wrong], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_events(state, db, operation, |events| events.reverse())
        });
    CohortsDropped: "cohorts get their events from the same frame",
        [Half], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_each_event(state, db, operation, |event| event.cohorts.clear())
        });
    UserDropped: "co-engagement gets its events from the same frame",
        [Half], Nothing, BugPlace::calls(is_record, |state, db, operation| {
            calls::change_each_event(state, db, operation, |event| event.user = None)
        });
    RefusedButApplied: "an error before the log leaves the state unchanged",
        [Wrong], Nothing, BugPlace::calls(Operation::is_frame, calls::apply_and_refuse).one_in(3);
    SetBackIgnored: "an event ahead of the clock is recorded at the time of the clock",
        [Wrong], Nothing, BugPlace::calls(is_set_back, calls::ignore_set_back);
    SkewUnlimited: "an event too far ahead of the clock is refused before the log",
        [Wrong], Nothing, BugPlace::Options(|options, _| options.skew_ms_max(u64::MAX));
    OtherDatabase: "files of another database have a separate error",
        [Refused], Nothing, BugPlace::Options(|options, opening| options.database_id(opening.into()));
    RandomBytes: "with one caller, all bytes of a run are deterministic",
        [ModesDisagree], Nothing, BugPlace::Options(|options, _| Options { database_id: None, ..options });
    RunsDiffer: "a case whose crash is never reached does not pass",
        [ModesDisagree, NeverReached], Nothing, BugPlace::calls(Operation::is_frame, calls::refuse_later_runs);
}

Sessions {
    ReopenedSegmentSyncSkipped: "the segment that an open creates is synced before an event in it is acknowledged",
        [AcknowledgedBeforeDurable, Lost], Sessions,
        BugPlace::files(&["rename", "sync"], &[], files::skip_sync_of_first_created);
    ThirdLogDirectorySyncSkipped: "the log's directory is synced before the first frame of every session",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::files(&["sync_dir"], &[LogDir], |call, state| {
            files::in_sessions(3..=3, call, state, files::skip)
        });
    CopySyncSkipped: "recovered frames are synced before `open` returns",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::files(&["sync"], &[NewSegment], files::skip_sync_of_copy);
    LaterStoreSyncSkipped: "after a flush, written data survives a power loss, in every session",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::files(&["sync"], &[StoreFile], |call, state| {
            files::in_sessions(2.., call, state, files::skip)
        });
    SecondLockNotReleased: "a dropped handle leaves no lock, in every session",
        [LeftBehind], Sessions, BugPlace::files(&["lock"], &[], |call, state| {
            files::in_sessions(2..=2, call, state, files::leak_lock)
        });
    EarlierSegmentsNotTrimmed: "short sessions leave no old segments",
        [LeftBehind], Sessions,
        BugPlace::files(&["rename", "remove"], &[Segment, NewSegment], files::skip_removal_of_earlier_segments);
    SegmentsAccumulate: "many sessions without a close leave few segments",
        [LeftBehind], Nothing, BugPlace::LaterOptions(|options| {
            let limits = Limits { sealed_segments_len_max: u64::MAX, ..options.limits };
            Options { limits, ..options }
        });
    OpeningNotFlushed: "the opening record is flushed before the segment of the opening is created",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::storage(&["write_batch", "flush"], |call, state| {
            storage::in_sessions(2.., call, state, storage::skip_flush_of_opening)
        });
    TombstonesFirst: "a tombstone is removed together with the entries that it hides, not before",
        [Wrong], Sessions, BugPlace::storage(&["write_batch"], storage::remove_tombstones_first);
    ThirdScanWithoutLast: "every open loads all collections",
        [Refused], Sessions, BugPlace::storage(&["scan_prefix"], |call, state| {
            storage::in_sessions(3.., call, state, storage::scan_without_last)
        });
}

Changes {
    AppendedSignalNotStored: "an appended signal is stored",
        [Wrong, Refused], Sessions, BugPlace::storage(&["write_batch"], |call, state| {
            storage::in_sessions(2.., call, state, storage::drop_schema)
        });
    SchemaWrittenLate: "an appended signal is durable before `open` returns",
        [AcknowledgedBeforeDurable], Sessions, BugPlace::storage(&["write_batch", "flush"], |call, state| {
            storage::in_sessions(2.., call, state, storage::write_schema_late)
        });
    BoundsIgnored: "changed bounds of co-engagement take effect at an open",
        [Wrong], Sessions, BugPlace::LaterOptions(calls::with_first_bounds);
    AppendedSignalNeutral: "an appended signal has its declared properties",
        [Half], Sessions, BugPlace::LaterOptions(calls::with_neutral_signals);
    LaterPolicyIgnored: "the policy of each session takes effect",
        [AcknowledgedBeforeDurable], Sessions,
        BugPlace::LaterOptions(|options| options.durability(Durability::OperatingSystem));
    LaterTimerStopped: "syncs are timed in every session",
        [AcknowledgedBeforeDurable], TimedSessions, BugPlace::LaterOptions(|options| match options.durability {
            Durability::SyncedEvery { .. } => options.durability(Durability::SyncedEvery { interval_ms: u64::MAX }),
            _ => options,
        });
    LaterSegmentSizeIgnored: "the segment size of each session takes effect",
        [Wrong], Sessions, BugPlace::LaterOptions(|options| options.segment_bytes_max(1 << 20));
    ClockStopped: "the clock of each session decides which events are ahead",
        [Wrong], Sessions, BugPlace::LaterOptions(|options| options.clock(Arc::new(TestClock::at(STANDARD_NOW_MS))));
}

Sizes {
    LargeCallTruncated: "all events of a call of any length are recorded",
        [Wrong], LargeCalls, BugPlace::calls(calls::is_large, calls::truncate_large);
    LargeCallSplit: "a call of any length is one frame",
        [Wrong], LargeCalls, BugPlace::calls(calls::is_large, calls::split_batch);
    LargeCallRepeats: "an event of a call of any length is never applied twice",
        [Doubled], LargeCalls, BugPlace::calls(calls::is_large, calls::repeat_in_large);
    LargeBatchSplit: "a checkpoint of any length is atomic",
        [Wrong], LargeCalls, BugPlace::storage(&["write_batch"], storage::split_large);
    LargeBatchTruncated: "a checkpoint of any length has every changed record",
        [CannotContinue, Half], LargeCalls, BugPlace::storage(&["write_batch"], storage::truncate_large);
    LongScanTruncated: "`scan_prefix` returns every pair with the prefix, for any number of pairs",
        [CannotContinue, Lost], LargeCalls, BugPlace::storage(&["scan_prefix"], storage::scan_first_pairs);
    LongWriteTruncated: "a frame of any length is complete",
        [Lost, CannotContinue, Refused], LargeCalls, BugPlace::files(&["write_at"], &[Segment], files::write_without_tail);
    LongRecordTruncated: "a record of the store of any length is complete",
        [CannotContinue], LargeCalls, BugPlace::files(&["write_at"], &[StoreFile], files::write_without_tail);
    LongReadTruncated: "a read of any length returns the written bytes",
        [Lost, CannotContinue, Refused], LargeCalls, BugPlace::files(&["read_at"], &[Segment], files::read_without_tail);
}

Disk {
    FailedSyncIgnored: "after a failed sync nothing is acknowledged, because it may have lost some of the writes",
        [AcknowledgedBeforeDurable, AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["sync"], &[Segment, StoreFile], files::ignore_failure);
    FailedSyncRepeated: "a failed sync is not repeated, because the next sync reports lost writes as durable",
        [AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["sync"], &[Segment, StoreFile], files::repeat_once);
    FailedWriteContinued: "a write that failed in the middle is not continued",
        [AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["write_at"], &[Segment], files::continue_too_far);
    FullDiskIgnored: "a write on a full disk fails",
        [AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["write_at"], &[Segment], files::ignore_failure);
    FailedRenameIgnored: "a new file is not used before its rename succeeds",
        [AcknowledgedAfterFault, Lost], Nothing,
        BugPlace::files(&["rename"], &[], files::ignore_failure);
    ReadErrorAsEnd: "open returns a read error and does not take it for a torn tail",
        [Lost, Refused], Nothing, BugPlace::files(&["read_at"], &[Segment], files::end_early);
    StaleRead: "a read returns the written bytes",
        [CannotContinue], Nothing, BugPlace::files(&["read_at"], &[StoreFile], files::read_as_created);
    LeftoverPanics: "no content of the disk makes open panic",
        [Panicked], Nothing, BugPlace::files(&["list"], &[LogDir], files::panic_at_leftover);
    LeftoverHangs: "no content of the disk makes open hang",
        [Hang], ShortCases, BugPlace::files(&["list"], &[LogDir], files::hang_at_leftover);
    LastSegmentLost: "acknowledged events survive",
        [Wrong, Lost], Nothing, BugPlace::files(&[], &[], |call, state| {
            files::remove_files(call, state, |it| files::segments(it).into_iter().skip(1).last().into_iter().collect())
        });
    LogLost: "a missing log is an error, and not a new database",
        [Refused], Nothing, BugPlace::files(&[], &[], |call, state| files::remove_files(call, state, files::segments));
    StoreLost: "a log without its storage is an error",
        [Refused], Nothing,
        BugPlace::files(&[], &[], |call, state| files::remove_files(call, state, files::store_files));
    StoreRolledBack: "a gap in the sequence numbers above N is an error",
        [Refused, Lost], Nothing, BugPlace::files(&[], &[], files::roll_store_back);

    OnlyRecordEndsChecked: "a record without its middle is not read, because a torn write may have a gap",
        [Doubled], Nothing, BugPlace::Store(store::StoreFlaw::OnlyEndsChecked);
    BlockAssumedAtomic: "a write of a block of 4096 bytes is not atomic",
        [Doubled], Nothing, BugPlace::Store(store::StoreFlaw::BlockAssumedAtomic);
    StaleRecordRead: "an extended file has bytes of a removed file until they are written",
        [Wrong], Nothing, BugPlace::Store(store::StoreFlaw::OtherFilesAccepted);
    ReadBackTrusted: "bytes read after a failed sync are written again: a later sync does not make them durable",
        [Refused], Nothing, BugPlace::Store(store::StoreFlaw::FileContinued);
}
}
