//! Checks of the handle after a panic inside one of its calls. The handle must refuse writes. It must refuse reads if
//! the memory is only partly changed. It must not change any file.

use std::fmt;

use super::finding::{Failure, FailureKind};
use super::journal::Journal;
use super::location::DatabaseLocation;
use super::state::failure_of;
use crate::fs::RealFiles;
use crate::testing::CrashPoint;
use crate::testing::oracle::CrashKind;
use crate::testing::sim_disk::Image;
use crate::testing::text::error_chain;
use crate::testing::workload::{Event, Operation};
use crate::{EntityId, Error, SignalId, TidalDb};

/// Checks the handle after a panic at `point`, and drops it.
pub(crate) fn check_handle(
    db: TidalDb,
    location: &DatabaseLocation,
    point: CrashPoint,
    crossing: u64,
    journal: &Journal,
) -> Result<(), Failure> {
    let before = files_of(location)?;
    if journal.has_threads() {
        // A panic at a crash point of the checkpoint inside close leaves the handle closed.
        for operation in writes() {
            expect(&operation, operation.apply(&db), |error| {
                matches!(error, Error::Poisoned { .. })
                    || (leaves_memory_consistent(point) && matches!(error, Error::Closed))
            })?;
        }
    } else if journal.in_flight().is_none() {
        // The panic happened inside close.
        for operation in writes() {
            expect(&operation, operation.apply(&db), |error| {
                matches!(error, Error::Closed)
            })?;
        }
    } else {
        for operation in writes() {
            expect_poisoned(&operation, operation.apply(&db))?;
        }
        if leaves_memory_consistent(point) {
            let oracle = journal.last().1.oracle;
            let verdict = oracle.check(CrashKind::ProcessCrash, &db);
            if !verdict.is_ok() {
                return Err(failure_of(&verdict));
            }
        } else {
            expect_poisoned("export", db.export())?;
            expect_poisoned("score", db.score(EntityId(1), SignalId(0), 0, 0))?;
            expect_poisoned("collections", db.collections())?;
        }
        // Some cases drop the handle without a close.
        if crossing % 2 == 1 {
            expect_poisoned("close", db.close())?;
        }
    }
    drop(db);
    let after = files_of(location)?;
    if after == before {
        return Ok(());
    }
    let differences = before.differences(&after).join("; ");
    let message = format_args!("a poisoned handle changed files: {differences}");
    Err(Failure::new(FailureKind::DropWrote, message))
}

fn files_of(location: &DatabaseLocation) -> Result<Image, Failure> {
    Image::read_from(&RealFiles, &location.dir)
        .map_err(|error| Failure::new(FailureKind::CannotContinue, error))
}

fn writes() -> [Operation; 5] {
    let event = Event {
        entity: EntityId(1),
        signal: SignalId(0),
        weight: 1.0,
        at_ms: 0,
        user: None,
        cohorts: Vec::new(),
    };
    [
        Operation::record(vec![event]),
        Operation::ForgetEntity(EntityId(1)),
        Operation::CreateCollection(b"after".to_vec()),
        Operation::Sync,
        Operation::Checkpoint,
    ]
}

fn expect_poisoned<T>(call: impl fmt::Display, result: Result<T, Error>) -> Result<(), Failure> {
    expect(call, result, |error| matches!(error, Error::Poisoned { .. }))
}

fn expect<T>(
    call: impl fmt::Display,
    result: Result<T, Error>,
    is_expected: impl FnOnce(&Error) -> bool,
) -> Result<(), Failure> {
    let message = match result {
        Err(error) if is_expected(&error) => return Ok(()),
        Err(error) => format!(
            "{call} on the handle after the panic failed with an unexpected error: {}",
            error_chain(&error)
        ),
        Ok(_) => format!("{call} on the handle succeeded after the panic"),
    };
    Err(Failure::new(FailureKind::Wrong, message))
}

/// Returns true if the memory agrees with the log and the storage after a panic at `point`. This holds inside a
/// checkpoint. At the other points the memory lacks changes that the log or the storage has.
fn leaves_memory_consistent(point: CrashPoint) -> bool {
    matches!(
        point,
        CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush
    )
}
