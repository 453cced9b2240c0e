//! Crashes on real files, over any storage engine: a panic in this process, or the abort or kill of a child process.
//!
//! The work runs until the crash site, and the crash leaves real files. The journal is outside the database and
//! contains every call. After the crash the case recovers the files, compares the state with the oracle and with the
//! fixed content at the crash point, and continues after the recovery.

use std::path::Path;
use std::time::Duration;

use super::child::{CallReporter, ChildLineReader, ChildMessage, Orders, end_without_crash, park_at};
use super::crash::panic_at;
use super::driver::Driver;
use super::finding::{Failure, FailureKind, Finding};
use super::handle::check_handle;
use super::journal::{Journal, OracleSnapshot};
use super::location::DatabaseLocation;
use super::record::apply_work;
use super::recover::{check_durable, continue_after_recovery, open};
use super::setup::Setup;
use super::state::{RecoveredState, failure_of};
use crate::RecoveryReport;
use crate::fs::RealFiles;
use crate::testing::crash_injector::CrashAction;
use crate::testing::oracle::{Counts, CrashKind, Verdict};
use crate::testing::plan::{Crash, CrashMode, Plan, Site};
use crate::testing::process::{ChildEnd, ChildProgram, NoAnswer};
use crate::testing::sim_disk::SimDiskOptions;
use crate::testing::temp_dir::{TempDir, copy_dir};
use crate::testing::text::error_chain;
use crate::testing::watchdog::run_within;
use crate::testing::workload::{Operation, Session};
use crate::testing::{CrashInjector, CrashPoint, CrossingCounts, SimDisk, scoped_injector, scoped_recorder};

/// The longest time between two lines of a child. Shorter than [`CASE_TIME`], so that the case can kill a silent child.
const CHILD_TIME: Duration = Duration::from_secs(40);
/// The longest time of a case without operations and without a saved prefix.
const CASE_TIME: Duration = Duration::from_secs(60);
/// The additional time for each operation of the work.
const OPERATION_TIME: Duration = Duration::from_millis(100);
/// The additional time for each event of the saved prefix.
const EVENT_TIME: Duration = Duration::from_micros(200);

/// The result of a case on real files that crashed as planned, recovered, and passed every check.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct CrashedOnFiles {
    /// The crossings of a run to the site `end`, which does not crash. Empty for every other site.
    pub crossed: CrossingCounts,
    /// The crossings during the opening. They are the first ones of `crossed`.
    pub by_open: CrossingCounts,
    /// The crossings during the work, after the opening and before the close.
    pub by_work: CrossingCounts,
    /// The oracle's counts, summed over the state after the crash and the state after the continuation.
    pub counts: Counts,
}

/// Runs the case in a new directory. The directory remains if the case has a finding.
pub(crate) fn crash_on_files(
    setup: &Setup,
    plan: &Plan,
    child: &ChildProgram,
) -> Result<CrashedOnFiles, Box<Finding>> {
    let operations_len = setup
        .work
        .workload()
        .map_or(0, |work| work.operations.len() as u32);
    let prefix_len = setup.prefix.as_ref().map_or(0, |prefix| prefix.events_before);
    let time_max = CASE_TIME + OPERATION_TIME * operations_len + EVENT_TIME * prefix_len as u32;
    let dir = TempDir::try_new("crash").map_err(|error| {
        let failure = Failure::new(FailureKind::CannotContinue, error);
        Box::new(setup.finding(plan.clone(), failure))
    })?;
    let (thread_setup, thread_plan, thread_child) = (setup.clone(), plan.clone(), child.clone());
    let path = dir.path().to_path_buf();
    let outcome = run_within(time_max, "tidaldb-crash", move || {
        let case = RealFilesCase {
            setup: &thread_setup,
            plan: &thread_plan,
            child: &thread_child,
            dir: &path,
        };
        super::recover::catch_panic(|| case.run())
    });
    let result = outcome.unwrap_or_else(|hang| Err(Failure::new(FailureKind::Hang, hang)));
    result.map_err(|failure| {
        let message = format!("{}\n{}", failure.message, dir.keep());
        let mut finding = setup.finding(plan.clone(), Failure::new(failure.kind, message));
        finding.image_dir = Some(dir.path().to_path_buf());
        Box::new(finding)
    })
}

struct RealFilesCase<'a> {
    setup: &'a Setup,
    plan: &'a Plan,
    child: &'a ChildProgram,
    dir: &'a Path,
}

impl RealFilesCase<'_> {
    fn run(&self) -> Result<CrashedOnFiles, Failure> {
        let [Crash { site, mode }] = &self.plan.crashes[..] else {
            let message = "a case on real files needs a plan with exactly one crash, in the work";
            return Err(Failure::new(FailureKind::NeverReached, message));
        };
        let journal = Journal::new(OracleSnapshot::first(self.setup.oracle()));
        let mut location = self
            .setup
            .location_on_files(&self.dir.join("db"), Session::first());
        if let Some(prefix) = &self.setup.prefix {
            let copied = copy_dir(prefix.dir(), &location.dir);
            copied.map_err(|error| Failure::new(FailureKind::CannotContinue, error))?;
        }
        match (site, mode) {
            (_, CrashMode::PowerLoss(_)) => {
                let message = "real files lose no write: a power loss needs a simulated disk";
                return Err(Failure::new(FailureKind::NeverReached, message));
            }
            (Site::End, _) => return self.run_to_end(*site, &mut location, &journal),
            (_, CrashMode::Panic) => self.panic(*site, &mut location, &journal)?,
            _ => {
                let dir = self.dir.to_path_buf();
                crash_in_child(
                    self.child,
                    &Orders {
                        dir,
                        plan: self.plan.clone(),
                    },
                    &journal,
                )?;
            }
        }
        if let Some(failure) = journal.first_failure() {
            return Err(failure);
        }
        let counts = self.recover_and_compare(*site, &mut location, &journal)?;
        Ok(CrashedOnFiles {
            crossed: CrossingCounts::default(),
            by_open: CrossingCounts::default(),
            by_work: CrossingCounts::default(),
            counts,
        })
    }

    /// Runs the work without a crash, and compares the state before the close with the oracle. Compares the state after
    /// the close too, except if the work starts with a saved prefix.
    fn run_to_end(
        &self,
        site: Site,
        location: &mut DatabaseLocation,
        journal: &Journal,
    ) -> Result<CrashedOnFiles, Failure> {
        let (open_len, work_len, counts) = self.work_to_end(location, journal)?;
        if let Some(failure) = journal.first_failure() {
            return Err(failure);
        }
        let crossings = journal.recorder.crossings();
        let counts = match &self.setup.prefix {
            Some(_) => counts,
            None => self.recover_and_compare(site, location, journal)?,
        };
        Ok(CrashedOnFiles {
            crossed: CrossingCounts::of(&crossings),
            by_open: CrossingCounts::of(&crossings[..open_len]),
            by_work: CrossingCounts::of(&crossings[open_len..work_len]),
            counts,
        })
    }

    /// Runs the work. Returns the number of crossings until the end of the opening, the number until the end of the
    /// work, and the oracle's counts.
    fn work_to_end(
        &self,
        location: &mut DatabaseLocation,
        journal: &Journal,
    ) -> Result<(usize, usize, Counts), Failure> {
        let _recording = scoped_recorder(&journal.recorder);
        let mut handle = Some(open(self.setup, location)?);
        let open_len = journal.recorder.crossings_len();
        let mut driver = self.setup.driver(location, &mut handle, journal);
        apply_work(self.setup, &mut driver)?;
        let work_len = journal.recorder.crossings_len();
        let Some(db) = driver.handle() else {
            return Err(journal
                .first_failure()
                .unwrap_or_else(|| unreachable!("a reopening failed")));
        };
        let verdict = journal.last().1.oracle.check(CrashKind::ProcessCrash, db);
        if !verdict.is_ok() {
            return Err(failure_of(&verdict));
        }
        close(&driver)?;
        Ok((open_len, work_len, verdict.counts))
    }

    fn panic(&self, site: Site, location: &mut DatabaseLocation, journal: &Journal) -> Result<(), Failure> {
        let mut handle = None;
        panic_at(self.setup, site, location, journal, Some(&mut handle))?;
        match (handle, site) {
            (Some(db), Site::Point { point, crossing }) => {
                check_handle(db, location, point, crossing, journal)
            }
            // The panic happened in a reopening, so no handle is left.
            _ => Ok(()),
        }
    }

    /// Calls [`recover`](Self::recover). Fails if no event was compared.
    fn recover_and_compare(
        &self,
        site: Site,
        location: &mut DatabaseLocation,
        journal: &Journal,
    ) -> Result<Counts, Failure> {
        let counts = self.recover(site, location, journal)?;
        if counts.acknowledged == 0 {
            return Err(Failure::new(FailureKind::NeverReached, "no event was compared"));
        }
        Ok(counts)
    }

    /// Recovers the files that the crash left, checks the state, and continues after the recovery.
    fn recover(
        &self,
        site: Site,
        location: &mut DatabaseLocation,
        journal: &Journal,
    ) -> Result<Counts, Failure> {
        let (begun_len, snapshot) = journal.last();
        let oracle = &snapshot.oracle;
        self.setup.begin_session(location, (*snapshot.recovery).clone());
        let db = open(self.setup, location)?;
        let state = RecoveredState::of(&db)?;
        check_durable(&db, &state)?;
        let verdict = state.check_against(oracle, CrashKind::ProcessCrash);
        if !verdict.is_ok() {
            return Err(failure_of(&verdict));
        }
        if let Site::Point { point, .. } = site
            && !journal.has_threads()
            && journal.reopening(begun_len.saturating_sub(1)).is_none()
        {
            check_point(point, journal, &state, &verdict, db.recovery_report())?;
        }
        drop(db);
        let operations = self.setup.operations().unwrap_or_default();
        let rest: Vec<Operation> = operations.into_iter().skip(begun_len).collect();
        let (last, snapshot) =
            continue_after_recovery(self.setup, location, &state, &snapshot, &verdict, &rest)?;
        let mut counts = verdict.counts;
        counts += last
            .check_against(&snapshot.oracle, CrashKind::ProcessCrash)
            .counts;
        Ok(counts)
    }
}

/// Checks the content of log and storage at a crash point, which is fixed for each point. At the two points of a
/// checkpoint they hold exactly the acknowledged calls, and the old or the new checkpoint. At all other points they
/// also hold the call in flight.
pub(crate) fn check_point(
    point: CrashPoint,
    journal: &Journal,
    state: &RecoveredState,
    verdict: &Verdict,
    report: &RecoveryReport,
) -> Result<(), Failure> {
    let wrong = |message: String| {
        Err(Failure::new(
            FailureKind::Wrong,
            format_args!("at {point} {message}"),
        ))
    };
    match point {
        CrashPoint::CheckpointPreFlush if report.frames_replayed == 0 => {
            return wrong(
                "open replayed no frame: the new checkpoint is present before it was written".to_owned(),
            );
        }
        CrashPoint::CheckpointPostFlush
            if report.frames_replayed > 0 || report.last_sequence != report.checkpoint_sequence =>
        {
            return wrong(format!(
                "the checkpoint covers {} and the log ends with {}: the new checkpoint is missing, or its marker is present",
                report.checkpoint_sequence, report.last_sequence
            ));
        }
        CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush => {}
        _ => {
            let Some(call) = journal.in_flight() else {
                return wrong("no call was in flight".to_owned());
            };
            // The oracle gets the call as acknowledged, so that its absence is a loss.
            let mut oracle = journal.last().1.oracle;
            oracle.acknowledged(call, None);
            let verdict = state.check_against(&oracle, CrashKind::ProcessCrash);
            return if verdict.is_ok() {
                Ok(())
            } else {
                Err(failure_of(&verdict))
            };
        }
    }
    let (expected, prefix) = (journal.acknowledged(), verdict.prefix);
    let found = (prefix.frames, prefix.collection_changes);
    if found == expected {
        return Ok(());
    }
    wrong(format!(
        "{} frames and {} changes of collections must be present; found {} frames and {} changes",
        expected.0, expected.1, found.0, found.1
    ))
}

/// Runs a child until it crashes as its plan requires, and notes its calls.
pub(crate) fn crash_in_child(
    child: &ChildProgram,
    orders: &Orders,
    journal: &Journal,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(FailureKind::CannotContinue, error);
    let [Crash { site, mode }] = &orders.plan.crashes[..] else {
        unreachable!("the plan of a child has one crash")
    };
    let mut process = child.start(&orders.to_text()).map_err(failed)?;
    let mut reader = ChildLineReader::new(journal);
    let end = loop {
        match process.receive_answer(CHILD_TIME) {
            Ok(line) => match reader.read_line(&line)? {
                ChildMessage::Call => {}
                ChildMessage::Parked(at) if *mode == CrashMode::Kill && at == site.to_string() => {
                    let end = process.kill().map_err(failed)?;
                    for line in &end.answers {
                        reader.read_line(line)?;
                    }
                    break end;
                }
                ChildMessage::Parked(reason) | ChildMessage::Ended(reason) => {
                    let message = format_args!("the child did not crash at {site}: {reason}");
                    return Err(Failure::new(FailureKind::NeverReached, message));
                }
            },
            Err(NoAnswer::Ended(end)) => break end,
            Err(NoAnswer::UnknownEnd(error)) => return Err(failed(error)),
            Err(hang) => return Err(Failure::new(FailureKind::Hang, hang)),
        }
    };
    check_child_end(*site, mode, &end)
}

fn check_child_end(site: Site, mode: &CrashMode, end: &ChildEnd) -> Result<(), Failure> {
    let is_expected = match (mode, site) {
        (CrashMode::Kill, _) => end.is_killed(),
        (CrashMode::Abort, Site::Point { point, crossing }) => {
            let last_line = format!(
                "CrashInjector: simulated crash at {point:?} after {} crossings",
                crossing + 1
            );
            end.is_aborted() && end.stderr_tail.contains(&last_line)
        }
        _ => false,
    };
    if is_expected {
        return Ok(());
    }
    let message = format_args!("the child did not end by {mode} at {site}: {end}");
    Err(Failure::new(FailureKind::NeverReached, message))
}

/// In a child process with a plan for which `is_mine` returns true: runs the work of the plan and crashes at its site.
/// In any other process: returns immediately.
pub(crate) fn crash_if_child(setup: &Setup, is_mine: impl Fn(&Plan) -> bool) {
    let Some(orders) = Orders::of_this_process() else {
        return;
    };
    let [Crash { site, mode }] = &orders.plan.crashes[..] else {
        return;
    };
    if !is_mine(&orders.plan) {
        return;
    }
    let log = CallReporter::default();
    let dir = orders.dir.join("db");
    let result = match *site {
        Site::Point { point, crossing } => {
            let action = if *mode == CrashMode::Abort {
                CrashAction::Abort
            } else {
                let site = site.to_string();
                CrashAction::call(move |_, _| park_at(&site))
            };
            let injector = CrashInjector::with_action(point, crossing, action);
            let _installed = scoped_injector(&injector);
            run_child_work(setup, setup.location_on_files(&dir, Session::first()), &log)
        }
        Site::Disk { ordinal, side } => match real_disk(&orders.dir) {
            Ok(disk) => {
                let site = site.to_string();
                disk.observe(move |call| {
                    if (call.ordinal, call.side) == (Some(ordinal), side) {
                        park_at(&site);
                    }
                });
                let location = setup.location_in_dir_of_disk(&disk, &dir, Session::first());
                run_child_work(setup, location, &log)
            }
            Err(failure) => Err(failure),
        },
        Site::Fault { .. } | Site::End => Ok(()),
    };
    match result {
        Ok(()) => end_without_crash("the work ended"),
        Err(failure) => end_without_crash(&failure.to_string()),
    }
}

/// A simulated disk over the real files below `dir`. It numbers their operations.
pub(crate) fn real_disk(dir: &Path) -> Result<SimDisk, Failure> {
    SimDisk::over(std::sync::Arc::new(RealFiles), dir, SimDiskOptions::default())
        .map_err(|error| Failure::new(FailureKind::CannotContinue, error))
}

/// Opens the database, runs the work and closes the database. `log` reports the calls to the parent.
fn run_child_work(setup: &Setup, mut location: DatabaseLocation, log: &CallReporter) -> Result<(), Failure> {
    let mut handle = Some(open(setup, &location)?);
    let mut driver = setup.driver(&mut location, &mut handle, log);
    apply_work(setup, &mut driver)?;
    close(&driver)
}

fn close(driver: &Driver<'_>) -> Result<(), Failure> {
    let closed = driver.close();
    closed.map_err(|error| Failure::new(FailureKind::CannotContinue, error_chain(&error)))
}
