//! Crashes of a process with several threads: two writers, a reader, a thread that makes checkpoints, and the
//! database's background threads.
//!
//! For every interleaving the recovered state equals the model of the frames in the log, in the order of their sequence
//! numbers. The thread at the crash point varies from run to run; the crash point and the crossing are fixed.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use tidaldb::testing::lab::Random;
use tidaldb::testing::workload::{
    Operation, STANDARD_NOW_MS, Workload, is_ahead_of_clock, standard_schema, tiny_options,
};
use tidaldb::testing::{CrashPoint, CrashSweep, Driver, crash_of, inherit};
use tidaldb::{Background, Durability, EntityId, Error, SignalId, TidalDb};

use crate::databases::Policy;

/// The first part of the names of the cases.
pub(crate) const NAME: &str = "threads";
/// The number of runs of a case without a crash.
pub(crate) const ROUNDS: usize = 4;

/// The seeds of the two writers' operations.
const SEEDS: [u64; 2] = [0x0717_0001, 0x0717_0002];
const WRITER_LEN: usize = 80;
const CHECKPOINTS_LEN: usize = 12;
/// The highest crossing of a crash point that every interleaving reaches.
const CROSSING_MAX: u64 = 40;
/// The same for a crash point that only some operations cross.
const CROSSING_RARE_MAX: u64 = 3;

/// The description of the operations for a report.
pub(crate) fn work_as_text() -> String {
    format!("the standard workloads of seeds {SEEDS:x?}, on two threads")
}

/// The sweep of the kit that crashes the process with the threads.
pub(crate) fn sweep(policy: Policy) -> CrashSweep {
    let durability = match policy.durability() {
        // The database's background thread waits in real time.
        Durability::SyncedEvery { .. } => Durability::SyncedEvery { interval_ms: 5 },
        other => other,
    };
    CrashSweep::driven(NAME, work)
        .options(|| tiny_options(standard_schema()).background(Background::OwnThreads))
        .durability(durability)
}

/// The highest crossing of the point that every interleaving reaches.
pub(crate) fn crossing_max(point: CrashPoint) -> u64 {
    match point {
        CrashPoint::CheckpointPreFlush
        | CrashPoint::CheckpointPostFlush
        | CrashPoint::CollectionIndexUpdate
        | CrashPoint::CoEngagementUpdate => CROSSING_RARE_MAX,
        _ => CROSSING_MAX,
    }
}

/// The crash point and crossing that the seed selects.
pub(crate) fn site_of_seed(seed: u64) -> (CrashPoint, u64) {
    let mut random = Random::new(seed);
    let point = *random.pick(&CrashPoint::ALL);
    (point, random.below(crossing_max(point) + 1))
}

/// Runs two writers, a reader and a thread that makes checkpoints. Ends when the writers have ended or the handle is
/// poisoned.
fn work(driver: &mut Driver<'_>) -> Result<(), Error> {
    // Only one thread changes collections: the log does not order changes of collections.
    let parts = [
        Workload::standard(SEEDS[0], WRITER_LEN).operations,
        frames_of_second(),
        vec![Operation::Checkpoint; CHECKPOINTS_LEN],
    ];
    let (driver, writers_ended) = (&*driver, AtomicBool::new(false));
    thread::scope(|scope| {
        let callers: Vec<_> = parts
            .iter()
            .map(|operations| scope.spawn(inherit(move || apply_all(&mut driver.on_thread(), operations))))
            .collect();
        let reader = scope.spawn(inherit(|| read_until(driver.db(), &writers_ended)));
        let ended: Vec<_> = callers.into_iter().map(ScopedJoinHandle::join).collect();
        writers_ended.store(true, Ordering::Release);
        ended
            .into_iter()
            .chain([reader.join()])
            .try_for_each(outcome_of_thread)
    })
}

/// The frames and syncs of the second writer. The weights differ from all weights of the first writer.
fn frames_of_second() -> Vec<Operation> {
    let mut operations = Workload::standard(SEEDS[1], WRITER_LEN).operations;
    operations.retain(|operation| operation.is_frame() || matches!(operation, Operation::Sync));
    for operation in &mut operations {
        if let Operation::Record { events, .. } = operation {
            for event in events {
                event.weight += 1.0 / 16_384.0;
            }
        }
    }
    operations
}

/// The outcome of a joined thread. The injected crash is no error: it is part of the plan.
fn outcome_of_thread(joined: Result<Result<(), Error>, Box<dyn Any + Send>>) -> Result<(), Error> {
    match joined {
        Ok(outcome) => outcome,
        Err(payload) if crash_of(&*payload).is_some() => Ok(()),
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// Makes the calls in order, until the handle is poisoned.
fn apply_all(driver: &mut Driver<'_>, operations: &[Operation]) -> Result<(), Error> {
    for operation in operations {
        match driver.apply(operation) {
            Ok(_) | Err(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => {}
            Err(error) if is_ahead_of_clock(&error) => {}
            Err(error) if is_poisoned(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_poisoned(error: &Error) -> bool {
    match error {
        Error::Poisoned { .. } => true,
        Error::OutcomeUnknown { source, .. } => is_poisoned(source),
        _ => false,
    }
}

/// Reads until the writers have ended or the handle is poisoned.
fn read_until(db: &TidalDb, writers_ended: &AtomicBool) -> Result<(), Error> {
    let mut entity = 0;
    while !writers_ended.load(Ordering::Acquire) {
        entity = (entity + 1) % 6;
        match read(db, EntityId(entity)) {
            Ok(score) => assert!(score.is_finite(), "entity {entity} has the score {score}"),
            Err(error) if is_poisoned(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        thread::yield_now();
    }
    Ok(())
}

fn read(db: &TidalDb, entity: EntityId) -> Result<f64, Error> {
    let score = db.score(entity, SignalId(0), 0, STANDARD_NOW_MS)?;
    db.related(entity, 3, STANDARD_NOW_MS)?;
    db.collections()?;
    if entity == EntityId(0) {
        db.export()?;
    }
    Ok(score)
}
