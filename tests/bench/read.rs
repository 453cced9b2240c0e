//! The time of a read. The keys are in random order, each independent of the previous one.

use std::hint::black_box;

use tidaldb::{EntityId, SignalId};

use crate::board::FigureUnit;
use crate::stopwatch::timed;
use crate::{Bench, Measured, engine, workload};

/// Measures reads of decayed scores and of windowed counts, at a time one minute after the last event.
pub(crate) fn reads(bench: &mut Bench) -> Measured {
    let db = engine::filled(&bench.dir.empty_dir("read")?, &bench.job)?;
    let events = workload::events(bench.job.len());
    let keys = workload::keys(&events);
    let now_ms = events.last().map_or(0, |event| event.at_ms) + 60_000;
    let score = |entity, signal| db.score(entity, signal, 1, now_ms);
    let count = |entity, signal| Ok(db.windowed_count(entity, signal, 0, 24, now_ms)? as f64);
    measure(bench, "decayed score read, uniform keys", &keys, score)?;
    measure(bench, "count of 24 buckets read, uniform keys", &keys, count)
}

fn measure(
    bench: &mut Bench,
    name: &str,
    keys: &[(u64, u16)],
    read: impl Fn(EntityId, SignalId) -> Result<f64, tidaldb::Error>,
) -> Measured {
    let read = |(entity, signal): &(u64, u16)| read(EntityId(*entity), SignalId(*signal));
    let (sum, seconds) = timed(|| keys.iter().map(read).sum::<Result<f64, _>>());
    black_box(sum?);
    let nanoseconds = seconds * 1e9 / keys.len() as f64;
    bench.board.add(name, FigureUnit::Nanoseconds, nanoseconds);
    Ok(())
}
