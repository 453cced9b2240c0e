//! How long a checkpoint takes, and for how long it holds up a writer.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tidaldb::{SignalEvent, TidalDb};

use crate::Bench;
use crate::board::Unit;
use crate::engine;
use crate::stopwatch::{Stopwatch, timed};
use crate::workload;

/// All states of the job changed.
pub(crate) fn of_the_job(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let job = std::mem::take(&mut bench.job);
    let measured = measure(bench, &job);
    bench.job = job;
    measured
}

/// As many states as asked for, each changed by one event.
pub(crate) fn of_many(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let events: Vec<_> = workload::spread(bench.args.spread)
        .iter()
        .map(engine::event)
        .collect();
    measure(bench, &events)
}

/// What one checkpoint took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) states_len: usize,
    /// Without anything else going on.
    pub(crate) alone: Duration,
    /// While a writer records.
    pub(crate) beside_writer: Duration,
    /// The longest call of the writer during the checkpoint.
    pub(crate) pause: Duration,
    /// The longest call of the same writer in as much time without one: what the machine itself does.
    pub(crate) pause_without: Duration,
}

fn measure(bench: &mut Bench, events: &[SignalEvent<'_>]) -> Result<(), Box<dyn Error>> {
    let dir = bench.place.fresh("checkpoint")?;
    let db = engine::filled(&dir, events)?;
    let taken = take(&db, events)?;
    let mut add = |what: &str, duration: Duration| {
        let name = format!("{what}, {} changed states", taken.states_len);
        bench
            .board
            .add(name, Unit::Milliseconds, duration.as_secs_f64() * 1e3);
    };
    add("checkpoint", taken.alone);
    add("checkpoint beside a writer", taken.beside_writer);
    add("longest call of the writer", taken.pause);
    add("the same without a checkpoint", taken.pause_without);
    Ok(())
}

/// Makes a checkpoint of what `events` changed, changes all of it again, and makes another one beside a writer that
/// records one event a call.
pub(crate) fn take(db: &TidalDb, events: &[SignalEvent<'_>]) -> Result<Taken, tidaldb::Error> {
    db.sync()?;
    let (made, alone) = timed(|| db.checkpoint());
    made?;
    engine::record(db, events, workload::BATCH_LEN, 1)?;
    db.sync()?;
    let states_len = db.statistics()?.states_len;

    let alone = Duration::from_secs_f64(alone);
    let stop = AtomicBool::new(false);
    let (ready, wait) = mpsc::channel();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut next = events.iter().cycle();
            let mut call = || -> Result<Duration, tidaldb::Error> {
                let watch = Stopwatch::start();
                db.record(next.next().expect("there are events"))?;
                Ok(watch.elapsed())
            };
            let (mut pause_without, mut pause) = (Duration::ZERO, Duration::ZERO);
            let begun = Stopwatch::start();
            while begun.elapsed() < alone {
                pause_without = pause_without.max(call()?);
            }
            ready.send(()).expect("the other side waits");
            while !stop.load(Ordering::Relaxed) {
                pause = pause.max(call()?);
            }
            Ok((pause_without, pause))
        });
        // An error means that the writer has failed and gone: joining it tells.
        let beside = wait.recv().ok().map(|()| timed(|| db.checkpoint()));
        stop.store(true, Ordering::Relaxed);
        let (pause_without, pause) = writer.join().expect("the writer does not panic")?;
        let (made, beside_seconds) = beside.expect("the writer was ready");
        made?;
        Ok(Taken {
            states_len,
            alone,
            beside_writer: Duration::from_secs_f64(beside_seconds),
            pause,
            pause_without,
        })
    })
}
