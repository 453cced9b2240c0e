//! The database of a scheduled program: the calls of its threads, noted in the order of their beginnings and ends.
//!
//! Owns the events of a run. Invariant: an event is noted by the running thread, within the step of its call. So the
//! events and the disk operations of a run have one order.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::testing::SimDisk;
use crate::testing::lock::lock;
use crate::testing::oracle::{ChangeResult, FoundRead, OpId, Oracle, ReadBegin};
use crate::testing::scheduler::primitives::{Builder, JoinHandle};
use crate::testing::scheduler::{ScheduledThread, StepAction, unscheduled};
use crate::testing::sim_disk::Side;
use crate::testing::text::error_chain;
use crate::testing::workload::{Operation, STANDARD_NOW_MS, is_ahead_of_clock};
use crate::{EntityId, Error, Receipt, SignalId, TidalDb};

type NotedResult = Result<Option<Receipt>, Error>;

/// The number of related items that a read returns at most.
const RELATED_LEN_MAX: usize = 3;

/// The open database of a scheduled program. Clones share it; each thread of the program has one.
#[derive(Debug, Clone)]
pub struct ScheduledDatabase {
    pub(super) shared: Arc<SharedDatabase>,
}

#[derive(Debug)]
pub(super) struct SharedDatabase {
    pub(super) db: TidalDb,
    journal: Arc<CallJournal>,
}

/// The beginning or end of a call, or a promise of the database.
#[derive(Debug, Clone)]
pub(super) enum CallEvent {
    Begin(Arc<Operation>),
    /// The end of the call with this number, and the result of a change of a collection.
    End(usize, Arc<NotedResult>, Option<ChangeResult>),
    BeginRead,
    /// The values of the read with this number.
    EndRead(usize, Arc<FoundRead>),
    /// A close succeeded. Frames up to this sequence number are durable.
    Closed(u64),
    /// The database reports the frames up to this sequence number as durable.
    Durable(u64),
}

impl CallEvent {
    /// A hash of the event. `None` for an event that changes no legal state after a crash.
    pub(super) fn hash(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        match self {
            Self::Begin(operation) => operation.to_string().hash(&mut hasher),
            Self::End(call, result, change) => (call, format!("{result:?}"), change).hash(&mut hasher),
            Self::BeginRead | Self::EndRead(..) => return None,
            Self::Closed(sequence) => (1, sequence).hash(&mut hasher),
            Self::Durable(sequence) => (2, sequence).hash(&mut hasher),
        }
        Some(hasher.finish())
    }

    /// Passes the event to the oracle. `calls` and `reads` hold the calls and the reads so far.
    fn note(&self, oracle: &mut Oracle, calls: &mut Vec<OpId>, reads: &mut Vec<ReadBegin>) {
        match self {
            Self::Begin(operation) => calls.push(oracle.begin(operation)),
            Self::End(call, result, change) => oracle.ended_with(calls[*call], result, *change),
            Self::BeginRead => reads.push(oracle.begin_read()),
            Self::EndRead(read, found) => oracle.read_ended(reads[*read], found),
            Self::Closed(sequence) => oracle.synced(*sequence),
            Self::Durable(sequence) => oracle.note_durable(*sequence),
        }
    }
}

/// The oracle `base` after these events.
pub(super) fn oracle_after(base: &Oracle, events: &[(u64, CallEvent)]) -> Oracle {
    let mut oracle = base.clone();
    let (mut calls, mut reads) = (Vec::new(), Vec::new());
    for (_, event) in events {
        event.note(&mut oracle, &mut calls, &mut reads);
    }
    oracle
}

/// The events of a run, each with the number of disk operations before it.
#[derive(Debug)]
pub(super) struct CallJournal {
    disk: SimDisk,
    content: Mutex<CallJournalContent>,
}

#[derive(Debug, Default)]
pub(super) struct CallJournalContent {
    pub(super) events: Vec<(u64, CallEvent)>,
    calls_len: usize,
    reads_len: usize,
    durable_sequence: u64,
    /// True if a call of `close` began.
    pub(super) is_closing: bool,
    /// True if a call returned that the handle is poisoned.
    is_poisoned: bool,
    /// True if a call panicked.
    pub(super) has_panic: bool,
    /// Wrong results of calls.
    pub(super) failures: Vec<String>,
}

impl CallJournal {
    pub(super) fn new(disk: SimDisk) -> Arc<Self> {
        Arc::new(Self {
            disk,
            content: Mutex::default(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, CallJournalContent> {
        lock(&self.content)
    }

    /// Notes the durable sequence number of the database before the disk operation with the number `position`.
    fn note_durable(&self, db: &TidalDb, position: u64) {
        let durable = unscheduled(|| db.durable_sequence());
        let mut content = self.lock();
        if durable > content.durable_sequence {
            content.durable_sequence = durable;
            content.events.push((position, CallEvent::Durable(durable)));
        }
    }

    /// Makes the step at the beginning or the end of a call, and then notes it.
    fn step<T>(
        &self,
        action: StepAction,
        text: &Arc<str>,
        note: impl FnOnce(&mut CallJournalContent, u64) -> T,
    ) -> T {
        if let Some(thread) = ScheduledThread::current() {
            thread.call_step(action, text);
        }
        let position = self.disk.operations_len();
        note(&mut self.lock(), position)
    }

    /// Makes a call, and its steps. `begin` notes its beginning, `end` its result. `operation` is the call if the oracle
    /// notes its result.
    fn call<T, N>(
        &self,
        (text, operation): (&Arc<str>, Option<&Operation>),
        begin: impl FnOnce(&mut CallJournalContent, u64) -> N,
        call: impl FnOnce() -> Result<T, Error>,
        end: impl FnOnce(&mut CallJournalContent, u64, N, &Result<T, Error>),
    ) -> Result<T, Error> {
        let begun = self.step(StepAction::BeginCall, text, begin);
        let panics = PanickedCall(self);
        let result = call();
        std::mem::forget(panics);
        self.step(StepAction::EndCall, text, |content, position| {
            if let Err(error) = &result
                && !operation.is_some_and(|operation| is_refused_change(operation, error))
                && let Some(failure) = content.note_error(error, self.disk.has_any_failure())
            {
                content.failures.push(format!("{text} failed: {failure}"));
            }
            end(content, position, begun, &result);
        });
        result
    }
}

/// Notes the panic of a call. A call that returns forgets it.
struct PanickedCall<'a>(&'a CallJournal);

impl Drop for PanickedCall<'_> {
    fn drop(&mut self) {
        self.0.lock().has_panic = true;
    }
}

impl CallJournalContent {
    /// Notes the error of a call. Returns its text if the run does not explain the error.
    fn note_error(&mut self, error: &Error, has_failure: bool) -> Option<String> {
        let is_expected = match cause_of(error) {
            Error::Closed => self.is_closing,
            Error::Poisoned { .. } | Error::Panicked { .. } => {
                self.is_poisoned = true;
                has_failure || self.has_panic
            }
            error => is_ahead_of_clock(error),
        };
        (!is_expected).then(|| error_chain(error))
    }
}

/// Returns true if the error refuses the change of a collection because of the collections that exist. The oracle checks
/// that they explain it.
fn is_refused_change(operation: &Operation, error: &Error) -> bool {
    let is_refusal = matches!(
        error,
        Error::CollectionExists { .. } | Error::UnknownCollection { .. }
    );
    is_refusal && operation.is_collection_change()
}

/// The error of a call whose outcome is unknown, or the error itself.
fn cause_of(error: &Error) -> &Error {
    match error {
        Error::OutcomeUnknown { source, .. } => cause_of(source),
        error => error,
    }
}

impl ScheduledDatabase {
    /// The database on the disk of the journal. The journal notes each change of its durable sequence number.
    pub(super) fn new(db: TidalDb, journal: Arc<CallJournal>) -> Self {
        let shared = Arc::new(SharedDatabase { db, journal });
        let observed = Arc::downgrade(&shared);
        shared.journal.disk.observe(move |call| {
            let (Some(shared), Some(ordinal)) = (observed.upgrade(), call.ordinal) else {
                return;
            };
            let position = match call.side {
                Side::Before => ordinal,
                Side::After => ordinal + 1,
            };
            shared.journal.note_durable(&shared.db, position);
        });
        Self { shared }
    }

    /// The handle, for reads. Make each call that changes the database by [`apply`](Self::apply), so that the oracle
    /// expects its effect, and close it by [`close`](Self::close).
    pub fn db(&self) -> &TidalDb {
        &self.shared.db
    }

    /// Spawns a scheduled thread, which shares the database.
    ///
    /// Join it before the closure of the sweep returns, also if the closure returns an error. Otherwise the thread may
    /// still change the database while the sweep compares its state with the oracle, and a wrong finding can follow.
    ///
    /// # Panics
    /// If the operating system refuses another thread.
    #[track_caller]
    pub fn spawn<T, F>(&self, name: &str, body: F) -> JoinHandle<T>
    where
        F: FnOnce(Self) -> T + Send + 'static,
        T: Send + 'static,
    {
        let database = self.clone();
        let builder = Builder::new().name(name.to_owned());
        match builder.spawn(move || body(database)) {
            Ok(thread) => thread,
            Err(error) => panic!("cannot start the thread {name}: {error}"),
        }
    }

    /// Makes one call. The oracle expects its effect.
    ///
    /// # Errors
    /// The error of the call.
    pub fn apply(&self, operation: &Operation) -> Result<Option<Receipt>, Error> {
        self.apply_by(operation, |db| match operation {
            Operation::AddToCollection(name, entity) => Ok((None, db.add_to_collection(name, *entity)?)),
            Operation::RemoveFromCollection(name, entity) => {
                Ok((None, db.remove_from_collection(name, *entity)?))
            }
            _ => Ok((operation.apply(db)?, true)),
        })
    }

    /// Makes one call by `call`, which returns true if it changed the collection of the operation.
    pub(super) fn apply_by(
        &self,
        operation: &Operation,
        call: impl FnOnce(&TidalDb) -> Result<(Option<Receipt>, bool), Error>,
    ) -> Result<Option<Receipt>, Error> {
        let begin = |content: &mut CallJournalContent, position| {
            let event = CallEvent::Begin(Arc::new(operation.clone()));
            content.events.push((position, event));
            content.calls_len += 1;
            (content.calls_len - 1, content.is_poisoned)
        };
        let end = |content: &mut CallJournalContent,
                   position,
                   (call, was_poisoned),
                   result: &Result<(Option<Receipt>, bool), Error>| {
            if result.is_ok() && was_poisoned && (operation.is_frame() || operation.is_collection_change()) {
                content.failures.push(format!(
                    "{operation} returned Ok after an earlier call reported a poisoned handle"
                ));
            }
            let change = operation
                .is_collection_change()
                .then(|| change_of(result))
                .flatten();
            let event = CallEvent::End(call, Arc::new(copy_of(result)), change);
            content.events.push((position, event));
        };
        let journal = &self.shared.journal;
        let text = operation.to_string().into();
        let result = journal.call((&text, Some(operation)), begin, || call(self.db()), end);
        result.map(|(receipt, _)| receipt)
    }

    /// Closes the database. The oracle expects that every acknowledged call is durable.
    ///
    /// # Errors
    /// The error of [`TidalDb::close`].
    pub fn close(&self) -> Result<(), Error> {
        let begin = |content: &mut CallJournalContent, _| content.is_closing = true;
        let end = |content: &mut CallJournalContent, position, (), result: &Result<(), Error>| {
            if result.is_ok() {
                let durable = unscheduled(|| self.db().durable_sequence());
                content.events.push((position, CallEvent::Closed(durable)));
            }
        };
        self.shared
            .journal
            .call((&"close".into(), None), begin, || self.db().close(), end)
    }

    /// Reads the score of signal 0 for half-life 0, the related items and the members of all collections. The oracle checks
    /// the values.
    ///
    /// # Errors
    /// The error of the first read that fails.
    pub(super) fn read(&self, entity: EntityId) -> Result<(), Error> {
        self.read_by(entity, |db| Self::values_of(db, entity))
    }

    /// The values of a read.
    pub(super) fn values_of(db: &TidalDb, entity: EntityId) -> Result<FoundRead, Error> {
        let (signal, now_ms) = (SignalId(0), STANDARD_NOW_MS);
        let score = db.score(entity, signal, 0, now_ms)?;
        let related = db.related(entity, RELATED_LEN_MAX, now_ms)?;
        let names = db.collections()?;
        let mut members = Vec::with_capacity(names.len());
        for name in &names {
            let found = match db.collection_members(name) {
                Ok(found) => Some(found),
                Err(Error::UnknownCollection { .. }) => None,
                Err(error) => return Err(error),
            };
            members.push((name.clone(), found));
        }
        Ok(FoundRead {
            entity,
            signal,
            now_ms,
            score,
            related,
            related_len_max: RELATED_LEN_MAX,
            names,
            members,
        })
    }

    /// Makes a read by `read`.
    pub(super) fn read_by(
        &self,
        entity: EntityId,
        read: impl FnOnce(&TidalDb) -> Result<FoundRead, Error>,
    ) -> Result<(), Error> {
        let begin = |content: &mut CallJournalContent, position| {
            content.events.push((position, CallEvent::BeginRead));
            content.reads_len += 1;
            content.reads_len - 1
        };
        let end =
            |content: &mut CallJournalContent, position, number, result: &Result<Arc<FoundRead>, Error>| {
                if let Ok(found) = result {
                    let event = CallEvent::EndRead(number, Arc::clone(found));
                    content.events.push((position, event));
                }
            };
        let text: Arc<str> = format!("read:{entity}").into();
        let read = || read(self.db()).map(Arc::new);
        self.shared
            .journal
            .call((&text, None), begin, read, end)
            .map(drop)
    }
}

/// The result of a change of a collection. `None` for an error of another cause.
fn change_of<T>(result: &Result<(T, bool), Error>) -> Option<ChangeResult> {
    match result {
        Ok((_, true)) => Some(ChangeResult::Changed),
        Ok((_, false)) => Some(ChangeResult::Unchanged),
        Err(Error::CollectionExists { .. }) => Some(ChangeResult::Exists),
        Err(Error::UnknownCollection { .. }) => Some(ChangeResult::Unknown),
        Err(_) => None,
    }
}

/// The parts of a result that the oracle reads.
fn copy_of(result: &Result<(Option<Receipt>, bool), Error>) -> NotedResult {
    match result {
        Ok((receipt, _)) => Ok(*receipt),
        Err(error) if error.outcome_is_unknown() => Err(Error::OutcomeUnknown {
            receipt: error.receipt(),
            source: Box::new(Error::Closed),
        }),
        // The oracle distinguishes only this refusal from others.
        Err(error) if is_ahead_of_clock(error) => Err(Error::InvalidInput {
            field: "at_ms",
            value: String::new(),
            reason: "",
        }),
        Err(_) => Err(Error::Closed),
    }
}
