//! Benchmarks of sessions that end without a close: the time of the next open, and the number of log segments that it
//! finds.

use tidaldb::{Background, Durability, EntityId, Options, SignalEvent, SignalId, TidalDb};

use crate::board::FigureUnit::{Count, Milliseconds};
use crate::growth::Curves;
use crate::stopwatch::timed;
use crate::workload::BEGIN_MS;
use crate::{Bench, Measured, engine};

/// Measures an open after `size` sessions, each of which opens, records one event and drops the handle.
pub(crate) fn measure(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.dir.empty_dir("growth")?;
    let open = || {
        let options = Options::new(engine::schema()).durability(Durability::OperatingSystem);
        TidalDb::open(&dir, options.background(Background::Caller))
    };
    for number in 0..size {
        let event = SignalEvent::new(SignalId(0), EntityId(7), BEGIN_MS + number as i64);
        open()?.record(&event)?;
    }
    let (db, seconds) = timed(open);
    let db = db?;
    let segments_len = db.recovery_report().segments_found as f64;
    curves.add(
        "open after short sessions",
        "sessions",
        Milliseconds,
        size,
        seconds * 1e3,
    );
    curves.add(
        "segments after short sessions",
        "sessions",
        Count,
        size,
        segments_len,
    );
    if db.last_sequence() < size as u64 {
        return Err("an event is lost".into());
    }
    Ok(())
}
