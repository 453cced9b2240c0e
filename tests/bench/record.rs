//! How fast events are recorded: in batches and one a call, synced and not, by one thread and by several.

use std::error::Error;

use tidaldb::{Durability, SignalEvent};

use crate::Bench;
use crate::board::Unit;
use crate::disk::{self, Ahead};
use crate::engine;
use crate::extras::{self, EXTRAS};
use crate::place::processor_seconds;
use crate::stopwatch::timed;
use crate::workload::BATCH_LEN;

/// The disk's own latency, for the size of one event's frame and of a batch's.
pub(crate) fn disk(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let appends = bench.args.synced.div_ceil(8);
    for (ahead, file) in [(Ahead::Growing, "growing file"), (Ahead::Zeros, "zeros ahead")] {
        for bytes in [64, 8192] {
            let dir = bench.place.fresh("disk")?;
            let microseconds = disk::sync_microseconds(&dir, ahead, bytes, appends)?;
            let name = format!("disk: fdatasync of {bytes} B appended, {file}");
            bench.board.add(name, Unit::Microseconds, microseconds);
        }
    }
    Ok(())
}

/// Batches of 256 with one sync at the end, which is part of the time.
pub(crate) fn batches(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    for threads in [1, 2] {
        let name = format!("batches of 256, one final sync, {}", count(threads));
        run(
            bench,
            &name,
            Durability::OperatingSystem,
            BATCH_LEN,
            threads,
            usize::MAX,
        )?;
    }
    Ok(())
}

/// Batches of 256, each synced.
pub(crate) fn synced_batches(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let name = "batches of 256, each synced, one thread";
    run(bench, name, Durability::EverySynced, BATCH_LEN, 1, usize::MAX)
}

/// One event a call, each synced.
pub(crate) fn synced_calls(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    for (threads, factor) in [(1, 1), (16, 4)] {
        let name = format!("one event a call, each synced, {}", count(threads));
        let len = bench.args.synced * factor;
        run(bench, &name, Durability::EverySynced, 1, threads, len)?;
    }
    Ok(())
}

/// One event a call, written when it is acknowledged. A sync follows, outside of the time.
pub(crate) fn calls(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    for threads in [1, 2] {
        let name = format!("one event a call, written, {}", count(threads));
        run(bench, &name, Durability::OperatingSystem, 1, threads, usize::MAX)?;
    }
    Ok(())
}

/// Batches of 256 with one final sync, with cohorts and co-engagement on.
pub(crate) fn extras(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    for extra in EXTRAS {
        let (seconds, cohort_states_len) = extras::record(&bench.place, &bench.job, extra)?;
        let name = format!("batches of 256, one final sync, {}", extra.name);
        bench
            .board
            .add(name, Unit::PerSecond, bench.job.len() as f64 / seconds);
        if cohort_states_len > 0 {
            let name = format!("cohort states, {}", extra.name);
            bench.board.add(name, Unit::Count, cohort_states_len as f64);
        }
    }
    Ok(())
}

fn run(
    bench: &mut Bench,
    name: &str,
    durability: Durability,
    batch_len: usize,
    threads: usize,
    len_max: usize,
) -> Result<(), Box<dyn Error>> {
    let events: &[SignalEvent<'_>] = &bench.job[..bench.job.len().min(len_max)];
    let dir = bench.place.fresh("record")?;
    let db = engine::open(&dir, durability)?;
    let final_sync = batch_len > 1 && durability == Durability::OperatingSystem;
    let processor = processor_seconds();
    let (recorded, seconds) = timed(|| {
        engine::record(&db, events, batch_len, threads)?;
        if final_sync { db.sync() } else { Ok(()) }
    });
    recorded?;
    let processor = processor_seconds() - processor;
    db.sync()?;
    drop(db);
    let (len, board) = (events.len() as f64, &mut bench.board);
    board.add(name, Unit::PerSecond, len / seconds);
    if bench.args.processor {
        let name = format!("{name}: per processor second");
        board.add(name, Unit::PerSecond, len / processor.max(0.01));
    }
    Ok(())
}

fn count(threads: usize) -> String {
    match threads {
        1 => "one thread".to_owned(),
        _ => format!("{threads} threads"),
    }
}
