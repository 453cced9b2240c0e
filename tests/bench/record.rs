//! How fast events are recorded: in batches and one a call, synced and not, by one thread and by several.

use tidaldb::Durability::{self, EverySynced, OperatingSystem};

use crate::board::FigureUnit;
use crate::extras::{self, EXTRAS};
use crate::place::processor_seconds;
use crate::stopwatch::timed;
use crate::workload::BATCH_LEN;
use crate::{Bench, Measured, disk, engine};

/// The disk's own latency, for the size of one event's frame and of a batch's.
pub(crate) fn disk(bench: &mut Bench) -> Measured {
    let appends = bench.args.synced.div_ceil(8);
    for (file, has_zeros) in disk::FILES {
        for bytes in [64, 8192] {
            let dir = bench.place.fresh("disk")?;
            let microseconds = disk::sync_microseconds(&dir, has_zeros, bytes, appends)?;
            let name = format!("disk: fdatasync of {bytes} B appended, {file}");
            bench.board.add(name, FigureUnit::Microseconds, microseconds);
        }
    }
    Ok(())
}

/// Batches of 256 with one sync at the end, which is part of the time.
pub(crate) fn batches(bench: &mut Bench) -> Measured {
    let name = "batches of 256, one final sync";
    measure(bench, name, OperatingSystem, BATCH_LEN, 1, usize::MAX)?;
    measure(bench, name, OperatingSystem, BATCH_LEN, 2, usize::MAX)
}

/// Batches of 256, each synced.
pub(crate) fn synced_batches(bench: &mut Bench) -> Measured {
    measure(
        bench,
        "batches of 256, each synced",
        EverySynced,
        BATCH_LEN,
        1,
        usize::MAX,
    )
}

/// One event a call, each synced.
pub(crate) fn synced_calls(bench: &mut Bench) -> Measured {
    let (name, len) = ("one event a call, each synced", bench.args.synced);
    measure(bench, name, EverySynced, 1, 1, len)?;
    measure(bench, name, EverySynced, 1, 16, len * 4)
}

/// One event a call, written when it is acknowledged. A sync follows, outside of the time.
pub(crate) fn calls(bench: &mut Bench) -> Measured {
    let name = "one event a call, written";
    measure(bench, name, OperatingSystem, 1, 1, usize::MAX)?;
    measure(bench, name, OperatingSystem, 1, 2, usize::MAX)
}

/// Batches of 256 with one final sync, with cohorts and co-engagement on.
pub(crate) fn extras(bench: &mut Bench) -> Measured {
    for extra in EXTRAS {
        let (seconds, cohort_states_len) = extras::record(&bench.place, &bench.job, extra)?;
        let name = format!("batches of 256, one final sync, {}", extra.name);
        let rate = bench.job.len() as f64 / seconds;
        bench.board.add(name, FigureUnit::PerSecond, rate);
        if cohort_states_len > 0 {
            let name = format!("cohort states, {}", extra.name);
            bench.board.add(name, FigureUnit::Count, cohort_states_len as f64);
        }
    }
    Ok(())
}

fn measure(
    bench: &mut Bench,
    name: &str,
    durability: Durability,
    batch_len: usize,
    threads: usize,
    len_max: usize,
) -> Measured {
    let events = &bench.job[..bench.job.len().min(len_max)];
    let db = engine::open(&bench.place.fresh("record")?, durability)?;
    let final_sync = batch_len > 1 && durability == OperatingSystem;
    let processor = processor_seconds();
    let (recorded, seconds) = timed(|| {
        engine::record(&db, events, batch_len, threads)?;
        if final_sync { db.sync() } else { Ok(()) }
    });
    recorded?;
    let processor = processor_seconds() - processor;
    db.sync()?;
    drop(db);
    let by = match threads {
        1 => "one thread".to_owned(),
        _ => format!("{threads} threads"),
    };
    bench.add_rate(&format!("{name}, {by}"), events.len(), seconds, processor);
    Ok(())
}
