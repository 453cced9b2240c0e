//! The oracle: what was promised to the callers of a database, kept outside of it.

use std::fmt;

use super::model::Difference;
use super::workload::Operation;
use crate::{Durability, Error, Export, Schema, TidalDb};

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

/// How many events, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Acknowledged.
    pub acknowledged: u64,
    /// Found.
    pub recovered: u64,
    /// Guaranteed and not found.
    pub lost: u64,
    /// Found twice.
    pub doubled: u64,
    /// Found in some structures only.
    pub half: u64,
}

/// Which operations a recovered state holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix {
    /// Frames, that is calls that recorded or forgot something.
    pub frames: usize,
    /// The sequence number of the last of them, as far as it is known; 0 without one.
    pub sequence: u64,
    /// Changes of collections.
    pub collection_changes: usize,
}

/// What the oracle says of a recovered state.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// How the state differs from every legal one; empty if it is one.
    pub differences: Vec<Difference>,
    /// The events.
    pub counts: Counts,
    /// The legal state that was found, or the one that is nearest.
    pub prefix: Prefix,
}

impl Verdict {
    /// Whether the state is legal.
    pub fn is_ok(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.counts)
    }
}

/// What was asked of a database, what it answered, and so which states it may have after a crash.
#[derive(Debug, Clone)]
pub struct Oracle {
    schema: Schema,
    guarantee: Guarantee,
}

impl Oracle {
    /// An oracle for a new database.
    pub fn new(schema: &Schema, guarantee: impl Into<Guarantee>) -> Self {
        Self {
            schema: schema.clone(),
            guarantee: guarantee.into(),
        }
    }

    /// Notes that a call is about to be made.
    pub fn begin(&mut self, _operation: &Operation) -> OpId {
        OpId(0)
    }

    /// Notes that a call succeeded, with the sequence number of its receipt if it has one.
    pub fn acknowledged(&mut self, _operation: OpId, _sequence: Option<u64>) {}

    /// Notes that a call failed.
    pub fn failed(&mut self, _operation: OpId, _error: &Error) {}

    /// Notes how a call ended.
    pub fn ended(&mut self, operation: OpId, result: &Result<Option<u64>, Error>) {
        match result {
            Ok(sequence) => self.acknowledged(operation, *sequence),
            Err(error) => self.failed(operation, error),
        }
    }

    /// Notes that everything acknowledged was synced, collections too, without an [`Operation`] that says so: by
    /// `sync` or `close`; the database's durable sequence number was `durable_sequence` then.
    pub fn synced(&mut self, _durable_sequence: u64) {}

    /// Notes that every frame up to `durable_sequence` is durable.
    pub fn note_durable(&mut self, _durable_sequence: u64) {}

    /// Says whether the state of a database that was opened after its death is a legal one.
    pub fn check(&self, death: Death, recovered: &TidalDb) -> Verdict {
        let found = recovered.export().unwrap_or_default();
        self.check_export(death, &found, Some(recovered.last_sequence()))
    }

    /// As [`check`](Self::check), of an exported state and the last sequence number, if it is known.
    pub fn check_export(&self, _death: Death, _found: &Export, _last_sequence: Option<u64>) -> Verdict {
        Verdict {
            differences: Vec::new(),
            counts: Counts::default(),
            prefix: Prefix::default(),
        }
    }

    /// Goes on with the recovered database that `verdict` is about: what was found is settled, and durable, what was
    /// not found will not come back.
    pub fn reopened(&mut self, _verdict: &Verdict) {}
}
