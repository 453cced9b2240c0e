//! The rate of recording events: in batches and one for each call, with and without syncs, with one thread and with
//! several.

use tidaldb::Durability::{self, EverySynced, OperatingSystem};

use crate::board::FigureUnit;
use crate::environment::processor_seconds;
use crate::extras::{self, EXTRAS};
use crate::stopwatch::timed;
use crate::workload::BATCH_LEN;
use crate::{Bench, Measured, disk, engine};

/// Measures the latency of the disk itself, for the size of a frame of one event and of a frame of a batch.
pub(crate) fn disk(bench: &mut Bench) -> Measured {
    let appends = bench.args.synced.div_ceil(8);
    for (file, has_zeros) in disk::FILES {
        for bytes in [64, 8192] {
            let dir = bench.dir.empty_dir("disk")?;
            let microseconds = disk::sync_microseconds(&dir, has_zeros, bytes, appends)?;
            let name = format!("disk: fdatasync of {bytes} B appended, {file}");
            bench.board.add(name, FigureUnit::Microseconds, microseconds);
        }
    }
    Ok(())
}

/// Measures batches of 256 with one sync at the end. The sync is part of the time.
pub(crate) fn batches(bench: &mut Bench) -> Measured {
    let name = "batches of 256, one final sync";
    measure(bench, name, OperatingSystem, BATCH_LEN, 1, usize::MAX)?;
    measure(bench, name, OperatingSystem, BATCH_LEN, 2, usize::MAX)
}

/// Measures batches of 256, each synced.
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

/// Measures calls with one event, each synced.
pub(crate) fn synced_calls(bench: &mut Bench) -> Measured {
    let (name, len) = ("one event a call, each synced", bench.args.synced);
    measure(bench, name, EverySynced, 1, 1, len)?;
    measure(bench, name, EverySynced, 1, 16, len * 4)
}

/// Measures calls with one event. The operating system has the event when the call is acknowledged. A sync follows,
/// which is not part of the time.
pub(crate) fn calls(bench: &mut Bench) -> Measured {
    let name = "one event a call, written";
    measure(bench, name, OperatingSystem, 1, 1, usize::MAX)?;
    measure(bench, name, OperatingSystem, 1, 2, usize::MAX)
}

/// Measures batches of 256 with one final sync, with cohorts and co-engagement.
pub(crate) fn extras(bench: &mut Bench) -> Measured {
    for extra in EXTRAS {
        let (seconds, cohort_states_len) = extras::record(&bench.dir, &bench.job, extra)?;
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
    let db = engine::open(&bench.dir.empty_dir("record")?, durability)?;
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
