//! How long a read takes: of keys by chance, each independent of the one before.

use std::error::Error;
use std::hint::black_box;

use tidaldb::{EntityId, SignalId};

use crate::Bench;
use crate::board::Unit;
use crate::engine;
use crate::stopwatch::timed;
use crate::workload;

/// Decayed scores and windowed counts, as of a minute after the last event.
pub(crate) fn reads(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let dir = bench.place.fresh("read")?;
    let db = engine::filled(&dir, &bench.job)?;
    let touches = workload::events(bench.job.len());
    let keys: Vec<_> = workload::keys(&touches)
        .into_iter()
        .map(|(entity, signal)| (EntityId(entity), SignalId(signal)))
        .collect();
    let now_ms = touches.last().map_or(0, |touch| touch.at_ms) + 60_000;

    let (sum, seconds) = timed(|| -> Result<f64, tidaldb::Error> {
        let mut sum = 0.0;
        for &(entity, signal) in &keys {
            sum += db.score(entity, signal, 1, now_ms)?;
        }
        Ok(sum)
    });
    black_box(sum?);
    let nanoseconds = seconds * 1e9 / keys.len() as f64;
    let board = &mut bench.board;
    board.add("decayed score read, uniform keys", Unit::Nanoseconds, nanoseconds);

    let (sum, seconds) = timed(|| -> Result<u64, tidaldb::Error> {
        let mut sum = 0;
        for &(entity, signal) in &keys {
            sum += db.windowed_count(entity, signal, 0, 24, now_ms)?;
        }
        Ok(sum)
    });
    black_box(sum?);
    let nanoseconds = seconds * 1e9 / keys.len() as f64;
    board.add(
        "count of 24 buckets read, uniform keys",
        Unit::Nanoseconds,
        nanoseconds,
    );
    Ok(())
}
