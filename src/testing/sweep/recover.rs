//! One recovery of one image, and what must hold after it without knowing what was promised.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::setup::{DB_DIR, Setup};
use crate::fs::FileAccess;
use crate::testing::SimDisk;
use crate::testing::oracle::{Death, Oracle, Verdict};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::text::{error_chain, panic_text};
use crate::testing::verdict::{Failure, FailureKind};
use crate::testing::workload::{Event, Operation};
use crate::{CohortId, EntityId, Error, Export, SignalId, TidalDb, UserId};

/// What a recovery found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) export: Export,
    pub(crate) last_sequence: u64,
}

impl State {
    pub(crate) fn of(db: &TidalDb) -> Result<Self, Failure> {
        let unreadable = |error: Error| Failure::new(FailureKind::Refused, error_chain(&error));
        Ok(Self {
            export: db.export().map_err(unreadable)?,
            last_sequence: db.last_sequence(),
        })
    }

    /// What the oracle says of it.
    pub(crate) fn judged_by(&self, oracle: &Oracle, death: Death) -> Verdict {
        oracle.check_export(death, &self.export, Some(self.last_sequence))
    }
}

/// Opens, looks, and drops. The disk has nothing but what opening did to it afterwards.
pub(crate) fn recover(setup: &Setup, disk: &SimDisk) -> Result<State, Failure> {
    caught(|| {
        let files = setup.files_of(disk);
        let db = open(setup, &files)?;
        let state = State::of(&db)?;
        if db.durable_sequence() != state.last_sequence {
            let message = format_args!(
                "opening found sequence {} and promises {} as durable",
                state.last_sequence,
                db.durable_sequence()
            );
            return Err(Failure::new(FailureKind::Wrong, message));
        }
        let operations_len = disk.operations_len();
        drop(db);
        if disk.operations_len() != operations_len {
            let recording = disk.recording();
            let wrote = recording.operations().nth(operations_len as usize);
            let message = wrote.map_or_else(String::new, ToString::to_string);
            return Err(Failure::new(FailureKind::DropWrote, message));
        }
        check_left_behind(disk, files)?;
        Ok(state)
    })
}

/// A recovered database must open again to the same state with nothing left to repair, let nobody else in, take what was
/// lost once more and further writes, close, and open to what it was closed with, without what is of no use any more. The
/// oracle is the one that found `verdict` of the recovered state.
pub(crate) fn go_on(
    setup: &Setup,
    disk: &SimDisk,
    recovered: &State,
    mut oracle: Oracle,
    verdict: &Verdict,
) -> Result<(), Failure> {
    caught(|| {
        let files = setup.files_of(disk);
        let db = open(setup, &files)?;
        check_idempotent(&db, recovered)?;
        check_locked(setup, &files)?;
        let db = retry(setup, &files, db, &mut oracle, verdict)?;
        for operation in further_operations(setup, &db) {
            let id = oracle.begin(&operation);
            let result = operation.apply(&db);
            oracle.ended(id, &result);
            if let Err(error) = result {
                let message = format_args!("{operation} after recovery: {}", error_chain(&error));
                return Err(Failure::new(FailureKind::CannotGoOn, message));
            }
        }
        let going = State::of(&db)?;
        check(&oracle, &going, "after going on")?;
        if let Err(error) = db.close() {
            let message = format_args!("close after recovery: {}", error_chain(&error));
            return Err(Failure::new(FailureKind::CannotGoOn, message));
        }
        if !disk.locks_held().is_empty() {
            return Err(Failure::new(
                FailureKind::LeftBehind,
                "the lock is held after close",
            ));
        }
        drop(db);
        let db = open(setup, &files)?;
        let closed = State::of(&db)?;
        if closed.export != going.export {
            check(&oracle, &closed, "after close and reopening")?;
        }
        check_trimmed(&db)?;
        drop(db);
        check_left_behind(disk, files)
    })
}

/// The hash of what the disk holds.
pub(crate) fn hash_of(disk: &SimDisk) -> u128 {
    disk.image_hash(&ImageChoice::All)
}

/// What the oracle says is wrong.
pub(crate) fn failure_of(verdict: &Verdict) -> Failure {
    use crate::testing::model::Fault;
    let kind = match verdict.differences.first().map(|difference| difference.verdict) {
        Some(Fault::Lost) => FailureKind::Lost,
        Some(Fault::Doubled) => FailureKind::Doubled,
        Some(Fault::Half) => FailureKind::Half,
        Some(Fault::Wrong) | None => FailureKind::Wrong,
    };
    Failure::new(kind, verdict)
}

fn check(oracle: &Oracle, state: &State, when: &str) -> Result<(), Failure> {
    let verdict = state.judged_by(oracle, Death::ProcessCrash);
    if verdict.is_ok() {
        return Ok(());
    }
    let Failure { kind, message } = failure_of(&verdict);
    Err(Failure::new(
        FailureKind::CannotGoOn,
        format_args!("{when}: {kind}: {message}"),
    ))
}

fn check_idempotent(db: &TidalDb, recovered: &State) -> Result<(), Failure> {
    let again = State::of(db)?;
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

/// Does what was lost once more, as its callers will, and dies right after it: what of the first time was cut or left
/// aside must not come back.
fn retry(
    setup: &Setup,
    files: &Arc<dyn FileAccess>,
    db: TidalDb,
    oracle: &mut Oracle,
    verdict: &Verdict,
) -> Result<TidalDb, Failure> {
    let missing = oracle.missing(verdict);
    oracle.reopened(verdict);
    if missing.is_empty() {
        return Ok(db);
    }
    for operation in missing {
        let id = oracle.begin(&operation);
        let result = operation.apply(&db);
        oracle.ended(id, &result);
        match result {
            // It was in flight, so nobody knows that it was possible.
            Ok(_) | Err(Error::UnknownCollection { .. } | Error::CollectionExists { .. }) => {}
            Err(error) => {
                let message = format_args!("{operation} once more: {}", error_chain(&error));
                return Err(Failure::new(FailureKind::CannotGoOn, message));
            }
        }
    }
    drop(db);
    let db = open(setup, files)?;
    let state = State::of(&db)?;
    check(oracle, &state, "after what was lost was done once more")?;
    oracle.reopened(&state.judged_by(oracle, Death::ProcessCrash));
    Ok(db)
}

/// A close leaves no segment that its checkpoint covers: the one that was being written, and one more if the markers of
/// the end did not fit.
fn check_trimmed(db: &TidalDb) -> Result<(), Failure> {
    let found = db.recovery_report().segments_found;
    if found <= 2 {
        return Ok(());
    }
    let message = format_args!("{found} segments after close, though the checkpoint covers what is in them");
    Err(Failure::new(FailureKind::LeftBehind, message))
}

/// As long as there is a handle, a second opener must be told so.
fn check_locked(setup: &Setup, files: &Arc<dyn FileAccess>) -> Result<(), Failure> {
    // The lock comes before the storage, so it does not matter which that is.
    let message = match TidalDb::open(DB_DIR, setup.options().files(Arc::clone(files))) {
        Err(Error::Locked { .. }) => return Ok(()),
        Err(error) => error_chain(&error),
        Ok(_) => "a second handle was opened beside the first".to_owned(),
    };
    Err(Failure::new(FailureKind::NotLocked, message))
}

/// A few operations that are legal whatever was found: every structure gets something.
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

fn open(setup: &Setup, files: &Arc<dyn FileAccess>) -> Result<TidalDb, Failure> {
    setup
        .open(files, Path::new(DB_DIR))
        .map_err(|error| Failure::new(FailureKind::Refused, error_chain(&error)))
}

/// Nothing of a dropped database may be left. A thread that went on would hold the files.
fn check_left_behind(disk: &SimDisk, files: Arc<dyn FileAccess>) -> Result<(), Failure> {
    let mut left: Vec<String> = Vec::new();
    left.extend(
        disk.locks_held()
            .iter()
            .map(|path| format!("the lock {}", path.display())),
    );
    left.extend(
        disk.open_files()
            .iter()
            .map(|path| format!("the open file {}", path.display())),
    );
    if Arc::strong_count(&files) > 1 {
        left.push("somebody who holds the file access".to_owned());
    }
    drop(files);
    match left.first() {
        Some(first) => Err(Failure::new(FailureKind::LeftBehind, first)),
        None => Ok(()),
    }
}

fn caught<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => Err(Failure::new(FailureKind::Panicked, panic_text(&*payload))),
    }
}
