//! What the threads of a race do: two record, one changes collections, one makes checkpoints and syncs, one reads, and
//! perhaps one closes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::yields::Yields;
use crate::testing::oracle::Oracle;
use crate::testing::text::panic_text;
use crate::testing::workload::{Operation, STANDARD_NOW_MS, Workload, is_ahead_of_clock};
use crate::testing::{crash_of, inherit};
use crate::{EntityId, Error, SignalId, TidalDb};

/// How many operations of a standard workload each thread takes its own from.
const WORKLOAD_LEN: usize = 40;
const BARRIERS_LEN: usize = 8;

/// What the threads share.
pub(super) struct Shared {
    pub(super) db: TidalDb,
    pub(super) oracle: Arc<Mutex<Oracle>>,
    pub(super) yields: Arc<Yields>,
    /// The database is closed once so many places were passed.
    pub(super) closes_at: Option<u64>,
    /// Whether a thread panics or an operation fails, so that calls may be refused.
    pub(super) may_be_poisoned: bool,
    /// Threads that call and have not ended.
    callers: AtomicUsize,
    /// Whether the call of `close` has returned.
    pub(super) closed: AtomicBool,
    pub(super) wrong: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(
        db: TidalDb,
        oracle: Arc<Mutex<Oracle>>,
        yields: Arc<Yields>,
        closes_at: Option<u64>,
        may_be_poisoned: bool,
    ) -> Self {
        Self {
            db,
            oracle,
            yields,
            closes_at,
            may_be_poisoned,
            callers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            wrong: Mutex::new(None),
        }
    }

    fn note(&self, what: String) {
        lock(&self.wrong).get_or_insert(what);
    }
}

/// The operations of each calling thread.
fn shifts(seed: u64) -> [Vec<Operation>; 4] {
    let all = |salt: u64| Workload::standard(seed ^ salt, WORKLOAD_LEN).operations;
    let frames = |salt: u64| {
        let mut frames = all(salt);
        frames.retain(Operation::is_frame);
        // Weights tell the events of the threads apart.
        for operation in &mut frames {
            if let Operation::Record { events, .. } = operation {
                for event in events {
                    event.weight += salt as f64 / 16_384.0;
                }
            }
        }
        frames
    };
    // One thread alone changes collections: their order is not the log's.
    let mut changes = [all(3), all(4)].concat();
    changes.retain(Operation::is_collection_change);
    let barrier = |index| {
        if index % 3 == 2 {
            Operation::Sync
        } else {
            Operation::Checkpoint
        }
    };
    let barriers = (0..BARRIERS_LEN).map(barrier).collect();
    [frames(1), frames(2), changes, barriers]
}

/// Runs all threads to their end.
pub(super) fn run(shared: &Shared, seed: u64) {
    let shifts = shifts(seed);
    shared.callers.store(shifts.len(), Ordering::Release);
    thread::scope(|scope| {
        for shift in &shifts {
            scope.spawn(inherit(move || {
                watched(shared, || call_all(shared, shift));
                shared.callers.fetch_sub(1, Ordering::AcqRel);
            }));
        }
        scope.spawn(inherit(|| watched(shared, || read(shared))));
        if let Some(closes_at) = shared.closes_at {
            scope.spawn(inherit(move || watched(shared, || close(shared, closes_at))));
        }
    });
}

/// The injected crash ends a thread, and is none of its faults. Any other panic is.
fn watched(shared: &Shared, body: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(body)) else {
        return;
    };
    if crash_of(&*payload).is_some() {
        return;
    }
    shared.note(format!("a thread panicked: {}", panic_text(&*payload)));
}

/// Whether a call may end so: the handle is closed or poisoned, where the plan says that it will be.
fn is_expected(shared: &Shared, error: &Error) -> bool {
    match error {
        Error::CollectionExists { .. } | Error::UnknownCollection { .. } => true,
        Error::Closed => shared.closes_at.is_some(),
        Error::Poisoned { .. } | Error::Panicked { .. } => shared.may_be_poisoned,
        Error::OutcomeUnknown { source, .. } => is_expected(shared, source),
        _ => false,
    }
}

fn call_all(shared: &Shared, operations: &[Operation]) {
    for operation in operations {
        let id = lock(&shared.oracle).begin(operation);
        let result = operation.apply(&shared.db);
        lock(&shared.oracle).ended(id, &result);
        match result {
            Ok(_) | Err(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => {}
            Err(error) if operation.must_be_refused() && is_ahead_of_clock(&error) => {}
            Err(error) => {
                if !is_expected(shared, &error) {
                    shared.note(format!("{operation} failed: {error:?}"));
                }
                return;
            }
        }
    }
}

/// Reads as long as the others call: every read is answered, and a score is a finite number.
fn read(shared: &Shared) {
    let db = &shared.db;
    let mut round = 0;
    while shared.callers.load(Ordering::Acquire) > 0 {
        round += 1;
        let entity = EntityId(round % 5);
        let look = || -> Result<f64, Error> {
            let score = db.score(entity, SignalId(0), 0, STANDARD_NOW_MS)?;
            db.related(entity, 3, STANDARD_NOW_MS)?;
            db.collections()?;
            db.statistics()?;
            if round % 16 == 0 {
                db.export()?;
            }
            Ok(score)
        };
        match look() {
            Ok(score) if score.is_finite() => {}
            Ok(score) => shared.note(format!("entity {entity} has the score {score}")),
            Err(error) => {
                if !is_expected(shared, &error) {
                    shared.note(format!("reading failed: {error:?}"));
                }
                return;
            }
        }
        thread::yield_now();
    }
}

/// Closes the database when it is time to, or when everybody else has ended.
fn close(shared: &Shared, closes_at: u64) {
    while shared.yields.passed() < closes_at && shared.callers.load(Ordering::Acquire) > 0 {
        thread::yield_now();
    }
    match shared.db.close() {
        Ok(()) => shared.closed.store(true, Ordering::Release),
        Err(error) => {
            if !is_expected(shared, &error) {
                shared.note(format!("closing failed: {error:?}"));
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
