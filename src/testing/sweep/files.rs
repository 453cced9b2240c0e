//! Crashes on real files: a panic in this process, or a child process that aborts or is killed; over any storage engine.
//!
//! The work runs to its site, and the crash leaves real files. The journal outside the database knows every call. What the
//! crash left is recovered, compared with what each crash point stands for, and used again.

use std::path::Path;
use std::time::Duration;

use super::child::{ChildMessage, FromChild, Orders, ToParent, end_without_crash, park_at};
use super::crash::panic_at;
use super::driver::Driver;
use super::finding::{Failure, FailureKind, Finding};
use super::handle::check_handle;
use super::home::Home;
use super::journal::{Journal, OracleSnapshot};
use super::record::work_on;
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

/// The longest time that a child may be silent. Shorter than [`CASE_TIME`], so that a silent child is killed within its case.
const CHILD_TIME: Duration = Duration::from_secs(40);
/// The longest time that a case may take ...
const CASE_TIME: Duration = Duration::from_secs(60);
/// ... and this much longer for each operation of its work.
const OPERATION_TIME: Duration = Duration::from_millis(100);
/// ... and this much longer for each event of the saved prefix.
const EVENT_TIME: Duration = Duration::from_micros(200);

/// A database on real files that crashed as planned, recovered, and kept every promise.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct CrashedOnFiles {
    /// The crossings of a run without a crash, which ends at the site `end`. Empty for every other site.
    pub crossed: CrossingCounts,
    /// The crossings during the opening, which are the first of `crossed`.
    pub by_open: CrossingCounts,
    /// The crossings after these, during the work, before the close.
    pub by_work: CrossingCounts,
    /// The oracle's counts, of the state after the crash and of the state after the database was used again, summed.
    pub counts: Counts,
}

/// Runs the case in a directory of its own, which is kept if something is wrong.
pub(crate) fn crash_on_files(
    setup: &Setup,
    plan: &Plan,
    child: &ChildProgram,
) -> Result<CrashedOnFiles, Box<Finding>> {
    let operations_len = setup
        .work
        .workload()
        .map_or(0, |work| work.operations.len() as u32);
    let prefix_len = setup.start.as_ref().map_or(0, |start| start.events_before);
    let time_max = CASE_TIME + OPERATION_TIME * operations_len + EVENT_TIME * prefix_len as u32;
    let dir = TempDir::try_new("crash").map_err(|error| {
        let failure = Failure::new(FailureKind::CannotGoOn, error);
        Box::new(setup.finding(plan.clone(), failure))
    })?;
    let (setup_there, plan_there, child_there) = (setup.clone(), plan.clone(), child.clone());
    let path = dir.path().to_path_buf();
    let outcome = run_within(time_max, "tidaldb-crash", move || {
        let case = FilesCase {
            setup: &setup_there,
            plan: &plan_there,
            child: &child_there,
            dir: &path,
        };
        super::recover::caught(|| case.run())
    });
    let result = outcome.unwrap_or_else(|hang| Err(Failure::new(FailureKind::Hang, hang)));
    result.map_err(|failure| {
        let message = format!("{}\n{}", failure.message, dir.keep());
        let mut finding = setup.finding(plan.clone(), Failure::new(failure.kind, message));
        finding.image_dir = Some(dir.path().to_path_buf());
        Box::new(finding)
    })
}

struct FilesCase<'a> {
    setup: &'a Setup,
    plan: &'a Plan,
    child: &'a ChildProgram,
    dir: &'a Path,
}

impl FilesCase<'_> {
    fn run(&self) -> Result<CrashedOnFiles, Failure> {
        let [Crash { site, mode }] = &self.plan.crashes[..] else {
            let message = "a crash on real files has one crash, in the work";
            return Err(Failure::new(FailureKind::NeverReached, message));
        };
        let journal = Journal::new(OracleSnapshot::first(self.setup.oracle()));
        let mut home = self.setup.on_files(&self.dir.join("db"), Session::first());
        if let Some(start) = &self.setup.start {
            let copied = copy_dir(start.dir(), &home.dir);
            copied.map_err(|error| Failure::new(FailureKind::CannotGoOn, error))?;
        }
        match (site, mode) {
            (_, CrashMode::PowerLoss(_)) => {
                let message = "real files keep what was written: no power loss there";
                return Err(Failure::new(FailureKind::NeverReached, message));
            }
            (Site::End, _) => return self.run_to_end(*site, &mut home, &journal),
            (_, CrashMode::Panic) => self.panic(*site, &mut home, &journal)?,
            _ => {
                let dir = self.dir.to_path_buf();
                die_in_child(
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
        let counts = self.compared(*site, &mut home, &journal)?;
        Ok(CrashedOnFiles {
            crossed: CrossingCounts::default(),
            by_open: CrossingCounts::default(),
            by_work: CrossingCounts::default(),
            counts,
        })
    }

    /// Does the work without a crash, and compares the state before the close. Compares the state after the close too, unless the
    /// work began with a saved prefix.
    fn run_to_end(&self, site: Site, home: &mut Home, journal: &Journal) -> Result<CrashedOnFiles, Failure> {
        let (opened, worked, counts) = self.work_to_end(home, journal)?;
        if let Some(failure) = journal.first_failure() {
            return Err(failure);
        }
        let crossings = journal.recorder.crossings();
        let counts = match &self.setup.start {
            Some(_) => counts,
            None => self.compared(site, home, journal)?,
        };
        Ok(CrashedOnFiles {
            crossed: CrossingCounts::of(&crossings),
            by_open: CrossingCounts::of(&crossings[..opened]),
            by_work: CrossingCounts::of(&crossings[opened..worked]),
            counts,
        })
    }

    /// Returns the numbers of crossings after the opening and after the work, and the counts of the oracle.
    fn work_to_end(&self, home: &mut Home, journal: &Journal) -> Result<(usize, usize, Counts), Failure> {
        let _recording = scoped_recorder(&journal.recorder);
        let mut handle = Some(open(self.setup, home)?);
        let opened = journal.recorder.crossings_len();
        let mut driver = self.setup.driver(home, &mut handle, journal);
        work_on(self.setup, &mut driver)?;
        let worked = journal.recorder.crossings_len();
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
        Ok((opened, worked, verdict.counts))
    }

    fn panic(&self, site: Site, home: &mut Home, journal: &Journal) -> Result<(), Failure> {
        let mut handle = None;
        panic_at(self.setup, site, home, journal, Some(&mut handle))?;
        match (handle, site) {
            (Some(db), Site::Point { point, crossing }) => check_handle(db, home, point, crossing, journal),
            // The panic ended a reopening.
            _ => Ok(()),
        }
    }

    /// As [`recover`](Self::recover). Fails if no event was compared.
    fn compared(&self, site: Site, home: &mut Home, journal: &Journal) -> Result<Counts, Failure> {
        let counts = self.recover(site, home, journal)?;
        if counts.acknowledged == 0 {
            return Err(Failure::new(FailureKind::NeverReached, "no event was compared"));
        }
        Ok(counts)
    }

    /// Recovers the files that the crash left, and continues.
    fn recover(&self, site: Site, home: &mut Home, journal: &Journal) -> Result<Counts, Failure> {
        let (begun, known) = journal.last();
        let oracle = &known.oracle;
        self.setup.begin_session(home, (*known.recovery).clone());
        let db = open(self.setup, home)?;
        let state = RecoveredState::of(&db)?;
        check_durable(&db, &state)?;
        let verdict = state.judged_by(oracle, CrashKind::ProcessCrash);
        if !verdict.is_ok() {
            return Err(failure_of(&verdict));
        }
        if let Site::Point { point, .. } = site
            && !journal.has_threads()
            && journal.reopening(begun.saturating_sub(1)).is_none()
        {
            check_point(point, journal, &state, &verdict, db.recovery_report())?;
        }
        drop(db);
        let operations = self.setup.operations().unwrap_or_default();
        let rest: Vec<Operation> = operations.into_iter().skip(begun).collect();
        let (last, known) = continue_after_recovery(self.setup, home, &state, &known, &verdict, &rest)?;
        let mut counts = verdict.counts;
        counts += last.judged_by(&known.oracle, CrashKind::ProcessCrash).counts;
        Ok(counts)
    }
}

/// At each crash point the content of log and storage is fixed. Except at the two points of a checkpoint they hold the call
/// in flight; at these two they hold the acknowledged calls, and the old or the new checkpoint.
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
                "nothing was replayed: the new checkpoint is there before it was written".to_owned(),
            );
        }
        CrashPoint::CheckpointPostFlush
            if report.frames_replayed > 0 || report.last_sequence != report.checkpoint_sequence =>
        {
            return wrong(format!(
                "the checkpoint covers {} and the log ends with {}: the new checkpoint is missing, or its marker is there",
                report.checkpoint_sequence, report.last_sequence
            ));
        }
        CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush => {}
        _ => {
            let Some(call) = journal.in_flight() else {
                return wrong("no call was in flight".to_owned());
            };
            // As if the call had been acknowledged: then its absence is a loss.
            let mut oracle = journal.last().1.oracle;
            oracle.acknowledged(call, None);
            let verdict = state.judged_by(&oracle, CrashKind::ProcessCrash);
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
        "{} frames and {} changes of collections must be there; {} and {} were found",
        expected.0, expected.1, found.0, found.1
    ))
}

/// Runs a child until it has died as its plan says, and notes its calls.
pub(crate) fn die_in_child(child: &ChildProgram, orders: &Orders, journal: &Journal) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(FailureKind::CannotGoOn, error);
    let [Crash { site, mode }] = &orders.plan.crashes[..] else {
        unreachable!("the plan of a child has one crash")
    };
    let mut process = child.start(&orders.to_text()).map_err(failed)?;
    let mut heard = FromChild::new(journal);
    let end = loop {
        match process.receive_answer(CHILD_TIME) {
            Ok(line) => match heard.hear(&line)? {
                ChildMessage::Call => {}
                ChildMessage::Parked(at) if *mode == CrashMode::Kill && at == site.to_string() => {
                    let end = process.kill().map_err(failed)?;
                    for line in &end.answers {
                        heard.hear(line)?;
                    }
                    break end;
                }
                ChildMessage::Parked(how) | ChildMessage::Ended(how) => {
                    let message = format_args!("the child did not crash at {site}: {how}");
                    return Err(Failure::new(FailureKind::NeverReached, message));
                }
            },
            Err(NoAnswer::Ended(end)) => break end,
            Err(NoAnswer::UnknownEnd(error)) => return Err(failed(error)),
            Err(hang) => return Err(Failure::new(FailureKind::Hang, hang)),
        }
    };
    check_death(*site, mode, &end)
}

fn check_death(site: Site, mode: &CrashMode, end: &ChildEnd) -> Result<(), Failure> {
    let died = match (mode, site) {
        (CrashMode::Kill, _) => end.is_killed(),
        (CrashMode::Abort, Site::Point { point, crossing }) => {
            let said = format!(
                "CrashInjector: simulated crash at {point:?} after {} crossings",
                crossing + 1
            );
            end.is_aborted() && end.stderr_tail.contains(&said)
        }
        _ => false,
    };
    if died {
        return Ok(());
    }
    let message = format_args!("the child was to end by {mode} at {site}: {end}");
    Err(Failure::new(FailureKind::NeverReached, message))
}

/// In a child process whose plan `is_mine`: does the work of the plan and crashes at its site. In any other process it
/// returns at once.
pub(crate) fn die_if_child(setup: &Setup, is_mine: impl Fn(&Plan) -> bool) {
    let Some(orders) = Orders::of_this_process() else {
        return;
    };
    let [Crash { site, mode }] = &orders.plan.crashes[..] else {
        return;
    };
    if !is_mine(&orders.plan) {
        return;
    }
    let log = ToParent::default();
    let dir = orders.dir.join("db");
    let worked = match *site {
        Site::Point { point, crossing } => {
            let action = if *mode == CrashMode::Abort {
                CrashAction::Abort
            } else {
                let site = site.to_string();
                CrashAction::call(move |_, _| park_at(&site))
            };
            let injector = CrashInjector::with_action(point, crossing, action);
            let _installed = scoped_injector(&injector);
            work(setup, setup.on_files(&dir, Session::first()), &log)
        }
        Site::Disk { ordinal, side } => match real_disk(&orders.dir) {
            Ok(disk) => {
                let site = site.to_string();
                disk.observe(move |call| {
                    if (call.ordinal, call.side) == (Some(ordinal), side) {
                        park_at(&site);
                    }
                });
                work(setup, setup.on_disk_below(&disk, &dir, Session::first()), &log)
            }
            Err(failure) => Err(failure),
        },
        Site::Fault { .. } | Site::End => Ok(()),
    };
    match worked {
        Ok(()) => end_without_crash("the work came to its end"),
        Err(failure) => end_without_crash(&failure.to_string()),
    }
}

/// Real files below `dir`, seen through a disk that numbers the operations.
pub(crate) fn real_disk(dir: &Path) -> Result<SimDisk, Failure> {
    SimDisk::over(std::sync::Arc::new(RealFiles), dir, SimDiskOptions::default())
        .map_err(|error| Failure::new(FailureKind::CannotGoOn, error))
}

/// Opens the database, does the work and closes, telling the parent.
fn work(setup: &Setup, mut home: Home, log: &ToParent) -> Result<(), Failure> {
    let mut handle = Some(open(setup, &home)?);
    let mut driver = setup.driver(&mut home, &mut handle, log);
    work_on(setup, &mut driver)?;
    close(&driver)
}

fn close(driver: &Driver<'_>) -> Result<(), Failure> {
    let closed = driver.close();
    closed.map_err(|error| Failure::new(FailureKind::CannotGoOn, error_chain(&error)))
}
