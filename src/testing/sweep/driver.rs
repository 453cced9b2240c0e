//! The driver: makes the calls of the work, notes them in the journal, and checks that each acknowledged call is
//! durable.

use std::fmt;
use std::path::Path;

use super::finding::{Failure, FailureKind};
use super::journal::{CallLog, CallResult, Journal};
use super::location::DatabaseLocation;
use crate::fs::{FileAccess, OpenMode};
use crate::testing::SimDisk;
use crate::testing::faults::FileRole;
use crate::testing::oracle::CrashKind;
use crate::testing::sim_disk::{DiskOperationKind, UndurableKind};
use crate::testing::text::error_chain;
use crate::testing::workload::{Operation, Reopening, Session, SessionEnd, WorkloadClock};
use crate::wal::segment::{SegmentName, parse_name};
use crate::{Durability, Error, Receipt, TidalDb};

/// Makes the calls of one run instead of the driver. A planted bug uses it to make other calls than the journal notes.
pub(crate) trait CallExecutor: fmt::Debug + Send + Sync {
    fn call(&mut self, db: &TidalDb, operation: &Operation) -> Result<Option<Receipt>, Error>;
}

/// Opens the database of a run again, and returns the options of its sessions.
pub(crate) trait Opener: fmt::Debug + Sync {
    /// Opens the database at `location` in this session.
    fn open_session(&self, location: &mut DatabaseLocation, session: Session) -> Result<TidalDb, Error>;
    /// The policy of a session.
    fn durability_of(&self, session: &Session) -> Durability;
    /// The interval of timed syncs in a session, if its policy has one and its clock is a [`WorkloadClock`].
    fn sync_interval_ms(&self, session: &Session) -> Option<u64>;
    /// Returns true if the storage engine is not the embedded store.
    fn has_own_storage(&self) -> bool;
    /// The largest number of segments that the log may have after a call.
    fn segments_len_max(&self) -> usize;
}

/// The database of a driver.
#[derive(Debug)]
enum DriverDb<'a> {
    /// The database of the run. The handle is empty if a reopening failed.
    Own {
        opener: &'a dyn Opener,
        location: &'a mut DatabaseLocation,
        handle: &'a mut Option<TidalDb>,
    },
    /// The database of another driver.
    Shared(&'a TidalDb),
}

/// Makes calls on a database, and reports them to the oracle. The work function of a sweep receives a driver.
#[derive(Debug)]
pub struct Driver<'a> {
    db: DriverDb<'a>,
    log: &'a dyn CallLog,
    /// The journal for failed checks, if the driver checks the simulated disk after each call.
    check_journal: Option<&'a Journal>,
    call_executor: Option<Box<dyn CallExecutor>>,
    /// The latest time that a call of the session can have read from a [`WorkloadClock`], in milliseconds since the
    /// Unix epoch.
    clock_read_ms: i64,
}

impl<'a> Driver<'a> {
    /// A driver of the database in `handle`, which is at `location`. It notes the calls in `log`. If `call_executor` is
    /// given, the executor makes the calls instead of the driver.
    pub(crate) fn new(
        opener: &'a dyn Opener,
        location: &'a mut DatabaseLocation,
        handle: &'a mut Option<TidalDb>,
        log: &'a dyn CallLog,
        call_executor: Option<Box<dyn CallExecutor>>,
    ) -> Self {
        Self {
            call_executor,
            db: DriverDb::Own {
                opener,
                location,
                handle,
            },
            log,
            check_journal: None,
            clock_read_ms: WorkloadClock::latest_read_ms(),
        }
    }

    /// The same driver, with checks of the simulated disk after each call.
    pub(crate) fn with_disk_checks(self, journal: &'a Journal) -> Self {
        if let Some(db) = self.handle() {
            self.log.note_durable(db.durable_sequence());
        }
        Self {
            check_journal: Some(journal),
            ..self
        }
    }

    /// The database, for reading. Make changes by [`apply`](Self::apply): no other change is reported to the oracle.
    ///
    /// # Panics
    /// If a reopening failed.
    pub fn db(&self) -> &TidalDb {
        match self.handle() {
            Some(db) => db,
            None => panic!("the database is not open: a reopening failed"),
        }
    }

    /// The session of the database.
    ///
    /// # Panics
    /// For the driver of another thread.
    pub(crate) fn session(&self) -> &Session {
        match &self.db {
            DriverDb::Own { location, .. } => &location.session,
            DriverDb::Shared(_) => unreachable!("the driver of another thread has no session"),
        }
    }

    /// Returns true if the database is on a simulated disk.
    pub(crate) fn has_disk(&self) -> bool {
        matches!(&self.db, DriverDb::Own { location, .. } if location.disk.is_some())
    }

    /// The open database; `None` if a reopening failed.
    pub(crate) fn handle(&self) -> Option<&TidalDb> {
        match &self.db {
            DriverDb::Own { handle, .. } => handle.as_ref(),
            DriverDb::Shared(db) => Some(db),
        }
    }

    /// A driver of the same run for another thread of the work. The thread must [inherit](crate::testing::inherit) the
    /// slot. This driver cannot reopen the database.
    ///
    /// # Panics
    /// If a reopening failed.
    #[must_use]
    pub fn on_thread(&self) -> Driver<'_> {
        self.log.note_threads();
        Driver {
            db: DriverDb::Shared(self.db()),
            log: self.log,
            check_journal: None,
            call_executor: None,
            clock_read_ms: WorkloadClock::latest_read_ms(),
        }
    }

    /// Makes a call or a [reopening](Operation::Reopen). Returns the receipt of its frame if it has one.
    ///
    /// # Errors
    /// The error of the call. The driver reports it to the oracle, and further calls are legal. [`Error::Closed`] after
    /// a reopening that failed.
    pub fn apply(&mut self, operation: &Operation) -> Result<Option<Receipt>, Error> {
        if let Operation::Reopen(reopening) = operation {
            if self.handle().is_none() {
                return Err(Error::Closed);
            }
            let call = self.log.begin(operation);
            let result = self.reopen(call, reopening).map(|()| None);
            self.log.ended(call, &result, 0);
            return result;
        }
        let db = match &self.db {
            DriverDb::Own { handle, .. } => handle.as_ref().ok_or(Error::Closed)?,
            DriverDb::Shared(db) => db,
        };
        let before = self
            .disk_checks()
            .map(|checks| checks.before(db, operation, self.clock_read_ms));
        let call = self.log.begin(operation);
        let result = match &mut self.call_executor {
            Some(executor) => executor.call(db, operation),
            None => operation.apply(db),
        };
        self.log.ended(call, &result, db.durable_sequence());
        if let (Some(checks), Some(before)) = (self.disk_checks(), before) {
            checks.after(db, operation, &result, &before);
        }
        self.clock_read_ms = self.clock_read_ms.max(WorkloadClock::latest_read_ms());
        result
    }

    /// Closes the database.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let Some(db) = self.handle() else {
            return Ok(());
        };
        let result = db.close();
        if result.is_ok() {
            self.log.closed(db.last_sequence());
            if let Some(checks) = self.disk_checks() {
                checks.check_promised("close", true, true, u64::MAX);
            }
        }
        result
    }

    /// Ends the session, and opens the database again with the changes.
    fn reopen(&mut self, call: usize, reopening: &Reopening) -> Result<(), Error> {
        if let DriverDb::Shared(_) = self.db {
            let reason = "the driver of another thread cannot reopen the database";
            return Err(Error::storage("reopen", reason));
        }
        let closed = match reopening.end {
            SessionEnd::Close => self.close(),
            _ => Ok(()),
        };
        let DriverDb::Own {
            opener,
            location,
            handle,
        } = &mut self.db
        else {
            unreachable!("a shared database was refused")
        };
        if let Err(error) = &closed
            && !location.has_failed()
        {
            let message = format_args!("{reopening}: close: {}", error_chain(error));
            self.log.fail(FailureKind::CannotContinue, &message);
        }
        if location.has_failed_device() {
            return Err(Error::storage("reopen", "the device has failed"));
        }
        let next = location.session.next(&reopening.changes);
        // After a crash from here on, a session with the changes recovers.
        self.log.session_ended(call, &next);
        match &reopening.end {
            SessionEnd::Close | SessionEnd::Drop => {
                let operations_len = location.operations_len();
                drop(handle.take());
                if let Err(Failure { kind, message }) = location.check_dropped(operations_len) {
                    self.log.fail(kind, &message);
                }
            }
            SessionEnd::Kill => {
                location.disk = location.disk.as_ref().map(SimDisk::kill);
                drop(handle.take());
            }
            SessionEnd::PowerLoss(image) => {
                let Some(disk) = &location.disk else {
                    let reason = "real files lose no write: a power loss needs a simulated disk";
                    return Err(Error::storage("reopen", reason));
                };
                let after = disk.lose_power(image);
                let after = after.map_err(|error| Error::io("lose the power of", &location.dir, error));
                location.disk = Some(after?);
                drop(handle.take());
            }
        }
        let db = match opener.open_session(location, next) {
            Ok(db) => handle.insert(db),
            Err(error) => {
                if !location.has_failed() {
                    let message = format_args!("{reopening}: {}", error_chain(&error));
                    self.log.fail(FailureKind::Refused, &message);
                }
                return Err(error);
            }
        };
        if reopening.end == SessionEnd::Close
            && closed.is_ok()
            && let Err(Failure { kind, message }) = check_closed(db)
        {
            self.log.fail(kind, &message);
        }
        let crash_kind = match reopening.end {
            SessionEnd::PowerLoss(_) => CrashKind::PowerLoss,
            _ => CrashKind::ProcessCrash,
        };
        self.log
            .reopened(db, crash_kind, opener.durability_of(&location.session));
        if let (Some(checks), Some(db)) = (self.disk_checks(), self.handle()) {
            // The marker of a checkpoint that `open` made need not be durable.
            let log = db.durable_sequence() == db.last_sequence();
            checks.check_promised(&reopening.to_string(), log, true, u64::MAX);
        }
        self.clock_read_ms = WorkloadClock::latest_read_ms();
        Ok(())
    }

    /// The checks on the simulated disk; `None` if the driver does not check it.
    fn disk_checks(&self) -> Option<DiskChecks<'_>> {
        let DriverDb::Own { opener, location, .. } = &self.db else {
            return None;
        };
        Some(DiskChecks {
            disk: location.disk.as_ref()?,
            journal: self.check_journal?,
            location,
            durability: opener.durability_of(&location.session),
            sync_interval_ms: opener.sync_interval_ms(&location.session),
            has_own_storage: opener.has_own_storage(),
            segments_len_max: opener.segments_len_max(),
        })
    }
}

/// Checks after a close and a reopening that the close left at most two segments, and that `open` replayed nothing. A
/// close leaves the last segment, and one more if the last markers did not fit into it.
fn check_closed(db: &TidalDb) -> Result<(), Failure> {
    let report = db.recovery_report();
    let (found, replayed) = (report.segments_found, report.events_replayed);
    if found > 2 {
        let message = format_args!("close left {found} segments, though the checkpoint covers them");
        return Err(Failure::new(FailureKind::LeftBehind, message));
    }
    if replayed > 0 {
        let message = format_args!("open replayed {replayed} events after a close");
        return Err(Failure::new(FailureKind::CannotContinue, message));
    }
    Ok(())
}

/// Checks on the simulated disk: an acknowledged call is durable, and no call is acknowledged after a fault.
struct DiskChecks<'a> {
    disk: &'a SimDisk,
    journal: &'a Journal,
    location: &'a DatabaseLocation,
    durability: Durability,
    sync_interval_ms: Option<u64>,
    segments_len_max: usize,
    has_own_storage: bool,
}

/// The values before a call, for the check after it.
struct BeforeCall {
    had_failed: bool,
    failed_len: usize,
    last_sequence: u64,
    operations_len: u64,
    /// True if a timed sync is due before the call.
    is_sync_due: bool,
}

impl DiskChecks<'_> {
    fn before(&self, db: &TidalDb, operation: &Operation, clock_read_ms: i64) -> BeforeCall {
        let now_ms = match operation {
            Operation::Record { now_ms, .. } => *now_ms,
            _ => WorkloadClock::time_ms(),
        };
        let passed_ms = now_ms.saturating_sub(clock_read_ms);
        let is_over = |interval_ms| u64::try_from(passed_ms).is_ok_and(|passed_ms| passed_ms >= interval_ms);
        BeforeCall {
            // The last sync was not later than the last read of the clock.
            is_sync_due: (operation.is_frame() || operation.is_collection_change())
                && self.sync_interval_ms.is_some_and(is_over),
            had_failed: self.location.has_failed(),
            failed_len: self.disk.failed_operations_len(),
            last_sequence: db.last_sequence(),
            operations_len: self.disk.operations_len(),
        }
    }

    fn after(&self, db: &TidalDb, operation: &Operation, result: &CallResult, before: &BeforeCall) {
        if result.is_err() {
            if operation.must_be_refused() {
                self.check_unwritten(operation, before.operations_len);
            }
            return;
        }
        self.check_durable(operation, db.last_sequence() > before.last_sequence);
        if before.is_sync_due {
            let sync = format!("the timed sync before {operation}");
            self.check_promised(&sync, true, true, before.operations_len);
        }
        self.check_segments(db);
        if *operation == Operation::Sync && db.durable_sequence() != db.last_sequence() {
            let (durable, last) = (db.durable_sequence(), db.last_sequence());
            let message =
                format_args!("after sync the durable sequence is {durable}, but the last sequence is {last}");
            self.journal.fail(FailureKind::Wrong, message);
        }
        if self.disk.failed_operations_len() > before.failed_len
            || (before.had_failed && operation.is_frame())
        {
            let message = format_args!("{operation} returned Ok after a failed disk operation");
            self.journal.fail(FailureKind::AcknowledgedAfterFault, message);
        }
    }

    /// Checks that a call that was refused for its arguments wrote nothing to the log.
    fn check_unwritten(&self, operation: &Operation, operations_len: u64) {
        let recording = self.disk.recording();
        let mut during_call = recording.operations().skip(operations_len as usize);
        let log_dir = self.location.log_dir();
        let log_write =
            during_call.find(|it| it.kind == DiskOperationKind::Write && it.path.starts_with(&log_dir));
        if let Some(log_write) = log_write {
            let message = format_args!("{operation} was refused after it wrote to the log: {log_write}");
            self.journal.fail(FailureKind::Wrong, message);
        }
    }

    /// Checks the number of segments. If the session has its own segment size, also checks that no frame was appended
    /// to the last segment after it was full.
    fn check_segments(&self, db: &TidalDb) {
        let dir = self.location.log_dir();
        let names = self.disk.list(&dir).unwrap_or_default();
        let segments = names.iter().filter_map(|name| match parse_name(name) {
            SegmentName::Segment(first_sequence) => Some((first_sequence, dir.join(name))),
            _ => None,
        });
        let (len, len_max) = (segments.clone().count(), self.segments_len_max);
        if len > len_max {
            let message =
                format_args!("the log has {len} segments; a checkpoint is due before it has {len_max}");
            self.journal.fail(FailureKind::LeftBehind, message);
        }
        let last = segments.max();
        let (Some(bytes_max), Some((first_sequence, path))) =
            (self.location.session.segment_bytes_max(), last)
        else {
            return;
        };
        let file = self.disk.open(&path, OpenMode::Read);
        let bytes = file.and_then(|file| file.len()).unwrap_or(0);
        // A single frame may be longer than the segment size.
        if bytes > bytes_max && db.last_sequence() > first_sequence {
            let path = path.display();
            let message = format_args!(
                "{path} has {bytes} bytes and several frames; the segment size of the session is {bytes_max} bytes"
            );
            self.journal.fail(FailureKind::Wrong, message);
        }
    }

    /// Checks that the content which an acknowledged operation promises is durable. A checkpoint without new content
    /// has no sequence number and promises nothing. `has_new_sequence` is true if the operation increased the last
    /// sequence number.
    fn check_durable(&self, operation: &Operation, has_new_sequence: bool) {
        let every = self.durability == Durability::EverySynced;
        let is_sync = *operation == Operation::Sync;
        let log = (every && operation.is_frame()) || is_sync;
        let store = (every && operation.is_collection_change())
            || is_sync
            || (*operation == Operation::Checkpoint && has_new_sequence);
        self.check_promised(&operation.to_string(), log, store, u64::MAX);
    }

    /// Checks that the disk operations with an ordinal below `operations_len` are durable: operations of the log if
    /// `log` is true, operations of the store if `store` is true.
    fn check_promised(&self, operation: &str, log: bool, store: bool, operations_len: u64) {
        if self.disk.has_device_failed() {
            return;
        }
        let (log_dir, store_dir) = (self.location.log_dir(), self.location.store_dir());
        let promised = |path: &Path| {
            let in_log = path.starts_with(&log_dir);
            // A storage engine of the user may have its files in any directory.
            let in_store = path.starts_with(&store_dir) || (self.has_own_storage && !in_log);
            (path == self.location.dir && (log || store)) || (in_log && log) || (in_store && store)
        };
        let undurable = self.disk.undurable();
        let mut earlier = undurable.iter().filter(|it| it.ordinal < operations_len);
        let found = earlier.find(|it| match it.kind {
            // Open removes a segment that is present again after a power loss. A trim makes the removal durable.
            UndurableKind::Removal => {
                it.path.starts_with(&log_dir)
                    && it.path.extension().is_some_and(|extension| extension == "wal")
            }
            // The file of a compaction in progress. The store does not use it before it has its final name.
            _ if FileRole::of(&it.path) == FileRole::NewStoreFile => false,
            _ => promised(&it.path),
        });
        if let Some(found) = found {
            let message = format_args!("{operation} was acknowledged while {found} could be lost");
            self.journal.fail(FailureKind::AcknowledgedBeforeDurable, message);
        }
    }
}
