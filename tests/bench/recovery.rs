//! How fast a database opens: with a log to replay after a kill, and with nothing but a checkpoint after a close.

use std::error::Error;
use std::path::Path;

use tidaldb::{Durability, TidalDb};

use crate::Bench;
use crate::board::Unit;
use crate::engine;
use crate::place::processor_seconds;
use crate::stopwatch::timed;
use crate::workload::BATCH_LEN;

/// Replay of the whole job. Dropping a handle leaves on disk what a kill leaves.
pub(crate) fn replay(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    for (batch_len, synced, name) in [
        (BATCH_LEN, true, "replay after a kill, batches of 256"),
        (1, true, "replay after a kill, one event a call"),
        (
            BATCH_LEN,
            false,
            "replay after a kill, batches of 256, never synced",
        ),
    ] {
        let dir = bench.place.fresh("replay")?;
        let db = engine::open_without_checkpoints(&dir, Durability::OperatingSystem)?;
        engine::record(&db, &bench.job, batch_len, 1)?;
        if synced {
            db.sync()?;
        }
        drop(db);
        let processor = processor_seconds();
        let (db, seconds) = reopen(&dir)?;
        let processor = processor_seconds() - processor;
        let replayed = db.recovery_report().events_replayed;
        assert_eq!(replayed, bench.job.len() as u64, "the whole log is replayed");
        bench.board.add(name, Unit::PerSecond, replayed as f64 / seconds);
        if bench.args.processor {
            let name = format!("{name}: per processor second");
            bench
                .board
                .add(name, Unit::PerSecond, replayed as f64 / processor.max(0.01));
        }
    }
    Ok(())
}

/// Opening after a close, with all states of the job in the store.
pub(crate) fn reopen_after_close(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let dir = bench.place.fresh("reopen")?;
    let db = engine::filled(&dir, &bench.job)?;
    let states_len = db.statistics()?.states_len;
    let (closed, close_seconds) = timed(|| db.close());
    closed?;
    drop(db);
    let (db, seconds) = reopen(&dir)?;
    assert_eq!(db.statistics()?.states_len, states_len, "every state comes back");
    let name = |what: &str| format!("{what}, {states_len} states");
    bench
        .board
        .add(name("close"), Unit::Milliseconds, close_seconds * 1e3);
    bench
        .board
        .add(name("reopen after close"), Unit::Milliseconds, seconds * 1e3);
    Ok(())
}

fn reopen(dir: &Path) -> Result<(TidalDb, f64), tidaldb::Error> {
    let (db, seconds) = timed(|| engine::open_without_checkpoints(dir, Durability::OperatingSystem));
    Ok((db?, seconds))
}
