//! One recovery, and the checks after it of the database's further use.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::finding::{Failure, FailureKind};
use super::home::Home;
use super::journal::{is_answer, is_impossible};
use super::setup::Setup;
use crate::testing::SimDisk;
use crate::testing::oracle::{Death, Oracle, Verdict};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::{Event, Operation};
use crate::{CohortId, EarlierOpening, EntityId, Error, Export, RecoveryReport, SignalId, TidalDb, UserId};

/// What a recovery found.
#[derive(Debug, Clone)]
pub(crate) struct RecoveredState {
    pub(crate) export: Export,
    pub(crate) last_sequence: u64,
    /// The report of the opening. Two openings of one state have different reports.
    pub(crate) report: RecoveryReport,
}

impl PartialEq for RecoveredState {
    fn eq(&self, other: &Self) -> bool {
        self.last_sequence == other.last_sequence && self.export == other.export
    }
}

impl RecoveredState {
    pub(crate) fn of(db: &TidalDb) -> Result<Self, Failure> {
        let unreadable = |error: Error| Failure::new(FailureKind::Refused, error_chain(&error));
        Ok(Self {
            export: db.export().map_err(unreadable)?,
            last_sequence: db.last_sequence(),
            report: db.recovery_report().clone(),
        })
    }

    /// The id of this opening, and the earlier openings.
    pub(crate) fn openings(&self) -> (u64, &[EarlierOpening]) {
        (self.report.opening, &self.report.earlier_openings)
    }

    /// The oracle's verdict on it, and on the receipts in the report.
    pub(crate) fn judged_by(&self, oracle: &Oracle, death: Death) -> Verdict {
        oracle.check_recovered(death, &self.export, self.last_sequence, &self.report)
    }
}

/// Opens the database on `disk`, reads its state, and drops it. Afterwards the disk holds only what open did to it.
pub(crate) fn recover(setup: &Setup, disk: &SimDisk) -> Result<RecoveredState, Failure> {
    caught(|| {
        let home = setup.on_disk(disk);
        let db = open(setup, &home)?;
        let state = RecoveredState::of(&db)?;
        check_durable(&db, &state)?;
        let operations_len = disk.operations_len();
        drop(db);
        if disk.operations_len() != operations_len {
            let recording = disk.recording();
            let wrote = recording.operations().nth(operations_len as usize);
            let message = wrote.map_or_else(String::new, ToString::to_string);
            return Err(Failure::new(FailureKind::DropWrote, message));
        }
        check_left_behind(&home)?;
        Ok(state)
    })
}

/// Everything that open recovered is durable when it returns.
pub(crate) fn check_durable(db: &TidalDb, state: &RecoveredState) -> Result<(), Failure> {
    let durable = db.durable_sequence();
    if durable == state.last_sequence {
        return Ok(());
    }
    let found = state.last_sequence;
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
    home: &Home,
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
        for operation in &further_operations(setup, &db) {
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
        drop(db);
        let db = open(setup, home)?;
        let closed = RecoveredState::of(&db)?;
        if closed.export != before_close.export {
            check(&oracle, &closed, "after close and reopening")?;
        }
        check_closed(&db)?;
        drop(db);
        check_left_behind(home)?;
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

/// What the oracle says is wrong.
pub(crate) fn failure_of(verdict: &Verdict) -> Failure {
    use crate::testing::model::DifferenceKind;
    let kind = match verdict.differences.first().map(|difference| difference.kind) {
        Some(DifferenceKind::Lost) => FailureKind::Lost,
        Some(DifferenceKind::Doubled) => FailureKind::Doubled,
        Some(DifferenceKind::Half) => FailureKind::Half,
        Some(DifferenceKind::Wrong) | None => FailureKind::Wrong,
    };
    Failure::new(kind, verdict)
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
    let message = if again.last_sequence != recovered.last_sequence {
        format!(
            "opening once more comes to sequence {}, the first time it was {}",
            again.last_sequence, recovered.last_sequence
        )
    } else if again.export != recovered.export {
        "opening once more gives another state".to_owned()
    } else if let Some(tail) = &report.torn_tail {
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
    home: &Home,
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
    drop(db);
    let db = open(setup, home)?;
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
    let message = match TidalDb::open(&home.dir, setup.options().files(Arc::clone(&home.files))) {
        Err(Error::Locked { .. }) => return Ok(()),
        Err(error) => error_chain(&error),
        Ok(_) => "a second handle was opened beside the first".to_owned(),
    };
    Err(Failure::new(FailureKind::NotLocked, message))
}

/// Operations that are legal in every state. They change every structure.
fn further_operations(setup: &Setup, db: &TidalDb) -> Vec<Operation> {
    const NAME: &[u8] = b"tidaldb-testing went on";
    let at_ms = setup.options().clock.now_ms();
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
        Operation::CreateCollection(NAME.to_vec()),
        Operation::AddToCollection(NAME.to_vec(), EntityId(1)),
        Operation::record(vec![event(signals_len.saturating_sub(1), 2)]),
    ]
}

pub(crate) fn open(setup: &Setup, home: &Home) -> Result<TidalDb, Failure> {
    setup
        .open(home)
        .map_err(|error| Failure::new(FailureKind::Refused, error_chain(&error)))
}

/// Nothing of a dropped database may be left. A thread that still runs would hold the files.
fn check_left_behind(home: &Home) -> Result<(), Failure> {
    let mut left: Vec<String> = Vec::new();
    if let Some(disk) = &home.disk {
        let locks = disk
            .locks_held()
            .into_iter()
            .map(|path| format!("the lock {}", path.display()));
        let files = disk
            .open_files()
            .into_iter()
            .map(|path| format!("the open file {}", path.display()));
        left.extend(locks.chain(files));
    }
    if Arc::strong_count(&home.files) > 1 {
        left.push("a holder of the file access".to_owned());
    }
    match left.first() {
        Some(first) => Err(Failure::new(FailureKind::LeftBehind, first)),
        None => Ok(()),
    }
}

pub(crate) fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => Err(Failure::new(FailureKind::Panicked, panic_text(&*payload))),
    }
}
