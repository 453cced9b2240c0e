//! One recovery, and the checks of the continuation after it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::driver::Driver;
use super::finding::{Failure, FailureKind};
use super::journal::{Journal, OracleSnapshot};
use super::location::DatabaseLocation;
use super::setup::Setup;
use super::state::{RecoveredState, failure_of};
use crate::testing::SimDisk;
use crate::testing::oracle::{CrashKind, Verdict};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::{Event, Operation, Reopening, Session, SessionEnd};
use crate::{CohortId, EntityId, Error, Schema, SignalId, TidalDb, UserId};

/// Opens the database on `disk`, reads its state, and drops it. The disk then has only the changes that `open` made.
pub(crate) fn recover(setup: &Setup, disk: &SimDisk, session: &Session) -> Result<RecoveredState, Failure> {
    catch_panic(|| {
        let location = setup.location_on_disk(disk, session.clone());
        let db = open(setup, &location)?;
        let state = RecoveredState::of(&db)?;
        check_durable(&db, &state)?;
        let operations_len = disk.operations_len();
        drop(db);
        location.check_dropped(operations_len)?;
        Ok(state)
    })
}

/// Checks that all recovered frames are durable. The marker of a checkpoint that `open` made need not be durable.
pub(crate) fn check_durable(db: &TidalDb, state: &RecoveredState) -> Result<(), Failure> {
    let durable = db.durable_sequence();
    let found = state.report.last_sequence;
    if durable >= found {
        return Ok(());
    }
    let message =
        format_args!("open recovered sequence {found}, but reports only sequence {durable} as durable");
    Err(Failure::new(FailureKind::Wrong, message))
}

/// Continues after the recovery that gave the state `recovered` and the oracle's `verdict`. Returns the last state and
/// the last oracle snapshot.
///
/// 1. Opens the database again, with the stored schema. The state must be the same, and `open` must repair nothing.
/// 2. Opens the database while the handle is open. This must fail with `Locked`.
/// 3. Applies the lost operations again, as a user would do, then drops the handle and opens the database. Bytes of the
///    first attempt must not appear again.
/// 4. Applies the operations `rest` and a few more.
/// 5. Closes and reopens the database. The state must be the same, and `open` must replay nothing.
pub(crate) fn continue_after_recovery(
    setup: &Setup,
    location: &mut DatabaseLocation,
    recovered: &RecoveredState,
    snapshot: &OracleSnapshot,
    verdict: &Verdict,
    rest: &[Operation],
) -> Result<(RecoveredState, OracleSnapshot), Failure> {
    catch_panic(|| {
        let journal = Journal::new(snapshot.clone());
        let mut handle = None;
        let db = handle.insert(setup.open_stored(location)?);
        check_idempotent(db, recovered)?;
        check_locked(setup, location)?;
        let mut operations = journal.continue_from(verdict);
        if !operations.is_empty() {
            operations.push(Reopening::after(SessionEnd::Drop).into());
        }
        operations.extend_from_slice(rest);
        let mut driver = Driver::new(setup, location, &mut handle, &*journal, None);
        for operation in &operations {
            // The journal distinguishes refusals from other errors.
            driver.apply(operation).ok();
            check_journal(&journal)?;
        }
        for operation in &further_operations(setup, &driver) {
            if let Err(error) = driver.apply(operation) {
                let message = format_args!("{operation} after recovery: {}", error_chain(&error));
                return Err(Failure::new(FailureKind::CannotContinue, message));
            }
        }
        let before_close = RecoveredState::of(driver.db())?;
        check(&journal, &before_close, "after operations that follow recovery")?;
        driver.apply(&Reopening::after(SessionEnd::Close).into()).ok();
        check_journal(&journal)?;
        let closed = RecoveredState::of(driver.db())?;
        let operations_len = location.operations_len();
        drop(handle);
        location.check_dropped(operations_len)?;
        Ok((closed, journal.last().1))
    })
}

/// Fails with the first failure or error in the journal after recovery.
fn check_journal(journal: &Journal) -> Result<(), Failure> {
    match journal.first_failure() {
        None => Ok(()),
        Some(Failure { kind, message }) => Err(match kind {
            FailureKind::Lost | FailureKind::Doubled | FailureKind::Half | FailureKind::Wrong => {
                Failure::new(FailureKind::CannotContinue, format_args!("{kind}: {message}"))
            }
            _ => Failure::new(kind, message),
        }),
    }
}

/// The hash of the content of the disk.
pub(crate) fn content_hash(disk: &SimDisk) -> u128 {
    disk.image_hash(&ImageChoice::All)
}

fn check(journal: &Journal, state: &RecoveredState, when: &str) -> Result<(), Failure> {
    let verdict = state.check_against(&journal.last().1.oracle, CrashKind::ProcessCrash);
    if verdict.is_ok() {
        return Ok(());
    }
    let Failure { kind, message } = failure_of(&verdict);
    let message = format_args!("{when}: {kind}: {message}");
    Err(Failure::new(FailureKind::CannotContinue, message))
}

fn check_idempotent(db: &TidalDb, recovered: &RecoveredState) -> Result<(), Failure> {
    let again = RecoveredState::of(db)?;
    let report = db.recovery_report();
    let message = if again.export == recovered.export && !again.is_same(recovered) {
        format!(
            "the second open ends at sequence {}, the first open at {}",
            again.last_sequence, recovered.last_sequence
        )
    } else if again.export != recovered.export {
        "the second open gives another state".to_owned()
    } else if let Some(tail) = &report.torn_tail
        && !(tail.all_zero && recovered.last_sequence > recovered.report.last_sequence)
    {
        // The zeros before the marker of a checkpoint that the first open made are not a torn tail.
        format!(
            "the second open truncates the tail again: {} bytes at offset {} of {}",
            tail.cut_bytes,
            tail.offset,
            tail.path.display()
        )
    } else if report.leftovers_removed > 0 {
        format!("the second open removes {} leftovers", report.leftovers_removed)
    } else {
        return Ok(());
    };
    Err(Failure::new(FailureKind::NotIdempotent, message))
}

/// Checks that a second open fails with [`Error::Locked`] while a handle is open.
fn check_locked(setup: &Setup, location: &DatabaseLocation) -> Result<(), Failure> {
    // `open` takes the lock before it opens the storage, so the storage engine does not matter.
    let message = match TidalDb::open(
        &location.dir,
        setup
            .options(&location.session)
            .files(Arc::clone(&location.files)),
    ) {
        Err(Error::Locked { .. }) => return Ok(()),
        Err(error) => error_chain(&error),
        Ok(_) => "a second open succeeded while a handle was open".to_owned(),
    };
    Err(Failure::new(FailureKind::NotLocked, message))
}

/// Operations that are legal in every state. They change every structure.
pub(crate) fn further_operations(setup: &Setup, driver: &Driver<'_>) -> Vec<Operation> {
    let session = driver.session();
    let name = format!("tidaldb-testing session {}", session.number).into_bytes();
    let at_ms = setup.options(session).clock.now_ms();
    let [all, last] = further_events(driver.db().schema(), at_ms);
    vec![
        Operation::record(all),
        Operation::CreateCollection(name.clone()),
        Operation::AddToCollection(name, EntityId(1)),
        Operation::record(last),
    ]
}

/// The events of [`further_operations`], grouped by call.
pub(super) fn further_events(schema: &Schema, at_ms: i64) -> [Vec<Event>; 2] {
    let event = |signal: usize, entity| Event {
        entity: EntityId(entity),
        signal: SignalId(signal as u16),
        weight: 0.75,
        at_ms,
        user: Some(UserId(1)),
        cohorts: vec![CohortId(1)],
    };
    let signals_len = schema.signals().len();
    [
        (0..signals_len).map(|signal| event(signal, 1)).collect(),
        vec![event(signals_len.saturating_sub(1), 2)],
    ]
}

pub(crate) fn open(setup: &Setup, location: &DatabaseLocation) -> Result<TidalDb, Failure> {
    setup
        .open(location)
        .map_err(|error| Failure::new(FailureKind::Refused, error_chain(&error)))
}

pub(crate) fn catch_panic<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => Err(Failure::new(FailureKind::Panicked, panic_text(&*payload))),
    }
}
