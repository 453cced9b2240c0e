//! The oracle: the promises that a database made to its callers, kept outside of it.
//!
//! Tell it of each call before it is made and how it ended. After a death and a reopening it says whether the state is
//! one of those that the promises allow:
//!
//! - frames (calls that record or forget) up to some sequence number, each exactly once, without a hole: at least
//!   every guaranteed one, and whole or not at all those that failed or were in flight;
//! - independently of them, a beginning of the changes of collections, each whole: at least every guaranteed one.
//!
//! | guaranteed | after a process crash | after a power loss |
//! |---|---|---|
//! | [`Guarantee::Acknowledged`] | acknowledged | acknowledged |
//! | [`Guarantee::Synced`], frames | acknowledged, or noted as durable | acknowledged before an acknowledged sync or checkpoint began, or noted as durable |
//! | [`Guarantee::Synced`], collections | acknowledged | acknowledged before an acknowledged sync began |
//!
//! A checkpoint says nothing of collections: one that finds nothing new to write flushes nothing.
//!
//! Callers may be many threads, which share the oracle under a lock: sequence numbers give the order of frames, and
//! frames in flight are looked for at every place they can have. A call that failed with another error than
//! [`Error::OutcomeUnknown`] was refused and must not be there. Changes of collections are taken to be in the order in which they
//! were acknowledged, so no two threads should change the same one at a time.
//!
//! Each operation holds the time of its clock. From that follows which events must be set back, and which calls must be
//! refused because an event is too far ahead. A database that answers otherwise is wrong.

mod check;
mod orders;
#[cfg(test)]
mod tests;
mod verdict;

pub use verdict::{Counts, Prefix, Verdict};

use std::borrow::Cow;
use std::sync::Arc;

pub use super::model::{Difference, DifferenceKind, EventId, Structure, Subject};

use super::model::{List, Model, StatePart};
use super::workload::{Operation, SessionEnd, is_ahead_of_clock};
use crate::{Durability, Error, Receipt, Schema, SetBack};

/// The promise of an acknowledgement for a power loss; of a process crash it always promises survival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// Everything acknowledged survives.
    Acknowledged,
    /// What was acknowledged before an acknowledged sync or checkpoint, or was noted as durable, survives.
    Synced,
}

impl From<Durability> for Guarantee {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::EverySynced => Self::Acknowledged,
            Durability::SyncedEvery { .. } | Durability::OperatingSystem => Self::Synced,
        }
    }
}

/// How the database ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashKind {
    /// The process ended: killed, panicked, aborted. Everything written is there.
    ProcessCrash,
    /// The machine ended: everything synced is there.
    PowerLoss,
}

/// An operation that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(usize);

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallProgress {
    InFlight,
    /// The how-manieth acknowledgement it was, from 1; 0 before the last reopening.
    Acknowledged(u64),
    /// The outcome is unknown.
    Failed,
    /// It must not be there: it was refused, or has to be because an event is too far ahead of the clock.
    Refused,
}

#[derive(Debug, Clone)]
struct OracleCall {
    /// As the log must have it.
    operation: Arc<Operation>,
    set_back: Option<SetBack>,
    progress: CallProgress,
    /// Of a frame, if the database told it.
    sequence: Option<u64>,
    /// How many acknowledgements there had been when it was begun.
    begun_after_acknowledgement: u64,
    /// Every frame with a number up to this one had been acknowledged when it was begun.
    begun_after_sequence: u64,
}

/// The calls on a database, its answers, and the states that are legal after a crash.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tidaldb::TidalDb;
/// use tidaldb::testing::oracle::{Death, Guarantee, Oracle};
/// use tidaldb::testing::workload::{Workload, standard_schema, tiny_options};
/// # let dir = std::env::temp_dir().join(format!("tidaldb-oracle-doc-{}", std::process::id()));
/// let options = tiny_options(standard_schema());
/// let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
/// let db = TidalDb::open(&dir, options.clone())?;
/// for operation in &Workload::standard(7, 60).operations {
///     let id = oracle.begin(operation);
///     let result = operation.apply(&db);
///     oracle.ended(id, &result);
/// }
/// drop(db);
/// let db = TidalDb::open(&dir, options)?;
/// let verdict = oracle.check(Death::ProcessCrash, &db);
/// assert!(verdict.is_ok(), "{verdict}");
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Oracle {
    guarantee: Guarantee,
    /// The frames that the last reopening found and the changes of the schema: no crash can lose these. Then every call since
    /// the last reopening.
    calls: List<OracleCall>,
    settled_len: usize,
    /// The id of the first of `calls`.
    first_id: usize,
    acknowledgements: u64,
    /// Frames acknowledged up to this acknowledgement are durable.
    durable_acknowledgement: u64,
    /// Changes of collections acknowledged up to this acknowledgement are durable.
    durable_changes: u64,
    /// Frames up to this sequence number are durable.
    durable_sequence: u64,
    /// The greatest sequence number that was acknowledged, or found by the last reopening.
    last_acknowledged: u64,
    /// No later frame may have a number up to this one: what the last reopening found.
    taken_sequence: u64,
    /// How many events were acknowledged, before the last reopening too.
    acknowledged_events: u64,
    /// The state that the last reopening found.
    base: Model,
    /// That state and the frames acknowledged since, in the order of their acknowledgement.
    head: Model,
    /// The index of the current reopening, if it changes the schema.
    schema_change: Option<usize>,
    /// True if the session before the current reopening ended by a power loss.
    power_is_lost: bool,
    /// The opening of the receipts since the last reopening, and those of the receipts before it.
    opening: Option<u64>,
    earlier_openings: Vec<u64>,
    /// Wrong answers.
    findings: Vec<Difference>,
    /// If the oracle knows only a part of the state: the part, and a hash of the rest.
    part: Option<(Arc<StatePart>, u64)>,
}

impl Oracle {
    /// An oracle for a new database. A [`Durability`] is a guarantee too.
    pub fn new(schema: &Schema, guarantee: impl Into<Guarantee>) -> Self {
        Self::with(Model::new(schema), guarantee.into())
    }

    /// An oracle for a database whose state is that of `model` in `part`, and whose rest has the hash `rest`. No crash may change
    /// the state up to `last_sequence`. The calls change nothing outside of the part.
    pub(in crate::testing) fn of_part(
        part: Arc<StatePart>,
        model: Model,
        rest: u64,
        last_sequence: u64,
    ) -> Self {
        Self {
            part: Some((part, rest)),
            durable_sequence: last_sequence,
            last_acknowledged: last_sequence,
            taken_sequence: last_sequence,
            ..Self::with(model, Guarantee::Acknowledged)
        }
    }

    fn with(base: Model, guarantee: Guarantee) -> Self {
        Self {
            guarantee,
            calls: List::from_iter([]),
            settled_len: 0,
            first_id: 0,
            acknowledgements: 0,
            durable_acknowledgement: 0,
            durable_changes: 0,
            durable_sequence: 0,
            last_acknowledged: 0,
            taken_sequence: 0,
            acknowledged_events: 0,
            head: base.clone(),
            base,
            schema_change: None,
            power_is_lost: false,
            opening: None,
            earlier_openings: Vec::new(),
            findings: Vec::new(),
            part: None,
        }
    }

    /// Notes that a call is about to be made.
    pub fn begin(&mut self, operation: &Operation) -> OpId {
        let set_back = operation.set_back();
        let (operation, progress) = if operation.must_be_refused() {
            (Cow::Borrowed(operation), CallProgress::Refused)
        } else {
            (operation.as_recorded(), CallProgress::InFlight)
        };
        let id = OpId(self.first_id + self.calls.len());
        self.calls.push(OracleCall {
            set_back,
            operation: Arc::new(operation.into_owned()),
            progress,
            sequence: None,
            begun_after_acknowledgement: self.acknowledgements,
            begun_after_sequence: self.last_acknowledged,
        });
        id
    }

    /// The index of a call since the last reopening.
    fn index_of(&self, id: OpId) -> Option<usize> {
        let index = id.0.checked_sub(self.first_id)?;
        (self.settled_len..self.calls.len())
            .contains(&index)
            .then_some(index)
    }

    /// Notes that a call succeeded. A frame without a number has the next one.
    pub(in crate::testing) fn acknowledged(&mut self, id: OpId, sequence: Option<u64>) {
        self.acknowledgements += 1;
        let Some(index) = self.index_of(id) else { return };
        let call = self.calls[index].clone();
        let durable = call.begun_after_acknowledgement;
        match &*call.operation {
            operation if operation.must_be_refused() => {
                self.add_finding(expected_refusal(operation), "it was acknowledged");
                return;
            }
            Operation::Sync => {
                self.durable_changes = self.durable_changes.max(durable);
                self.durable_acknowledgement = self.durable_acknowledgement.max(durable);
            }
            Operation::Checkpoint => self.durable_acknowledgement = self.durable_acknowledgement.max(durable),
            operation if operation.is_frame() => {
                let sequence = sequence.unwrap_or(self.last_acknowledged + 1);
                let begun_after = call.begun_after_sequence;
                let is_taken = || self.calls.iter().any(|call| call.sequence == Some(sequence));
                if (sequence <= self.last_acknowledged && is_taken()) || sequence <= begun_after {
                    self.add_finding(
                        format!("a sequence number after {begun_after}"),
                        format!("{sequence} was acknowledged, which an earlier frame has"),
                    );
                }
                self.calls[index].sequence = Some(sequence);
                self.last_acknowledged = self.last_acknowledged.max(sequence);
                self.acknowledged_events += events_len(operation);
                self.head.apply_frame(&call.operation);
            }
            _ => {}
        }
        self.calls[index].progress = CallProgress::Acknowledged(self.acknowledgements);
    }

    /// Notes that an answer is wrong.
    fn add_finding(&mut self, expected: impl Into<String>, found: impl Into<String>) {
        self.findings.push(Difference::of_log(expected, found));
    }

    fn failed(&mut self, id: OpId, error: &Error) {
        let Some(index) = self.index_of(id) else { return };
        let is_unknown = error.outcome_is_unknown();
        let call = &mut self.calls[index];
        let operation = Arc::clone(&call.operation);
        if operation.must_be_refused() {
            if is_unknown {
                self.add_finding(expected_refusal(&operation), error.to_string());
            }
            return;
        }
        call.progress = if is_unknown {
            CallProgress::Failed
        } else {
            CallProgress::Refused
        };
        if operation.is_frame() {
            call.sequence = error.sequence();
            if is_ahead_of_clock(error) {
                self.add_finding(
                    format!("that {operation} is not refused for its times"),
                    error.to_string(),
                );
            }
        }
    }

    /// Notes how a call ended that [`Operation::apply`] made. The receipt must say which events were set back, and be of an
    /// opening that gave no receipt before the last reopening.
    pub fn ended(&mut self, operation: OpId, result: &Result<Option<Receipt>, Error>) {
        let receipt = result.as_ref().map_or_else(Error::receipt, |receipt| *receipt);
        if let Some(receipt) = receipt {
            let opening = receipt.opening;
            if self.earlier_openings.contains(&opening) {
                let found = format!("opening {opening}, which gave receipts before the last reopening");
                self.add_finding("a receipt of a new opening", found);
            }
            self.opening = Some(opening);
            let call = self.index_of(operation).map(|index| &self.calls[index]);
            let expected = call.map_or(receipt.set_back, |call| call.set_back);
            if receipt.set_back != expected {
                self.add_finding(in_words(expected), in_words(receipt.set_back));
            }
        }
        match result {
            Ok(receipt) => self.acknowledged(operation, receipt.map(|receipt| receipt.sequence)),
            Err(error) => self.failed(operation, error),
        }
    }

    /// Notes that everything acknowledged so far was synced, collections too, without an [`Operation`] that says so,
    /// for example by `close`; the database's durable sequence number was `durable_sequence` then.
    pub fn synced(&mut self, durable_sequence: u64) {
        self.durable_acknowledgement = self.acknowledgements;
        self.durable_changes = self.acknowledgements;
        self.note_durable(durable_sequence);
    }

    /// Notes that every frame up to `durable_sequence` is durable, because the database said so.
    pub fn note_durable(&mut self, durable_sequence: u64) {
        self.durable_sequence = self.durable_sequence.max(durable_sequence);
    }

    /// The calls since the last reopening that may be there, by index.
    fn possible(&self, is_kind: fn(&Operation) -> bool) -> impl Iterator<Item = (usize, &OracleCall)> {
        let calls = self.calls.iter().enumerate().skip(self.settled_len);
        calls.filter(move |(_, call)| call.progress != CallProgress::Refused && is_kind(&call.operation))
    }

    /// What the state that `verdict` is about does not hold of what was asked for, and is the next of it: the first frame
    /// and the first change of a collection.
    pub(crate) fn missing(&self, verdict: &Verdict) -> Vec<Operation> {
        let kinds: [fn(&Operation) -> bool; 2] = [Operation::is_frame, Operation::is_collection_change];
        let first = |is_kind| {
            let mut calls = self.possible(is_kind);
            calls.find(|(index, _)| !verdict.found.contains(index))
        };
        let missing = kinds.into_iter().filter_map(first);
        missing.map(|(_, call)| (*call.operation).clone()).collect()
    }

    /// Notes that a [reopening](Operation::Reopen) ended the session. Until [`reopened`](Self::reopened) the oracle allows the
    /// losses of a power loss, if the session ended by one, and the old and the new schema, if the reopening changes it.
    pub fn session_ended(&mut self, reopening: OpId) {
        let Some(index) = self.index_of(reopening) else {
            return;
        };
        if let Operation::Reopen(reopening) = &*self.calls[index].operation {
            self.schema_change = reopening.changes_schema().then_some(index);
            self.power_is_lost |= matches!(reopening.end, SessionEnd::PowerLoss(_));
        }
    }

    /// Sets the promise of the acknowledgements from now on.
    pub fn set_guarantee(&mut self, guarantee: impl Into<Guarantee>) {
        self.guarantee = guarantee.into();
    }

    /// Continues with the recovered database that `verdict` is about: what it found is settled, and durable, for opening
    /// syncs what it finds; what it did not find will not come back.
    pub fn reopened(&mut self, verdict: &Verdict) {
        let is_change = |index: &&usize| self.calls[**index].operation.is_collection_change();
        let (changes, frames): (Vec<usize>, Vec<usize>) = verdict.found.iter().partition(is_change);
        let mut base = self.state_after(&frames).into_owned();
        for index in changes {
            base.apply(&self.calls[index].operation);
        }
        let settled: List<OracleCall> = frames.iter().map(|&index| self.calls[index].clone()).collect();
        self.settled_len = settled.len();
        self.first_id += self.calls.len() - settled.len();
        self.calls = settled;
        self.head = base.clone();
        self.base = base;
        self.earlier_openings.extend(self.opening.take());
        self.schema_change = None;
        self.power_is_lost = false;
        self.taken_sequence = verdict.last_sequence;
        self.last_acknowledged = verdict.last_sequence;
        // Numbers of frames that were not found are given again: only what was found is known to be durable.
        self.durable_sequence = verdict.last_sequence;
        self.findings.clear();
    }
}

fn expected_refusal(operation: &Operation) -> String {
    format!("a refusal of {operation} before the log: an event is too far ahead of the clock")
}

/// The part of a receipt about the events that were ahead of the clock.
fn in_words(set_back: Option<SetBack>) -> String {
    match set_back {
        None => "a receipt that says that no event was set back".to_owned(),
        Some(SetBack { events_len, to_ms }) => {
            format!("a receipt that says that {events_len} events were set back to {to_ms}")
        }
    }
}

/// How many events a frame has.
fn events_len(operation: &Operation) -> u64 {
    match operation {
        Operation::Record { events, .. } => events.len() as u64,
        _ => 0,
    }
}
