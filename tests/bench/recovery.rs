//! The time to open a database, after a kill with a log to replay, and after a close with only a checkpoint to load;
//! and the time of checkpoints.

use tidaldb::{Durability, SignalEvent};

use crate::board::FigureUnit;
use crate::engine::{self, reopen};
use crate::environment::processor_seconds;
use crate::stopwatch::timed;
use crate::workload::BATCH_LEN;
use crate::{Bench, Measured, pause};

/// Measures the replay of the whole job. A dropped handle leaves the same files as a kill.
pub(crate) fn replay(bench: &mut Bench) -> Measured {
    for (batch_len, synced, name) in [
        (BATCH_LEN, true, "replay after a kill, batches of 256"),
        (1, true, "replay after a kill, one event a call"),
        (
            BATCH_LEN,
            false,
            "replay after a kill, batches of 256, never synced",
        ),
    ] {
        let dir = bench.dir.empty_dir("replay")?;
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
        bench.add_rate(name, bench.job.len(), seconds, processor);
    }
    Ok(())
}

/// Measures an open after a close, with all states of the job in the store.
pub(crate) fn reopen_after_close(bench: &mut Bench) -> Measured {
    let dir = bench.dir.empty_dir("reopen")?;
    let db = engine::filled(&dir, &bench.job)?;
    let states_len = db.statistics()?.states_len;
    let (closed, close_seconds) = timed(|| db.close());
    closed?;
    drop(db);
    let (db, seconds) = reopen(&dir)?;
    assert_eq!(
        db.statistics()?.states_len,
        states_len,
        "every state is recovered"
    );
    for (call, seconds) in [("close", close_seconds), ("reopen after close", seconds)] {
        let name = format!("{call}, {states_len} states");
        bench.board.add(name, FigureUnit::Milliseconds, seconds * 1e3);
    }
    Ok(())
}

/// Measures a checkpoint of all states of the job.
pub(crate) fn checkpoint(bench: &mut Bench) -> Measured {
    measure_checkpoint(bench, &bench.job.clone())
}

/// Measures a checkpoint of the number of states that `--spread` sets, each changed by one event.
pub(crate) fn checkpoint_of_many(bench: &mut Bench) -> Measured {
    measure_checkpoint(bench, &engine::spread(bench.args.spread))
}

fn measure_checkpoint(bench: &mut Bench, events: &[SignalEvent<'_>]) -> Measured {
    let db = engine::filled(&bench.dir.empty_dir("checkpoint")?, events)?;
    let times = pause::measure_checkpoints(&db, events)?;
    for (figure, milliseconds) in [
        ("checkpoint", times.alone),
        ("checkpoint while a writer records", times.with_writer),
        ("longest call of the writer", times.pause),
        ("the same without a checkpoint", times.pause_without),
    ] {
        let name = format!("{figure}, {} changed states", times.states_len);
        bench.board.add(name, FigureUnit::Milliseconds, milliseconds);
    }
    Ok(())
}
