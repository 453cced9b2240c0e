//! The work of the threads of a race: two threads record, one changes collections, one makes checkpoints and syncs, one
//! reads, and one may close the database.
//!
//! Owns the shared state of the threads and the first failure. Invariant: each call begins and ends in the oracle on
//! the thread that makes it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::images::RaceDisk;
use super::parameters::Race;
use super::yield_points::YieldPoints;
use crate::testing::sim_disk::{ImageChoice, InjectedPanic};
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::{Operation, Random, STANDARD_NOW_MS, Workload, is_ahead_of_clock};
use crate::testing::{crash_of, inherit};
use crate::{EntityId, Error, SignalId, TidalDb};

/// The length of each standard workload from which a thread takes its operations.
const WORKLOAD_LEN: usize = 40;
const BARRIERS_LEN: usize = 8;
/// On average, a stress race takes one image in this number of calls.
const CALLS_PER_IMAGE: u64 = 6;

/// The state that the threads of a race share.
pub(super) struct RaceThreads {
    race: Race,
    pub(super) db: TidalDb,
    pub(super) disk: Arc<RaceDisk>,
    points: Arc<YieldPoints>,
    /// The number of calling threads that have not ended.
    callers: AtomicUsize,
    /// True if a call of `close` has succeeded.
    pub(super) closed: AtomicBool,
    pub(super) acknowledged: AtomicU64,
    pub(super) calls_failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

impl RaceThreads {
    pub(super) fn new(race: Race, db: TidalDb, disk: Arc<RaceDisk>, points: Arc<YieldPoints>) -> Self {
        Self {
            race,
            db,
            disk,
            points,
            callers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            calls_failed: AtomicU64::new(0),
            first_failure: Mutex::new(None),
        }
    }

    /// Records a failure. The first one counts.
    fn fail(&self, failure: String) {
        let mut first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
    }

    /// The first failure, `None` if there was none.
    pub(super) fn failure(&self) -> Option<String> {
        let first = self.first_failure.lock();
        first.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes an image of the disk as a crash after a call leaves it.
    fn take_image(&self, random: &mut Random) {
        // Read before the image is taken: a later number could include frames that the image lacks.
        let durable = self.db.durable_sequence();
        self.disk.oracle().note_durable(durable);
        let seed = random.next_u64();
        self.disk.take_image(&match random.below(4) {
            0 => ImageChoice::All,
            1 => ImageChoice::Synced,
            _ => ImageChoice::Random { seed },
        });
    }
}

/// Calls a function when it is dropped.
struct CallsInDrop<'a>(&'a mut dyn FnMut());

impl Drop for CallsInDrop<'_> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The operations of each calling thread.
fn operations_of_threads(seed: u64) -> [Vec<Operation>; 4] {
    let all = |salt: u64| Workload::standard(seed ^ salt, WORKLOAD_LEN).operations;
    let frames = |salt: u64| {
        let mut frames = all(salt);
        frames.retain(Operation::is_frame);
        // Different weights distinguish the events of the threads.
        for operation in &mut frames {
            if let Operation::Record { events, .. } = operation {
                for event in events {
                    event.weight += salt as f64 / 16_384.0;
                }
            }
        }
        frames
    };
    // Only one thread changes collections, because the log does not contain their order.
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
    let operations_of_threads = operations_of_threads(threads.race.seed);
    threads
        .callers
        .store(operations_of_threads.len(), Ordering::Release);
    thread::scope(|scope| {
        for (number, operations) in (1..).zip(&operations_of_threads) {
            scope.spawn(inherit(move || {
                catch_panics(threads, || call_all(threads, number, operations));
                threads.callers.fetch_sub(1, Ordering::AcqRel);
            }));
        }
        scope.spawn(inherit(|| catch_panics(threads, || read(threads))));
        if let Some(closes_at) = threads.race.closes_at {
            scope.spawn(inherit(move || {
                catch_panics(threads, || close(threads, closes_at));
            }));
        }
    });
}

/// Runs `body`, in a destructor if the race requires it. An injected crash or panic ends the thread and is no failure.
/// Any other panic is a failure of the race.
fn catch_panics(threads: &RaceThreads, mut body: impl FnMut()) {
    let mut caught = || {
        let Err(payload) = catch_unwind(AssertUnwindSafe(&mut body)) else {
            return;
        };
        if crash_of(&*payload).is_none() && !payload.is::<InjectedPanic>() {
            threads.fail(format!("a thread panicked: {}", panic_text(&*payload)));
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

/// Returns true if the plan of the race allows this error: the plan closes or poisons the handle.
fn is_planned(threads: &RaceThreads, error: &Error) -> bool {
    let race = &threads.race;
    match error {
        Error::Closed => race.closes_at.is_some(),
        Error::Poisoned { .. } | Error::Panicked { .. } => {
            race.panics_at.is_some() || race.fails_at.is_some()
        }
        Error::OutcomeUnknown { source, .. } => is_planned(threads, source),
        _ => false,
    }
}

fn call_all(threads: &RaceThreads, number: u64, operations: &[Operation]) {
    let mut random = Random::new(threads.race.seed ^ number << 48);
    for operation in operations {
        let id = threads.disk.oracle().begin(operation);
        let result = operation.apply(&threads.db);
        threads.disk.oracle().ended(id, &result);
        match result {
            Ok(_) => drop(threads.acknowledged.fetch_add(1, Ordering::Relaxed)),
            // Expected: the workload also draws such calls.
            Err(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => {}
            Err(error) if operation.must_be_refused() && is_ahead_of_clock(&error) => {}
            Err(error) => {
                if !matches!(error, Error::Closed) {
                    threads.calls_failed.fetch_add(1, Ordering::Relaxed);
                }
                if !is_planned(threads, &error) {
                    threads.fail(format!("{operation} failed: {}", error_chain(&error)));
                }
                return;
            }
        }
        if threads.race.is_stress && random.chance(1, CALLS_PER_IMAGE) {
            threads.take_image(&mut random);
        }
    }
}

/// Reads as long as other threads call. Each read must return a result, and each score must be a finite number.
fn read(threads: &RaceThreads) {
    let db = &threads.db;
    let mut round = 0;
    while threads.callers.load(Ordering::Acquire) > 0 {
        round += 1;
        let entity = EntityId(round % 5);
        let read_all = || -> Result<f64, Error> {
            let score = db.score(entity, SignalId(0), 0, STANDARD_NOW_MS)?;
            db.related(entity, 3, STANDARD_NOW_MS)?;
            db.collections()?;
            db.statistics()?;
            if round % 16 == 0 {
                db.export()?;
            }
            Ok(score)
        };
        match read_all() {
            Ok(score) if score.is_finite() => {}
            Ok(score) => threads.fail(format!("entity {entity} has the score {score}")),
            Err(error) => {
                if !is_planned(threads, &error) {
                    threads.fail(format!("reading failed: {}", error_chain(&error)));
                }
                return;
            }
        }
        thread::yield_now();
    }
}

/// Closes the database at its yield point, or when all calling threads have ended.
fn close(threads: &RaceThreads, closes_at: u64) {
    while threads.points.passed() < closes_at && threads.callers.load(Ordering::Acquire) > 0 {
        thread::yield_now();
    }
    match threads.db.close() {
        Ok(()) => threads.closed.store(true, Ordering::Release),
        Err(error) => {
            if !is_planned(threads, &error) {
                threads.fail(format!("closing failed: {}", error_chain(&error)));
            }
        }
    }
}
