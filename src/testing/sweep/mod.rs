//! Sweeps: a sweep runs a workload once and tests every crash of that run, and crashes inside the recoveries.
//!
//! A recording run lists each crossing of a crash point and each operation of the disk. The sweep crashes at every one
//! of them:
//! 1. It builds the images that the crash can leave.
//! 2. It recovers each distinct image once, and compares the recovered state with the oracle.
//! 3. It continues after the recovery: it opens the database again, writes, closes and reopens.
//! 4. It runs nested cases: it crashes inside the recovery. Every interrupted recovery must give the same state.
//! 5. After some crashes the work continues in another session, and the sweep crashes in that session too.
//!
//! The sweep also lets the device fail under the running work. This finds threads that ignore the failure. It also lets
//! one operation of the work or of a recovery fail, or makes the disk full at that operation. The work then continues.
//! The sweep crashes when the call with the fault returns, and at the end of the run.
//!
//! All images come from one recording, so every run of the work must make the same disk operations. Therefore the work
//! has one calling thread, which also does the background work of the database. Only [`CrashSweep::crash_on_files`]
//! allows more threads. The [`SweepReport`] counts the images that a bound excludes.
//!
//! | file | content |
//! |---|---|
//! | `setup`, `location`, `driver`, `journal` | the work, the place of the database, the calls, the oracle snapshots |
//! | `record`, `recover`, `state` | one recorded run; one recovery and the checks after it; the recovered state |
//! | `next_session` | the session after a crash, with the rest of the work |
//! | `case` | the case runner, which runs every case of the kit |
//! | `explore`, `fault`, `shared`, `phases`, `run` | the enumeration of cases, and the results shared by the workers |
//! | `shrink`, `finding`, `report` | smaller cases, findings, the report |
//! | `bounds`, `heartbeat`, `deep` | the bounds, the heartbeats of the workers, series of sweeps |
//! | `replay`, `random` | single cases on the simulated disk |
//! | `files`, `child`, `handle`, `crash`, `compare` | crashes of running work, on the simulated disk and on real files |
//! | `prefixes`, `saved` | one run of a long workload, saved at some positions, from which cases on real files start |

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
mod journal;
mod location;
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
mod shared;
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
pub use finding::{Failure, FailureKind, Finding};
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
use crate::testing::replay::ReplayFailure;
use crate::testing::sim_disk::DiskModel;
use crate::testing::workload::Workload;
use crate::{Durability, Error, Options};
pub(crate) use bounds::{Bounds, now};
pub(crate) use driver::CallExecutor;
pub(in crate::testing) use recover::recover;
pub(crate) use setup::{DB_DIR, OpenStorage, Setup};
pub(in crate::testing) use state::{RecoveredState, failure_of};

type ShowProgress = dyn Fn(&Progress) + Send + Sync;

/// The work of a sweep, and its bounds. Everything except the work has a default.
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
    requires_coverage: bool,
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

    /// A sweep of the calls that `work` makes. `work` must make the same calls in every run. Replay lines contain
    /// `name` instead of the calls. Only [`replay`](Self::replay) of this sweep can run these lines.
    pub fn driven(
        name: &str,
        work: impl Fn(&mut Driver<'_>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        let mut sweep = Self::of_work(Work::Driven(name.to_owned()));
        sweep.setup.work_function = Some(Arc::new(work));
        sweep
    }

    /// A sweep of a workload that is too long for a replay line. Replay lines contain `name` instead of the operations.
    /// Only [`replay`](Self::replay) of this sweep can run these lines.
    pub fn named(name: &str, workload: Workload) -> Self {
        let mut sweep = Self::of_work(Work::Driven(name.to_owned()));
        sweep.setup.workload = Some(Arc::new(workload));
        sweep
    }

    /// A sweep of the operations after a saved prefix of a longer workload; see [`PrefixRun`]. The sweep crashes on
    /// real files only, by [`crash_on_files`](Self::crash_on_files). Each case starts with a copy of the saved
    /// database. The child process makes its sweep by [`named`](Self::named), with the same `name` and the same
    /// operations.
    pub fn from_prefix(name: &str, prefix: &Arc<SavedPrefix>) -> Self {
        let mut sweep = Self::of_work(Work::Driven(name.to_owned()));
        sweep.setup.workload = Some(Arc::clone(&prefix.next));
        sweep.setup.prefix = Some(Arc::clone(prefix));
        sweep
    }

    pub(crate) fn of_work(work: Work) -> Self {
        Self {
            setup: Setup::new(work, Durability::EverySynced),
            bounds: Bounds::default(),
            requires_coverage: false,
            shrinks: true,
            progress: None,
        }
    }

    /// The same sweep with a changed setup.
    pub(crate) fn with_setup(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        self
    }

    /// The same sweep, which reports only this kind of failure.
    #[cfg(test)]
    pub(crate) fn only_kind(mut self, kind: FailureKind) -> Self {
        self.bounds.only_kind = Some(kind);
        self
    }

    /// The durability policy. Default: every event synced.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.setup.durability = durability;
        self
    }

    /// Makes the options of the database. The sweep calls `options` for every opening, and sets the policy and the file
    /// access itself.
    ///
    /// The options must make every run write the same bytes: set [`Background::Caller`](crate::Background::Caller), a
    /// database id, a first opening id, and a clock that does not depend on real time. Use the default `skew_ms_max`.
    /// With a clock other than [`WorkloadClock`](super::workload::WorkloadClock) no event may be ahead of the clock.
    /// The sweep computes from these options which events are set back and which calls are refused.
    #[must_use]
    pub fn options(mut self, options: impl Fn() -> Options + Send + Sync + 'static) -> Self {
        self.setup.options = Some(Arc::new(options));
        self
    }

    /// Opens the storage engine over the file access of the simulated disk. The sweep calls `storage` for every
    /// opening. The engine must store all its data through this file access. Default: the embedded store. For an engine
    /// on real files use [`storage_in_dir`](Self::storage_in_dir).
    #[must_use]
    pub fn storage(
        mut self,
        storage: impl Fn(Arc<dyn FileAccess>) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.setup.storage = Some(OpenStorage::OverFiles(Arc::new(storage)));
        self
    }

    /// Opens a storage engine with its own file access. The sweep calls `storage` for every opening, with the directory
    /// of the engine. Such a sweep crashes on real files only, by [`crash_on_files`](Self::crash_on_files).
    #[must_use]
    pub fn storage_in_dir(
        mut self,
        storage: impl Fn(&Path) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.setup.storage = Some(OpenStorage::InDir(Arc::new(storage)));
        self
    }

    /// Puts your file access between the database and the simulated disk.
    #[must_use]
    pub fn files(
        mut self,
        wrap: impl Fn(Arc<dyn FileAccess>) -> Arc<dyn FileAccess> + Send + Sync + 'static,
    ) -> Self {
        self.setup.wrap_files = Some(Arc::new(wrap));
        self
    }

    /// The largest number of crash positions in the work, spread over the whole run. Default: no bound.
    #[must_use]
    pub fn crash_positions_max(mut self, positions: usize) -> Self {
        self.bounds.crash_positions_max = positions;
        self
    }

    /// Smaller bounds, for a test that runs at each save of a source file. The sweep takes about a fifth of the time.
    ///
    /// In a build without optimisation a standard workload of a hundred operations takes 45 seconds of processor time
    /// in one session and 86 seconds in several sessions, within the default bounds. This is about a minute on two
    /// cores. With the smaller bounds it takes 9 and 16 seconds.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.bounds = self.bounds.quick();
        self
    }

    /// The largest number of images of a crash position, for each disk model. Default 128.
    #[must_use]
    pub fn images_max(mut self, images: usize) -> Self {
        self.bounds.images_max = images;
        self
    }

    /// The largest number of crashes inside recoveries of one nested case: 0, 1 or 2. Default 1. With 2 the sweep also
    /// crashes in the recovery from a crash inside a recovery.
    #[must_use]
    pub fn depth(mut self, depth: u32) -> Self {
        self.bounds.depth = depth.min(crate::testing::plan::CRASHES_MAX as u32 - 1);
        self
    }

    /// The largest number of distinct images for which nested cases run. Default 512.
    #[must_use]
    pub fn nested_max(mut self, images: usize) -> Self {
        self.bounds.nested_max = images;
        self
    }

    /// The largest number of distinct images after which the work continues in another session, in which the sweep
    /// crashes too. At most [`nested_max`](Self::nested_max). Default 128.
    #[must_use]
    pub fn sessions_max(mut self, images: usize) -> Self {
        self.bounds.sessions_max = images;
        self
    }

    /// The largest number of images of a crash position in a recovery, for each disk model. Default 8.
    #[must_use]
    pub fn nested_images_max(mut self, images: usize) -> Self {
        self.bounds.nested_images_max = images;
        self
    }

    /// The largest number of faults of disk operations under the running work. Each fault has its own run. The faults
    /// are: the device fails before or after the operation; only the operation fails; a write fails in the middle; a
    /// sync fails and makes only some of the writes durable; the disk is full. The sweep also puts a quarter of this
    /// number of faults into each of four recoveries. Default 512.
    #[must_use]
    pub fn faults_max(mut self, faults: usize) -> Self {
        self.bounds.faults_max = faults;
        self
    }

    /// The bytes of a sector of the simulated disk. Writes tear at the borders of sectors. Default 512; 4096 is the
    /// other common size.
    #[must_use]
    pub fn sector_bytes(mut self, bytes: u32) -> Self {
        self.setup.sector_bytes = bytes.max(1);
        self
    }

    /// The disk models. The sweep builds the images that a power loss leaves under them. Default
    /// [`DiskModel::EVERY_IMAGE`]: all images that the contract of the file access allows. A process crash loses no
    /// write, so its image is the same under all models.
    #[must_use]
    pub fn models(mut self, models: &[DiskModel]) -> Self {
        self.bounds.models = models.to_vec();
        self
    }

    /// If true, the sweep continues after recovery, once for each distinct recovered disk: it opens the database again,
    /// writes, closes and reopens. Default true.
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

    /// The time after which the sweep ends. The report counts the cases that did not run. Default: no bound.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.bounds.time = Some(time);
        self
    }

    /// The number of findings after which the sweep ends. Default 20.
    #[must_use]
    pub fn findings_max(mut self, findings: usize) -> Self {
        self.bounds.findings_max = findings.max(1);
        self
    }

    /// The time after which a running case counts as a hang. Default one minute.
    #[must_use]
    pub fn case_time(mut self, time: Duration) -> Self {
        self.bounds.case_time = time;
        self
    }

    /// The number of worker threads. Default: the number of threads that the machine can run at the same time.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.bounds.workers = workers.max(1);
        self
    }

    /// The seed of the selection among images if a bound excludes some of them. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.bounds.seed = seed;
        self
    }

    /// Requires complete coverage. The report is clean only if the sweep reached every crash point, every kind of disk
    /// operation that changes the disk, and every site.
    #[must_use]
    pub fn complete(mut self) -> Self {
        self.requires_coverage = true;
        self
    }

    /// If true, the sweep shrinks findings: it searches for a smaller case that fails in the same way. Default true.
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

    /// Replays a case from its line, with the options, storage and files of this sweep. The work in the line is the
    /// named work of this sweep, or work that the line contains completely.
    ///
    /// # Errors
    /// [`ReplayFailure::NotAPlan`] for a line that is not a plan; [`ReplayFailure::Found`] if a check fails, or the run
    /// does not crash.
    pub fn replay(&self, line: &str) -> Result<RecoveredCase, ReplayFailure> {
        Ok(self.run_plan(&line.parse()?)?)
    }

    /// Runs a plan on a simulated disk, with the options, storage and files of this sweep.
    ///
    /// # Errors
    /// [`Finding`] if a check fails, or the run does not crash.
    pub fn run_plan(&self, plan: &Plan) -> Result<RecoveredCase, Box<Finding>> {
        replay::run(&self.setup.for_plan(plan), plan)
    }

    /// Compares the files that each crash mode leaves at the only site of `plan`, with the options, storage and files
    /// of this sweep. See [`compare_crash_modes`].
    ///
    /// # Errors
    /// The errors of [`compare_crash_modes`].
    pub fn compare_crash_modes(&self, plan: &Plan, test: &str) -> Result<ModeComparison, Box<Finding>> {
        compare::compare(&self.setup.for_plan(plan), plan, test)
    }

    /// Runs a plan with one crash on real files, in a new directory, over any storage engine. The crash is a panic in
    /// this process, or the abort or kill of a `child` process. Then it recovers the database, compares the state with
    /// the oracle, and continues after the recovery. A plan with the site `end` does not crash.
    ///
    /// The child must make the same sweep, with the policy of the plan, and call
    /// [`crash_if_child`](Self::crash_if_child).
    ///
    /// # Errors
    /// [`Finding`] if a check fails, or the work does not crash at the site. The directory of the case then remains.
    pub fn crash_on_files(&self, plan: &Plan, child: &ChildProgram) -> Result<CrashedOnFiles, Box<Finding>> {
        files::crash_on_files(&self.setup.for_plan(plan), plan, child)
    }

    /// In a child process that [`crash_on_files`](Self::crash_on_files) started for this work: runs the work, crashes
    /// at the site of the plan, and does not return. In any other process: returns immediately.
    pub fn crash_if_child(&self) {
        files::crash_if_child(&self.setup, |plan| {
            plan.work == self.setup.work && plan.durability == self.setup.durability
        });
    }
}

/// Runs exactly this case on a simulated disk, with the standard options, and makes all checks of a sweep.
///
/// # Errors
/// [`Finding`] if a check fails, or the run does not crash.
pub fn run_plan(plan: &Plan) -> Result<RecoveredCase, Box<Finding>> {
    CrashSweep::of_work(plan.work.clone()).run_plan(plan)
}

/// Compares the files that each crash mode leaves at the only site of `plan`, with the standard options. The modes are
/// a panic, a kill and, at a crash point, an abort.
///
/// `test` is the full name of the calling test, `concat!(module_path!(), "::name_of_the_test")`. The child process is
/// this test binary, which runs only that test. Call this function first in the test: the child runs everything before
/// the call too.
///
/// # Errors
/// [`Finding`] if a mode leaves other files or another state than the image, does not reach the site, or leaves an
/// illegal state. Also if the plan does not have exactly one crash, or the mode of its crash is a power loss.
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
