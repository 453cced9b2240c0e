//! The runner of a program: prepares its database, runs it under a schedule, and checks the run.
//!
//! Owns the disk before each run, and the judge of all runs. Each run has a new disk with the same content.

use std::sync::Arc;
use std::time::Duration;

use super::database::{CallJournal, CallJournalContent, ScheduledDatabase};
use super::judge::{CrashFailure, Judge};
use super::line::{PlannedFault, SchedulePlan};
use super::sweep::ScheduleSweep;
use crate::testing::SimDisk;
use crate::testing::oracle::CrashKind;
use crate::testing::scheduler::{self, Chooser, RunEnd, ScheduledRun, ScheduledThread, primitives};
use crate::testing::sim_disk::{DiskOperation, Image, ImageChoice, Recording};
use crate::testing::sweep::{DB_DIR, Failure, FailureKind, RecoveredState, Setup, failure_of, recover};
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::Session;
use crate::{Options, TidalDb};

/// A run and its outcome.
pub(super) struct Run {
    pub(super) record: ScheduledRun,
    pub(super) recording: Recording,
    /// An operation after the release of the directory's lock.
    pub(super) after_lock: Option<DiskOperation>,
    pub(super) journal: Arc<CallJournal>,
    /// The result of the program, if it ended.
    pub(super) end: Option<ProgramEnd>,
    /// The failure of the program: it panicked, or the database did not open.
    failure: Option<Failure>,
}

/// The end of the program, before the database is dropped.
#[derive(Default)]
pub(super) struct ProgramEnd {
    /// The number of disk operations before the program.
    pub(super) start: u64,
    /// The state in memory after the program, or the failure of reading it. `None` if a read need not succeed.
    state: Option<Result<RecoveredState, Failure>>,
    error: Option<String>,
}

/// See the [module](self).
pub(super) struct ProgramRunner<'a> {
    sweep: &'a ScheduleSweep,
    setup: Setup,
    /// The disk before each run.
    image: Image,
    /// `None` before the preparation, and for a sweep without a database.
    pub(super) judge: Option<Judge>,
}

impl<'a> ProgramRunner<'a> {
    pub(super) fn new(sweep: &'a ScheduleSweep) -> Self {
        Self {
            sweep,
            setup: sweep.setup.clone(),
            image: Image::new(),
            judge: None,
        }
    }

    /// Makes the database before the program, and its oracle.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        if self.sweep.threads.is_some() {
            return Ok(());
        }
        let disk = self.setup.new_disk();
        let mut oracle = self.setup.oracle();
        let location = self.setup.location_on_disk(&disk, Session::first());
        let refused = |error| Failure::new(FailureKind::Refused, error_chain(&error));
        let db = self.setup.open(&location).map_err(refused)?;
        let before = self.sweep.program.iter().flat_map(|program| &program.before);
        for operation in before {
            let call = oracle.begin(operation);
            oracle.ended(call, &operation.apply(&db));
        }
        drop(db);
        drop(location);
        self.image = disk.image(&ImageChoice::All);
        let state = recover(&self.setup, &disk, &Session::first().recovery())?;
        let verdict = state.check_against(&oracle, CrashKind::ProcessCrash);
        if !verdict.is_ok() {
            return Err(failure_of(&verdict));
        }
        oracle.reopened(&verdict);
        self.judge = Some(Judge::new(
            self.setup.clone(),
            oracle,
            self.sweep.bounds.images_max,
            &self.sweep.text(),
        ));
        Ok(())
    }

    fn options(&self) -> Options {
        let session = Session::first().recovery();
        self.setup.options(&session).background(self.sweep.background)
    }

    /// Runs the program once, under these choices.
    pub(super) fn run_once(&self, chooser: Chooser, fault: Option<PlannedFault>) -> Run {
        let disk = SimDisk::from_image(&self.image);
        if let Some(fault) = fault {
            disk.fail_operation(fault.ordinal, fault.fault);
        }
        let journal = CallJournal::new(disk.clone());
        let (work, options) = (Arc::clone(&self.sweep.work), self.options());
        let options = options.files(Arc::new(disk.clone()));
        let shared_journal = Arc::clone(&journal);
        let program_disk = disk.clone();
        let threads = self.sweep.threads.clone();
        let program = move || -> Result<ProgramEnd, Failure> {
            let thread = ScheduledThread::current();
            let explore = |is_program| {
                if let Some(thread) = &thread {
                    thread.set_may_deviate(is_program);
                }
            };
            if let Some(threads) = threads {
                explore(true);
                threads();
                return Ok(ProgramEnd::default());
            }
            let db = TidalDb::open(DB_DIR, options)
                .map_err(|error| Failure::new(FailureKind::Refused, error_chain(&error)))?;
            // The engine's threads run until they wait.
            primitives::sleep(Duration::ZERO);
            let start = program_disk.operations_len();
            let database = ScheduledDatabase::new(db, shared_journal.clone());
            explore(true);
            let result = work(&database);
            explore(false);
            let CallJournalContent {
                is_closing,
                has_panic,
                ..
            } = *shared_journal.lock();
            let is_readable = !is_closing && !has_panic;
            let state = is_readable.then(|| RecoveredState::of(database.db()));
            explore(true);
            drop(database);
            Ok(ProgramEnd {
                start,
                state,
                error: result.err().map(|error| error_chain(&error)),
            })
        };
        let (record, result) = scheduler::run(chooser, program);
        let recording = disk.recording();
        let (end, failure) = match result {
            Some(Ok(Ok(end))) => (Some(end), None),
            Some(Ok(Err(failure))) => (None, Some(failure)),
            Some(Err(payload)) => {
                let failure = Failure::new(FailureKind::Panicked, panic_text(&*payload));
                (None, Some(failure))
            }
            None => (None, None),
        };
        Run {
            record,
            after_lock: disk.operation_after_lock(),
            recording,
            journal,
            end,
            failure,
        }
    }

    pub(super) fn run_plan(&self, plan: &SchedulePlan) -> Run {
        self.run_once(Chooser::planned(plan.deviations.clone()), plan.fault)
    }

    /// Checks a run.
    pub(super) fn examine(&mut self, run: &Run) -> Result<(), Failure> {
        if let RunEnd::Stuck(stuck) = &run.record.end {
            return Err(Failure::new(
                FailureKind::Hang,
                format_args!("{}: {stuck}", stuck.kind),
            ));
        }
        if let Some(panic) = run.record.panics.first() {
            return Err(Failure::new(FailureKind::Panicked, panic));
        }
        if let Some(failure) = &run.failure {
            return Err(failure.clone());
        }
        if let Some(operation) = &run.after_lock {
            let message = format_args!("{operation} came after the release of the lock of the directory");
            return Err(Failure::new(FailureKind::DropWrote, message));
        }
        let content = run.journal.lock();
        if content.has_panic {
            let message = "a call panicked, and the program caught the panic";
            return Err(Failure::new(FailureKind::Panicked, message));
        }
        if let Some(failure) = content.failures.first() {
            return Err(Failure::new(FailureKind::CannotContinue, failure));
        }
        let Some(end) = &run.end else {
            unreachable!("a program that did not end panicked or is stuck")
        };
        if let Some(error) = &end.error
            && run
                .recording
                .operations()
                .all(|operation| operation.error.is_none())
        {
            return Err(Failure::new(FailureKind::CannotContinue, error));
        }
        // A sweep without a database has none.
        let Some(judge) = &mut self.judge else {
            return Ok(());
        };
        let oracle = judge.oracle_after(&content.events);
        if let Some(result) = oracle.wrong_result() {
            return Err(Failure::new(FailureKind::Wrong, result));
        }
        match &end.state {
            Some(Ok(state)) => {
                let verdict =
                    oracle.check_export(CrashKind::ProcessCrash, &state.export, state.last_sequence);
                if !verdict.is_ok() {
                    let Failure { kind, message } = failure_of(&verdict);
                    return Err(Failure::new(
                        kind,
                        format_args!("in memory after the program: {message}"),
                    ));
                }
            }
            Some(Err(failure)) => return Err(failure.clone()),
            None => {}
        }
        let judged = judge.judge(&run.recording, &content.events, end.start);
        judged.map_err(|crash| {
            let CrashFailure {
                failure: Failure { kind, message },
                position,
                image,
            } = *crash;
            let crash = if image == ImageChoice::All {
                "crash"
            } else {
                "power loss"
            };
            let next = run.recording.operations().nth(position as usize);
            let next = next.map_or_else(|| "the end of the run".to_owned(), ToString::to_string);
            Failure::new(
                kind,
                format_args!("a {crash} before {next}, image {image}: {message}"),
            )
        })
    }
}
