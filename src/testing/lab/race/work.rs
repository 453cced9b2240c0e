//! What the threads of a race do: two record, one changes collections, one makes checkpoints and syncs, one reads, and
//! perhaps one closes.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Race;
use super::images::WatchedDisk;
use super::yields::Yields;
use crate::testing::sim_disk::{ImageChoice, InjectedPanic};
use crate::testing::text::panic_text;
use crate::testing::workload::{Operation, Random, STANDARD_NOW_MS, Workload, is_ahead_of_clock};
use crate::testing::{crash_of, inherit};
use crate::{EntityId, Error, SignalId, TidalDb};

/// How many operations of a standard workload each thread takes its own from.
const WORKLOAD_LEN: usize = 40;
const BARRIERS_LEN: usize = 8;
/// Under stress an image is taken after one call in so many.
const ONE_LOOK_IN: u64 = 6;

/// The state that the threads of a race share.
pub(super) struct RaceThreads {
    race: Race,
    pub(super) db: TidalDb,
    pub(super) watched: Arc<WatchedDisk>,
    yields: Arc<Yields>,
    /// Threads that call and have not ended.
    callers: AtomicUsize,
    /// Whether the call of `close` has returned.
    pub(super) closed: AtomicBool,
    pub(super) acknowledged: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) wrong: Mutex<Option<String>>,
}

impl RaceThreads {
    pub(super) fn new(race: Race, db: TidalDb, watched: Arc<WatchedDisk>, yields: Arc<Yields>) -> Self {
        Self {
            race,
            db,
            watched,
            yields,
            callers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            wrong: Mutex::new(None),
        }
    }

    fn note(&self, what: String) {
        lock(&self.wrong).get_or_insert(what);
    }

    /// Keeps the disk as a crash after a call leaves it.
    fn look(&self, random: &mut Random) {
        // Read first: later it could include frames that the image lacks.
        let durable = self.db.durable_sequence();
        lock(&self.watched.oracle).note_durable(durable);
        let seed = random.next_u64();
        self.watched.take(&match random.below(4) {
            0 => ImageChoice::All,
            1 => ImageChoice::Synced,
            _ => ImageChoice::Random { seed },
        });
    }
}

/// Runs a function when it is dropped.
struct CallsInDrop<'a>(&'a mut dyn FnMut());

impl Drop for CallsInDrop<'_> {
    fn drop(&mut self) {
        (self.0)();
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
pub(super) fn run(threads: &RaceThreads) {
    let shifts = shifts(threads.race.seed);
    threads.callers.store(shifts.len(), Ordering::Release);
    thread::scope(|scope| {
        for (number, shift) in (1..).zip(&shifts) {
            scope.spawn(inherit(move || {
                watched(threads, || call_all(threads, number, shift));
                threads.callers.fetch_sub(1, Ordering::AcqRel);
            }));
        }
        scope.spawn(inherit(|| watched(threads, || read(threads))));
        if let Some(closes_at) = threads.race.closes_at {
            scope.spawn(inherit(move || watched(threads, || close(threads, closes_at))));
        }
    });
}

/// Runs `body`, in a destructor if the race does so. An injected crash or panic ends a thread, and is none of its faults. Any
/// other panic is.
fn watched(threads: &RaceThreads, mut body: impl FnMut()) {
    let mut caught = || {
        let Err(payload) = catch_unwind(AssertUnwindSafe(&mut body)) else {
            return;
        };
        if crash_of(&*payload).is_none() && !payload.is::<InjectedPanic>() {
            threads.note(format!("a thread panicked: {}", panic_text(&*payload)));
        }
    };
    if !threads.race.in_destructors {
        return caught();
    }
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _calls = CallsInDrop(&mut caught);
        resume_unwind(Box::new("a panic of the application"));
    }));
    assert!(unwound.is_err());
}

/// Whether a call may end so: the handle is closed or poisoned, where the plan says that it will be.
fn is_expected(threads: &RaceThreads, error: &Error) -> bool {
    let race = &threads.race;
    match error {
        Error::Closed => race.closes_at.is_some(),
        Error::Poisoned { .. } | Error::Panicked { .. } => {
            race.panics_at.is_some() || race.fails_at.is_some()
        }
        Error::OutcomeUnknown { source, .. } => is_expected(threads, source),
        _ => false,
    }
}

fn call_all(threads: &RaceThreads, number: u64, operations: &[Operation]) {
    let mut random = Random::new(threads.race.seed ^ number << 48);
    for operation in operations {
        let id = lock(&threads.watched.oracle).begin(operation);
        let result = operation.apply(&threads.db);
        lock(&threads.watched.oracle).ended(id, &result);
        match result {
            Ok(_) => drop(threads.acknowledged.fetch_add(1, Ordering::Relaxed)),
            // Decided by the workload.
            Err(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => {}
            Err(error) if operation.must_be_refused() && is_ahead_of_clock(&error) => {}
            Err(error) => {
                if !matches!(error, Error::Closed) {
                    threads.failed.fetch_add(1, Ordering::Relaxed);
                }
                if !is_expected(threads, &error) {
                    threads.note(format!("{operation} failed: {error:?}"));
                }
                return;
            }
        }
        if threads.race.is_stress && random.chance(1, ONE_LOOK_IN) {
            threads.look(&mut random);
        }
    }
}

/// Reads as long as the others call: every read is answered, and a score is a finite number.
fn read(threads: &RaceThreads) {
    let db = &threads.db;
    let mut round = 0;
    while threads.callers.load(Ordering::Acquire) > 0 {
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
            Ok(score) => threads.note(format!("entity {entity} has the score {score}")),
            Err(error) => {
                if !is_expected(threads, &error) {
                    threads.note(format!("reading failed: {error:?}"));
                }
                return;
            }
        }
        thread::yield_now();
    }
}

/// Closes the database when it is time to, or when everybody else has ended.
fn close(threads: &RaceThreads, closes_at: u64) {
    while threads.yields.passed() < closes_at && threads.callers.load(Ordering::Acquire) > 0 {
        thread::yield_now();
    }
    match threads.db.close() {
        Ok(()) => threads.closed.store(true, Ordering::Release),
        Err(error) => {
            if !is_expected(threads, &error) {
                threads.note(format!("closing failed: {error:?}"));
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
