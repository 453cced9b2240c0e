//! How long a checkpoint takes, alone and beside a writer, and for how long it holds up that writer.

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
    /// Without other calls.
    pub(crate) alone: f64,
    /// While a writer records.
    pub(crate) beside_writer: f64,
    /// The longest call of the writer during the checkpoint.
    pub(crate) pause: f64,
    /// The longest call of the same writer in as much time without one: the part of the machine itself.
    pub(crate) pause_without: f64,
}

/// Makes a checkpoint of the states that `events` changed, changes all of them again, and makes another one beside a writer
/// that records one event a call.
pub(crate) fn take(db: &TidalDb, events: &[SignalEvent<'_>]) -> Result<CheckpointTimes, Box<dyn Error>> {
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
                let (recorded, seconds) = timed(|| db.record(next.next().expect("there are events")));
                recorded.map(|_| seconds)
            };
            let (mut pause_without, mut pause) = (0.0_f64, 0.0_f64);
            let begun = now();
            while begun.elapsed().as_secs_f64() < alone {
                pause_without = pause_without.max(call()?);
            }
            ready.send(()).expect("the other side waits");
            while !stop.load(Ordering::Relaxed) {
                pause = pause.max(call()?);
            }
            Ok::<_, tidaldb::Error>((pause_without, pause))
        });
        // An error means that the writer has failed: joining it returns why.
        let beside = wait.recv().ok().map(|()| timed(|| db.checkpoint()));
        stop.store(true, Ordering::Relaxed);
        let (pause_without, pause) = writer.join().expect("the writer does not panic")?;
        let (made, beside_writer) = beside.expect("the writer was ready");
        made?;
        Ok(CheckpointTimes {
            states_len,
            alone: alone * 1e3,
            beside_writer: beside_writer * 1e3,
            pause: pause * 1e3,
            pause_without: pause_without * 1e3,
        })
    })
}
