//! One recovery, and the checks after it of the database's further use.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::finding::{Failure, FailureKind};
use super::home::Home;
use super::journal::{is_answer, is_impossible};
use super::setup::Setup;
use super::state::{RecoveredState, failure_of};
use crate::testing::SimDisk;
use crate::testing::oracle::{Death, Oracle, Verdict};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::{Event, Operation, Session};
use crate::{CohortId, EntityId, Error, SignalId, TidalDb, UserId};

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

/// Everything that open recovered is durable when it returns. The marker of a checkpoint that open made need not be.
pub(crate) fn check_durable(db: &TidalDb, state: &RecoveredState) -> Result<(), Failure> {
    let durable = db.durable_sequence();
    let found = state.report.last_sequence;
    if durable >= found {
        return Ok(());
    }
    let message = format_args!("open recovered sequence {found} and promises {durable} as durable");
    Err(Failure::new(FailureKind::Wrong, message))
}

/// Continues after the recovery that gave the state `recovered` and the oracle's `verdict`. Returns the last state, and the
/// oracle that knows of it.
///
/// 1. A second open gives the same state and repairs nothing.
/// 2. A second open beside the handle fails with `Locked`.
/// 3. Lost operations are applied again, and the handle is dropped and opened.
/// 4. The operations `rest` and a few more are applied.
/// 5. Close, reopen: the same state, and nothing to replay.
pub(crate) fn continue_after_recovery(
    setup: &Setup,
    home: &mut Home,
    recovered: &RecoveredState,
    mut oracle: Oracle,
    verdict: &Verdict,
    rest: &[Operation],
) -> Result<(RecoveredState, Oracle), Failure> {
    caught(|| {
        let db = open(setup, home)?;
        check_idempotent(&db, recovered)?;
        check_locked(setup, home)?;
        let db = retry(setup, home, db, &mut oracle, verdict)?;
        for operation in rest {
            apply(&db, operation, &mut oracle, is_answer)?;
        }
        for operation in &further_operations(setup, &home.session, &db) {
            apply(&db, operation, &mut oracle, |_| false)?;
        }
        let before_close = RecoveredState::of(&db)?;
        check(&oracle, &before_close, "after operations that follow recovery")?;
        if let Err(error) = db.close() {
            let message = format_args!("close after recovery: {}", error_chain(&error));
            return Err(Failure::new(FailureKind::CannotGoOn, message));
        }
        if home
            .disk
            .as_ref()
            .is_some_and(|disk| !disk.locks_held().is_empty())
        {
            let message = "the lock is held after close";
            return Err(Failure::new(FailureKind::LeftBehind, message));
        }
        let db = reopen(setup, home, db)?;
        let closed = RecoveredState::of(&db)?;
        if closed.export != before_close.export {
            check(&oracle, &closed, "after close and reopening")?;
        }
        check_closed(&db)?;
        let operations_len = home.operations_len();
        drop(db);
        home.check_dropped(operations_len)?;
        Ok((closed, oracle))
    })
}

/// Applies an operation after recovery. Errors that `is_legal` accepts are part of the work.
fn apply(
    db: &TidalDb,
    operation: &Operation,
    oracle: &mut Oracle,
    is_legal: impl FnOnce(&Error) -> bool,
) -> Result<(), Failure> {
    let id = oracle.begin(operation);
    let result = operation.apply(db);
    oracle.ended(id, &result);
    match result {
        Err(error) if !is_legal(&error) => {
            let message = format_args!("{operation} after recovery: {}", error_chain(&error));
            Err(Failure::new(FailureKind::CannotGoOn, message))
        }
        _ => Ok(()),
    }
}

/// The hash of what the disk holds.
pub(crate) fn hash_of(disk: &SimDisk) -> u128 {
    disk.image_hash(&ImageChoice::All)
}

fn check(oracle: &Oracle, state: &RecoveredState, when: &str) -> Result<(), Failure> {
    let verdict = state.judged_by(oracle, Death::ProcessCrash);
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

/// Applies the lost operations again, as a user would, and drops the database: what the first attempt left behind must
/// not come back.
fn retry(
    setup: &Setup,
    home: &mut Home,
    db: TidalDb,
    oracle: &mut Oracle,
    verdict: &Verdict,
) -> Result<TidalDb, Failure> {
    let missing = oracle.missing(verdict);
    oracle.reopened(verdict);
    if missing.is_empty() {
        return Ok(db);
    }
    for operation in &missing {
        // The operation was in flight: it may be impossible.
        apply(&db, operation, oracle, is_impossible)?;
    }
    let db = reopen(setup, home, db)?;
    let state = RecoveredState::of(&db)?;
    check(oracle, &state, "after lost operations were applied again")?;
    oracle.reopened(&state.judged_by(oracle, Death::ProcessCrash));
    Ok(db)
}

/// A close leaves no segment that its checkpoint covers: the last one, and one more if the markers of the end did not fit.
/// After it nothing is replayed.
fn check_closed(db: &TidalDb) -> Result<(), Failure> {
    let report = db.recovery_report();
    let (found, replayed) = (report.segments_found, report.events_replayed);
    if found > 2 {
        let message = format_args!("{found} segments after close, though the checkpoint covers them");
        return Err(Failure::new(FailureKind::LeftBehind, message));
    }
    if replayed > 0 {
        let message = format_args!("{replayed} events were replayed after close");
        return Err(Failure::new(FailureKind::CannotGoOn, message));
    }
    Ok(())
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
pub(crate) fn further_operations(setup: &Setup, session: &Session, db: &TidalDb) -> Vec<Operation> {
    let name = format!("tidaldb-testing session {}", session.number).into_bytes();
    let at_ms = setup.options(session).clock.now_ms();
    let event = |signal: usize, entity| Event {
        entity: EntityId(entity),
        signal: SignalId(signal as u16),
        weight: 0.75,
        at_ms,
        user: Some(UserId(1)),
        cohorts: vec![CohortId(1)],
    };
    let signals_len = db.schema().signals().len();
    vec![
        Operation::record((0..signals_len).map(|signal| event(signal, 1)).collect()),
        Operation::CreateCollection(name.clone()),
        Operation::AddToCollection(name, EntityId(1)),
        Operation::record(vec![event(signals_len.saturating_sub(1), 2)]),
    ]
}

pub(crate) fn open(setup: &Setup, home: &Home) -> Result<TidalDb, Failure> {
    setup
        .open(home)
        .map_err(|error| Failure::new(FailureKind::Refused, error_chain(&error)))
}

/// Drops the database and opens it in another session.
fn reopen(setup: &Setup, home: &mut Home, db: TidalDb) -> Result<TidalDb, Failure> {
    let operations_len = home.operations_len();
    drop(db);
    home.check_dropped(operations_len)?;
    let next = home.session.next(&[]);
    setup.begin_session(home, next);
    open(setup, home)
}

pub(crate) fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => Err(Failure::new(FailureKind::Panicked, panic_text(&*payload))),
    }
}
