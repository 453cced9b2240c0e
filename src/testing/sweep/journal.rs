//! The journal of a run: the oracle's knowledge at each moment.
//!
//! Owns, for every moment, the oracle's knowledge, how many operations the disk had done, and how many crossings there had
//! been. Invariant: a mark is stored before its call or disk operation continues, so marks and crossings are in order.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::finding::{Failure, FailureKind};
use super::state::{RecoveredState, failure_of};
use crate::testing::oracle::{CrashKind, OpId, Oracle, Verdict};
use crate::testing::sim_disk::{ObservedCall, Side};
use crate::testing::text::error_chain;
use crate::testing::workload::{Operation, Reopening, Session, is_ahead_of_clock};
use crate::testing::{CrossingRecorder, SimDisk};
use crate::{Durability, Error, Receipt, TidalDb};

/// How a call of the work ended.
pub(crate) type CallResult = Result<Option<Receipt>, Error>;

/// Notes the calls of the work, outside the database.
pub(crate) trait CallLog: fmt::Debug + Sync {
    /// Notes that the call is about to be made. Returns its number.
    fn begin(&self, operation: &Operation) -> usize;

    /// Notes how the call with this number ended, and the durable sequence of the database afterwards.
    fn ended(&self, call: usize, result: &CallResult, durable_sequence: u64);

    /// Notes that every frame up to `durable_sequence` is durable.
    fn note_durable(&self, durable_sequence: u64);

    /// Notes that the work has further threads.
    fn note_threads(&self);
    /// Notes a failure of the run.
    fn fail(&self, kind: FailureKind, message: &dyn fmt::Display);

    /// Notes that the database was closed, with every frame up to `last_sequence` durable.
    fn closed(&self, last_sequence: u64);
    /// Notes that the session is over. The reopening with this number opens the session `next`.
    fn session_ended(&self, call: usize, next: &Session);
    /// Notes that the database was opened again, under a policy, after a session that ended by `death`.
    fn reopened(&self, db: &TidalDb, death: CrashKind, durability: Durability);
}

/// The knowledge at a moment.
#[derive(Debug, Clone)]
pub(crate) struct OracleSnapshot {
    pub(crate) oracle: Oracle,
    /// The operation in flight or, if there is none, the last one; by its number in the work.
    pub(crate) operation: Option<usize>,
    /// How many operations were acknowledged.
    pub(crate) acknowledged: usize,
    /// The time of the clock in the last call that sets it.
    pub(crate) now_ms: i64,
    pub(crate) session: Arc<Session>,
    /// The session that recovers after a crash at this moment.
    pub(crate) recovery: Arc<Session>,
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    /// The disk is at this side of this operation.
    Disk { ordinal: u64, side: Side },
    /// From here on the entry with this number is current.
    OracleSnapshot(usize),
}

/// The content of a journal.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) known: Vec<OracleSnapshot>,
    /// Each mark, and how many crossings came before it.
    pub(crate) marks: Vec<(Mark, usize)>,
    pub(crate) operations: Vec<Operation>,
    calls: Vec<OpId>,
    ended_len: usize,
    /// The numbers of the acknowledged calls.
    acknowledged: Vec<usize>,
    /// The first error of a call that is neither a rejection nor the error of a poisoned handle.
    error: Option<String>,
    pub(crate) failures: Vec<Failure>,
}

impl OracleSnapshot {
    /// The knowledge before the database is created.
    pub(crate) fn first(oracle: Oracle) -> Self {
        let session = Session::first();
        Self {
            oracle,
            operation: None,
            acknowledged: 0,
            now_ms: session.now_ms,
            recovery: Arc::new(session.recovery()),
            session: Arc::new(session),
        }
    }

    fn enter(&mut self, session: &Session) {
        self.now_ms = session.now_ms;
        self.session = Arc::new(session.clone());
        self.recovery = Arc::new(session.recovery());
    }
}

impl Pages {
    fn reopened(&mut self, known: &mut OracleSnapshot, verdict: &Verdict, durability: Durability) {
        known.oracle.reopened(verdict);
        known.oracle.set_guarantee(durability);
        // A verdict counts the changes of collections since the last reopening.
        let operations = &self.operations;
        self.acknowledged
            .retain(|call| !operations[*call].is_collection_change());
    }
}

/// See the [module](self). The driver and the disk's observer share it.
#[derive(Debug)]
pub(crate) struct Journal {
    pages: Mutex<Pages>,
    /// If false, an entry replaces the one before: a copy of the oracle for each call is dear.
    keeps_moments: bool,
    has_threads: AtomicBool,
    pub(crate) recorder: Arc<CrossingRecorder>,
}

impl Journal {
    /// A journal that keeps only the current entry. The first entry is `known`.
    pub(crate) fn new(known: OracleSnapshot) -> Arc<Self> {
        Arc::new(Self::with(known, false))
    }

    fn with(known: OracleSnapshot, keeps_moments: bool) -> Self {
        Self {
            pages: Mutex::new(Pages {
                known: vec![known],
                marks: Vec::new(),
                operations: Vec::new(),
                calls: Vec::new(),
                ended_len: 0,
                acknowledged: Vec::new(),
                error: None,
                failures: Vec::new(),
            }),
            keeps_moments,
            has_threads: AtomicBool::new(false),
            recorder: CrossingRecorder::new(),
        }
    }

    /// A journal that keeps every moment, and marks each operation of `disk` from now on.
    pub(crate) fn of(disk: &SimDisk, known: OracleSnapshot) -> Arc<Self> {
        let journal = Arc::new(Self::with(known, true));
        let observing = Arc::clone(&journal);
        disk.observe(move |call| observing.observe(call));
        journal
    }

    /// Takes the content. Nothing is written to the journal any more.
    pub(crate) fn take(&self) -> Pages {
        let mut pages = self.pages();
        Pages {
            known: std::mem::take(&mut pages.known),
            marks: std::mem::take(&mut pages.marks),
            operations: std::mem::take(&mut pages.operations),
            calls: std::mem::take(&mut pages.calls),
            ended_len: pages.ended_len,
            acknowledged: std::mem::take(&mut pages.acknowledged),
            error: pages.error.take(),
            failures: std::mem::take(&mut pages.failures),
        }
    }

    /// Notes a failure, unless one of its kind is noted.
    pub(crate) fn fail(&self, kind: FailureKind, message: impl fmt::Display) {
        let mut pages = self.pages();
        if !pages.failures.iter().any(|failure| failure.kind == kind) {
            pages.failures.push(Failure::new(kind, message));
        }
    }

    /// The first failure so far, or else the first error of a call that no work expects.
    pub(crate) fn first_failure(&self) -> Option<Failure> {
        let pages = self.pages();
        let error = pages.error.as_ref();
        let of_error = || error.map(|error| Failure::new(FailureKind::CannotGoOn, error));
        pages.failures.first().cloned().or_else(of_error)
    }

    /// Returns true if the work has further threads.
    pub(crate) fn has_threads(&self) -> bool {
        self.has_threads.load(Ordering::Relaxed)
    }

    /// The number of operations that were begun, and the current entry.
    pub(crate) fn last(&self) -> (usize, OracleSnapshot) {
        let pages = self.pages();
        match pages.known.last() {
            Some(known) => (pages.operations.len(), known.clone()),
            None => unreachable!("a journal begins with an entry"),
        }
    }

    /// Notes that `session` recovered from a crash. Returns the lost operations to apply again.
    pub(crate) fn recovered(
        &self,
        db: &TidalDb,
        death: CrashKind,
        durability: Durability,
        session: &Session,
    ) -> Vec<Operation> {
        self.learn(|known, _| known.enter(session));
        self.judge_reopened(db, death, durability)
    }

    /// Continues with the recovered database that `verdict` is about. Returns the lost operations to apply again.
    pub(crate) fn continue_from(&self, verdict: &Verdict) -> Vec<Operation> {
        self.learn(|known, _| {
            let missing = known.oracle.missing(verdict);
            known.oracle.reopened(verdict);
            missing
        })
    }

    /// Judges the state after a reopening. Returns the lost operations.
    fn judge_reopened(&self, db: &TidalDb, death: CrashKind, durability: Durability) -> Vec<Operation> {
        let judged = RecoveredState::of(db).and_then(|state| {
            self.learn(|known, pages| {
                let verdict = state.judged_by(&known.oracle, death);
                let missing = known.oracle.missing(&verdict);
                pages.reopened(known, &verdict, durability);
                if verdict.is_ok() {
                    Ok(missing)
                } else {
                    Err(failure_of(&verdict))
                }
            })
        });
        judged.unwrap_or_else(|Failure { kind, message }| {
            self.fail(kind, format_args!("after a reopening: {message}"));
            Vec::new()
        })
    }

    /// Notes a reopening in a child process. This process cannot read the state, so it expects every acknowledged call in it.
    pub(crate) fn reopened_in_child(&self, last_sequence: u64, durability: Durability) {
        self.learn(|known, pages| {
            let verdict = known.oracle.promised(last_sequence);
            pages.reopened(known, &verdict, durability);
        });
    }

    /// The reopening with this number, and the session before it.
    pub(crate) fn reopening(&self, call: usize) -> Option<(Reopening, Arc<Session>)> {
        let pages = self.pages();
        match (pages.operations.get(call)?, pages.known.last()?) {
            (Operation::Reopen(reopening), known) => Some((reopening.clone(), Arc::clone(&known.session))),
            _ => None,
        }
    }

    /// The number of acknowledged frames, and of acknowledged changes of collections since the last reopening.
    pub(crate) fn acknowledged(&self) -> (usize, usize) {
        let pages = self.pages();
        let count = |is_counted: fn(&Operation) -> bool| {
            let operations = pages.acknowledged.iter().map(|call| &pages.operations[*call]);
            operations.filter(|operation| is_counted(operation)).count()
        };
        (count(Operation::is_frame), count(Operation::is_collection_change))
    }

    /// The call that has not ended, if the work has one thread.
    pub(crate) fn in_flight(&self) -> Option<OpId> {
        let pages = self.pages();
        (pages.ended_len < pages.calls.len()).then(|| pages.calls.last().copied())?
    }

    fn observe(&self, call: &ObservedCall<'_>) {
        if let Some(ordinal) = call.ordinal {
            let crossings = self.recorder.crossings_len();
            let side = call.side;
            self.pages().marks.push((Mark::Disk { ordinal, side }, crossings));
        }
        if call.kind.changes_disk() && !self.recorder.watches_this_thread() {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("unnamed");
            let message = format_args!(
                "{} {} on thread {name} ({:?}), which did not inherit the slot of the thread that started it",
                call.kind,
                call.path.display(),
                thread.id()
            );
            self.fail(FailureKind::Unwatched, message);
        }
    }

    /// Makes a new entry from the last one.
    fn learn<T>(&self, learn: impl FnOnce(&mut OracleSnapshot, &mut Pages) -> T) -> T {
        let crossings = self.recorder.crossings_len();
        let mut pages = self.pages();
        let pages = &mut *pages;
        let last = if self.keeps_moments {
            pages.known.last().cloned()
        } else {
            pages.known.pop()
        };
        let Some(mut known) = last else {
            unreachable!("a journal begins with an entry, and is not written after it was taken")
        };
        let learned = learn(&mut known, pages);
        pages.known.push(known);
        if self.keeps_moments {
            pages
                .marks
                .push((Mark::OracleSnapshot(pages.known.len() - 1), crossings));
        }
        learned
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallLog for Journal {
    fn begin(&self, operation: &Operation) -> usize {
        self.learn(|known, pages| {
            known.operation = Some(pages.operations.len());
            if let Operation::Record { now_ms, .. } = operation {
                known.now_ms = *now_ms;
            }
            pages.operations.push(operation.clone());
            pages.calls.push(known.oracle.begin(operation));
            pages.calls.len() - 1
        })
    }

    fn ended(&self, call: usize, result: &CallResult, durable_sequence: u64) {
        self.learn(|known, pages| {
            known.oracle.ended(pages.calls[call], result);
            pages.ended_len += 1;
            if let Err(error) = result
                && !is_answer(error)
                && !is_poisoned(error)
            {
                let operation = &pages.operations[call];
                let error = error_chain(error);
                pages.error.get_or_insert_with(|| format!("{operation}: {error}"));
            }
            if result.is_ok() {
                known.acknowledged += 1;
                pages.acknowledged.push(call);
            }
            known.oracle.note_durable(durable_sequence);
        });
    }

    fn note_durable(&self, durable_sequence: u64) {
        self.learn(|known, _| known.oracle.note_durable(durable_sequence));
    }

    fn fail(&self, kind: FailureKind, message: &dyn fmt::Display) {
        self.fail(kind, message);
    }

    fn note_threads(&self) {
        self.has_threads.store(true, Ordering::Relaxed);
    }

    fn closed(&self, last_sequence: u64) {
        self.learn(|known, _| known.oracle.synced(last_sequence));
    }

    fn session_ended(&self, call: usize, next: &Session) {
        self.learn(|known, pages| {
            known.oracle.session_ended(pages.calls[call]);
            known.enter(next);
        });
    }

    fn reopened(&self, db: &TidalDb, death: CrashKind, durability: Durability) {
        self.judge_reopened(db, death, durability);
    }
}

/// Returns true if the call was rejected and the database is unchanged.
pub(crate) fn is_answer(error: &Error) -> bool {
    is_impossible(error) || is_ahead_of_clock(error)
}

/// Returns true if the collection exists already, or does not exist.
pub(crate) fn is_impossible(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownCollection { .. } | Error::CollectionExists { .. }
    )
}

/// Returns true if the handle was poisoned by another call.
fn is_poisoned(error: &Error) -> bool {
    match error {
        Error::Poisoned { .. } => true,
        Error::OutcomeUnknown { source, .. } => is_poisoned(source),
        _ => false,
    }
}
