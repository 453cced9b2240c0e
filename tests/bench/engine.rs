//! The measured databases: their options, and the job as events of the engine.

use std::path::Path;

use tidaldb::{Durability, EntityId, Error, Options, Schema, Signal, SignalEvent, SignalId, TidalDb};

use crate::stopwatch::timed;
use crate::workload::{self, BATCH_LEN, HALF_LIVES_MS, JobEvent, SIGNALS};

/// The signals of the job, with the default windows. The last signal is positive, which costs nothing for events
/// without users.
pub(crate) fn schema() -> Schema {
    (0..SIGNALS).fold(Schema::new(), |schema, index| {
        let signal = HALF_LIVES_MS
            .iter()
            .fold(Signal::new(format!("signal {index}")), |signal, &half_life_ms| {
                signal.half_life_ms(half_life_ms)
            });
        let is_last = index + 1 == SIGNALS;
        schema.signal(if is_last { signal.positive() } else { signal })
    })
}

/// Opens a database with the default options, except the durability.
pub(crate) fn open(dir: &Path, durability: Durability) -> Result<TidalDb, Error> {
    TidalDb::open(dir, Options::new(schema()).durability(durability))
}

/// The same, without automatic checkpoints.
pub(crate) fn open_without_checkpoints(dir: &Path, durability: Durability) -> Result<TidalDb, Error> {
    let options = Options::new(schema())
        .durability(durability)
        .checkpoint_log_bytes(1 << 50);
    TidalDb::open(dir, options)
}

/// The events of the job for the engine.
pub(crate) fn job(len: usize) -> Vec<SignalEvent<'static>> {
    workload::events(len).iter().map(event).collect()
}

/// One event for each of `len` pairs of entity and signal, for the engine.
pub(crate) fn spread(len: usize) -> Vec<SignalEvent<'static>> {
    workload::spread(len).iter().map(event).collect()
}

/// One event for the engine.
pub(crate) fn event(event: &JobEvent) -> SignalEvent<'static> {
    SignalEvent::new(SignalId(event.signal), EntityId(event.entity), event.at_ms)
}

/// Records all events in batches of `batch_len`, with `threads` threads that take the batches in turn.
///
/// # Errors
/// The first error of a thread.
pub(crate) fn record(
    db: &TidalDb,
    events: &[SignalEvent<'_>],
    batch_len: usize,
    threads: usize,
) -> Result<(), Error> {
    let work = |thread: usize| {
        let mut batches = events.chunks(batch_len).skip(thread).step_by(threads);
        batches.try_for_each(|batch| db.record_batch(batch).map(drop))
    };
    if threads == 1 {
        return work(0);
    }
    std::thread::scope(|scope| {
        let work = &work;
        let threads = (0..threads).map(|thread| scope.spawn(move || work(thread)));
        let threads: Vec<_> = threads.collect();
        let mut threads = threads.into_iter();
        threads.try_for_each(|thread| thread.join().expect("no thread panics"))
    })
}

/// A database in `dir` with these events, recorded in batches and without a checkpoint.
///
/// # Errors
/// The errors of the engine.
pub(crate) fn filled(dir: &Path, events: &[SignalEvent<'_>]) -> Result<TidalDb, Error> {
    let db = open_without_checkpoints(dir, Durability::OperatingSystem)?;
    record(&db, events, BATCH_LEN, 1)?;
    Ok(db)
}

/// Opens the database again, and returns it with the seconds that the open took.
///
/// # Errors
/// The errors of the engine.
pub(crate) fn reopen(dir: &Path) -> Result<(TidalDb, f64), Error> {
    let (db, seconds) = timed(|| open_without_checkpoints(dir, Durability::OperatingSystem));
    Ok((db?, seconds))
}
