//! Sweeps: every crash of one run of work, and every recovery from it.
//!
//! A recording run lists each crossing of a crash point and each operation of the disk. At every one of them the sweep
//! crashes: it builds the images that the crash may leave, recovers each distinct image once, compares the state with the
//! oracle, opens the database again, writes, closes and reopens. It crashes inside the recovery in the same way: every
//! interrupted recovery must give the same state. After some crashes the work continues in another session, and the sweep
//! crashes there too.
//!
//! It also lets the device fail under the running work, which finds threads that ignore the failure. And it lets one
//! operation of the work or of a recovery fail, or makes the disk full there; the work then continues, and the crash comes
//! when the call that met the fault returns, and at the end.
//!
//! Images come from the one recording, so the work of a sweep must do the same in every run: one calling thread, which also
//! does the database's background work. Only [`CrashSweep::crash_on_files`] allows more threads. The [`SweepReport`] counts
//! the images that a bound leaves out.
//!
//! | file | content |
//! |---|---|
//! | `setup`, `home`, `driver`, `journal` | the work, the place of the database, the calls, the oracle at each moment |
//! | `record`, `recover`, `state` | one run of the work; one recovery, and the checks after it; the state after it |
//! | `next_session` | the session after a crash, with the rest of the work |
//! | `case` | the case runner, for every case of the kit |
//! | `explore`, `fault`, `memory`, `phases`, `run` | the enumeration of cases, and its memory |
//! | `shrink`, `finding`, `report` | smaller cases, findings, the report |
//! | `bounds`, `heartbeat`, `deep` | the bounds, the watch over the workers, one sweep after another |
//! | `replay`, `random` | single cases on the simulated disk |
//! | `files`, `child`, `handle`, `crash`, `compare` | crashes of running work, on real files too |
//! | `prefixes`, `saved` | one run of long work, saved at some positions; crashes on real files begin there |

mod bounds;
mod case;
mod child;
mod compare;
mod crash;
mod deep;
mod driver;
mod explore;
mod fault;
mod files;
mod finding;
mod handle;
mod heartbeat;
mod home;
mod journal;
mod memory;
mod next_session;
mod phases;
mod prefixes;
mod random;
mod record;
mod recover;
mod replay;
mod report;
mod run;
mod saved;
mod setup;
mod shrink;
mod state;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use compare::ModeComparison;
pub use deep::{DeepProfile, DeepTotals};
pub use driver::Driver;
pub use files::CrashedOnFiles;
pub use finding::{Failure, FailureKind, Finding, ReplayFailure};
pub use heartbeat::{Phase, Progress};
pub use prefixes::PrefixRun;
pub use random::random_plan;
pub use replay::RecoveredCase;
pub use report::{Coverage, LeftOut, SiteReport, SweepReport};
pub use saved::SavedPrefix;

use crate::fs::FileAccess;
use crate::storage::StorageEngine;
use crate::testing::plan::{Plan, Work};
use crate::testing::process::ChildProgram;
use crate::testing::sim_disk::DiskModel;
use crate::testing::workload::Workload;
use crate::{Durability, Error, Options};
pub(crate) use bounds::{Bounds, now};
pub(crate) use driver::Calls;
pub(crate) use setup::{OpenStorage, Setup};

type ShowProgress = dyn Fn(&Progress) + Send + Sync;

/// The work of a sweep, and its bounds. Everything but the work has a default.
///
/// # Examples
/// A workload, within the default bounds:
/// ```
/// use tidaldb::testing::workload::Workload;
/// use tidaldb::testing::CrashSweep;
///
/// let report = CrashSweep::of(Workload::standard(7, 12)).run();
/// report.expect_clean();
/// println!("{report}");
/// ```
#[derive(Clone)]
pub struct CrashSweep {
    setup: Setup,
    bounds: Bounds,
    claims_completeness: bool,
    shrinks: bool,
    progress: Option<(Duration, Arc<ShowProgress>)>,
}

impl CrashSweep {
    /// A sweep of these operations, with [`tiny_options`](super::workload::tiny_options).
    pub fn of(workload: Workload) -> Self {
        Self::of_work(Work::Operations(workload))
    }

    /// A sweep of [`Workload::standard`].
    pub fn standard(seed: u64, operations_len: usize) -> Self {
        Self::of_work(Work::Standard { seed, operations_len })
    }

    /// A sweep of [`Workload::sessions`].
    pub fn sessions(seed: u64, operations_len: usize) -> Self {
        Self::of_work(Work::Sessions { seed, operations_len })
    }

    /// A sweep of the calls that `work` makes. It must make the same calls in every run. `name` stands for it in replay
    /// lines; [`replay`](Self::replay) of this sweep reads them.
    pub fn driven(
        name: &str,
        work: impl Fn(&mut Driver<'_>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        let mut sweep = Self::of_work(Work::Driven(name.to_owned()));
        sweep.setup.drive = Some(Arc::new(work));
        sweep
    }

    /// A sweep of these operations, for which `name` stands in replay lines: for workloads too long for a line. Lines of it
    /// are replayed by [`replay`](Self::replay) of this sweep.
    pub fn named(name: &str, workload: Workload) -> Self {
        let mut sweep = Self::of_work(Work::Driven(name.to_owned()));
        sweep.setup.workload = Some(Arc::new(workload));
        sweep
    }

    /// A sweep of the operations that follow a saved prefix of longer work; see [`PrefixRun`]. It crashes on real files only, by
    /// [`crash_on_files`](Self::crash_on_files), and each time begins with a copy of the saved database. The child process makes
    /// its sweep by [`named`](Self::named), with the same `name` and the same operations.
    pub fn from_prefix(name: &str, prefix: &Arc<SavedPrefix>) -> Self {
        let mut sweep = Self::of_work(Work::Driven(name.to_owned()));
        sweep.setup.workload = Some(Arc::clone(&prefix.next));
        sweep.setup.start = Some(Arc::clone(prefix));
        sweep
    }

    pub(crate) fn of_work(work: Work) -> Self {
        Self {
            setup: Setup::new(work, Durability::EverySynced),
            bounds: Bounds::default(),
            claims_completeness: false,
            shrinks: true,
            progress: None,
        }
    }

    /// The same with another setup.
    pub(crate) fn with_setup(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        self
    }

    /// Looks for this kind of failure alone.
    #[cfg(test)]
    pub(crate) fn looking_for(mut self, kind: FailureKind) -> Self {
        self.bounds.wanted = Some(kind);
        self
    }

    /// The policy. Default: every event synced.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.setup.durability = durability;
        self
    }

    /// How the database is opened: called for every opening. Policy and file access are set by the sweep.
    ///
    /// The options must make every run write the same bytes: set [`Background::Caller`](crate::Background::Caller), a
    /// database id, a first opening id, and a clock that does not depend on real time. Keep the default `skew_ms_max`. With
    /// a clock other than [`WorkloadClock`](super::workload::WorkloadClock) no event may be ahead of it. The sweep computes
    /// from these which events are set back and which calls are refused.
    #[must_use]
    pub fn options(mut self, options: impl Fn() -> Options + Send + Sync + 'static) -> Self {
        self.setup.options = Some(Arc::new(options));
        self
    }

    /// Opens the storage engine for every opening, over the file access of the simulated disk. The engine must keep all its
    /// data there. Default: the embedded store. For real files give [`storage_in_dir`](Self::storage_in_dir).
    #[must_use]
    pub fn storage(
        mut self,
        storage: impl Fn(Arc<dyn FileAccess>) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.setup.storage = Some(OpenStorage::OverFiles(Arc::new(storage)));
        self
    }

    /// A storage engine that keeps its files in its own way, below the directory that `storage` is given for every
    /// opening. It is crashed on real files alone, by [`crash_on_files`](Self::crash_on_files).
    #[must_use]
    pub fn storage_in_dir(
        mut self,
        storage: impl Fn(&Path) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.setup.storage = Some(OpenStorage::InDir(Arc::new(storage)));
        self
    }

    /// Puts a file access of your own between the database and the simulated disk.
    #[must_use]
    pub fn files(
        mut self,
        wrap: impl Fn(Arc<dyn FileAccess>) -> Arc<dyn FileAccess> + Send + Sync + 'static,
    ) -> Self {
        self.setup.files = Some(Arc::new(wrap));
        self
    }

    /// The largest number of moments of the work at which it crashes, spread over the whole run. Default: no bound.
    #[must_use]
    pub fn moments_max(mut self, moments: usize) -> Self {
        self.bounds.moments_max = moments;
        self
    }

    /// The bounds for each save of a file: about a fifth of the work of the default ones.
    ///
    /// The default bounds are those that a minute on two cores affords in a build without optimisation: a standard workload of
    /// a hundred operations takes 45 seconds of processor time in one session, and 86 in several. With these bounds it takes
    /// 9 and 16.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.bounds = self.bounds.quick();
        self
    }

    /// The largest number of images of a moment, for each disk model. Default 128.
    #[must_use]
    pub fn images_max(mut self, images: usize) -> Self {
        self.bounds.images_max = images;
        self
    }

    /// The number of nested recoveries that are crashed in: 0, 1 or 2. Default 1.
    #[must_use]
    pub fn depth(mut self, depth: u32) -> Self {
        self.bounds.depth = depth.min(crate::testing::plan::CRASHES_MAX as u32 - 1);
        self
    }

    /// The number of distinct images whose recovery is crashed in. Default 512.
    #[must_use]
    pub fn nested_max(mut self, images: usize) -> Self {
        self.bounds.nested_max = images;
        self
    }

    /// The number of distinct images after which the work continues in another session, in which the sweep crashes. At most
    /// [`nested_max`](Self::nested_max). Default 128.
    #[must_use]
    pub fn sessions_max(mut self, images: usize) -> Self {
        self.bounds.sessions_max = images;
        self
    }

    /// The largest number of images of a moment of a recovery, for each disk model. Default 8.
    #[must_use]
    pub fn nested_images_max(mut self, images: usize) -> Self {
        self.bounds.nested_images_max = images;
        self
    }

    /// The number of faults of disk operations under the running work, each in its own run: the device fails before or after
    /// the operation; only the operation fails; a write fails in the middle; a sync fails and keeps some of the writes; the
    /// disk is full. Each of four recoveries gets a quarter of this number. Default 512.
    #[must_use]
    pub fn faults_max(mut self, faults: usize) -> Self {
        self.bounds.faults_max = faults;
        self
    }

    /// The bytes of a sector of the simulated disk: where writes tear. Default 512; 4096 is the other common size.
    #[must_use]
    pub fn sector_bytes(mut self, bytes: u32) -> Self {
        self.setup.sector_bytes = bytes.max(1);
        self
    }

    /// The models whose images of a power loss are built. Default [`DiskModel::EVERY_IMAGE`]: all images that the contract
    /// of the file access allows. Images of a process crash, which leaves everything written, are built under all.
    #[must_use]
    pub fn models(mut self, models: &[DiskModel]) -> Self {
        self.bounds.models = models.to_vec();
        self
    }

    /// If true, each recovered disk is opened again, written to, closed and reopened, once. Default true.
    #[must_use]
    pub fn continue_after_recovery(mut self, continues: bool) -> Self {
        self.bounds.continues = continues;
        self
    }

    /// The largest number of distinct images. Default: no bound.
    #[must_use]
    pub fn distinct_max(mut self, images: u64) -> Self {
        self.bounds.distinct_max = images;
        self
    }

    /// The time after which the sweep ends. The rest is left out. Default: no bound.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.bounds.time = Some(time);
        self
    }

    /// Ends after this many findings. Default 20.
    #[must_use]
    pub fn findings_max(mut self, findings: usize) -> Self {
        self.bounds.findings_max = findings.max(1);
        self
    }

    /// The time after which a single case is a hang. Default one minute.
    #[must_use]
    pub fn case_time(mut self, time: Duration) -> Self {
        self.bounds.case_time = time;
        self
    }

    /// The number of threads that recover. Default: as many as the machine runs at once.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.bounds.workers = workers.max(1);
        self
    }

    /// The seed that selects images where a bound excludes some. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.bounds.seed = seed;
        self
    }

    /// Claims that every crash point, every kind of disk operation that changes something, and every site is reached: else the
    /// report is not clean.
    #[must_use]
    pub fn complete(mut self) -> Self {
        self.claims_completeness = true;
        self
    }

    /// If true, the sweep looks for a smaller case of each finding. Default true.
    #[must_use]
    pub fn shrink(mut self, shrinks: bool) -> Self {
        self.shrinks = shrinks;
        self
    }

    /// Calls `report` on the calling thread after each `interval`.
    #[must_use]
    pub fn progress(
        mut self,
        interval: Duration,
        report: impl Fn(&Progress) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some((interval, Arc::new(report)));
        self
    }

    /// The plan of this work and policy, without a crash.
    pub fn plan(&self) -> Plan {
        self.setup.plan()
    }

    /// Runs the sweep.
    pub fn run(&self) -> SweepReport {
        run::run(self)
    }

    /// Runs the plan of a replay line with this sweep's options, storage and files. The work is this sweep's, or any that
    /// the line holds completely.
    ///
    /// # Errors
    /// [`ReplayFailure::NotAPlan`] for a line that is not a plan; [`ReplayFailure::Found`] if anything is wrong, or the plan
    /// does not crash.
    pub fn replay(&self, line: &str) -> Result<RecoveredCase, ReplayFailure> {
        Ok(self.run_plan(&line.parse()?)?)
    }

    /// Runs a plan with this sweep's options, storage and files on a simulated disk.
    ///
    /// # Errors
    /// [`Finding`] if anything is wrong, or the plan does not crash.
    pub fn run_plan(&self, plan: &Plan) -> Result<RecoveredCase, Box<Finding>> {
        replay::run(&self.setup.for_plan(plan), plan)
    }

    /// Compares the files that each crash mode leaves at the one site of `plan`, see [`compare_crash_modes`].
    ///
    /// # Errors
    /// Those of [`compare_crash_modes`].
    pub fn compare_crash_modes(&self, plan: &Plan, test: &str) -> Result<ModeComparison, Box<Finding>> {
        compare::compare(&self.setup.for_plan(plan), plan, test)
    }

    /// Runs a plan with one crash on real files, in a new directory, over any storage engine: a panic in this process, or
    /// a `child` process that aborts or is killed. Afterwards it recovers, compares, and uses the database again. A plan
    /// whose site is `end` does not crash.
    ///
    /// The child has to make the same sweep, with the policy of the plan, and call [`die_if_child`](Self::die_if_child).
    ///
    /// # Errors
    /// [`Finding`] if anything is wrong, or the work does not crash there. Its directory is kept then.
    pub fn crash_on_files(&self, plan: &Plan, child: &ChildProgram) -> Result<CrashedOnFiles, Box<Finding>> {
        files::crash_on_files(&self.setup.for_plan(plan), plan, child)
    }

    /// In a child process that [`crash_on_files`](Self::crash_on_files) of this work started: does the work and ends. In
    /// any other process it returns at once.
    pub fn die_if_child(&self) {
        files::die_if_child(&self.setup, |plan| {
            plan.work == self.setup.work && plan.durability == self.setup.durability
        });
    }
}

/// Runs exactly this case on a simulated disk, with the standard options, and checks everything that a sweep checks.
///
/// # Errors
/// [`Finding`] if anything is wrong, or the plan does not crash.
pub fn run_plan(plan: &Plan) -> Result<RecoveredCase, Box<Finding>> {
    CrashSweep::of_work(plan.work.clone()).run_plan(plan)
}

/// Runs the plan of a replay line, with the standard options. A sweep with options, storage or files of its own replays
/// with [`CrashSweep::replay`].
///
/// The line may have anything before `tidaldb-replay:`.
///
/// # Errors
/// [`ReplayFailure::NotAPlan`] for a line that is not a plan; [`ReplayFailure::Found`] if anything is wrong, or the plan does
/// not crash.
///
/// # Examples
/// ```
/// let line = "tidaldb-replay: work=standard:7:20 durability=every-synced crash=WalPostAggregate#3 mode=power-loss:synced";
/// tidaldb::testing::replay(line)?;
/// # Ok::<(), tidaldb::testing::ReplayFailure>(())
/// ```
pub fn replay(line: &str) -> Result<RecoveredCase, ReplayFailure> {
    Ok(run_plan(&line.parse()?)?)
}

/// Crashes at the one site of `plan` by a panic, a kill and, at a crash point, an abort, with the
/// standard options, and compares the files that they leave.
///
/// `test` is the full name of the calling test, `concat!(module_path!(), "::name_of_the_test")`: the child is this test
/// binary, run for that test alone. Call this before anything that a child should not do too.
///
/// # Errors
/// [`Finding`] if a mode leaves other files or another state than the image, does not reach the site, or leaves an illegal
/// state; or if the plan has not exactly one crash, or its mode is a power loss.
pub fn compare_crash_modes(plan: &Plan, test: &str) -> Result<ModeComparison, Box<Finding>> {
    CrashSweep::of_work(plan.work.clone()).compare_crash_modes(plan, test)
}

impl fmt::Debug for CrashSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashSweep")
            .field("setup", &self.setup)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
