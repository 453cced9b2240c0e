//! The growth of the figures over three decades of a size, with the exponent of a power law fitted to each.
//!
//! An exponent of 1 is linear. The exponent over the last decade excludes the fixed costs, which dominate at small
//! sizes.

use tidaldb::{Durability, EntityId, SignalEvent, SignalId};

use crate::board::FigureUnit::{self, Megabytes, Microseconds, Milliseconds, PerSecond};
use crate::board::{markdown, median};
use crate::curve::{self, Curve};
use crate::stopwatch::timed;
use crate::workload::{BATCH_LEN, BEGIN_MS, SIGNALS, STEP_MS};
use crate::{Bench, Measured, collections, compaction, engine, forget, memory, pause, plot, short_sessions};

/// Measures all curves, prints them, and draws them if `--svg` names a file.
pub(crate) fn run(bench: &mut Bench) -> Measured {
    let (events_max, states_max) = (10 * bench.args.events, bench.args.spread);
    let measures: [(&str, usize, MeasureSize); 12] = [
        ("replay", events_max, replay),
        ("checkpoints", states_max, checkpoints),
        ("opening", states_max, opens),
        ("memory", states_max, memories),
        ("forgetting by size", states_max, forgets),
        (
            "forgetting by states and rings",
            states_max / 10,
            forgets_in_cohorts_and_rings,
        ),
        ("members", 3 * states_max, collections::members),
        ("other collections", states_max, collections::add_with_others),
        ("short sessions", states_max / 300, short_sessions::measure),
        ("compaction", states_max, compaction::of_puts_with_cold_data),
        ("overwrites", states_max / 10, compaction::of_overwrites),
        ("rewrites", states_max / 10, compaction::of_rewrites),
    ];
    let mut curves = Curves::default();
    for round in 1..=bench.args.rounds {
        for (name, size_max, measure) in measures {
            for size in [1000, 100, 10, 1].map(|part| size_max / part) {
                eprintln!("round {round} of {}: {name} at {size}", bench.args.rounds);
                measure(bench, &mut curves, size.max(1))?;
            }
        }
        for threads in [1, 2, 4, 8, 16] {
            eprintln!("round {round} of {}: {threads} threads", bench.args.rounds);
            throughput(bench, &mut curves, threads)?;
        }
    }
    println!("{}", table(&curves.0));
    if let Some(path) = &bench.args.svg {
        plot::write(path, &curves.0)?;
        println!("the curves are drawn to {}", path.display());
    }
    Ok(())
}

type MeasureSize = fn(&Bench, &mut Curves, usize) -> Measured;

/// The measured curves, in the order of their first values.
#[derive(Default)]
pub(crate) struct Curves(Vec<Curve>);

impl Curves {
    /// Adds the value of a round at a size.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        size_unit: &'static str,
        unit: FigureUnit,
        size: usize,
        value: f64,
    ) {
        let index = self.0.iter().position(|curve| curve.name == name);
        let index = index.unwrap_or(self.0.len());
        if index == self.0.len() {
            self.0.push(Curve::new(name, size_unit, unit));
        }
        self.0[index].add(size, value);
    }
}

/// A table with one row for each size: the median, and the median divided by the size.
fn table(curves: &[Curve]) -> String {
    let head = ["figure", "size", "median", "for each", "exponent", "last decade"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for curve in curves {
        for (index, (size, values)) in curve.points.iter().enumerate() {
            let value = median(values);
            let name = if index == 0 { curve.name } else { "" };
            let mut row = vec![
                name.to_owned(),
                format!("{size} {}", curve.size_unit),
                curve.unit.show(value),
                curve.show_each(*size, value),
            ];
            if index + 1 == curve.points.len() {
                let [all, last] = curve::exponents(&curve.points);
                row.extend([format!("{all:.2}"), format!("{last:.2}")]);
            }
            rows.push(row);
        }
    }
    markdown(&rows)
}

/// The time to open a database whose log has `size` events that no checkpoint covers.
fn replay(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.dir.empty_dir("growth")?;
    let db = engine::open_without_checkpoints(&dir, Durability::OperatingSystem)?;
    // The events of the job, repeated until there are enough, with later times.
    let mut events: Vec<SignalEvent<'_>> = Vec::with_capacity(BATCH_LEN);
    for from in (0..size).step_by(BATCH_LEN) {
        events.clear();
        events.extend((from..size.min(from + BATCH_LEN)).map(|index| SignalEvent {
            at_ms: BEGIN_MS + STEP_MS * index as i64,
            ..bench.job[index % bench.job.len()]
        }));
        db.record_batch(&events)?;
    }
    db.sync()?;
    drop(db);
    let (_, seconds) = engine::reopen(&dir)?;
    curves.add("replay", "events", Milliseconds, size, seconds * 1e3);
    Ok(())
}

fn checkpoints(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let events = engine::spread(size);
    let db = engine::filled(&bench.dir.empty_dir("growth")?, &events)?;
    let times = pause::measure_checkpoints(&db, &events)?;
    let size_unit = "changed states";
    curves.add("checkpoint", size_unit, Milliseconds, size, times.alone);
    curves.add("pause of a writer", size_unit, Milliseconds, size, times.pause);
    Ok(())
}

/// The time to open a database after a close.
fn opens(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.dir.empty_dir("growth")?;
    engine::filled(&dir, &engine::spread(size))?.close()?;
    let (db, seconds) = engine::reopen(&dir)?;
    let last = EntityId(((size - 1) / usize::from(SIGNALS)) as u64);
    let score = db.score(last, SignalId(0), 0, BEGIN_MS)?;
    assert!(score > 0.0, "the states are recovered");
    curves.add("open after a close", "states", Milliseconds, size, seconds * 1e3);
    Ok(())
}

/// The memory of a separate process that has reopened the database.
fn memories(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.dir.empty_dir("growth")?;
    engine::filled(&dir, &engine::spread(size))?.close()?;
    for (name, bytes) in memory::of_reopened(&dir)? {
        curves.add(name, "keys", Megabytes, size, bytes / 1e6);
    }
    Ok(())
}

/// The time to forget an entity of a database of `size` items.
fn forgets(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let [without, with] = forget::of_size(&bench.dir.empty_dir("growth")?, size)?;
    let size_unit = "items in the database";
    curves.add(
        "forget an entity without events",
        size_unit,
        Microseconds,
        size,
        without,
    );
    curves.add(
        "forget an entity with events",
        size_unit,
        Microseconds,
        size,
        with,
    );
    Ok(())
}

/// The times to forget an entity with `size` cohort states, and an item in `size` rings.
fn forgets_in_cohorts_and_rings(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let times = forget::of_cohorts(&bench.dir.empty_dir("growth")?, size)?;
    let size_unit = "cohort states of the entity";
    curves.add(
        "forget an entity in cohorts",
        size_unit,
        Microseconds,
        size,
        times.each,
    );
    curves.add(
        "pause of a writer during the forget",
        size_unit,
        Microseconds,
        size,
        times.pause,
    );
    let without = times.pause_without;
    curves.add(
        "pause of a writer before the forget",
        size_unit,
        Microseconds,
        size,
        without,
    );
    let in_rings = forget::of_rings(&bench.dir.empty_dir("growth")?, size)?;
    let size_unit = "rings with the item";
    curves.add("forget an item in rings", size_unit, Microseconds, size, in_rings);
    Ok(())
}

/// The events that several threads record in a second: batches without a sync, and calls of one event that share syncs.
fn throughput(bench: &Bench, curves: &mut Curves, threads: usize) -> Measured {
    let all = bench.job.len();
    let synced = all.min(threads * bench.args.synced / 4);
    let (written, durable) = (Durability::OperatingSystem, Durability::EverySynced);
    for (name, durability, batch_len, len) in [
        ("batches of 256, no sync", written, BATCH_LEN, all),
        ("one event a call, each synced", durable, 1, synced),
    ] {
        let db = engine::open_without_checkpoints(&bench.dir.empty_dir("growth")?, durability)?;
        let (recorded, seconds) = timed(|| engine::record(&db, &bench.job[..len], batch_len, threads));
        recorded?;
        db.sync()?;
        curves.add(name, "threads", PerSecond, threads, len as f64 / seconds);
    }
    Ok(())
}
