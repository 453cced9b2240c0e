//! Planted bugs: the self-test of the kit.
//!
//! Each [`PlantedBug`] breaks one promise of the engine from outside: in the file access, in the storage engine, in
//! the calls at the public handle, or in the options. The engine is unchanged. A sweep with a bug must find it, by the check that the
//! [table](PlantedBug) gives, and the same sweep without the bug must find nothing.
//!
//! Bugs can be planted into a sweep of your own, to test whether it would find them:
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
//! # Changes that break no promise
//! These are not planted. Sweeps with them find nothing:
//!
//! - A scan in another order: the engine loads each pair by its key. The conformance suite checks the order.
//! - A write made twice, or an additional sync: the same bytes are at the same place.
//! - Zeros ahead of the log that are not written, or garbage in their place: bytes after the last frame are never trusted.
//! - A file that is not cut: the engine cuts none, it writes the shorter one anew.
//! - A frame copied behind the last one: its sequence number is wrong there. A second replay of a frame is planted in the
//!   checkpoint's number instead.
//!
//! Some promises lie inside the handle, where no wrapper reaches: the states that threads may see of each other, sums that agree
//! in any order, errors about refused arguments. The tests of those parts break them.

mod calls;
pub(crate) mod files;
pub(crate) mod storage;
mod store;
mod store_files;
mod table;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::table::{BugKind, PlantedBug};
use crate::testing::CrashSweep;
pub use crate::testing::faults::FaultCount;
use crate::testing::faults::FileRole;
use crate::testing::plan::Work;
use crate::testing::sweep::FailureKind;
use crate::testing::workload::{Operation, STANDARD_SYNC_MS, Workload, large_schema, tiny_options};
use crate::{Durability, Options};

/// The time of a case in a sweep where one hangs.
const HANG_TIME: Duration = Duration::from_secs(2);
/// The events of most calls in a sweep of large calls, and the number of moments at which the sweep crashes.
const LARGE_CALL_EVENTS: usize = 120;
const LARGE_POSITIONS: usize = 60;

/// The part of the database that a bug is in, the calls that it applies to, and its action.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BugPlace {
    Files(files::FileBug),
    Storage(storage::StorageBug),
    Calls(calls::CallBug),
    /// A small storage engine in the place of the embedded store.
    Store(store::StoreFlaw),
    /// Changes the options of each opening, by its number from 1.
    Options(fn(Options, u64) -> Options),
    /// Changes the options of every session but the first.
    LaterOptions(fn(Options) -> Options),
}

impl BugPlace {
    pub(crate) const fn files(
        calls: &'static [&'static str],
        roles: &'static [FileRole],
        act: files::FileReplacement,
    ) -> Self {
        Self::Files(files::FileBug {
            calls,
            roles,
            one_in: 1,
            act,
        })
    }

    pub(crate) const fn storage(calls: &'static [&'static str], act: storage::StorageReplacement) -> Self {
        Self::Storage(storage::StorageBug { calls, act })
    }

    const fn calls(on: fn(&Operation) -> bool, act: calls::CallReplacement) -> Self {
        Self::Calls(calls::CallBug { on, one_in: 1, act })
    }

    fn plant(self, sweep: CrashSweep, acts: &FaultCount) -> CrashSweep {
        match self {
            Self::Files(bug) => files::plant(bug, sweep, acts),
            Self::Storage(bug) => storage::plant(bug, sweep, acts),
            Self::Calls(bug) => calls::plant(bug, sweep, acts),
            Self::Store(flaw) => store::plant(Some(flaw), sweep, acts),
            Self::Options(change) => calls::plant_options(change, sweep, acts),
            Self::LaterOptions(change) => calls::plant_later_options(change, sweep, acts),
        }
    }

    /// The same bug in every so many of its calls.
    const fn one_in(self, one_in: u64) -> Self {
        match self {
            Self::Files(bug) => Self::Files(files::FileBug { one_in, ..bug }),
            Self::Calls(bug) => Self::Calls(calls::CallBug { one_in, ..bug }),
            Self::Storage(_) | Self::Store(_) | Self::Options(_) | Self::LaterOptions(_) => self,
        }
    }
}

/// The needs of a sweep that is to find a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    /// Syncs left to the operating system.
    NoSyncs,
    /// Syncs left to the operating system, and no call that asks for one.
    NoBarriers,
    /// Syncs left to the operating system, and changes of collections after the last checkpoint.
    ChangeLast,
    /// Timed syncs.
    TimedSyncs,
    /// Cases that end soon.
    ShortCases,
    /// Operations in several sessions.
    Sessions,
    /// Operations in several sessions, with timed syncs.
    TimedSessions,
    /// Calls of hundreds of events, in the place of the work of the sweep.
    LargeCalls,
}

/// The seed of operations in several sessions, and the least number of operations: among them is every change between two
/// sessions.
const SESSIONS_SEED: u64 = 9;
const SESSIONS_LEN_MIN: usize = 60;

impl Needs {
    fn prepare(self, sweep: CrashSweep) -> CrashSweep {
        match self {
            Self::Nothing => sweep,
            Self::ShortCases => sweep.case_time(HANG_TIME),
            Self::LargeCalls => large_calls(sweep),
            Self::NoSyncs => sweep.durability(Durability::OperatingSystem),
            Self::NoBarriers => Self::NoSyncs.prepare(with_operations(sweep, |operations| {
                operations.retain(|it| !matches!(it, Operation::Sync | Operation::Checkpoint));
            })),
            Self::ChangeLast => Self::NoSyncs.prepare(with_operations(sweep, |operations| {
                operations.push(Operation::Checkpoint);
                // The end of a compaction of the store makes earlier changes durable.
                let last = (b'a'..=b'c').map(|name| Operation::CreateCollection(vec![name]));
                operations.extend(last);
            })),
            Self::TimedSyncs => sweep.durability(Durability::SyncedEvery {
                interval_ms: STANDARD_SYNC_MS,
            }),
            Self::Sessions => with_operations(sweep, |operations| {
                let len = operations.len().max(SESSIONS_LEN_MIN);
                *operations = Workload::sessions(SESSIONS_SEED, len).operations;
            }),
            Self::TimedSessions => Self::TimedSyncs.prepare(Self::Sessions.prepare(sweep)),
        }
    }
}

/// A sweep of large calls at some of their moments.
fn large_calls(sweep: CrashSweep) -> CrashSweep {
    let sweep = sweep.with_setup(|setup| {
        setup.work = Work::Driven("large calls".to_owned());
        setup.workload = Some(Arc::new(Workload::large(1, LARGE_CALL_EVENTS)));
        setup.options = Some(Arc::new(|| tiny_options(large_schema())));
    });
    sweep
        .crash_positions_max(LARGE_POSITIONS)
        .faults_max(0)
        .sessions_max(0)
        .depth(0)
}

fn with_operations(sweep: CrashSweep, change: fn(&mut Vec<Operation>)) -> CrashSweep {
    sweep.with_setup(|setup| {
        if let Some(mut workload) = setup.work.workload() {
            change(&mut workload.operations);
            setup.work = Work::Operations(workload);
        }
    })
}

impl PlantedBug {
    /// The same sweep with this bug, which counts to `acts`.
    ///
    /// The sweep gets the policy that the bug needs, and loses its calls of `sync` and `checkpoint` if these would hide it. For
    /// a bug between sessions it gets other operations, in several sessions.
    pub fn plant(self, sweep: CrashSweep, acts: &FaultCount) -> CrashSweep {
        let row = self.row();
        row.place.plant(row.needs.prepare(sweep), acts)
    }
}
