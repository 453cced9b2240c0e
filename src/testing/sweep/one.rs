//! One plan: the run of exactly the case that a line describes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::explore::{death_of, disk_of, seek};
use super::record::Recorded;
use super::recover::{State, failure_of, go_on, recover};
use super::report::Finding;
use super::setup::{DB_DIR, Setup};
use crate::fs::RealFiles;
use crate::testing::oracle::{Death, Oracle, Verdict};
use crate::testing::plan::{Plan, Site, Work};
use crate::testing::sim_disk::{Image, ImageBuilder, ImageChoice};
use crate::testing::verdict::{Crossed, Failure, FailureKind};
use crate::testing::{CrashInjector, CrashSweep, SimDisk, scoped_injector};
use crate::{Error, Export, TidalDb, threads};

/// How long a plan may take.
const PLAN_TIME: Duration = Duration::from_secs(60);

/// A database that crashed as planned, recovered, and kept every promise.
#[derive(Debug, Clone)]
pub struct Recovered {
    setup: Setup,
    image: Image,
    state: State,
    verdict: Verdict,
    acknowledged: usize,
}

impl Recovered {
    /// What the oracle says.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// How many events were found.
    pub fn events(&self) -> u64 {
        self.verdict.counts.recovered
    }

    /// How many operations had been acknowledged when the work died.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// The state that was found.
    pub fn export(&self) -> &Export {
        &self.state.export
    }

    /// What the last death left of the disk.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Opens what the last death left, on a disk of its own.
    ///
    /// # Errors
    /// Those of opening.
    pub fn open(&self) -> Result<TidalDb, Error> {
        let disk = SimDisk::from_image(&self.image);
        self.setup.open(&self.setup.files_of(&disk), Path::new(DB_DIR))
    }
}

/// Runs the one plan of a replay line, with the standard options.
///
/// The line may have anything before `tidaldb-replay:`. A sweep with options, storage or files of its own replays with
/// [`CrashSweep::replay`].
///
/// # Errors
/// [`Finding`] if anything is wrong, if the line is no plan, or if the plan reaches no crash.
///
/// # Examples
/// ```
/// let line = "tidaldb-replay: work=standard:7:20 durability=every-synced crash=WalPostAggregate#3 image=synced";
/// tidaldb::testing::replay(line)?;
/// # Ok::<(), Box<tidaldb::testing::Finding>>(())
/// ```
pub fn replay(line: &str) -> Result<Recovered, Box<Finding>> {
    parse(line).and_then(|plan| plan.run())
}

impl Plan {
    /// Runs exactly this case on a simulated disk, with the standard options, and checks everything that a sweep checks
    /// of it.
    ///
    /// # Errors
    /// [`Finding`] if anything is wrong, or the plan reaches no crash.
    pub fn run(&self) -> Result<Recovered, Box<Finding>> {
        CrashSweep::of_work(self.work.clone()).run_plan(self)
    }
}

pub(crate) fn parse(line: &str) -> Result<Plan, Box<Finding>> {
    line.parse().map_err(|error| {
        let failure = Failure::new(FailureKind::NeverReached, error);
        Box::new(Finding::new(
            Plan::new(Work::Driven("no plan".to_owned())),
            failure,
        ))
    })
}

/// Runs the case on a thread of its own, so that one that hangs ends too.
pub(crate) fn run(setup: &Setup, plan: &Plan) -> Result<Recovered, Box<Finding>> {
    let (sender, receiver) = mpsc::channel();
    let (setup_there, plan_there) = (setup.clone(), plan.clone());
    let spawned = threads::spawn("tidaldb-plan", move || {
        sender.send(run_here(&setup_there, &plan_there)).ok();
    });
    let failed = |failure| {
        let mut finding = Finding {
            of_own_sweep: !setup.is_standard(),
            ..Finding::new(plan.clone(), failure)
        };
        if finding.failure.kind != FailureKind::Hang {
            finding.image_dir = lay_out(setup, plan);
        }
        Box::new(finding)
    };
    let thread = match spawned {
        Ok(thread) => thread,
        Err(error) => panic!("a plan needs a thread: {error}"),
    };
    match receiver.recv_timeout(PLAN_TIME) {
        Ok(result) => {
            thread.join().ok();
            result.map_err(failed)
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(payload) => std::panic::resume_unwind(payload),
            Ok(()) => unreachable!("the thread sends its result before it ends"),
        },
        Err(mpsc::RecvTimeoutError::Timeout) => {
            let message = format_args!("no end after {PLAN_TIME:?}; its thread is left behind");
            Err(failed(Failure::new(FailureKind::Hang, message)))
        }
    }
}

/// What the last death of a plan left, and what must hold of it.
struct Last {
    disk: SimDisk,
    oracle: Oracle,
    acknowledged: usize,
    death: Death,
    /// What the recovery that was interrupted last would have come to, if this one must come to the same.
    same_as: Option<State>,
}

fn run_here(setup: &Setup, plan: &Plan) -> Result<Recovered, Failure> {
    let run = Recorded::of_work(setup, &SimDisk::new());
    if let Some(failure) = run.failures.first() {
        return Err(failure.clone());
    }
    let last = follow(setup, plan, &run)?;
    let image = last.disk.image(&ImageChoice::All);
    let state = recover(setup, &last.disk)?;
    if last.same_as.is_some_and(|same| same != state) {
        let message = "the recovery that was not interrupted came to another state";
        return Err(Failure::new(FailureKind::Diverged, message));
    }
    let verdict = state.judged_by(&last.oracle, last.death);
    if !verdict.is_ok() {
        return Err(failure_of(&verdict));
    }
    go_on(setup, &last.disk, &state, last.oracle, &verdict)?;
    // After what the images tell, as in a sweep, so that a line finds again what it was printed for.
    if let Some(first) = plan.crashes.first()
        && first.image == ImageChoice::All
    {
        die(setup, &run, first.site)?;
    }
    Ok(Recovered {
        setup: setup.clone(),
        image,
        state,
        verdict,
        acknowledged: last.acknowledged,
    })
}

/// Goes through the deaths of a plan, up to the disk that the last one leaves.
fn follow(setup: &Setup, plan: &Plan, run: &Recorded) -> Result<Last, Failure> {
    let mut crashes = plan.crashes.iter();
    let Some(first) = crashes.next() else {
        return Err(Failure::new(FailureKind::NeverReached, "the plan has no crash"));
    };
    let (mut builder, known) = stand_at(run, first.site)?;
    let mut last = Last {
        disk: disk_of(&builder, &first.image),
        oracle: run.known[known].oracle.clone(),
        acknowledged: run.known[known].acknowledged,
        death: death_of(&first.image),
        same_as: None,
    };
    let mut is_unsettled = last.death == Death::ProcessCrash;
    for crash in crashes {
        let oracle = last.oracle.clone();
        let (recovery, state) = Recorded::of(&last.disk, oracle, |_| recover(setup, &last.disk));
        if let Some(failure) = recovery.failures.first() {
            return Err(failure.clone());
        }
        let state = match state {
            Some(state) => state?,
            None => unreachable!("a run that panicked has a failure"),
        };
        (builder, _) = stand_at(&recovery, crash.site)?;
        let death = death_of(&crash.image);
        let returned = builder.position() == recovery.recording.len();
        let may_lose = is_unsettled && death == Death::PowerLoss && !returned;
        is_unsettled &= death == Death::ProcessCrash;
        last = Last {
            disk: disk_of(&builder, &crash.image),
            death: Death::PowerLoss,
            same_as: (!may_lose).then_some(state),
            ..last
        };
    }
    Ok(last)
}

/// A builder that stands at a site of a run, and what was known there.
pub(crate) fn stand_at(run: &Recorded, site: Site) -> Result<(ImageBuilder, usize), Failure> {
    let Some(moment) = run.moment_of(site) else {
        let message = format_args!(
            "there is no {site} in this run of {} disk operations; {}",
            run.recording.len(),
            Crossed::of(&run.crossings)
        );
        return Err(Failure::new(FailureKind::NeverReached, message));
    };
    let mut builder = run.recording.images();
    seek(&mut builder, moment.position);
    Ok((builder, moment.known))
}

/// Lets the device die at `site` under the running work: nobody may go on after it, and nothing be acknowledged.
pub(crate) fn die(setup: &Setup, run: &Recorded, site: Site) -> Result<(), Failure> {
    let disk = SimDisk::new();
    let died = match site {
        // Nobody calls it any more.
        Site::End => return Ok(()),
        Site::Disk { ordinal, side } => {
            disk.crash_at(ordinal, side);
            Recorded::of_work(setup, &disk)
        }
        Site::Point { point, crossing } => {
            let injector = CrashInjector::with_action(point, crossing, disk.fail_action());
            let _installed = scoped_injector(&injector);
            Recorded::of_work(setup, &disk)
        }
    };
    if !disk.is_gone() {
        let message = format_args!(
            "the device did not die at {site}; {}",
            Crossed::of(&died.crossings)
        );
        return Err(Failure::new(FailureKind::NeverReached, message));
    }
    if let Some(failure) = died.failures.first() {
        return Err(failure.clone());
    }
    if let Some(call) = disk.life_after_death().first() {
        return Err(Failure::new(FailureKind::LifeAfterDeath, call));
    }
    // The same work on the same disk: else no image of the recording tells anything.
    let (builder, _) = stand_at(run, site)?;
    let (recorded, dead) = (builder.image(&ImageChoice::All), disk.image(&ImageChoice::All));
    if recorded != dead {
        let differences = recorded.differences(&dead).join("; ");
        let message = format_args!("the recorded run and the one that died at {site} differ: {differences}");
        return Err(Failure::new(FailureKind::DeathsDisagree, message));
    }
    Ok(())
}

/// Lays out the disk that the last death of `plan` leaves as real files, below the directory for temporary files.
pub(crate) fn lay_out(setup: &Setup, plan: &Plan) -> Option<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let run = Recorded::of_work(setup, &SimDisk::new());
    let last = follow(setup, plan, &run).ok()?;
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("tidaldb-crash-{}-{unique}", std::process::id()));
    let image = last.disk.image(&ImageChoice::All);
    image.write_to(&RealFiles, &dir).ok()?;
    Some(dir)
}
