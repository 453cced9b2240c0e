//! The time of a checkpoint, without other calls and while a writer records, and the time that the checkpoint delays
//! the writer.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use tidaldb::{SignalEvent, TidalDb};

use crate::engine;
use crate::stopwatch::{now, timed};
use crate::workload::BATCH_LEN;

/// The times of two checkpoints of the same states, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckpointTimes {
    pub(crate) states_len: usize,
    /// The time of a checkpoint without other calls.
    pub(crate) alone: f64,
    /// The time of a checkpoint while a writer records.
    pub(crate) with_writer: f64,
    /// The longest call of the writer during the checkpoint.
    pub(crate) pause: f64,
    /// The longest call of the same writer in the same time without a checkpoint. The machine causes this part of the
    /// pause.
    pub(crate) pause_without: f64,
}

/// Makes a checkpoint of the states that `events` changed, changes all of them again, and makes another checkpoint
/// while a writer records one event in each call.
pub(crate) fn measure_checkpoints(
    db: &TidalDb,
    events: &[SignalEvent<'_>],
) -> Result<CheckpointTimes, Box<dyn Error>> {
    db.sync()?;
    let (made, alone) = timed(|| db.checkpoint());
    made?;
    engine::record(db, events, BATCH_LEN, 1)?;
    db.sync()?;
    let states_len = db.statistics()?.states_len;
    let stop = AtomicBool::new(false);
    let (ready, wait) = mpsc::channel();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut next = events.iter().cycle();
            let mut call = || {
                let (recorded, seconds) = timed(|| db.record(next.next().expect("at least one event")));
                recorded.map(|_| seconds)
            };
            let (mut pause_without, mut pause) = (0.0_f64, 0.0_f64);
            let begun = now();
            while begun.elapsed().as_secs_f64() < alone {
                pause_without = pause_without.max(call()?);
            }
            ready.send(()).expect("the main thread waits");
            while !stop.load(Ordering::Relaxed) {
                pause = pause.max(call()?);
            }
            Ok::<_, tidaldb::Error>((pause_without, pause))
        });
        // `recv` returns an error if the writer has failed. `join` returns the cause.
        let checkpoint = wait.recv().ok().map(|()| timed(|| db.checkpoint()));
        stop.store(true, Ordering::Relaxed);
        let (pause_without, pause) = writer.join().expect("the writer does not panic")?;
        let (made, with_writer) = checkpoint.expect("the writer was ready");
        made?;
        Ok(CheckpointTimes {
            states_len,
            alone: alone * 1e3,
            with_writer: with_writer * 1e3,
            pause: pause * 1e3,
            pause_without: pause_without * 1e3,
        })
    })
}
