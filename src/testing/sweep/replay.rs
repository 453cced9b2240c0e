//! Replays: each runs exactly the case that a plan describes.

use std::path::PathBuf;
use std::time::Duration;

use super::bounds::Bounds;
use super::case::{Case, Runner, disk_of, image_of, recovery_session};
use super::crash::{fail_device, panic_at};
use super::fault::{recovery_with_fault, work_with_fault};
use super::finding::{Failure, FailureKind, Finding};
use super::heartbeat::Heartbeat;
use super::journal::{Journal, OracleSnapshot};
use super::next_session::NextSession;
use super::record::{RunRecord, seek};
use super::setup::Setup;
use super::shared::SharedResults;
use super::state::RecoveredState;
use crate::fs::RealFiles;
use crate::testing::SimDisk;
use crate::testing::oracle::Verdict;
use crate::testing::plan::{CrashMode, Plan, Site};
use crate::testing::sim_disk::{DiskModel, Image, ImageBuilder, ImageChoice, IoFault};
use crate::testing::temp_dir::TempDir;
use crate::testing::watchdog::run_within;
use crate::testing::workload::Session;
use crate::{Error, Export, TidalDb};

/// The longest time of a replay.
const PLAN_TIME: Duration = Duration::from_secs(60);

/// The result of a plan whose run crashed as planned, recovered, and passed every check.
#[derive(Debug, Clone)]
pub struct RecoveredCase {
    setup: Setup,
    /// The session that recovered.
    session: Session,
    image: Image,
    state: RecoveredState,
    verdict: Verdict,
    acknowledged: usize,
}

impl RecoveredCase {
    /// The oracle's verdict on the recovered state.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The number of events that were recovered.
    pub fn events(&self) -> u64 {
        self.verdict.counts.recovered
    }

    /// The number of acknowledged operations at the crash of the work.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// The recovered state.
    pub fn export(&self) -> &Export {
        &self.state.export
    }

    /// The image after the last crash.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Opens the database in the image after the last crash, on a new disk.
    ///
    /// # Errors
    /// The errors of [`TidalDb::open`].
    pub fn open(&self) -> Result<TidalDb, Error> {
        let disk = SimDisk::from_image(&self.image);
        self.setup
            .open(&self.setup.location_on_disk(&disk, self.session.clone()))
    }
}

/// Runs the case on a new thread, so that the replay of a case that hangs ends with a finding.
pub(crate) fn run(setup: &Setup, plan: &Plan) -> Result<RecoveredCase, Box<Finding>> {
    let (thread_setup, thread_plan) = (setup.clone(), plan.clone());
    let outcome = run_within(PLAN_TIME, "tidaldb-plan", move || {
        run_on_this_thread(&thread_setup, &thread_plan)
    });
    let result = outcome.unwrap_or_else(|hang| Err(Failure::new(FailureKind::Hang, hang)));
    result.map_err(|failure| {
        let mut finding = setup.finding(plan.clone(), failure);
        if finding.failure.kind != FailureKind::Hang {
            finding.image_dir = write_image_files(setup, plan);
            finding.models = models_of_plan(setup, plan);
        }
        Box::new(finding)
    })
}

fn run_on_this_thread(setup: &Setup, plan: &Plan) -> Result<RecoveredCase, Failure> {
    let shared = SharedResults::new(Bounds::default());
    let work = require_no_failure(record_work_for(setup, plan)?)?;
    let last = LastCase::of(setup, &shared, work, plan)?;
    let LastCase {
        run, builder, case, ..
    } = &last;
    let runner = Runner {
        setup,
        run,
        shared: &shared,
        heartbeat: &Heartbeat::default(),
    };
    let outcome = runner.run(builder, case, true);
    if let Some(failure) = outcome.failures.into_iter().next() {
        return Err(failure);
    }
    let Some((state, verdict)) = outcome.state else {
        unreachable!("a case without a failure has a state")
    };
    last.next_session(setup)?;
    // A sweep lets the device fail after the checks of the images. In the same order a replay gives the same finding.
    if let Some(first) = plan.crashes.first()
        && first.mode.keeps_writes()
    {
        let second_run;
        let work = if run.crashes.is_empty() {
            run
        } else {
            second_run = record_work(setup)?;
            &second_run
        };
        fail_device(setup, work, first.site)?;
    }
    let snapshot = last.snapshot();
    Ok(RecoveredCase {
        setup: setup.clone(),
        session: recovery_session(snapshot, builder.image_hash(&image_of(case.mode()))),
        image: disk_of(builder, case.mode()).image(&ImageChoice::All),
        state: (*state.state).clone(),
        verdict: (*verdict).clone(),
        acknowledged: snapshot.acknowledged,
    })
}

/// Records a run of the work. Fails with the first failure of the run.
pub(crate) fn record_work(setup: &Setup) -> Result<RunRecord, Failure> {
    require_no_failure(RunRecord::of_work(setup, &setup.new_disk()))
}

fn require_no_failure(run: RunRecord) -> Result<RunRecord, Failure> {
    match run.failures.first() {
        Some(failure) => Err(failure.clone()),
        None => Ok(run),
    }
}

/// Records a run of the plan's work, with a fault if the site of the first crash is a fault.
fn record_work_for(setup: &Setup, plan: &Plan) -> Result<RunRecord, Failure> {
    let run = RunRecord::of_work(setup, &setup.new_disk());
    match plan.crashes.first().map(|crash| crash.site) {
        Some(Site::Fault { ordinal, fault, .. }) => work_with_fault(setup, &run, ordinal, fault),
        _ => Ok(run),
    }
}

/// The last case of a plan.
struct LastCase {
    /// The run that crashes: the work, or the session after a crash.
    run: RunRecord,
    /// The builder at the position of the last crash.
    builder: ImageBuilder,
    case: Case,
    /// The models that allow the images of all power losses of the plan.
    models: Vec<DiskModel>,
}

impl LastCase {
    fn of(setup: &Setup, shared: &SharedResults, work: RunRecord, plan: &Plan) -> Result<Self, Failure> {
        let mut crashes = plan.crashes.iter();
        let Some(first) = crashes.next() else {
            return Err(Failure::new(FailureKind::NeverReached, "the plan has no crash"));
        };
        let (builder, snapshot_index) = work.builder_at(first.site)?;
        if first.mode == CrashMode::Panic {
            compare_panic(setup, first.site, &builder)?;
        }
        let mut last = Self {
            case: Case::in_run(&work, first.clone(), snapshot_index),
            run: work,
            builder,
            models: DiskModel::ALL.to_vec(),
        };
        last.check_image()?;
        for crash in crashes {
            let next = last.next_session(setup)?;
            if let Site::Fault { ordinal, fault, .. } = crash.site {
                last.recover_with_fault(setup, &next, (ordinal, fault))?;
                last.case = last
                    .case
                    .in_recovery(crash.clone(), false, &shared.intern(next.state));
                last.check_image()?;
                continue;
            }
            let (builder, snapshot_index) = next.run.builder_at(crash.site)?;
            last.builder = builder;
            // Snapshot 0 is that of the crash before: `open` had not returned.
            if snapshot_index == 0 {
                let has_returned = last.builder.position() == next.opened_at;
                let state = shared.intern(next.state);
                last.case = last.case.in_recovery(crash.clone(), has_returned, &state);
            } else {
                last.case = Case::in_run(&next.run, crash.clone(), snapshot_index);
                last.run = next.run;
            }
            last.check_image()?;
        }
        Ok(last)
    }

    /// Checks that the last crash can leave its image, and removes the models that do not allow it.
    fn check_image(&mut self) -> Result<(), Failure> {
        let image = image_of(self.case.mode());
        if let Some(ordinal) = self.builder.invalid_ordinal(&image) {
            let message = format_args!(
                "the image {image} names operation {ordinal}, which is not undurable at this crash"
            );
            return Err(Failure::new(FailureKind::NeverReached, message));
        }
        let models = self.builder.models(&image);
        self.models.retain(|model| models.contains(model));
        Ok(())
    }

    /// Records the recovery with a fault at an operation of `next`, and moves the builder to the end of that recovery.
    fn recover_with_fault(
        &mut self,
        setup: &Setup,
        next: &NextSession,
        fault: (u64, IoFault),
    ) -> Result<(), Failure> {
        let disk = disk_of(&self.builder, self.case.mode());
        let image = self.builder.image_hash(&image_of(self.case.mode()));
        let session = recovery_session(self.snapshot(), image);
        let recording = recovery_with_fault(setup, &disk, &session, &next.run.recording, fault)?;
        self.builder = recording.images();
        seek(&mut self.builder, recording.len());
        Ok(())
    }

    fn snapshot(&self) -> &OracleSnapshot {
        &self.run.snapshots[self.case.snapshot_index]
    }

    /// Records the session after the crash. Fails with the first failure of the session.
    fn next_session(&self, setup: &Setup) -> Result<NextSession, Failure> {
        let disk = disk_of(&self.builder, self.case.mode());
        let next = NextSession::record(setup, &disk, &self.builder, self.snapshot(), &self.case.crashes)?;
        match next.run.failures.first() {
            Some(failure) => Err(failure.clone()),
            None => Ok(next),
        }
    }
}

/// Checks that a panic at `site`, which unwinds through every destructor, leaves the files of the builder's image.
pub(crate) fn compare_panic(setup: &Setup, site: Site, builder: &ImageBuilder) -> Result<(), Failure> {
    let disk = setup.new_disk();
    let journal = Journal::of(&disk, OracleSnapshot::first(setup.oracle()));
    let mut location = setup.location_on_disk(&disk, Session::first());
    panic_at(setup, site, &mut location, &journal, None)?;
    if let Some(path) = disk.locks_held().first() {
        let message = format_args!("the lock {} is still held after the panic", path.display());
        return Err(Failure::new(FailureKind::LeftBehind, message));
    }
    let expected = builder.image(&ImageChoice::All);
    check_same_image(&expected, CrashMode::Panic, &disk.image(&ImageChoice::All))
}

/// Checks that the crash mode `mode` leaves the expected files.
pub(crate) fn check_same_image(
    expected: &Image,
    mode: impl std::fmt::Display,
    found: &Image,
) -> Result<(), Failure> {
    let differences = expected.differences(found);
    if differences.is_empty() {
        return Ok(());
    }
    let message = format_args!(
        "the image and {mode} leave different files: {}",
        differences.join("; ")
    );
    Err(Failure::new(FailureKind::ModesDisagree, message))
}

/// The last case of `plan`; `None` if the run does not reach it. Ignores failures of the run without a crash.
fn last_case(setup: &Setup, plan: &Plan) -> Option<LastCase> {
    let run = record_work_for(setup, plan).ok()?;
    LastCase::of(setup, &SharedResults::new(Bounds::default()), run, plan).ok()
}

/// The models under which the power losses of `plan` are possible; none if the run does not reach the last crash.
pub(crate) fn models_of_plan(setup: &Setup, plan: &Plan) -> Vec<DiskModel> {
    if plan.crashes.is_empty() {
        let end = plan.clone().crash(Site::End, CrashMode::Kill);
        return models_of_plan(setup, &end);
    }
    last_case(&setup.for_plan(plan), plan).map_or_else(Vec::new, |last| last.models)
}

/// Writes the content of the disk after the last crash of `plan` as real files, below the directory for temporary
/// files.
pub(crate) fn write_image_files(setup: &Setup, plan: &Plan) -> Option<PathBuf> {
    let last = last_case(setup, plan)?;
    let image = disk_of(&last.builder, last.case.mode()).image(&ImageChoice::All);
    let dir = TempDir::try_new("crash").ok()?;
    image.write_to(&RealFiles, dir.path()).ok()?;
    dir.keep();
    Some(dir.path().to_path_buf())
}
