//! The journal of a run: the oracle snapshots of the run, in order.
//!
//! Owns the oracle snapshots, and marks that order them among the disk operations and the crossings. Invariant: a mark
//! is stored before its call or disk operation continues, so marks and crossings are in the order of the run.

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

/// The result of a call of the work.
pub(crate) type CallResult = Result<Option<Receipt>, Error>;

/// Notes the calls of the work, outside the database.
pub(crate) trait CallLog: fmt::Debug + Sync {
    /// Notes that the call begins. Returns the number of the call.
    fn begin(&self, operation: &Operation) -> usize;

    /// Notes the result of the call with this number, and the durable sequence of the database after the call.
    fn ended(&self, call: usize, result: &CallResult, durable_sequence: u64);

    /// Notes that every frame up to `durable_sequence` is durable.
    fn note_durable(&self, durable_sequence: u64);

    /// Notes that the work has further threads.
    fn note_threads(&self);
    /// Notes a failure of the run.
    fn fail(&self, kind: FailureKind, message: &dyn fmt::Display);

    /// Notes that the database was closed, and that every frame up to `last_sequence` is durable.
    fn closed(&self, last_sequence: u64);
    /// Notes that the session ended. The reopening with the number `call` opens the session `next`.
    fn session_ended(&self, call: usize, next: &Session);
    /// Notes that the database was opened again, under a policy, after a session that ended by `crash_kind`.
    fn reopened(&self, db: &TidalDb, crash_kind: CrashKind, durability: Durability);
}

/// The state of the oracle at a point of the run. It determines the legal states after a crash there.
#[derive(Debug, Clone)]
pub(crate) struct OracleSnapshot {
    pub(crate) oracle: Oracle,
    /// The number in the work of the operation in flight or, if none is in flight, of the last operation.
    pub(crate) operation: Option<usize>,
    /// The number of acknowledged operations.
    pub(crate) acknowledged: usize,
    /// The clock's time, in milliseconds since the Unix epoch, in the last call that sets the clock.
    pub(crate) now_ms: i64,
    pub(crate) session: Arc<Session>,
    /// The session that recovers after a crash here.
    pub(crate) recovery: Arc<Session>,
}

/// A point of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    /// The disk is at this side of this operation.
    Disk { ordinal: u64, side: Side },
    /// From here on the oracle snapshot with this index is current.
    OracleSnapshot(usize),
}

/// The content of a journal.
#[derive(Debug, Default)]
pub(crate) struct JournalContent {
    /// The oracle snapshots in order, or only the current one. Never empty before the content is taken.
    pub(crate) snapshots: Vec<OracleSnapshot>,
    /// The marks, each with the number of crossings before it.
    pub(crate) marks: Vec<(Mark, usize)>,
    pub(crate) operations: Vec<Operation>,
    calls: Vec<OpId>,
    ended_len: usize,
    /// The numbers of the acknowledged calls.
    acknowledged: Vec<usize>,
    /// The first error of a call that is neither a refusal nor the error of a poisoned handle.
    error: Option<String>,
    pub(crate) failures: Vec<Failure>,
}

impl OracleSnapshot {
    /// The snapshot before the database is created.
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

    fn begin_session(&mut self, session: &Session) {
        self.now_ms = session.now_ms;
        self.session = Arc::new(session.clone());
        self.recovery = Arc::new(session.recovery());
    }
}

impl JournalContent {
    fn reopened(&mut self, snapshot: &mut OracleSnapshot, verdict: &Verdict, durability: Durability) {
        snapshot.oracle.reopened(verdict);
        snapshot.oracle.set_guarantee(durability);
        // A verdict counts only the changes of collections after the last reopening.
        let operations = &self.operations;
        self.acknowledged
            .retain(|call| !operations[*call].is_collection_change());
    }
}

/// See the [module](self). The driver and the observer of the disk share the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    content: Mutex<JournalContent>,
    /// If false, the journal stores only the current snapshot, because a copy of the oracle for each call is expensive.
    stores_all_snapshots: bool,
    has_threads: AtomicBool,
    pub(crate) recorder: Arc<CrossingRecorder>,
}

impl Journal {
    /// A journal that stores only the current snapshot. The first snapshot is `snapshot`.
    pub(crate) fn new(snapshot: OracleSnapshot) -> Arc<Self> {
        Arc::new(Self::with(snapshot, false))
    }

    fn with(snapshot: OracleSnapshot, stores_all_snapshots: bool) -> Self {
        Self {
            content: Mutex::new(JournalContent {
                snapshots: vec![snapshot],
                ..JournalContent::default()
            }),
            stores_all_snapshots,
            has_threads: AtomicBool::new(false),
            recorder: CrossingRecorder::new(),
        }
    }

    /// A journal that stores every snapshot, and marks each operation of `disk` from now on.
    pub(crate) fn of(disk: &SimDisk, snapshot: OracleSnapshot) -> Arc<Self> {
        let journal = Arc::new(Self::with(snapshot, true));
        let observing = Arc::clone(&journal);
        disk.observe(move |call| observing.observe(call));
        journal
    }

    /// Takes the content. After this call nothing may be noted in the journal.
    pub(crate) fn take(&self) -> JournalContent {
        std::mem::take(&mut *self.lock())
    }

    /// Notes a failure, unless the journal has one of this kind.
    pub(crate) fn fail(&self, kind: FailureKind, message: impl fmt::Display) {
        let mut content = self.lock();
        if !content.failures.iter().any(|failure| failure.kind == kind) {
            content.failures.push(Failure::new(kind, message));
        }
    }

    /// The first failure so far; if there is none, the first unexpected error of a call.
    pub(crate) fn first_failure(&self) -> Option<Failure> {
        let content = self.lock();
        let error = content.error.as_ref();
        let of_error = || error.map(|error| Failure::new(FailureKind::CannotContinue, error));
        content.failures.first().cloned().or_else(of_error)
    }

    /// Returns true if the work has further threads.
    pub(crate) fn has_threads(&self) -> bool {
        self.has_threads.load(Ordering::Relaxed)
    }

    /// The number of operations that began, and the current snapshot.
    pub(crate) fn last(&self) -> (usize, OracleSnapshot) {
        let content = self.lock();
        match content.snapshots.last() {
            Some(snapshot) => (content.operations.len(), snapshot.clone()),
            None => unreachable!("a journal begins with a snapshot"),
        }
    }

    /// Notes that `session` recovered from a crash. Returns the lost operations to apply again.
    pub(crate) fn recovered(
        &self,
        db: &TidalDb,
        crash_kind: CrashKind,
        durability: Durability,
        session: &Session,
    ) -> Vec<Operation> {
        self.add_snapshot(|snapshot, _| snapshot.begin_session(session));
        self.check_reopened(db, crash_kind, durability)
    }

    /// Notes that the run continues with the recovered database that has this verdict. Returns the lost operations to
    /// apply again.
    pub(crate) fn continue_from(&self, verdict: &Verdict) -> Vec<Operation> {
        self.add_snapshot(|snapshot, _| {
            let missing = snapshot.oracle.missing(verdict);
            snapshot.oracle.reopened(verdict);
            missing
        })
    }

    /// Checks the state after a reopening. Returns the lost operations.
    fn check_reopened(&self, db: &TidalDb, crash_kind: CrashKind, durability: Durability) -> Vec<Operation> {
        let checked = RecoveredState::of(db).and_then(|state| {
            self.add_snapshot(|snapshot, content| {
                let verdict = state.check_against(&snapshot.oracle, crash_kind);
                let missing = snapshot.oracle.missing(&verdict);
                content.reopened(snapshot, &verdict, durability);
                if verdict.is_ok() {
                    Ok(missing)
                } else {
                    Err(failure_of(&verdict))
                }
            })
        });
        checked.unwrap_or_else(|Failure { kind, message }| {
            self.fail(kind, format_args!("after a reopening: {message}"));
            Vec::new()
        })
    }

    /// Notes a reopening in a child process. This process cannot read the state, so it assumes that every acknowledged
    /// call survived.
    pub(crate) fn reopened_in_child(&self, last_sequence: u64, durability: Durability) {
        self.add_snapshot(|snapshot, content| {
            let verdict = snapshot.oracle.promised(last_sequence);
            content.reopened(snapshot, &verdict, durability);
        });
    }

    /// The reopening with this number, and the session before it.
    pub(crate) fn reopening(&self, call: usize) -> Option<(Reopening, Arc<Session>)> {
        let content = self.lock();
        match (content.operations.get(call)?, content.snapshots.last()?) {
            (Operation::Reopen(reopening), snapshot) => {
                Some((reopening.clone(), Arc::clone(&snapshot.session)))
            }
            _ => None,
        }
    }

    /// The number of acknowledged frames, and of acknowledged changes of collections since the last reopening.
    pub(crate) fn acknowledged(&self) -> (usize, usize) {
        let content = self.lock();
        let count = |is_counted: fn(&Operation) -> bool| {
            let operations = content.acknowledged.iter().map(|call| &content.operations[*call]);
            operations.filter(|operation| is_counted(operation)).count()
        };
        (count(Operation::is_frame), count(Operation::is_collection_change))
    }

    /// The call that has not ended, if the work has one thread.
    pub(crate) fn in_flight(&self) -> Option<OpId> {
        let content = self.lock();
        (content.ended_len < content.calls.len()).then(|| content.calls.last().copied())?
    }

    fn observe(&self, call: &ObservedCall<'_>) {
        if let Some(ordinal) = call.ordinal {
            let crossings = self.recorder.crossings_len();
            let side = call.side;
            self.lock().marks.push((Mark::Disk { ordinal, side }, crossings));
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

    /// Makes a new snapshot: a copy of the last one, changed by `change`.
    fn add_snapshot<T>(&self, change: impl FnOnce(&mut OracleSnapshot, &mut JournalContent) -> T) -> T {
        let crossings = self.recorder.crossings_len();
        let mut content = self.lock();
        let content = &mut *content;
        let last = if self.stores_all_snapshots {
            content.snapshots.last().cloned()
        } else {
            content.snapshots.pop()
        };
        let Some(mut snapshot) = last else {
            unreachable!("a journal begins with a snapshot, and is not used after its content was taken")
        };
        let result = change(&mut snapshot, content);
        content.snapshots.push(snapshot);
        if self.stores_all_snapshots {
            content
                .marks
                .push((Mark::OracleSnapshot(content.snapshots.len() - 1), crossings));
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, JournalContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallLog for Journal {
    fn begin(&self, operation: &Operation) -> usize {
        self.add_snapshot(|snapshot, content| {
            snapshot.operation = Some(content.operations.len());
            if let Operation::Record { now_ms, .. } = operation {
                snapshot.now_ms = *now_ms;
            }
            content.operations.push(operation.clone());
            content.calls.push(snapshot.oracle.begin(operation));
            content.calls.len() - 1
        })
    }

    fn ended(&self, call: usize, result: &CallResult, durable_sequence: u64) {
        self.add_snapshot(|snapshot, content| {
            snapshot.oracle.ended(content.calls[call], result);
            content.ended_len += 1;
            if let Err(error) = result
                && !is_refusal(error)
                && !is_poisoned(error)
            {
                let operation = &content.operations[call];
                let error = error_chain(error);
                content
                    .error
                    .get_or_insert_with(|| format!("{operation}: {error}"));
            }
            if result.is_ok() {
                snapshot.acknowledged += 1;
                content.acknowledged.push(call);
            }
            snapshot.oracle.note_durable(durable_sequence);
        });
    }

    fn note_durable(&self, durable_sequence: u64) {
        self.add_snapshot(|snapshot, _| snapshot.oracle.note_durable(durable_sequence));
    }

    fn fail(&self, kind: FailureKind, message: &dyn fmt::Display) {
        self.fail(kind, message);
    }

    fn note_threads(&self) {
        self.has_threads.store(true, Ordering::Relaxed);
    }

    fn closed(&self, last_sequence: u64) {
        self.add_snapshot(|snapshot, _| snapshot.oracle.synced(last_sequence));
    }

    fn session_ended(&self, call: usize, next: &Session) {
        self.add_snapshot(|snapshot, content| {
            snapshot.oracle.session_ended(content.calls[call]);
            snapshot.begin_session(next);
        });
    }

    fn reopened(&self, db: &TidalDb, crash_kind: CrashKind, durability: Durability) {
        self.check_reopened(db, crash_kind, durability);
    }
}

/// Returns true if the call was refused and the database is unchanged: the collection exists already, the collection
/// does not exist, or the event is ahead of the clock.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownCollection { .. } | Error::CollectionExists { .. }
    ) || is_ahead_of_clock(error)
}

/// Returns true if an earlier call poisoned the handle.
fn is_poisoned(error: &Error) -> bool {
    match error {
        Error::Poisoned { .. } => true,
        Error::OutcomeUnknown { source, .. } => is_poisoned(source),
        _ => false,
    }
}
