//! Replays: the run of exactly the case that a plan describes.

use std::path::PathBuf;
use std::time::Duration;

use super::bounds::Bounds;
use super::case::{Case, Runner, disk_of, image_of, recovery_session};
use super::crash::{fail_device, panic_at};
use super::fault::{recovery_with_fault, work_with_fault};
use super::finding::{Failure, FailureKind, Finding};
use super::heartbeat::Heartbeat;
use super::journal::{Journal, OracleSnapshot};
use super::memory::SweepMemory;
use super::next_session::NextSession;
use super::record::{Recorded, seek};
use super::setup::Setup;
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

/// The longest time that a plan may take.
const PLAN_TIME: Duration = Duration::from_secs(60);

/// A database that crashed as planned, recovered, and kept every promise.
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

    /// The number of operations that had been acknowledged when the work crashed.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// The recovered state.
    pub fn export(&self) -> &Export {
        &self.state.export
    }

    /// The image that the last crash left.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Opens the image that the last crash left, on a disk of its own.
    ///
    /// # Errors
    /// The errors of [`TidalDb::open`].
    pub fn open(&self) -> Result<TidalDb, Error> {
        let disk = SimDisk::from_image(&self.image);
        self.setup.open(&self.setup.on_disk(&disk, self.session.clone()))
    }
}

/// Runs the case on a thread of its own, so that one that hangs ends too.
pub(crate) fn run(setup: &Setup, plan: &Plan) -> Result<RecoveredCase, Box<Finding>> {
    let (setup_there, plan_there) = (setup.clone(), plan.clone());
    let outcome = run_within(PLAN_TIME, "tidaldb-plan", move || {
        run_here(&setup_there, &plan_there)
    });
    let result = outcome.unwrap_or_else(|hang| Err(Failure::new(FailureKind::Hang, hang)));
    result.map_err(|failure| {
        let mut finding = setup.finding(plan.clone(), failure);
        if finding.failure.kind != FailureKind::Hang {
            finding.image_dir = lay_out(setup, plan);
            finding.models = models_of(setup, plan);
        }
        Box::new(finding)
    })
}

fn run_here(setup: &Setup, plan: &Plan) -> Result<RecoveredCase, Failure> {
    let memory = SweepMemory::new(Bounds::default());
    let last = LastCase::of(setup, &memory, without_failure(run_of(setup, plan)?)?, plan)?;
    let LastCase {
        run, builder, case, ..
    } = &last;
    let runner = Runner {
        setup,
        run,
        memory: &memory,
        heartbeat: &Heartbeat::default(),
    };
    let judged = runner.run(builder, case, true);
    if let Some(failure) = judged.failures.into_iter().next() {
        return Err(failure);
    }
    let Some((state, verdict)) = judged.state else {
        unreachable!("a case without a failure has a state")
    };
    last.next_session(setup)?;
    // After the checks of the image, as in a sweep, so that a replay gives the same finding as the sweep.
    if let Some(first) = plan.crashes.first()
        && first.mode.keeps_writes()
    {
        let again;
        let work = if run.crashes.is_empty() {
            run
        } else {
            again = recorded(setup)?;
            &again
        };
        fail_device(setup, work, first.site)?;
    }
    let known = last.known();
    Ok(RecoveredCase {
        setup: setup.clone(),
        session: recovery_session(known, builder.image_hash(&image_of(case.mode()))),
        image: disk_of(builder, case.mode()).image(&ImageChoice::All),
        state: (*state.state).clone(),
        verdict: (*verdict).clone(),
        acknowledged: known.acknowledged,
    })
}

/// The recorded run of the work. Its first failure is an error.
pub(crate) fn recorded(setup: &Setup) -> Result<Recorded, Failure> {
    without_failure(Recorded::of_work(setup, &setup.new_disk()))
}

fn without_failure(run: Recorded) -> Result<Recorded, Failure> {
    match run.failures.first() {
        Some(failure) => Err(failure.clone()),
        None => Ok(run),
    }
}

/// The run of the plan's work, with the fault of the plan's first crash if that is one.
fn run_of(setup: &Setup, plan: &Plan) -> Result<Recorded, Failure> {
    let run = Recorded::of_work(setup, &setup.new_disk());
    match plan.crashes.first().map(|crash| crash.site) {
        Some(Site::Fault { ordinal, fault, .. }) => work_with_fault(setup, &run, ordinal, fault),
        _ => Ok(run),
    }
}

/// The last case of a plan.
struct LastCase {
    /// The run in which it crashes: the work, or the session after a crash.
    run: Recorded,
    /// Is at the last crash.
    builder: ImageBuilder,
    case: Case,
    /// The models under which all power losses of the plan can leave their images.
    models: Vec<DiskModel>,
}

impl LastCase {
    fn of(setup: &Setup, memory: &SweepMemory, work: Recorded, plan: &Plan) -> Result<Self, Failure> {
        let mut crashes = plan.crashes.iter();
        let Some(first) = crashes.next() else {
            return Err(Failure::new(FailureKind::NeverReached, "the plan has no crash"));
        };
        let (builder, known) = work.at(first.site)?;
        if first.mode == CrashMode::Panic {
            compare_panic(setup, first.site, &builder)?;
        }
        let mut last = Self {
            case: Case::in_run(&work, first.clone(), known),
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
                    .in_recovery(crash.clone(), false, &memory.intern(next.state));
                last.check_image()?;
                continue;
            }
            let (builder, known) = next.run.at(crash.site)?;
            last.builder = builder;
            // Entry 0 is the knowledge at the crash before: `open` had not returned.
            if known == 0 {
                let returned = last.builder.position() == next.opened_at;
                let state = memory.intern(next.state);
                last.case = last.case.in_recovery(crash.clone(), returned, &state);
            } else {
                last.case = Case::in_run(&next.run, crash.clone(), known);
                last.run = next.run;
            }
            last.check_image()?;
        }
        Ok(last)
    }

    /// Checks that the image of the last crash is one that the crash may leave, and keeps the models that allow it.
    fn check_image(&mut self) -> Result<(), Failure> {
        let image = image_of(self.case.mode());
        if let Some(ordinal) = self.builder.invalid_ordinal(&image) {
            let message = format_args!(
                "the image {image} names operation {ordinal}, whose fate is not open at this crash"
            );
            return Err(Failure::new(FailureKind::NeverReached, message));
        }
        let models = self.builder.models(&image);
        self.models.retain(|model| models.contains(model));
        Ok(())
    }

    /// Moves the builder to the end of the recovery in which an operation of `next` meets a fault.
    fn recover_with_fault(
        &mut self,
        setup: &Setup,
        next: &NextSession,
        fault: (u64, IoFault),
    ) -> Result<(), Failure> {
        let disk = disk_of(&self.builder, self.case.mode());
        let image = self.builder.image_hash(&image_of(self.case.mode()));
        let session = recovery_session(self.known(), image);
        let recording = recovery_with_fault(setup, &disk, &session, &next.run.recording, fault)?;
        self.builder = recording.images();
        seek(&mut self.builder, recording.len());
        Ok(())
    }

    fn known(&self) -> &OracleSnapshot {
        &self.run.known[self.case.known]
    }

    /// The session after the crash. Its first failure is an error.
    fn next_session(&self, setup: &Setup) -> Result<NextSession, Failure> {
        let disk = disk_of(&self.builder, self.case.mode());
        let next = NextSession::record(setup, &disk, &self.builder, self.known(), &self.case.crashes)?;
        match next.run.failures.first() {
            Some(failure) => Err(failure.clone()),
            None => Ok(next),
        }
    }
}

/// A panic at `site`, which unwinds through every destructor, leaves the files of the builder's image.
pub(crate) fn compare_panic(setup: &Setup, site: Site, builder: &ImageBuilder) -> Result<(), Failure> {
    let disk = setup.new_disk();
    let journal = Journal::of(&disk, OracleSnapshot::first(setup.oracle()));
    let mut home = setup.on_disk(&disk, Session::first());
    panic_at(setup, site, &mut home, &journal, None)?;
    if let Some(path) = disk.locks_held().first() {
        let message = format_args!("the lock {} is held after the panic", path.display());
        return Err(Failure::new(FailureKind::LeftBehind, message));
    }
    let expected = builder.image(&ImageChoice::All);
    same_image(&expected, CrashMode::Panic, &disk.image(&ImageChoice::All))
}

/// Two crash modes leave the same files.
pub(crate) fn same_image(
    expected: &Image,
    mode: impl std::fmt::Display,
    found: &Image,
) -> Result<(), Failure> {
    let differences = expected.differences(found);
    if differences.is_empty() {
        return Ok(());
    }
    let message = format_args!(
        "the image and {mode} leave other files: {}",
        differences.join("; ")
    );
    Err(Failure::new(FailureKind::ModesDisagree, message))
}

/// The last case of `plan`; none if the plan does not reach it. Failures of the run without a crash are ignored.
fn last_case(setup: &Setup, plan: &Plan) -> Option<LastCase> {
    let run = run_of(setup, plan).ok()?;
    LastCase::of(setup, &SweepMemory::new(Bounds::default()), run, plan).ok()
}

/// The models under which the power losses of `plan` can happen; none if the plan does not reach its last crash.
pub(crate) fn models_of(setup: &Setup, plan: &Plan) -> Vec<DiskModel> {
    if plan.crashes.is_empty() {
        let end = plan.clone().crash(Site::End, CrashMode::Kill);
        return models_of(setup, &end);
    }
    last_case(&setup.for_plan(plan), plan).map_or_else(Vec::new, |last| last.models)
}

/// Lays out the disk that the last crash of `plan` leaves as real files, below the directory for temporary files.
pub(crate) fn lay_out(setup: &Setup, plan: &Plan) -> Option<PathBuf> {
    let last = last_case(setup, plan)?;
    let image = disk_of(&last.builder, last.case.mode()).image(&ImageChoice::All);
    let dir = TempDir::try_new("crash").ok()?;
    image.write_to(&RealFiles, dir.path()).ok()?;
    dir.keep();
    Some(dir.path().to_path_buf())
}
