//! One recovery, and the checks after it of the database's further use.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::driver::Driver;
use super::finding::{Failure, FailureKind};
use super::home::Home;
use super::journal::{Journal, OracleSnapshot};
use super::setup::Setup;
use super::state::{RecoveredState, failure_of};
use crate::testing::SimDisk;
use crate::testing::oracle::{CrashKind, Verdict};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::{Event, Operation, Reopening, Session, SessionEnd};
use crate::{CohortId, EntityId, Error, Schema, SignalId, TidalDb, UserId};

/// Opens the database on `disk`, reads its state, and drops it. Afterwards the disk holds only what open did to it.
pub(crate) fn recover(setup: &Setup, disk: &SimDisk, session: &Session) -> Result<RecoveredState, Failure> {
    caught(|| {
        let home = setup.on_disk(disk, session.clone());
        let db = open(setup, &home)?;
        let state = RecoveredState::of(&db)?;
        check_durable(&db, &state)?;
        let operations_len = disk.operations_len();
        drop(db);
        home.check_dropped(operations_len)?;
        Ok(state)
    })
}

/// Checks that everything that `open` recovered is durable. The marker of a checkpoint that `open` made need not be.
pub(crate) fn check_durable(db: &TidalDb, state: &RecoveredState) -> Result<(), Failure> {
    let durable = db.durable_sequence();
    let found = state.report.last_sequence;
    if durable >= found {
        return Ok(());
    }
    let message = format_args!("open recovered sequence {found} and promises {durable} as durable");
    Err(Failure::new(FailureKind::Wrong, message))
}

/// Continues after the recovery that gave the state `recovered` and the oracle's `verdict`. Returns the last state and the last
/// knowledge.
///
/// 1. A second open, with the stored schema, gives the same state and repairs nothing.
/// 2. A second open beside the handle fails with `Locked`.
/// 3. Lost operations are applied again, as a user would do, and the handle is dropped and opened. Bytes of the first attempt
///    must not come back.
/// 4. The operations `rest` and a few more are applied.
/// 5. Close, reopen: the same state, and nothing to replay.
pub(crate) fn continue_after_recovery(
    setup: &Setup,
    home: &mut Home,
    recovered: &RecoveredState,
    known: &OracleSnapshot,
    verdict: &Verdict,
    rest: &[Operation],
) -> Result<(RecoveredState, OracleSnapshot), Failure> {
    caught(|| {
        let journal = Journal::new(known.clone());
        let mut handle = None;
        let db = handle.insert(setup.open_stored(home)?);
        check_idempotent(db, recovered)?;
        check_locked(setup, home)?;
        let mut operations = journal.continue_from(verdict);
        if !operations.is_empty() {
            operations.push(Reopening::after(SessionEnd::Drop).into());
        }
        operations.extend_from_slice(rest);
        let mut driver = Driver::new(setup, home, &mut handle, &*journal, None);
        for operation in &operations {
            // The journal knows which errors are part of the work.
            driver.apply(operation).ok();
            check_journal(&journal)?;
        }
        for operation in &further_operations(setup, &driver) {
            if let Err(error) = driver.apply(operation) {
                let message = format_args!("{operation} after recovery: {}", error_chain(&error));
                return Err(Failure::new(FailureKind::CannotGoOn, message));
            }
        }
        let before_close = RecoveredState::of(driver.db())?;
        check(&journal, &before_close, "after operations that follow recovery")?;
        driver.apply(&Reopening::after(SessionEnd::Close).into()).ok();
        check_journal(&journal)?;
        let closed = RecoveredState::of(driver.db())?;
        let operations_len = home.operations_len();
        drop(handle);
        home.check_dropped(operations_len)?;
        Ok((closed, journal.last().1))
    })
}

/// Returns the first failure or error that the journal noted after recovery.
fn check_journal(journal: &Journal) -> Result<(), Failure> {
    match journal.first_failure() {
        None => Ok(()),
        Some(Failure { kind, message }) => Err(match kind {
            FailureKind::Lost | FailureKind::Doubled | FailureKind::Half | FailureKind::Wrong => {
                Failure::new(FailureKind::CannotGoOn, format_args!("{kind}: {message}"))
            }
            _ => Failure::new(kind, message),
        }),
    }
}

/// The hash of the content of the disk.
pub(crate) fn hash_of(disk: &SimDisk) -> u128 {
    disk.image_hash(&ImageChoice::All)
}

fn check(journal: &Journal, state: &RecoveredState, when: &str) -> Result<(), Failure> {
    let verdict = state.judged_by(&journal.last().1.oracle, CrashKind::ProcessCrash);
    if verdict.is_ok() {
        return Ok(());
    }
    let Failure { kind, message } = failure_of(&verdict);
    let message = format_args!("{when}: {kind}: {message}");
    Err(Failure::new(FailureKind::CannotGoOn, message))
}

fn check_idempotent(db: &TidalDb, recovered: &RecoveredState) -> Result<(), Failure> {
    let again = RecoveredState::of(db)?;
    let report = db.recovery_report();
    let message = if again.export == recovered.export && !again.is_same(recovered) {
        format!(
            "opening once more comes to sequence {}, the first time it was {}",
            again.last_sequence, recovered.last_sequence
        )
    } else if again.export != recovered.export {
        "opening once more gives another state".to_owned()
    } else if let Some(tail) = &report.torn_tail
        && !(tail.all_zero && recovered.last_sequence > recovered.report.last_sequence)
    {
        // The zeros ahead of the marker of a checkpoint that the first open made are no repair.
        format!("opening once more cuts the log again: {tail:?}")
    } else if report.leftovers_removed > 0 {
        format!("opening once more removes {} leftovers", report.leftovers_removed)
    } else {
        return Ok(());
    };
    Err(Failure::new(FailureKind::NotIdempotent, message))
}

/// While a handle is open, a second open is refused.
fn check_locked(setup: &Setup, home: &Home) -> Result<(), Failure> {
    // The lock comes before the storage, so any storage engine serves.
    let message = match TidalDb::open(
        &home.dir,
        setup.options(&home.session).files(Arc::clone(&home.files)),
    ) {
        Err(Error::Locked { .. }) => return Ok(()),
        Err(error) => error_chain(&error),
        Ok(_) => "a second handle was opened beside the first".to_owned(),
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

/// The events of [`further_operations`], call by call.
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

pub(crate) fn open(setup: &Setup, home: &Home) -> Result<TidalDb, Failure> {
    setup
        .open(home)
        .map_err(|error| Failure::new(FailureKind::Refused, error_chain(&error)))
}

pub(crate) fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => Err(Failure::new(FailureKind::Panicked, panic_text(&*payload))),
    }
}
