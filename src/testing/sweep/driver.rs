//! The driver: makes the calls of the work, notes them in the journal, and checks the promise of each acknowledged call.

use std::fmt;
use std::path::Path;

use super::finding::FailureKind;
use super::home::Home;
use super::journal::{CallLog, CallResult, Journal};

use crate::testing::SimDisk;
use crate::testing::sim_disk::{DiskOperationKind, UndurableKind};
use crate::testing::workload::Operation;
use crate::{Durability, Error, Receipt, TidalDb};

/// Makes the calls of one run in place of the driver. A planted bug makes other calls than the journal notes.
pub(crate) trait Calls: fmt::Debug + Send + Sync {
    fn call(&mut self, db: &TidalDb, operation: &Operation) -> Result<Option<Receipt>, Error>;
}

/// Makes calls on a database and tells the oracle of them. The work of a sweep is given one.
#[derive(Debug)]
pub struct Driver<'a> {
    db: &'a TidalDb,
    log: &'a dyn CallLog,
    checks: Option<DiskChecks<'a>>,
    calls: Option<Box<dyn Calls>>,
}

impl<'a> Driver<'a> {
    /// A driver that notes the calls. `calls` makes them in place of the driver, if given.
    pub(crate) fn new(db: &'a TidalDb, log: &'a dyn CallLog, calls: Option<Box<dyn Calls>>) -> Self {
        Self {
            db,
            log,
            checks: None,
            calls,
        }
    }

    /// The same with checks after each call.
    pub(crate) fn checked(self, checks: DiskChecks<'a>) -> Self {
        self.log.note_durable(self.db.durable_sequence());
        Self {
            checks: Some(checks),
            ..self
        }
    }

    /// The database, for reading. The oracle does not learn of changes that are made past [`apply`](Self::apply).
    pub fn db(&self) -> &TidalDb {
        self.db
    }

    /// A driver of the same run for another thread of the work, which has to [inherit](crate::testing::inherit) the slot.
    ///
    /// Only one thread may change collections: changes of different threads have no common order.
    #[must_use]
    pub fn on_thread(&self) -> Driver<'_> {
        self.log.note_threads();
        Driver {
            db: self.db,
            log: self.log,
            checks: None,
            calls: None,
        }
    }

    /// Makes a call. Returns the receipt of its frame if it has one.
    ///
    /// # Errors
    /// The error of the call. The oracle knows of it, and further calls are legal.
    pub fn apply(&mut self, operation: &Operation) -> Result<Option<Receipt>, Error> {
        let before = self.checks.as_ref().map(|checks| checks.before(self.db));
        let call = self.log.begin(operation);
        let result = match &mut self.calls {
            Some(calls) => calls.call(self.db, operation),
            None => operation.apply(self.db),
        };
        self.log.ended(call, &result, self.db.durable_sequence());
        if let (Some(checks), Some(before)) = (&self.checks, before) {
            checks.after(self.db, operation, &result, &before);
        }
        result
    }

    /// Closes the database.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let result = self.db.close();
        if result.is_ok() {
            self.log.closed(self.db.last_sequence());
            if let Some(checks) = &self.checks {
                checks.check_promised("close", true, true);
            }
        }
        result
    }
}

/// Checks on the simulated disk: acknowledged means durable, and a dead device acknowledges nothing.
#[derive(Debug)]
pub(crate) struct DiskChecks<'a> {
    pub(crate) disk: &'a SimDisk,
    pub(crate) journal: &'a Journal,
    pub(crate) home: &'a Home,
    pub(crate) durability: Durability,
    pub(crate) has_own_storage: bool,
}

/// The values before a call, for the check after it.
struct BeforeCall {
    was_gone: bool,
    refused_len: usize,
    last_sequence: u64,
    operations_len: u64,
}

impl DiskChecks<'_> {
    fn before(&self, db: &TidalDb) -> BeforeCall {
        BeforeCall {
            was_gone: self.disk.is_gone(),
            refused_len: self.refused_durable_len(),
            last_sequence: db.last_sequence(),
            operations_len: self.disk.operations_len(),
        }
    }

    fn refused_durable_len(&self) -> usize {
        let refused = self.disk.refused_calls();
        refused.iter().filter(|call| call.kind.is_durable()).count()
    }

    fn after(&self, db: &TidalDb, operation: &Operation, result: &CallResult, before: &BeforeCall) {
        if result.is_err() {
            if operation.must_be_refused() {
                self.check_unwritten(operation, before.operations_len);
            }
            return;
        }
        self.check_durable(operation, db.last_sequence() > before.last_sequence);
        if *operation == Operation::Sync && db.durable_sequence() != db.last_sequence() {
            let (durable, last) = (db.durable_sequence(), db.last_sequence());
            let message =
                format_args!("after sync the durable sequence is {durable} and the last one {last}");
            self.journal.fail(FailureKind::Wrong, message);
        }
        if self.refused_durable_len() > before.refused_len || (before.was_gone && operation.is_frame()) {
            let message = format_args!("{operation} returned Ok");
            self.journal.fail(FailureKind::AcknowledgedAfterDeath, message);
        }
    }

    /// A call that is refused for its arguments writes nothing to the log.
    fn check_unwritten(&self, operation: &Operation, operations_len: u64) {
        let recording = self.disk.recording();
        let mut new = recording.operations().skip(operations_len as usize);
        let log_dir = self.home.log_dir();
        let written = new.find(|it| it.kind == DiskOperationKind::Write && it.path.starts_with(&log_dir));
        if let Some(written) = written {
            let message = format_args!("{operation} was refused after {written}");
            self.journal.fail(FailureKind::Wrong, message);
        }
    }

    /// Checks that the content which an acknowledged operation promises is durable. A checkpoint without new content gets no
    /// sequence number and promises nothing.
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
        if self.disk.is_gone() {
            return;
        }
        let (log_dir, store_dir) = (self.home.log_dir(), self.home.store_dir());
        let promised = |path: &Path| {
            let in_log = path.starts_with(&log_dir);
            // A storage engine of the user keeps its files anywhere.
            let in_store = path.starts_with(&store_dir) || (self.has_own_storage && !in_log);
            (path == self.home.dir && (log || store)) || (in_log && log) || (in_store && store)
        };
        let undurable = self.disk.undurable();
        let found = undurable.iter().find(|it| match it.kind {
            // Open removes a segment that a power loss brought back. A trim makes the removal durable all the same.
            UndurableKind::Removal => {
                it.path.starts_with(&log_dir)
                    && it.path.extension().is_some_and(|extension| extension == "wal")
            }
            _ => promised(&it.path),
        });
        if let Some(found) = found {
            let message = format_args!("{operation} was acknowledged while {found} could be lost");
            self.journal.fail(FailureKind::AcknowledgedBeforeDurable, message);
        }
    }
}
