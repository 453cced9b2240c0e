//! The time to forget an entity, by the size of the database and by the number of states and rings of the entity, and
//! the time that a writer waits in the meantime.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use tidaldb::{
    CohortId, Durability, EntityId, Options, Schema, Signal, SignalEvent, SignalId, TidalDb, UserId,
};

use crate::board::median;
use crate::stopwatch::timed;
use crate::workload::{BATCH_LEN, BEGIN_MS};

/// The number of forgotten entities at each size.
const FORGETS_LEN: u64 = 100;
/// The number of items that a user engages with.
const RING_LEN: u64 = 32;

/// Times in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForgetTimes {
    /// The time to forget one entity.
    pub(crate) each: f64,
    /// The longest call of a writer while an entity is forgotten.
    pub(crate) pause: f64,
    /// The longest call of the same writer before the entity is forgotten.
    pub(crate) pause_without: f64,
}

fn open(dir: &Path) -> Result<TidalDb, tidaldb::Error> {
    let signal = Signal::new("like").half_life_ms(86_400_000).positive();
    let options = Options::new(Schema::new().signal(signal));
    let options = options
        .durability(Durability::OperatingSystem)
        .checkpoint_log_bytes(1 << 50);
    TidalDb::open(dir, options)
}

fn record(db: &TidalDb, events: impl Iterator<Item = SignalEvent<'static>>) -> Result<(), tidaldb::Error> {
    let mut events = events.peekable();
    while events.peek().is_some() {
        let batch: Vec<_> = events.by_ref().take(BATCH_LEN).collect();
        db.record_batch(&batch)?;
    }
    Ok(())
}

fn like(entity: u64) -> SignalEvent<'static> {
    SignalEvent::new(SignalId(0), EntityId(entity), BEGIN_MS)
}

/// The median times to forget an entity without events and an entity with events, in a database of `size` items, in
/// microseconds.
pub(crate) fn of_size(dir: &Path, size: usize) -> Result<[f64; 2], tidaldb::Error> {
    let db = open(dir)?;
    let size = size as u64;
    record(
        &db,
        (0..size).map(|item| like(item).with_user(UserId(item / RING_LEN))),
    )?;
    db.checkpoint()?;
    let each = |entity: &dyn Fn(u64) -> u64| {
        let forget = |number| {
            let (forgotten, seconds) = timed(|| db.forget_entity(EntityId(entity(number))));
            forgotten.map(|_| seconds * 1e6)
        };
        let times: Result<Vec<f64>, _> = (0..FORGETS_LEN).map(forget).collect();
        times.map(|times| median(&times))
    };
    let step = (size / FORGETS_LEN).max(1);
    Ok([
        each(&|number| u64::MAX - 2 - number)?,
        each(&|number| number * step)?,
    ])
}

/// Forgets one item that is in the rings of `size` users. Returns the time in microseconds.
pub(crate) fn of_rings(dir: &Path, size: usize) -> Result<f64, tidaldb::Error> {
    let db = open(dir)?;
    let pair = |user: u64| [1, 2 + user % 50_000].map(|item| like(item).with_user(UserId(user)));
    record(&db, (0..size as u64).flat_map(pair))?;
    let (forgotten, seconds) = timed(|| db.forget_entity(EntityId(1)));
    forgotten.map(|_| seconds * 1e6)
}

/// Forgets an entity with states in `size` cohorts while a writer records another entity. Returns the medians of three
/// rounds.
pub(crate) fn of_cohorts(dir: &Path, size: usize) -> Result<ForgetTimes, Box<dyn Error>> {
    let db = open(dir)?;
    let times: Result<Vec<ForgetTimes>, _> = (0..3).map(|_| once_of_cohorts(&db, size)).collect();
    let times = times?;
    let median_of = |of: fn(&ForgetTimes) -> f64| median(&times.iter().map(of).collect::<Vec<_>>());
    Ok(ForgetTimes {
        each: median_of(|it| it.each),
        pause: median_of(|it| it.pause),
        pause_without: median_of(|it| it.pause_without),
    })
}

fn once_of_cohorts(db: &TidalDb, size: usize) -> Result<ForgetTimes, Box<dyn Error>> {
    for cohort in 0..size as u64 {
        db.record(&like(1).with_cohorts(&[CohortId(cohort)]))?;
    }
    let stop = AtomicBool::new(false);
    let (ready, wait) = mpsc::channel();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let call = || {
                let (recorded, seconds) = timed(|| db.record(&like(u64::MAX)));
                recorded.map(|_| seconds)
            };
            let (mut pause_without, mut pause) = (0.0_f64, 0.0_f64);
            for _ in 0..size {
                pause_without = pause_without.max(call()?);
            }
            ready.send(()).expect("the main thread waits");
            while pause == 0.0 || !stop.load(Ordering::Relaxed) {
                pause = pause.max(call()?);
            }
            Ok::<_, tidaldb::Error>((pause_without, pause))
        });
        // `recv` returns an error if the writer has failed. `join` returns the cause.
        let forgotten = wait.recv().ok().map(|()| timed(|| db.forget_entity(EntityId(1))));
        stop.store(true, Ordering::Relaxed);
        let (pause_without, pause) = writer.join().expect("the writer does not panic")?;
        let (forgotten, seconds) = forgotten.expect("the writer was ready");
        forgotten?;
        Ok(ForgetTimes {
            each: seconds * 1e6,
            pause: pause * 1e6,
            pause_without: pause_without * 1e6,
        })
    })
}
