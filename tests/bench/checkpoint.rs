//! How long a checkpoint takes, and for how long it holds up a writer.

use std::error::Error;
use std::time::Duration;

use tidaldb::SignalEvent;

use crate::Bench;
use crate::board::Unit;
use crate::engine;
use crate::pause;
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

fn measure(bench: &mut Bench, events: &[SignalEvent<'_>]) -> Result<(), Box<dyn Error>> {
    let dir = bench.place.fresh("checkpoint")?;
    let db = engine::filled(&dir, events)?;
    let taken = pause::take(&db, events)?;
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
