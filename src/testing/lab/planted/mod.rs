//! Planted bugs: the self-test of the kit.
//!
//! Each [`PlantedBug`] breaks one promise of the engine from outside: in the file access, in the storage engine, in the
//! calls at the public handle, or in the options. The engine is unchanged. A sweep with a bug must find it by the check
//! that the [table](PlantedBug) names. The same sweep without the bug must find nothing.
//!
//! A bug can be planted into your own sweep, to test that the sweep finds it:
//!
//! ```
//! use tidaldb::testing::lab::planted::{FaultCount, PlantedBug};
//! use tidaldb::testing::CrashSweep;
//!
//! let faults = FaultCount::default();
//! let sweep = PlantedBug::SegmentSyncSkipped.plant(CrashSweep::standard(7, 12), &faults);
//! let report = sweep.findings_max(1).shrink(false).run();
//! assert!(faults.len() > 0, "the sweep never reached the bug");
//! assert_eq!(report.findings[0].failure.kind, PlantedBug::SegmentSyncSkipped.caught_by()[0]);
//! ```
//!
//! # Changes that break no promise
//! These changes are not planted, because a sweep with them finds nothing:
//!
//! - A scan in another order: the engine loads each pair by its key. The conformance suite checks the order.
//! - A repeated write, or an additional sync: the same bytes are at the same position.
//! - Missing zeros ahead of the log, or garbage instead of them: the engine never trusts bytes after the last frame.
//! - A skipped truncation of a file: the engine truncates no file. It writes the shorter content to a new file.
//! - A copy of a frame after the last frame: its sequence number is wrong there. For a second replay of a frame, a bug
//!   changes the checkpoint's number instead.
//!
//! Some promises lie inside the handle, and no wrapper reaches them: the states that threads may read of each other,
//! sums that agree in any order, errors about refused arguments. The tests of those parts of the engine break these
//! promises.

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

/// The time limit of a case in a sweep with a bug that hangs.
const HANG_TIME: Duration = Duration::from_secs(2);
/// The number of events of most calls in a sweep of large calls.
const LARGE_CALL_EVENTS: usize = 120;
/// The number of crash positions in a sweep of large calls.
const LARGE_POSITIONS: usize = 60;

/// The place of a bug in the database, the calls that it applies to, and its action.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BugPlace {
    Files(files::FileBug),
    Storage(storage::StorageBug),
    Calls(calls::CallBug),
    /// A small storage engine with a flaw, instead of the embedded store.
    Store(store::StoreFlaw),
    /// A change of the options of each open. The function gets the number of the open, from 1.
    Options(fn(Options, u64) -> Options),
    /// A change of the options of every session except the first.
    LaterOptions(fn(Options) -> Options),
}

impl BugPlace {
    pub(crate) const fn files(
        calls: &'static [&'static str],
        roles: &'static [FileRole],
        action: files::FileAction,
    ) -> Self {
        Self::Files(files::FileBug {
            calls,
            roles,
            one_in: 1,
            action,
        })
    }

    pub(crate) const fn storage(calls: &'static [&'static str], action: storage::StorageAction) -> Self {
        Self::Storage(storage::StorageBug { calls, action })
    }

    const fn calls(applies_to: fn(&Operation) -> bool, action: calls::CallAction) -> Self {
        Self::Calls(calls::CallBug {
            applies_to,
            one_in: 1,
            action,
        })
    }

    fn plant(self, sweep: CrashSweep, faults: &FaultCount) -> CrashSweep {
        match self {
            Self::Files(bug) => files::plant(bug, sweep, faults),
            Self::Storage(bug) => storage::plant(bug, sweep, faults),
            Self::Calls(bug) => calls::plant(bug, sweep, faults),
            Self::Store(flaw) => store::plant(Some(flaw), sweep, faults),
            Self::Options(change) => calls::plant_options(change, sweep, faults),
            Self::LaterOptions(change) => calls::plant_later_options(change, sweep, faults),
        }
    }

    /// The same bug, acting in every `one_in`-th call that it applies to.
    const fn one_in(self, one_in: u64) -> Self {
        match self {
            Self::Files(bug) => Self::Files(files::FileBug { one_in, ..bug }),
            Self::Calls(bug) => Self::Calls(calls::CallBug { one_in, ..bug }),
            Self::Storage(_) | Self::Store(_) | Self::Options(_) | Self::LaterOptions(_) => self,
        }
    }
}

/// The needs of a sweep that must find a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    /// Syncs left to the operating system.
    NoSyncs,
    /// Syncs left to the operating system, and no call that syncs.
    NoBarriers,
    /// Syncs left to the operating system, and changes of collections after the last checkpoint.
    ChangeLast,
    /// Timed syncs.
    TimedSyncs,
    /// A short time limit for each case.
    ShortCases,
    /// Operations in several sessions.
    Sessions,
    /// Operations in several sessions, with timed syncs.
    TimedSessions,
    /// Calls of hundreds of events, instead of the work of the sweep.
    LargeCalls,
}

/// The seed of operations in several sessions.
const SESSIONS_SEED: u64 = 9;
/// With this number of operations, the operations in several sessions contain every kind of change between two
/// sessions.
const SESSIONS_LEN_MIN: usize = 60;

impl Needs {
    fn prepare(self, sweep: CrashSweep) -> CrashSweep {
        match self {
            Self::Nothing => sweep,
            Self::ShortCases => sweep.case_time(HANG_TIME),
            Self::LargeCalls => with_large_calls(sweep),
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

/// A sweep of large calls with some of their crash positions.
fn with_large_calls(sweep: CrashSweep) -> CrashSweep {
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
    /// The same sweep with this bug. Each action of the bug is counted in `faults`.
    ///
    /// The sweep gets the durability policy that the bug needs. Its calls of `sync` and `checkpoint` are removed if
    /// they would hide the bug. For a bug between sessions its operations are replaced by operations in several
    /// sessions.
    pub fn plant(self, sweep: CrashSweep, faults: &FaultCount) -> CrashSweep {
        let row = self.row();
        row.place.plant(row.needs.prepare(sweep), faults)
    }
}
