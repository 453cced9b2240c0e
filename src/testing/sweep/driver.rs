//! The driver: makes the calls of the work and keeps, outside the database, what they were promised.
//!
//! Owns the journal of a run: at every instant what the oracle knew, how many operations the disk had done, and how many
//! crossings there had been. Invariant: a mark is made on the calling thread before anything else happens, so that the
//! marks and the crossings are in the order in which they happened.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::setup::{Calls, DB_DIR, Setup};
use crate::testing::oracle::Oracle;
use crate::testing::sim_disk::{ObservedCall, Side, UndurableKind};
use crate::testing::verdict::{Failure, FailureKind};
use crate::testing::workload::Operation;
use crate::testing::{CrossingRecorder, SimDisk};
use crate::{Durability, Error, Receipt, TidalDb};

/// What was known at a time.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) oracle: Oracle,
    /// The operation in flight or, if none is, the last one; by its number in the work.
    pub(crate) operation: Option<usize>,
    /// How many operations were acknowledged.
    pub(crate) acknowledged: usize,
}

/// Something happened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    /// The disk is at this side of this operation.
    Disk { ordinal: u64, side: Side },
    /// From here on what is known is the entry with this number.
    Known(usize),
}

/// A mark, and how many crossings came before it.
pub(crate) type Marked = (Mark, usize);

#[derive(Debug)]
struct Pages {
    known: Vec<Known>,
    marks: Vec<Marked>,
    operations: Vec<Operation>,
    failures: Vec<Failure>,
}

/// The journal of a run. Shared by the driver and the disk's observer.
#[derive(Debug)]
pub(crate) struct Journal {
    pages: Mutex<Pages>,
    pub(crate) recorder: Arc<CrossingRecorder>,
}

/// What a journal holds when the run is over.
#[derive(Debug)]
pub(crate) struct Journaled {
    pub(crate) known: Vec<Known>,
    pub(crate) marks: Vec<Marked>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) failures: Vec<Failure>,
}

impl Journal {
    /// A journal of what is done on `disk` from now on.
    pub(crate) fn of(disk: &SimDisk, oracle: Oracle) -> Arc<Self> {
        let recorder = CrossingRecorder::new();
        let known = Known {
            oracle,
            operation: None,
            acknowledged: 0,
        };
        let journal = Arc::new(Self {
            pages: Mutex::new(Pages {
                known: vec![known],
                marks: Vec::new(),
                operations: Vec::new(),
                failures: Vec::new(),
            }),
            recorder,
        });
        let observing = Arc::clone(&journal);
        disk.observe(move |call| observing.observe(call));
        journal
    }

    /// What it holds. Nothing is written to it any more.
    pub(crate) fn take(&self) -> Journaled {
        let mut pages = self.pages();
        Journaled {
            known: std::mem::take(&mut pages.known),
            marks: std::mem::take(&mut pages.marks),
            operations: std::mem::take(&mut pages.operations),
            failures: std::mem::take(&mut pages.failures),
        }
    }

    pub(crate) fn fail(&self, kind: FailureKind, message: impl std::fmt::Display) {
        let mut pages = self.pages();
        if !pages.failures.iter().any(|failure| failure.kind == kind) {
            pages.failures.push(Failure::new(kind, message));
        }
    }

    fn observe(&self, call: &ObservedCall<'_>) {
        if let Some(ordinal) = call.ordinal {
            let crossings = self.recorder.crossings_len();
            let side = call.side;
            self.pages().marks.push((Mark::Disk { ordinal, side }, crossings));
        }
        if call.kind.is_durable() && !self.recorder.watches_this_thread() {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("unnamed");
            let message = format_args!(
                "{} {} on thread {name} ({:?}), which did not inherit the slot of the one that started it",
                call.kind,
                call.path.display(),
                thread.id()
            );
            self.fail(FailureKind::Unwatched, message);
        }
    }

    /// Makes a new entry of what is known from the last one.
    fn learn<T>(&self, learn: impl FnOnce(&mut Known, &mut Vec<Operation>) -> T) -> T {
        let crossings = self.recorder.crossings_len();
        let mut pages = self.pages();
        let pages = &mut *pages;
        let mut known = match pages.known.last() {
            Some(known) => known.clone(),
            None => unreachable!(
                "a journal begins with what is known at first, and is not written after it was taken"
            ),
        };
        let learned = learn(&mut known, &mut pages.operations);
        pages.known.push(known);
        pages.marks.push((Mark::Known(pages.known.len() - 1), crossings));
        learned
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes calls on a database and tells the oracle of them. What a sweep's own work is given.
#[derive(Debug)]
pub struct Driver<'a> {
    db: &'a TidalDb,
    disk: &'a SimDisk,
    journal: &'a Journal,
    durability: Durability,
    has_own_storage: bool,
    calls: Option<Box<dyn Calls>>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(db: &'a TidalDb, disk: &'a SimDisk, journal: &'a Journal, setup: &Setup) -> Self {
        let driver = Self {
            db,
            disk,
            journal,
            durability: setup.durability,
            has_own_storage: setup.storage.is_some(),
            calls: setup.calls.as_ref().map(|make| make()),
        };
        driver.note_durable();
        driver
    }

    /// The database, for looking at. What is changed past [`apply`](Self::apply) the oracle does not know of.
    pub fn db(&self) -> &TidalDb {
        self.db
    }

    /// Makes a call, and gives the receipt of its frame if it has one.
    ///
    /// # Errors
    /// That of the call. The oracle knows of it, and going on is legal.
    pub fn apply(&mut self, operation: &Operation) -> Result<Option<Receipt>, Error> {
        let was_gone = self.disk.is_gone();
        let refused = self.refused_durable_len();
        let last_sequence = self.db.last_sequence();
        let id = self.journal.learn(|known, operations| {
            known.operation = Some(operations.len());
            operations.push(operation.clone());
            known.oracle.begin(operation)
        });
        let result = match &mut self.calls {
            Some(calls) => calls.call(self.db, operation),
            None => operation.apply(self.db),
        };
        let durable_sequence = self.db.durable_sequence();
        self.journal.learn(|known, _| {
            known.oracle.ended(id, &result);
            known.acknowledged += usize::from(result.is_ok());
            known.oracle.note_durable(durable_sequence);
        });
        if result.is_ok() {
            self.check_durable(operation, self.db.last_sequence() > last_sequence);
            if self.refused_durable_len() > refused || (was_gone && operation.is_frame()) {
                let message = format_args!("{operation} returned Ok");
                self.journal.fail(FailureKind::AcknowledgedAfterDeath, message);
            }
        }
        result
    }

    /// Closes the database.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let result = self.db.close();
        if result.is_ok() {
            let last_sequence = self.db.last_sequence();
            self.journal.learn(|known, _| known.oracle.synced(last_sequence));
            self.check_promised("close", true, true);
        }
        result
    }

    fn note_durable(&self) {
        let durable_sequence = self.db.durable_sequence();
        self.journal
            .learn(|known, _| known.oracle.note_durable(durable_sequence));
    }

    fn refused_durable_len(&self) -> usize {
        let refused = self.disk.refused_calls();
        refused.iter().filter(|call| call.kind.is_durable()).count()
    }

    /// What `operation`, which was acknowledged, promises to be durable must be. A checkpoint that finds nothing new, and
    /// so takes no number, promises nothing.
    fn check_durable(&self, operation: &Operation, took_a_number: bool) {
        let every = self.durability == Durability::EverySynced;
        let is_sync = *operation == Operation::Sync;
        let log = (every && operation.is_frame()) || is_sync;
        let store = (every && operation.is_collection_change())
            || is_sync
            || (*operation == Operation::Checkpoint && took_a_number);
        self.check_promised(&operation.to_string(), log, store);
    }

    fn check_promised(&self, operation: &str, log: bool, store: bool) {
        if self.disk.is_gone() || !(log || store) {
            return;
        }
        let (log_dir, store_dir) = Setup::log_and_store();
        let promised = |path: &Path| {
            let in_log = path.starts_with(&log_dir);
            // An engine of somebody's own keeps its files where it likes.
            let in_store = path.starts_with(&store_dir) || (self.has_own_storage && !in_log);
            path == Path::new(DB_DIR) || (in_log && log) || (in_store && store)
        };
        let undurable = self.disk.undurable();
        let found = undurable
            .iter()
            // A removal that did not happen leaves what is removed again at open.
            .find(|it| it.kind != UndurableKind::Removal && promised(&it.path));
        if let Some(found) = found {
            let message = format_args!("{operation} was acknowledged while {found} could be lost");
            self.journal.fail(FailureKind::AcknowledgedBeforeDurable, message);
        }
    }
}
