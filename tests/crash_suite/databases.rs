//! The databases that the suite crashes. Each is a storage engine, a durability policy and a workload, as a sweep of
//! the kit.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use tidaldb::Durability;
use tidaldb::storage::MemoryStore;
use tidaldb::testing::lab::process::ChildProgram;
use tidaldb::testing::plan::{CrashMode, Site};
use tidaldb::testing::workload::STANDARD_SYNC_MS;
use tidaldb::testing::{CrashSweep, CrossingCounts};

use crate::events;
use crate::fjall_storage::FjallStorage;
use crate::harness::{CaseResult, lock};
use crate::input::{self, Input};
use crate::threads;

/// The storage engine, which stores checkpoints and collections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    Embedded,
    Fjall,
    Memory,
}

/// The durability policy: the time at which an acknowledged event is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    EverySynced,
    TimedSyncs,
    LeftToOs,
}

impl Policy {
    pub(crate) const ALL: [Self; 3] = [Self::EverySynced, Self::TimedSyncs, Self::LeftToOs];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::EverySynced => "every-synced",
            Self::TimedSyncs => "timed-syncs",
            Self::LeftToOs => "left-to-os",
        }
    }

    /// The policy as an option of a database whose caller does the background work. The interval of timed syncs is in
    /// the time of the workload.
    pub(crate) const fn durability(self) -> Durability {
        match self {
            Self::EverySynced => Durability::EverySynced,
            Self::TimedSyncs => Durability::SyncedEvery {
                interval_ms: STANDARD_SYNC_MS,
            },
            Self::LeftToOs => Durability::OperatingSystem,
        }
    }
}

/// A database that one thread calls. Its crossings depend on these fields only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) policy: Policy,
    pub(crate) input: Input,
}

impl Database {
    /// The first part of the names of the cases of this database.
    pub(crate) const fn name(self) -> &'static str {
        match (self.input, self.store) {
            (Input::Sessions, Store::Fjall) => "fjall-sessions",
            (Input::Sessions, _) => "sessions",
            (Input::Standard, Store::Embedded) => "embedded",
            (Input::Standard, Store::Fjall) => "fjall",
            (Input::Standard, Store::Memory) => "memory",
        }
    }

    /// The sweep of the kit that crashes this database.
    pub(crate) fn sweep(self) -> CrashSweep {
        let sweep = input::operations(self.input).sweep();
        let sweep = sweep.durability(self.policy.durability());
        match self.store {
            Store::Embedded => sweep,
            Store::Fjall => sweep.storage_in_dir(|dir| Ok(Arc::new(FjallStorage::open(dir)?))),
            Store::Memory => sweep.storage_in_dir(|dir| Ok(Arc::new(memory_of(dir.to_path_buf())))),
        }
    }

    /// The crossings of a whole run without a crash. Recorded once in each process.
    pub(crate) fn crossed(self) -> CaseResult<CrossingCounts> {
        type RecordedOnce = Arc<OnceLock<CaseResult<CrossingCounts>>>;
        static RECORDED: Mutex<BTreeMap<Database, RecordedOnce>> = Mutex::new(BTreeMap::new());
        let recorded = Arc::clone(lock(&RECORDED).entry(self).or_default());
        recorded.get_or_init(|| self.record()).clone()
    }

    fn record(self) -> CaseResult<CrossingCounts> {
        let sweep = self.sweep();
        let plan = sweep.plan().crash(Site::End, CrashMode::Kill);
        let ended = sweep.crash_on_files(&plan, &ChildProgram::this_program([""; 0]));
        Ok(ended
            .map_err(|finding| format!("the run without a crash: {finding}"))?
            .crossed)
    }
}

/// The in-memory store of a directory. It exists until the end of the process, so a reopened database finds its
/// content.
fn memory_of(dir: PathBuf) -> MemoryStore {
    static STORES: Mutex<BTreeMap<PathBuf, MemoryStore>> = Mutex::new(BTreeMap::new());
    lock(&STORES).entry(dir).or_default().clone()
}

/// The sweep of the case `name`, in the child process of the case. `start` holds the further arguments of the child.
pub(crate) fn sweep_of_case(name: &str, start: &[OsString]) -> CaseResult<CrashSweep> {
    let none = || format!("no case has the name {name:?}");
    let mut parts = name.split('/');
    let (Some(database), Some(policy)) = (parts.next(), parts.next()) else {
        return Err(none());
    };
    let policy = Policy::ALL.into_iter().find(|it| it.name() == policy);
    let policy = policy.ok_or_else(none)?;
    if database == threads::NAME {
        return Ok(threads::sweep(policy));
    }
    if database == events::NAME {
        return events::sweep_of_child(policy, start);
    }
    for input in [Input::Standard, Input::Sessions] {
        for store in [Store::Embedded, Store::Fjall] {
            let it = Database { store, policy, input };
            if it.name() == database {
                return Ok(it.sweep());
            }
        }
    }
    Err(format!("the case {name:?} has no child process"))
}
