//! Planted bugs: the self-test of the kit.
//!
//! A kit that finds nothing has proved nothing until it is known what it would have found. Each [`PlantedBug`] breaks one
//! promise of the engine from the outside: in the file access, in the storage engine, or in the calls at the public
//! handle. The engine itself is as it is. A sweep with a bug in it must find it, by the check that the table gives, and
//! the same sweep without it must find nothing.
//!
//! Whoever has a sweep of their own can plant bugs into it, to see whether it would find them:
//!
//! ```
//! use tidaldb::testing::lab::planted::{Acts, PlantedBug};
//! use tidaldb::testing::CrashSweep;
//!
//! let acts = Acts::default();
//! let sweep = PlantedBug::SegmentSyncSkipped.plant(CrashSweep::standard(7, 12), &acts);
//! let report = sweep.findings_max(1).shrink(false).run();
//! assert!(acts.len() > 0, "the bug was never reached");
//! assert_eq!(report.findings[0].failure.kind, PlantedBug::SegmentSyncSkipped.caught_by()[0]);
//! ```
//!
//! # What is broken, and what finds it
//! The check is the kind of the first finding, then kinds that a sweep that looks for nothing else finds as well.
//!
//! | promise | bug | check |
//! |---|---|---|
//! | every event synced: acknowledged is durable | [`SegmentSyncSkipped`](PlantedBug::SegmentSyncSkipped) | acknowledged before durable, lost |
//! | every event synced: acknowledged is durable, at any time | [`ThirdSegmentSyncSkipped`](PlantedBug::ThirdSegmentSyncSkipped) | acknowledged before durable, lost |
//! | acknowledged once it is synced, not only asked for | [`WrittenAfterSync`](PlantedBug::WrittenAfterSync) | acknowledged before durable, lost |
//! | synced every n ms: `durable_sequence()` is durable | [`TimedSyncSkipped`](PlantedBug::TimedSyncSkipped) | acknowledged before durable, lost |
//! | a segment is synced before it is renamed | [`SegmentHeaderSyncSkipped`](PlantedBug::SegmentHeaderSyncSkipped) | does not open, diverged |
//! | the old segment is synced before its successor takes a frame | [`SealingSyncSkipped`](PlantedBug::SealingSyncSkipped) | acknowledged before durable, does not open |
//! | storage is flushed before a change of a collection is acknowledged | [`StoreSyncSkipped`](PlantedBug::StoreSyncSkipped) | acknowledged before durable, lost, does not open |
//! | the store's file is synced before it is renamed | [`StoreHeaderSyncSkipped`](PlantedBug::StoreHeaderSyncSkipped) | does not open, diverged |
//! | the log's directory is synced before the first frame | [`LogDirectorySyncSkipped`](PlantedBug::LogDirectorySyncSkipped) | acknowledged before durable, lost, does not open |
//! | flush is power-safe, the names of files included | [`StoreDirectorySyncSkipped`](PlantedBug::StoreDirectorySyncSkipped) | acknowledged before durable, does not open |
//! | the database's directories are durable before the first frame | [`DatabaseDirectorySyncSkipped`](PlantedBug::DatabaseDirectorySyncSkipped) | acknowledged before durable, lost, does not open |
//! | threads are spawned by one helper and inherit the injector | [`UnwatchedThread`](PlantedBug::UnwatchedThread) | unwatched thread |
//! | made under a temporary name, synced, then renamed | [`RenamedBeforeSync`](PlantedBug::RenamedBeforeSync) | does not open |
//! | made under a temporary name | [`TemporaryNameSkipped`](PlantedBug::TemporaryNameSkipped) | does not open |
//! | a crash inside open, twice, changes nothing | [`OldNameKept`](PlantedBug::OldNameKept) | not idempotent |
//! | covered segments are deleted | [`RemovalSkipped`](PlantedBug::RemovalSkipped) | left behind |
//! | only covered segments are deleted; a segment missing above N is an error | [`SegmentRemovedEarly`](PlantedBug::SegmentRemovedEarly) | does not open |
//! | a second opener is told `Locked` | [`LockAlwaysGranted`](PlantedBug::LockAlwaysGranted) | not locked |
//! | `Drop` and `close` unlock explicitly | [`LockLeftBehind`](PlantedBug::LockLeftBehind) | left behind |
//! | nothing of a dropped handle is left | [`FileLeftOpen`](PlantedBug::FileLeftOpen) | left behind |
//! | no user-space buffer holds an acknowledged event | [`WriteDeferred`](PlantedBug::WriteDeferred) | lost |
//! | an acknowledgement waits until every earlier frame is written | [`WritesSwapped`](PlantedBug::WritesSwapped) | lost |
//! | a frame is wholly there | [`ShortWriteHidden`](PlantedBug::ShortWriteHidden) | lost, does not open |
//! | a flipped bit is refused or cut, never wrong state, never silent where synced was promised | [`SegmentBitFlipped`](PlantedBug::SegmentBitFlipped) | lost, does not open |
//! | nothing is read from the store that was not written | [`StoreBitFlipped`](PlantedBug::StoreBitFlipped) | does not open |
//! | `Drop` changes no durable state | [`DropSyncs`](PlantedBug::DropSyncs) | drop wrote |
//! | any failed write or sync poisons | [`WriteErrorSwallowed`](PlantedBug::WriteErrorSwallowed) | life after death, acknowledged after death |
//! | after a failure nothing is retried | [`WriteRetried`](PlantedBug::WriteRetried) | life after death |
//! | an error while reading is no torn tail: open fails with it | [`ReadErrorAsEnd`](PlantedBug::ReadErrorAsEnd) | lost, does not open |
//! | what was written is read | [`StaleRead`](PlantedBug::StaleRead) | cannot go on |
//! | nothing read from disk can make it panic | [`LeftoverPanics`](PlantedBug::LeftoverPanics) | panicked |
//! | nothing read from disk can make it loop | [`LeftoverHangs`](PlantedBug::LeftoverHangs) | hang |
//! | acknowledged events survive | [`LastSegmentLost`](PlantedBug::LastSegmentLost) | lost |
//! | a missing log is an error, and no fresh database | [`LogLost`](PlantedBug::LogLost) | does not open |
//! | a log without its storage is an error | [`StoreLost`](PlantedBug::StoreLost) | does not open |
//! | continuity is required above N | [`StoreRolledBack`](PlantedBug::StoreRolledBack) | does not open, lost |
//! | `write_batch` is atomic | [`CheckpointOneByOne`](PlantedBug::CheckpointOneByOne) | doubled |
//! | state and N are written together: N is not ahead | [`CheckpointNumberFirst`](PlantedBug::CheckpointNumberFirst) | lost |
//! | state and N are written together: N is not behind | [`CheckpointNumberLast`](PlantedBug::CheckpointNumberLast) | doubled |
//! | every frame with a number above N is replayed exactly once | [`CheckpointNumberDropped`](PlantedBug::CheckpointNumberDropped) | does not open, doubled |
//! | the checkpoint is flushed before the marker and before segments are deleted | [`CheckpointDeferred`](PlantedBug::CheckpointDeferred) | does not open |
//! | no checkpoint means replay from the start | [`CheckpointForgotten`](PlantedBug::CheckpointForgotten) | does not open |
//! | a put replaces the value | [`OverwriteIgnored`](PlantedBug::OverwriteIgnored) | cannot go on, half |
//! | each change of a collection is atomic | [`CollectionDeletedInParts`](PlantedBug::CollectionDeletedInParts) | lost, wrong |
//! | `flush` is power-safe when it returns | [`FlushSkipped`](PlantedBug::FlushSkipped) | acknowledged before durable, lost, does not open |
//! | database id and schema are flushed before the first segment | [`FirstFlushSkipped`](PlantedBug::FirstFlushSkipped) | does not open |
//! | `close` makes every write durable | [`CloseSkipped`](PlantedBug::CloseSkipped) | acknowledged before durable |
//! | storage writes survive a process crash once they return | [`PutDeferred`](PlantedBug::PutDeferred) | cannot go on, lost |
//! | a deleted key is gone | [`DeleteIgnored`](PlantedBug::DeleteIgnored) | wrong |
//! | names that are prefixes of one another are never confused | [`KeysCut`](PlantedBug::KeysCut) | does not open |
//! | `scan_prefix` shows what has the prefix and nothing else | [`ScanTooLong`](PlantedBug::ScanTooLong) | does not open |
//! | `scan_prefix` shows all that has the prefix | [`ScanWithoutLast`](PlantedBug::ScanWithoutLast) | does not open, lost |
//! | any failed storage call poisons | [`StorageErrorSwallowed`](PlantedBug::StorageErrorSwallowed) | life after death, acknowledged after death |
//! | acknowledged last, after everything else | [`AcknowledgedFirst`](PlantedBug::AcknowledgedFirst) | lost |
//! | the policy in force is the one that was chosen | [`WeakerPolicy`](PlantedBug::WeakerPolicy) | acknowledged before durable, lost |
//! | `sync` makes everything acknowledged durable | [`SyncDropped`](PlantedBug::SyncDropped) | acknowledged before durable, lost |
//! | a checkpoint makes durable what it covers | [`CheckpointDropped`](PlantedBug::CheckpointDropped) | lost |
//! | every frame has a number of its own | [`NumberRepeated`](PlantedBug::NumberRepeated) | wrong |
//! | an event is never applied twice | [`CallTwice`](PlantedBug::CallTwice) | doubled |
//! | no hole | [`CallDropped`](PlantedBug::CallDropped) | lost |
//! | one call is one frame, wholly there or wholly absent | [`CallSplit`](PlantedBug::CallSplit) | half |
//! | user rings and co-engagement apply in log order | [`BatchReversed`](PlantedBug::BatchReversed) | wrong |
//! | cohorts are fed from the same frame | [`CohortsDropped`](PlantedBug::CohortsDropped) | half |
//! | co-engagement is fed from the same frame | [`UserDropped`](PlantedBug::UserDropped) | half |
//! | an error before the log leaves the state unchanged | [`RefusedAndDone`](PlantedBug::RefusedAndDone) | wrong |
//! | an event ahead of the clock is recorded at the clock's now | [`SetBackIgnored`](PlantedBug::SetBackIgnored) | wrong |
//! | an event too far ahead of the clock is refused before the log | [`SkewUnlimited`](PlantedBug::SkewUnlimited) | wrong |
//! | another database's files are an error of their own | [`OtherDatabase`](PlantedBug::OtherDatabase) | does not open |
//! | with one caller a run is deterministic to the byte | [`RandomBytes`](PlantedBug::RandomBytes) | crash modes disagree |
//! | a crash that is never reached is no pass | [`RunsDiffer`](PlantedBug::RunsDiffer) | crash modes disagree, never reached |
//!
//! # What is not planted
//! These change what is done, and no promise is broken by it. Sweeps with them in it were seen to find nothing:
//!
//! - A scan in another order: what is loaded from one goes by its key. Storage that promises an order is held to it by
//!   the conformance suite.
//! - A write done twice, or a sync more than was asked for: the same bytes are at the same place.
//! - Zeros ahead of the log that are not written, or garbage in their place: what follows the last frame is never trusted.
//! - A file that is not cut where it should be: the engine cuts none, it writes anew what it shortens.
//! - A frame copied behind the last one: its sequence number is wrong there. A replay that is done twice is planted in the
//!   checkpoint's number instead.
//!
//! Some promises lie inside of the handle, where no wrapper reaches: what threads may see of each other, that sums agree
//! in any order, what is said of arguments that are refused. The tests of the parts concerned break those.

mod calls;
pub(in crate::testing) mod files;
mod storage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Durability;
use crate::testing::CrashSweep;
use crate::testing::plan::Work;
use crate::testing::sweep::FailureKind;
use crate::testing::workload::{Operation, STANDARD_SYNC_MS, Workload};

/// How long a case may take where one hangs.
const HANG_TIME: Duration = Duration::from_secs(2);

/// How often a planted bug did something wrong. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Acts(Arc<AtomicU64>);

impl Acts {
    /// How often.
    pub fn len(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether it never did: then a sweep that found nothing says nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Files,
    Storage,
    Calls,
}

/// What a bug needs in order to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    /// Syncs left to the operating system.
    NoSyncs,
    /// As well, and no call that asks for one.
    NoBarriers,
    /// Syncs left to the operating system, and a change of a collection that no checkpoint comes after.
    ChangeLast,
    /// Timed syncs.
    TimedSyncs,
    /// Cases that end soon.
    ShortCases,
}

impl Needs {
    fn prepare(self, sweep: CrashSweep) -> CrashSweep {
        match self {
            Self::Nothing => sweep,
            Self::NoSyncs => sweep.durability(Durability::OperatingSystem),
            Self::NoBarriers => without_barriers(sweep).durability(Durability::OperatingSystem),
            Self::ChangeLast => change_last(sweep).durability(Durability::OperatingSystem),
            Self::TimedSyncs => sweep.durability(Durability::SyncedEvery {
                interval_ms: STANDARD_SYNC_MS,
            }),
            Self::ShortCases => sweep.case_time(HANG_TIME),
        }
    }
}

fn without_barriers(sweep: CrashSweep) -> CrashSweep {
    sweep.with_setup(|setup| {
        if let Some(Workload { mut operations }) = setup.work.workload() {
            operations.retain(|operation| !matches!(operation, Operation::Sync | Operation::Checkpoint));
            setup.work = Work::Operations(Workload { operations });
        }
    })
}

fn change_last(sweep: CrashSweep) -> CrashSweep {
    sweep.with_setup(|setup| {
        if let Some(Workload { mut operations }) = setup.work.workload() {
            let last = Operation::CreateCollection(b"last".to_vec());
            operations.extend([Operation::Checkpoint, last]);
            setup.work = Work::Operations(Workload { operations });
        }
    })
}

macro_rules! planted_bugs {
    ($(
        $(#[$doc:meta])*
        $name:ident: $place:ident, $needs:ident, $promise:literal, [$($kind:ident),+];
    )+) => {
        /// A bug that can be planted into a sweep.
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

            /// The promise that it breaks.
            pub const fn promise(self) -> &'static str {
                match self {
                    $(Self::$name => $promise,)+
                }
            }

            /// What a sweep finds: first the kind of its first finding, then others that it finds as well.
            pub const fn caught_by(self) -> &'static [FailureKind] {
                match self {
                    $(Self::$name => &[$(FailureKind::$kind),+],)+
                }
            }

            const fn place(self) -> Place {
                match self {
                    $(Self::$name => Place::$place,)+
                }
            }

            const fn needs(self) -> Needs {
                match self {
                    $(Self::$name => Needs::$needs,)+
                }
            }
        }
    };
}

planted_bugs! {
    /// Syncs of segments do nothing.
    SegmentSyncSkipped: Files, Nothing,
        "every event synced: acknowledged is durable", [AcknowledgedBeforeDurable, Lost];
    /// Every third sync of a segment does nothing.
    ThirdSegmentSyncSkipped: Files, Nothing,
        "every event synced: acknowledged is durable, at any time", [AcknowledgedBeforeDurable, Lost];
    /// Writes of segments are done after the sync that was to make them durable.
    WrittenAfterSync: Files, Nothing,
        "acknowledged once it is synced, not only asked for", [AcknowledgedBeforeDurable, Lost];
    /// Timed syncs of segments do nothing.
    TimedSyncSkipped: Files, TimedSyncs,
        "synced every n ms: `durable_sequence()` is durable", [AcknowledgedBeforeDurable, Lost];
    /// The new segment's content is not synced before it has its name.
    SegmentHeaderSyncSkipped: Files, Nothing,
        "a segment is synced before it is renamed", [Refused, Diverged];
    /// The segment that is full is not synced.
    SealingSyncSkipped: Files, NoBarriers,
        "the old segment is synced before its successor takes a frame", [AcknowledgedBeforeDurable, Refused];
    /// Syncs of the store's files do nothing.
    StoreSyncSkipped: Files, Nothing,
        "storage is flushed before a change of a collection is acknowledged", [AcknowledgedBeforeDurable, Lost, Refused];
    /// A new file of the store is not synced before it has its name.
    StoreHeaderSyncSkipped: Files, Nothing,
        "the store's file is synced before it is renamed", [Refused, Diverged];
    /// Syncs of the log's directory do nothing.
    LogDirectorySyncSkipped: Files, Nothing,
        "the log's directory is synced before the first frame", [AcknowledgedBeforeDurable, Lost, Refused];
    /// Syncs of the store's directory do nothing.
    StoreDirectorySyncSkipped: Files, Nothing,
        "flush is power-safe, the names of files included", [AcknowledgedBeforeDurable, Refused];
    /// Syncs of the other directories do nothing.
    DatabaseDirectorySyncSkipped: Files, Nothing,
        "the database's directories are durable before the first frame", [AcknowledgedBeforeDurable, Lost, Refused];
    /// A thread that nobody watches syncs segments.
    UnwatchedThread: Files, Nothing,
        "threads are spawned by one helper and inherit the injector", [Unwatched];
    /// A new file gets its name, and is synced then.
    RenamedBeforeSync: Files, Nothing,
        "made under a temporary name, synced, then renamed", [Refused];
    /// A new file is made under its final name.
    TemporaryNameSkipped: Files, Nothing,
        "made under a temporary name", [Refused];
    /// A file that is renamed keeps its old name as well.
    OldNameKept: Files, Nothing,
        "a crash inside open, twice, changes nothing", [NotIdempotent];
    /// What is removed stays.
    RemovalSkipped: Files, Nothing,
        "covered segments are deleted", [LeftBehind];
    /// Segments are removed that no checkpoint covers.
    SegmentRemovedEarly: Files, Nothing,
        "only covered segments are deleted; a segment missing above N is an error", [Refused];
    /// Whoever asks gets the lock.
    LockAlwaysGranted: Files, Nothing,
        "a second opener is told `Locked`", [NotLocked];
    /// The lock outlives its holder.
    LockLeftBehind: Files, Nothing,
        "`Drop` and `close` unlock explicitly", [LeftBehind];
    /// Files are never closed.
    FileLeftOpen: Files, Nothing,
        "nothing of a dropped handle is left", [LeftBehind];
    /// Writes of segments stay in memory until a sync.
    WriteDeferred: Files, NoSyncs,
        "no user-space buffer holds an acknowledged event", [Lost];
    /// Of two writes of a segment the later one is done first.
    WritesSwapped: Files, NoSyncs,
        "an acknowledgement waits until every earlier frame is written", [Lost];
    /// Half of a write is done, and all of it reported.
    ShortWriteHidden: Files, Nothing,
        "a frame is wholly there", [Lost, Refused];
    /// A bit of a segment is wrong.
    SegmentBitFlipped: Files, Nothing,
        "a flipped bit is refused or cut, never wrong state, never silent where synced was promised", [Lost, Refused];
    /// A bit of the store is wrong.
    StoreBitFlipped: Files, Nothing,
        "nothing is read from the store that was not written", [Refused];
    /// Dropping the handle syncs.
    DropSyncs: Files, Nothing,
        "`Drop` changes no durable state", [DropWrote];
    /// Writes and syncs that failed are reported as done.
    WriteErrorSwallowed: Files, Nothing,
        "any failed write or sync poisons", [LifeAfterDeath, AcknowledgedAfterDeath];
    /// A write that failed is tried again.
    WriteRetried: Files, Nothing,
        "after a failure nothing is retried", [LifeAfterDeath];
    /// An error while reading is shown as the end of the file.
    ReadErrorAsEnd: Files, Nothing,
        "an error while reading is no torn tail: open fails with it", [Lost, Refused];
    /// The store's files are read as they were when they were opened.
    StaleRead: Files, Nothing,
        "what was written is read", [CannotGoOn];
    /// A leftover temporary file ends the process.
    LeftoverPanics: Files, Nothing,
        "nothing read from disk can make it panic", [Panicked];
    /// A leftover temporary file is waited for.
    LeftoverHangs: Files, ShortCases,
        "nothing read from disk can make it loop", [Hang];
    /// The last segment is gone at open.
    LastSegmentLost: Files, Nothing,
        "acknowledged events survive", [Lost];
    /// All segments are gone at open.
    LogLost: Files, Nothing,
        "a missing log is an error, and no fresh database", [Refused];
    /// The store is gone at open.
    StoreLost: Files, Nothing,
        "a log without its storage is an error", [Refused];
    /// The store is an older one at open.
    StoreRolledBack: Files, Nothing,
        "continuity is required above N", [Refused, Lost];

    /// The checkpoint's batch is applied operation by operation.
    CheckpointOneByOne: Storage, Nothing,
        "`write_batch` is atomic", [Doubled];
    /// The checkpoint's number is written before its state.
    CheckpointNumberFirst: Storage, Nothing,
        "state and N are written together: N is not ahead", [Lost];
    /// The checkpoint's number is written after its state.
    CheckpointNumberLast: Storage, Nothing,
        "state and N are written together: N is not behind", [Doubled];
    /// The checkpoint's number is not written: replay does again what its state has.
    CheckpointNumberDropped: Storage, Nothing,
        "every frame with a number above N is replayed exactly once", [Refused, Doubled];
    /// The log's marker is written, and the log trimmed, before the checkpoint.
    CheckpointDeferred: Storage, Nothing,
        "the checkpoint is flushed before the marker and before segments are deleted", [Refused];
    /// There never was a checkpoint, says the storage.
    CheckpointForgotten: Storage, Nothing,
        "no checkpoint means replay from the start", [Refused];
    /// A checkpoint does not overwrite the states that are there.
    OverwriteIgnored: Storage, Nothing,
        "a put replaces the value", [CannotGoOn, Half];
    /// The members of a deleted collection go one by one.
    CollectionDeletedInParts: Storage, Nothing,
        "each change of a collection is atomic", [Lost, Wrong];
    /// Flushes do nothing.
    FlushSkipped: Storage, Nothing,
        "`flush` is power-safe when it returns", [AcknowledgedBeforeDurable, Lost, Refused];
    /// The identity is not flushed before the first segment.
    FirstFlushSkipped: Storage, Nothing,
        "database id and schema are flushed before the first segment", [Refused];
    /// Closing the storage does nothing.
    CloseSkipped: Storage, ChangeLast,
        "`close` makes every write durable", [AcknowledgedBeforeDurable];
    /// A put stays in memory until the next write.
    PutDeferred: Storage, NoSyncs,
        "storage writes survive a process crash once they return", [CannotGoOn, Lost];
    /// Deletions do nothing.
    DeleteIgnored: Storage, Nothing,
        "a deleted key is gone", [Wrong];
    /// Keys are cut, so that some are confused.
    KeysCut: Storage, Nothing,
        "names that are prefixes of one another are never confused", [Refused];
    /// A scan shows a pair that has another prefix.
    ScanTooLong: Storage, Nothing,
        "`scan_prefix` shows what has the prefix and nothing else", [Refused];
    /// A scan leaves out its last pair.
    ScanWithoutLast: Storage, Nothing,
        "`scan_prefix` shows all that has the prefix", [Refused, Lost];
    /// What failed in storage is reported as done.
    StorageErrorSwallowed: Storage, Nothing,
        "any failed storage call poisons", [LifeAfterDeath, AcknowledgedAfterDeath];

    /// A call is acknowledged, and made with the next one.
    AcknowledgedFirst: Calls, Nothing,
        "acknowledged last, after everything else", [Lost];
    /// The database is opened with a weaker policy than was promised.
    WeakerPolicy: Calls, Nothing,
        "the policy in force is the one that was chosen", [AcknowledgedBeforeDurable, Lost];
    /// A sync is acknowledged and not made.
    SyncDropped: Calls, NoSyncs,
        "`sync` makes everything acknowledged durable", [AcknowledgedBeforeDurable, Lost];
    /// A checkpoint is acknowledged and not made.
    CheckpointDropped: Calls, NoSyncs,
        "a checkpoint makes durable what it covers", [Lost];
    /// The receipt of every third frame has the number of the frame before.
    NumberRepeated: Calls, Nothing,
        "every frame has a number of its own", [Wrong];
    /// Every third frame is recorded twice.
    CallTwice: Calls, Nothing,
        "an event is never applied twice", [Doubled];
    /// Every third frame is acknowledged and not recorded.
    CallDropped: Calls, NoSyncs,
        "no hole", [Lost];
    /// A batch is recorded in two calls.
    CallSplit: Calls, Nothing,
        "one call is one frame, wholly there or wholly absent", [Half];
    /// The events of a batch are recorded in the reverse order.
    BatchReversed: Calls, Nothing,
        "user rings and co-engagement apply in log order", [Wrong];
    /// Events lose their cohorts.
    CohortsDropped: Calls, Nothing,
        "cohorts are fed from the same frame", [Half];
    /// Events lose their user.
    UserDropped: Calls, Nothing,
        "co-engagement is fed from the same frame", [Half];
    /// A call is refused and done all the same.
    RefusedAndDone: Calls, Nothing,
        "an error before the log leaves the state unchanged", [Wrong];
    /// An event ahead of the clock is recorded at its own time, and the receipt says otherwise.
    SetBackIgnored: Calls, Nothing,
        "an event ahead of the clock is recorded at the clock's now", [Wrong];
    /// The database is opened with no bound on how far ahead of the clock an event may be.
    SkewUnlimited: Calls, Nothing,
        "an event too far ahead of the clock is refused before the log", [Wrong];
    /// Each opening is given the id of another database.
    OtherDatabase: Calls, Nothing,
        "another database's files are an error of their own", [Refused];
    /// The database's id is random.
    RandomBytes: Calls, Nothing,
        "with one caller a run is deterministic to the byte", [ModesDisagree];
    /// Later runs do less than the first.
    RunsDiffer: Calls, Nothing,
        "a crash that is never reached is no pass", [ModesDisagree, NeverReached];
}

impl fmt::Display for PlantedBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl PlantedBug {
    /// The same sweep with this bug in it, which counts to `acts`.
    ///
    /// Where the bug needs a certain policy to show the sweep gets it, and loses its calls of `sync` and `checkpoint` if
    /// these would hide it.
    pub fn plant(self, sweep: CrashSweep, acts: &Acts) -> CrashSweep {
        let sweep = self.needs().prepare(sweep);
        match self.place() {
            Place::Files => files::plant(self, sweep, acts),
            Place::Storage => storage::plant(self, sweep, acts),
            Place::Calls => calls::plant(self, sweep, acts),
        }
    }
}

/// The same sweep with this bug in it: [`PlantedBug::plant`] for those who do not ask how often it did something wrong.
pub fn plant(bug: PlantedBug, sweep: CrashSweep) -> CrashSweep {
    bug.plant(sweep, &Acts::default())
}
