//! The oracle: what was promised to the callers of a database, kept outside of it.
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

mod candidates;
mod changes;
mod check;
mod list;
#[cfg(test)]
mod tests;
mod timeline;
mod verdict;

pub use timeline::Timeline;
pub use verdict::{Counts, Prefix, Verdict};

use std::sync::Arc;

pub use super::model::{CoEngagementPart, Difference, DifferenceKind, EventId, Structure, Subject, Tier};

use super::model::Model;
use super::workload::{Operation, is_ahead_of_clock};
use crate::{Durability, Error, Receipt, Schema, SetBack, TidalDb};
use changes::Changes;
use list::List;

/// What an acknowledgement promises of a power loss; of a process crash it always promises survival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
pub enum Death {
    /// The process ended: killed, panicked, aborted. What was written is there.
    ProcessCrash,
    /// The machine ended: what was synced is there.
    PowerLoss,
}

/// An operation that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(usize);

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    InFlight,
    /// The how-manieth acknowledgement it was, from 1.
    Acknowledged(u64),
    Failed,
    /// Refused before anything was changed.
    Refused,
}

impl Progress {
    /// How far a failed call has come: its outcome is unknown, or it was refused and must not be there.
    fn after(error: &Error) -> Self {
        if error.outcome_is_unknown() {
            Self::Failed
        } else {
            Self::Refused
        }
    }
}

/// A frame that was asked for since the database was opened.
#[derive(Debug, Clone)]
struct FrameCall {
    /// As the log must have it.
    operation: Arc<Operation>,
    set_back: Option<SetBack>,
    progress: Progress,
    sequence: Option<u64>,
    /// Every frame with a number up to this one had been acknowledged when it was begun.
    begun_after: u64,
}

/// What an [`OpId`] stands for.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// By its index among the frames.
    Frame(usize),
    /// By its index among the changes of collections.
    Change(usize),
    /// By its index among the calls that must be refused before the log.
    Refusal(usize),
    /// A sync or checkpoint, and how many acknowledgements there had been when it was begun.
    Barrier { acknowledgements: u64, is_sync: bool },
    /// Of before the last reopening.
    Settled,
}

/// What was asked of a database, what it answered, and so which states it may have after a crash.
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
    calls: List<Call>,
    /// The frames that are there whatever happens: what the last reopening found.
    settled: Vec<Settled>,
    frames: List<FrameCall>,
    changes: Changes,
    /// Calls with an event too far ahead of the clock.
    refusals: List<Arc<Operation>>,
    acknowledgements: u64,
    /// Frames acknowledged up to this acknowledgement are durable.
    durable_acknowledgement: u64,
    /// Frames up to this sequence number are durable.
    durable_sequence: u64,
    /// The greatest sequence number that was acknowledged, or found by the last reopening.
    last_acknowledged: u64,
    /// No later frame may have a number up to this one: what the last reopening found.
    taken_sequence: u64,
    /// How many events were acknowledged, before the last reopening too.
    acknowledged_events: u64,
    /// The settled frames.
    base: Model,
    /// The settled frames and, while acknowledgements come in order, the acknowledged ones.
    head: Model,
    /// How many acknowledged frames `head` has; all of them unless it was given up.
    head_len: Option<usize>,
    timeline: Option<Arc<Timeline>>,
    /// The opening of the receipts since the last reopening, and those of the receipts before it.
    opening: Option<u64>,
    earlier_openings: Vec<u64>,
    /// What is wrong with the answers themselves.
    findings: Vec<Difference>,
}

/// A frame that is there.
#[derive(Debug, Clone)]
struct Settled {
    operation: Arc<Operation>,
    sequence: Option<u64>,
}

impl Oracle {
    /// An oracle for a new database. A [`Durability`] is a guarantee too.
    pub fn new(schema: &Schema, guarantee: impl Into<Guarantee>) -> Self {
        Self::with_models(Model::new(schema), None, guarantee.into())
    }

    /// An oracle for a new database that is expected to be given the operations of `timeline`: as long as it is, no
    /// state is computed twice, however many oracles follow the timeline.
    pub fn following(timeline: &Arc<Timeline>, guarantee: impl Into<Guarantee>) -> Self {
        Self::with_models(
            timeline.start().clone(),
            Some(Arc::clone(timeline)),
            guarantee.into(),
        )
    }

    fn with_models(base: Model, timeline: Option<Arc<Timeline>>, guarantee: Guarantee) -> Self {
        Self {
            guarantee,
            calls: List::default(),
            settled: Vec::new(),
            frames: List::default(),
            changes: Changes::default(),
            refusals: List::default(),
            acknowledgements: 0,
            durable_acknowledgement: 0,
            durable_sequence: 0,
            last_acknowledged: 0,
            taken_sequence: 0,
            acknowledged_events: 0,
            head: base.clone(),
            base,
            head_len: Some(0),
            timeline,
            opening: None,
            earlier_openings: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Notes that a call is about to be made.
    pub fn begin(&mut self, operation: &Operation) -> OpId {
        let call = if operation.must_be_refused() {
            self.refusals.push(Arc::new(operation.clone()));
            Call::Refusal(self.refusals.len() - 1)
        } else if operation.is_frame() {
            self.frames.push(FrameCall {
                operation: self.share(&operation.as_recorded()),
                set_back: operation.set_back(),
                progress: Progress::InFlight,
                sequence: None,
                begun_after: self.last_acknowledged,
            });
            Call::Frame(self.frames.len() - 1)
        } else if operation.is_collection_change() {
            Call::Change(self.changes.begin(operation))
        } else {
            Call::Barrier {
                acknowledgements: self.acknowledgements,
                is_sync: *operation == Operation::Sync,
            }
        };
        self.calls.push(call);
        OpId(self.calls.len() - 1)
    }

    /// The timeline's copy of the operation if it is the expected one.
    fn share(&self, operation: &Operation) -> Arc<Operation> {
        let next = self.settled.len() + self.frames.len();
        let expected = self.timeline.as_ref().and_then(|timeline| timeline.frame(next));
        match expected {
            Some(expected) if **expected == *operation => Arc::clone(expected),
            _ => Arc::new(operation.clone()),
        }
    }

    /// Notes that a call succeeded, with the sequence number of its receipt if it has one.
    pub fn acknowledged(&mut self, operation: OpId, sequence: Option<u64>) {
        self.acknowledgements += 1;
        match self.calls.get(operation.0).copied() {
            Some(Call::Frame(index)) => self.frame_acknowledged(index, sequence),
            Some(Call::Change(index)) => self.changes.acknowledged(index, self.acknowledgements),
            Some(Call::Barrier {
                acknowledgements,
                is_sync,
            }) => {
                self.durable_acknowledgement = self.durable_acknowledgement.max(acknowledgements);
                if is_sync {
                    self.changes.durable(acknowledgements);
                }
            }
            Some(Call::Refusal(index)) => {
                let expected = self.refusal_of(index);
                self.add_finding(expected, "it was acknowledged".to_owned());
            }
            Some(Call::Settled) | None => {}
        }
    }

    fn refusal_of(&self, index: usize) -> String {
        let operation = &self.refusals[index];
        format!("a refusal of {operation} before the log: an event is too far ahead of the clock")
    }

    /// Notes that an answer is wrong.
    fn add_finding(&mut self, expected: String, found: String) {
        self.findings.push(Difference {
            structure: Structure::Log,
            subject: Subject::Database,
            expected,
            found,
            kind: DifferenceKind::Wrong,
            event: None,
        });
    }

    fn frame_acknowledged(&mut self, index: usize, sequence: Option<u64>) {
        let begun_after = self.frames[index].begun_after;
        if let Some(sequence) = sequence {
            let taken = self
                .frames
                .iter()
                .rev()
                .any(|frame| frame.sequence == Some(sequence));
            if taken || sequence <= begun_after.max(self.taken_sequence) {
                self.add_finding(
                    format!("a sequence number after {}", begun_after.max(self.taken_sequence)),
                    format!("{sequence} was acknowledged, which an earlier frame has"),
                );
            }
            self.last_acknowledged = self.last_acknowledged.max(sequence);
        }
        let in_order = self.head_len.is_some_and(|len| len == index);
        let frame = &mut self.frames[index];
        frame.progress = Progress::Acknowledged(self.acknowledgements);
        frame.sequence = sequence;
        self.acknowledged_events += events_len(&frame.operation);
        if self.timeline.is_none() {
            if in_order {
                self.head.apply_frame(&frame.operation);
                self.head_len = Some(index + 1);
            } else {
                self.head_len = None;
            }
        }
    }

    /// Notes that a call failed.
    pub fn failed(&mut self, operation: OpId, error: &Error) {
        match self.calls.get(operation.0).copied() {
            Some(Call::Frame(index)) => {
                let frame = &mut self.frames[index];
                frame.sequence = error.sequence();
                frame.progress = Progress::after(error);
                if is_ahead_of_clock(error) {
                    let operation = &frame.operation;
                    let expected = format!("that {operation} is not refused for its times");
                    self.add_finding(expected, error.to_string());
                }
            }
            Some(Call::Refusal(index)) if error.outcome_is_unknown() => {
                self.add_finding(self.refusal_of(index), error.to_string());
            }
            Some(Call::Change(index)) => self.changes.failed(index, error),
            _ => {}
        }
    }

    /// Notes how a call ended that [`Operation::apply`] made. The receipt must say which events were set back, and be of an
    /// opening that gave no receipt before the last reopening.
    pub fn ended(&mut self, operation: OpId, result: &Result<Option<Receipt>, Error>) {
        let receipt = result.as_ref().map_or_else(Error::receipt, |receipt| *receipt);
        if let Some(Receipt { opening, .. }) = receipt {
            if self.earlier_openings.contains(&opening) {
                let found = format!("opening {opening}, which gave receipts before the last reopening");
                self.add_finding("a receipt of a new opening".to_owned(), found);
            }
            self.opening = Some(opening);
        }
        if let (Some(Call::Frame(index)), Some(receipt)) = (self.calls.get(operation.0), receipt) {
            let expected = self.frames[*index].set_back;
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
        self.changes.durable(self.acknowledgements);
        self.note_durable(durable_sequence);
    }

    /// Notes that every frame up to `durable_sequence` is durable, because the database said so.
    pub fn note_durable(&mut self, durable_sequence: u64) {
        self.durable_sequence = self.durable_sequence.max(durable_sequence);
    }

    /// Says whether the state of a database that was opened after its death is a legal one.
    pub fn check(&self, death: Death, recovered: &TidalDb) -> Verdict {
        match recovered.export() {
            Ok(found) => {
                let mut verdict = self.check_export(death, &found, Some(recovered.last_sequence()));
                if verdict.is_ok() {
                    self.check_receipts(recovered.recovery_report(), &mut verdict);
                }
                verdict
            }
            Err(error) => self.unreadable(&error),
        }
    }

    /// What the state that `verdict` is about does not hold of what was asked for, and is the next of it: the first frame
    /// and the first change of a collection.
    pub(crate) fn missing(&self, verdict: &Verdict) -> Vec<Operation> {
        let mut frames = self.frames.iter().enumerate();
        let frame = frames.find(|(index, frame)| {
            frame.progress != Progress::Refused && !verdict.frames_found.contains(index)
        });
        let frame = frame.map(|(_, frame)| (*frame.operation).clone());
        frame
            .into_iter()
            .chain(self.changes.missing(&verdict.changes_found))
            .collect()
    }

    /// Goes on with the recovered database that `verdict` is about: what it found is settled, and durable, for opening
    /// syncs what it finds; what it did not find will not come back.
    pub fn reopened(&mut self, verdict: &Verdict) {
        let mut settled = std::mem::take(&mut self.settled);
        for &index in &verdict.frames_found {
            let Some(frame) = self.frames.get(index) else {
                continue;
            };
            settled.push(Settled {
                operation: Arc::clone(&frame.operation),
                sequence: frame.sequence,
            });
        }
        let order: Vec<Arc<Operation>> = settled.iter().map(|frame| Arc::clone(&frame.operation)).collect();
        self.base = self.build(&order).into_owned();
        self.settled = settled;
        self.head = self.base.clone();
        self.head_len = Some(0);
        self.frames.clear();
        self.earlier_openings.extend(self.opening.take());
        self.refusals.clear();
        self.changes.reopened(&verdict.changes_found);
        self.calls.fill(&Call::Settled);
        self.taken_sequence = verdict.last_sequence.unwrap_or(0);
        self.last_acknowledged = self.taken_sequence;
        // Numbers of frames that were not found are given again: only what was found is known to be durable.
        self.durable_sequence = self.taken_sequence;
        self.durable_acknowledgement = self.acknowledgements;
        self.findings.clear();
    }
}

/// What a receipt says of the events that were ahead of the clock.
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
