//! One checkpoint alone and one beside a writer, and for how long it held up that writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tidaldb::{SignalEvent, TidalDb};

use crate::engine;
use crate::stopwatch::{Stopwatch, timed};
use crate::workload::BATCH_LEN;

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

/// Makes a checkpoint of what `events` changed, changes all of it again, and makes another one beside a writer that
/// records one event a call.
pub(crate) fn take(db: &TidalDb, events: &[SignalEvent<'_>]) -> Result<Taken, tidaldb::Error> {
    db.sync()?;
    let (made, alone) = timed(|| db.checkpoint());
    made?;
    engine::record(db, events, BATCH_LEN, 1)?;
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
