//! The oracle records the calls on a database and their results, and checks recovered states against the promises that
//! the database made.
//!
//! Pass each call to the oracle before the call, and its result after it. After a crash and a reopening the oracle
//! checks that the promises allow the recovered state. An allowed state has two independent parts:
//!
//! - Frames (calls that record or forget) up to some sequence number, each exactly once, without a gap. Every
//!   guaranteed frame is in the state. A frame that failed or was in flight is in the state as a whole or missing as a
//!   whole.
//! - Changes of collections, each as a whole. Every guaranteed change is in the state. If a change is in the state, so
//!   is every change that was acknowledged before it began. For one calling thread that is a prefix of the changes.
//!
//! | guarantee | guaranteed after a process crash | guaranteed after a power loss |
//! |---|---|---|
//! | [`Guarantee::Acknowledged`] | acknowledged calls | acknowledged calls |
//! | [`Guarantee::Synced`], frames | acknowledged, or noted as durable | acknowledged before an acknowledged sync or checkpoint began, or noted as durable |
//! | [`Guarantee::Synced`], collections | acknowledged | acknowledged before an acknowledged sync began |
//!
//! A checkpoint guarantees no change of a collection: a checkpoint without new state to write flushes nothing.
//!
//! Several threads may call the database and share the oracle under a lock. Sequence numbers give the order of frames.
//! Frames in flight are tried at every possible place. A call that failed with an error other than
//! [`Error::OutcomeUnknown`] was refused and must not be in the state. A change of a collection that ended before another
//! one began took effect before it. Changes that overlap in time may have taken effect in either order.
//!
//! A schedule sweep also records the results of changes of collections and the values of reads. These results must be those
//! of an order of the calls, and a legal state is one after such an order.
//!
//! Each operation holds the time of its clock. This time determines which events must be set back, and which calls must
//! be refused because an event is too far ahead. Any other result of the database is a finding.
//!
//! Invariant: the oracle is in memory, so a crash of the database does not change it.

mod changes;
mod check;
mod found_read;
mod linearization;
mod orders;
mod reads;
mod results;
#[cfg(test)]
mod tests;
mod verdict;

pub(in crate::testing) use found_read::{FoundRead, ReadBegin};
pub(in crate::testing) use linearization::ChangeResult;
pub use verdict::{Counts, Prefix, Verdict};

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use super::model::{Difference, DifferenceKind, EventId, Structure, Subject};

use super::model::{List, Model, StatePart};
use super::workload::{Operation, SessionEnd, is_ahead_of_clock};
use crate::{Durability, Error, Receipt, Schema, SetBack};
use found_read::OracleRead;

/// The promise of an acknowledgement for a power loss. After a process crash every acknowledged call survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// Every acknowledged call survives.
    Acknowledged,
    /// Calls that were acknowledged before an acknowledged sync or checkpoint began, or were noted as durable, survive.
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

/// The kind of crash that ended the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashKind {
    /// The process ended by a kill, a panic or an abort. All written bytes survive.
    ProcessCrash,
    /// The machine lost power. All synced bytes survive.
    PowerLoss,
}

impl fmt::Display for CrashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProcessCrash => "process crash",
            Self::PowerLoss => "power loss",
        })
    }
}

/// The id of an operation that was passed to [`Oracle::begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(usize);

/// The progress of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallProgress {
    InFlight,
    /// Acknowledged. The number of calls that ended up to this end.
    Acknowledged(u64),
    /// The call failed and its outcome is unknown. The number of calls that ended up to this end.
    Failed(u64),
    /// The call must not be in the state: it was refused, or must be refused because an event is too far ahead of the
    /// clock.
    Refused,
}

#[derive(Debug, Clone)]
struct OracleCall {
    /// The operation as the log must store it.
    operation: Arc<Operation>,
    set_back: Option<SetBack>,
    progress: CallProgress,
    /// The result of a change of a collection, if it is known, and the number of calls that ended up to this end.
    change: Option<(ChangeResult, u64)>,
    /// The sequence number of the frame, if the database returned it.
    sequence: Option<u64>,
    /// The number of calls that ended before the call began.
    begun_after_end: u64,
    /// The greatest acknowledged or recovered sequence number before the call began.
    begun_after_sequence: u64,
}

/// The calls on a database, their results, and the legal states after a crash.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tidaldb::TidalDb;
/// use tidaldb::testing::oracle::{CrashKind, Guarantee, Oracle};
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
/// let verdict = oracle.check(CrashKind::ProcessCrash, &db);
/// assert!(verdict.is_ok(), "{verdict}");
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Oracle {
    guarantee: Guarantee,
    /// First the frames and the changes of the schema that the last reopening recovered, which no crash can lose. Then
    /// every call since the last reopening.
    calls: List<OracleCall>,
    /// The reads since the last reopening.
    reads: Vec<OracleRead>,
    /// The number of recovered frames and changes of the schema at the beginning of `calls`.
    recovered_len: usize,
    /// The id of the first element of `calls`.
    first_id: usize,
    /// The number of calls that ended so far.
    ended_len: u64,
    /// Acknowledged frames that were among the first ended calls up to this number are durable.
    durable_frames: u64,
    /// Acknowledged changes of collections that were among the first ended calls up to this number are durable.
    durable_changes: u64,
    /// Frames up to this sequence number are durable.
    durable_sequence: u64,
    /// The greatest sequence number that was acknowledged or recovered.
    last_acknowledged: u64,
    /// The last sequence number of the last reopening. Every later frame must have a greater number.
    recovered_sequence: u64,
    /// The number of acknowledged events since the database was new.
    acknowledged_events: u64,
    /// The state that the last reopening recovered.
    base: Model,
    /// The recovered state and the frames acknowledged since then, in the order of their acknowledgements.
    head: Model,
    /// The index of the current reopening, if it changes the schema.
    schema_change: Option<usize>,
    /// True if the session before the current reopening ended by a power loss.
    after_power_loss: bool,
    /// The opening id in the receipts since the last reopening, and the opening ids in the receipts before it.
    opening: Option<u64>,
    earlier_openings: Vec<u64>,
    /// Wrong results of calls.
    findings: Vec<Difference>,
    /// If the models hold only a part of the state: the part, and a hash of the rest.
    part: Option<(Arc<StatePart>, u64)>,
}

impl Oracle {
    /// An oracle for a new database. A [`Durability`] is also accepted as a guarantee.
    pub fn new(schema: &Schema, guarantee: impl Into<Guarantee>) -> Self {
        Self::with(Model::new(schema), guarantee.into())
    }

    /// An oracle for a database whose state in `part` is that of `model`, and whose rest has the hash `rest`. No crash
    /// may change the state up to `last_sequence`. The calls change nothing outside the part.
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
            recovered_sequence: last_sequence,
            ..Self::with(model, Guarantee::Acknowledged)
        }
    }

    fn with(base: Model, guarantee: Guarantee) -> Self {
        Self {
            guarantee,
            calls: List::from_iter([]),
            reads: Vec::new(),
            recovered_len: 0,
            first_id: 0,
            ended_len: 0,
            durable_frames: 0,
            durable_changes: 0,
            durable_sequence: 0,
            last_acknowledged: 0,
            recovered_sequence: 0,
            acknowledged_events: 0,
            head: base.clone(),
            base,
            schema_change: None,
            after_power_loss: false,
            opening: None,
            earlier_openings: Vec::new(),
            findings: Vec::new(),
            part: None,
        }
    }

    /// Records that a call begins. Call this before the call on the database.
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
            change: None,
            sequence: None,
            begun_after_end: self.ended_len,
            begun_after_sequence: self.last_acknowledged,
        });
        id
    }

    /// The index of a call in `calls`. `None` for a call before the last reopening.
    fn index_of(&self, id: OpId) -> Option<usize> {
        let index = id.0.checked_sub(self.first_id)?;
        (self.recovered_len..self.calls.len())
            .contains(&index)
            .then_some(index)
    }

    /// Records that a call succeeded. A frame without a sequence number gets the next one.
    pub(in crate::testing) fn acknowledged(&mut self, id: OpId, sequence: Option<u64>) {
        self.ended_len += 1;
        let Some(index) = self.index_of(id) else { return };
        let call = self.calls[index].clone();
        let durable = call.begun_after_end;
        match &*call.operation {
            operation if operation.must_be_refused() => {
                self.add_finding(expected_refusal(operation), "it was acknowledged");
                return;
            }
            Operation::Sync => {
                self.durable_changes = self.durable_changes.max(durable);
                self.durable_frames = self.durable_frames.max(durable);
            }
            Operation::Checkpoint => self.durable_frames = self.durable_frames.max(durable),
            operation if operation.is_frame() => {
                let sequence = sequence.unwrap_or(self.last_acknowledged + 1);
                let begun_after = call.begun_after_sequence;
                let is_used = || self.calls.iter().any(|call| call.sequence == Some(sequence));
                if (sequence <= self.last_acknowledged && is_used()) || sequence <= begun_after {
                    self.add_finding(
                        format!("a sequence number after {begun_after}"),
                        format!("{sequence}, which is the number of an earlier frame"),
                    );
                }
                self.calls[index].sequence = Some(sequence);
                self.last_acknowledged = self.last_acknowledged.max(sequence);
                self.acknowledged_events += events_len(operation);
                self.head.apply_frame(&call.operation);
            }
            _ => {}
        }
        self.calls[index].progress = CallProgress::Acknowledged(self.ended_len);
    }

    /// Records a wrong result of a call.
    fn add_finding(&mut self, expected: impl Into<String>, found: impl Into<String>) {
        self.findings.push(Difference::of_log(expected, found));
    }

    fn failed(&mut self, id: OpId, error: &Error) {
        self.ended_len += 1;
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
            CallProgress::Failed(self.ended_len)
        } else {
            CallProgress::Refused
        };
        if operation.is_frame() {
            call.sequence = error.sequence();
            if is_ahead_of_clock(error) {
                self.add_finding(
                    format!("{operation} to be accepted: no event is too far ahead"),
                    error.to_string(),
                );
            }
        }
    }

    /// Records the result of a call of [`Operation::apply`]. The receipt must report the events that were set back. Its
    /// opening must differ from the openings of all receipts before the last reopening.
    pub fn ended(&mut self, operation: OpId, result: &Result<Option<Receipt>, Error>) {
        let receipt = result.as_ref().map_or_else(Error::receipt, |receipt| *receipt);
        if let Some(receipt) = receipt {
            let opening = receipt.opening;
            if self.earlier_openings.contains(&opening) {
                let found = format!("opening {opening}, which has receipts from before the last reopening");
                self.add_finding("a receipt of a new opening", found);
            }
            self.opening = Some(opening);
            let call = self.index_of(operation).map(|index| &self.calls[index]);
            let expected = call.map_or(receipt.set_back, |call| call.set_back);
            if receipt.set_back != expected {
                self.add_finding(set_back_text(expected), set_back_text(receipt.set_back));
            }
        }
        match result {
            Ok(receipt) => self.acknowledged(operation, receipt.map(|receipt| receipt.sequence)),
            Err(error) => self.failed(operation, error),
        }
    }

    /// Records that all calls acknowledged so far are synced, frames and changes of collections, for example by
    /// `close`. Call this if no [`Operation`] made the sync. `durable_sequence` is the durable sequence number of the
    /// database after it.
    pub fn synced(&mut self, durable_sequence: u64) {
        self.durable_frames = self.ended_len;
        self.durable_changes = self.ended_len;
        self.note_durable(durable_sequence);
    }

    /// Records that the database reported every frame up to `durable_sequence` as durable.
    pub fn note_durable(&mut self, durable_sequence: u64) {
        self.durable_sequence = self.durable_sequence.max(durable_sequence);
    }

    /// The calls of a kind since the last reopening that may be in the state, each with its index.
    fn possible_calls(&self, is_kind: fn(&Operation) -> bool) -> impl Iterator<Item = (usize, &OracleCall)> {
        let calls = self.calls.iter().enumerate().skip(self.recovered_len);
        calls.filter(move |(_, call)| call.progress != CallProgress::Refused && is_kind(&call.operation))
    }

    /// The first frame and the first change of a collection that were begun and that the state of `verdict` does not
    /// contain.
    pub(crate) fn missing(&self, verdict: &Verdict) -> Vec<Operation> {
        let kinds: [fn(&Operation) -> bool; 2] = [Operation::is_frame, Operation::is_collection_change];
        let first = |is_kind| {
            let mut calls = self.possible_calls(is_kind);
            calls.find(|(index, _)| !verdict.recovered_calls.contains(index))
        };
        let missing = kinds.into_iter().filter_map(first);
        missing.map(|(_, call)| (*call.operation).clone()).collect()
    }

    /// Records that a [reopening](Operation::Reopen) ended the session. If the session ended by a power loss, the
    /// oracle allows the losses of a power loss until [`reopened`](Self::reopened). If the reopening changes the
    /// schema, the recovered state must have the new schema.
    pub fn session_ended(&mut self, reopening: OpId) {
        let Some(index) = self.index_of(reopening) else {
            return;
        };
        if let Operation::Reopen(reopening) = &*self.calls[index].operation {
            self.schema_change = reopening.changes_schema().then_some(index);
            self.after_power_loss |= matches!(reopening.end, SessionEnd::PowerLoss(_));
        }
    }

    /// Sets the promise of later acknowledgements.
    pub fn set_guarantee(&mut self, guarantee: impl Into<Guarantee>) {
        self.guarantee = guarantee.into();
    }

    /// Continues with the recovered database of `verdict`. Its recovered calls are durable, because an opening syncs
    /// the recovered data. Calls that were not recovered must not appear later.
    pub fn reopened(&mut self, verdict: &Verdict) {
        let is_change = |index: &&usize| self.calls[**index].operation.is_collection_change();
        let (changes, frames): (Vec<usize>, Vec<usize>) = verdict.recovered_calls.iter().partition(is_change);
        let mut base = self.state_after(&frames).into_owned();
        for index in changes {
            base.apply(&self.calls[index].operation);
        }
        let recovered: List<OracleCall> = frames.iter().map(|&index| self.calls[index].clone()).collect();
        self.recovered_len = recovered.len();
        self.first_id += self.calls.len() - recovered.len();
        self.calls = recovered;
        self.reads.clear();
        self.head = base.clone();
        self.base = base;
        self.earlier_openings.extend(self.opening.take());
        self.schema_change = None;
        self.after_power_loss = false;
        self.recovered_sequence = verdict.last_sequence;
        self.last_acknowledged = verdict.last_sequence;
        // The database assigns the numbers of lost frames again, so only numbers of recovered frames are durable.
        self.durable_sequence = verdict.last_sequence;
        self.findings.clear();
    }
}

fn expected_refusal(operation: &Operation) -> String {
    format!("a refusal of {operation} before the log: an event is too far ahead of the clock")
}

/// The part of a receipt about events that were set back, as text.
fn set_back_text(set_back: Option<SetBack>) -> String {
    match set_back {
        None => "a receipt without events set back".to_owned(),
        Some(SetBack { events_len, to_ms }) => {
            format!("a receipt with {events_len} events set back to {to_ms}")
        }
    }
}

/// The number of events of a frame.
fn events_len(operation: &Operation) -> u64 {
    match operation {
        Operation::Record { events, .. } => events.len() as u64,
        _ => 0,
    }
}
