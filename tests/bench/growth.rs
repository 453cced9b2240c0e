//! How the figures grow: each over three decades of its size, with the exponent of a power law fitted to it.
//!
//! An exponent of 1 is linear; the one over the last decade alone leaves aside the costs that a small size has anyway.

use tidaldb::{Durability, EntityId, SignalEvent, SignalId};

use crate::board::FigureUnit::{self, Megabytes, Microseconds, Milliseconds, PerSecond};
use crate::board::{markdown, median};
use crate::curve::{self, Curve};
use crate::stopwatch::timed;
use crate::workload::{BATCH_LEN, BEGIN_MS, SIGNALS, STEP_MS};
use crate::{Bench, Measured, collections, compaction, engine, forget, memory, pause, plot, short_sessions};

/// Measures all curves, prints them, and draws them if a file is named for it.
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
            forgets_of_holders,
        ),
        ("members", 3 * states_max, collections::members),
        ("other collections", states_max, collections::beside_others),
        ("short sessions", states_max / 300, short_sessions::measure),
        ("compaction", states_max, compaction::beside_cold_data),
        ("overwrites", states_max / 10, compaction::of_overwrites),
        ("rewrites", states_max / 10, compaction::of_rewrites),
    ];
    let mut curves = Curves::default();
    for round in 1..=bench.args.rounds {
        for (what, top, measure) in measures {
            for size in [top / 1000, top / 100, top / 10, top] {
                eprintln!("round {round} of {}: {what} at {size}", bench.args.rounds);
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
        println!("drawn to {}", path.display());
    }
    Ok(())
}

type MeasureSize = fn(&Bench, &mut Curves, usize) -> Measured;

#[derive(Default)]
pub(crate) struct Curves(Vec<Curve>);

impl Curves {
    /// Adds the value of a round at a size.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        of: &'static str,
        unit: FigureUnit,
        size: usize,
        value: f64,
    ) {
        let index = self.0.iter().position(|curve| curve.name == name);
        let index = index.unwrap_or(self.0.len());
        if index == self.0.len() {
            self.0.push(Curve::new(name, of, unit));
        }
        self.0[index].add(size, value);
    }
}

/// One row for each size: the median, and its part for one of the size.
fn table(curves: &[Curve]) -> String {
    let head = ["figure", "size", "median", "for each", "exponent", "last decade"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for curve in curves {
        for (index, (size, values)) in curve.points.iter().enumerate() {
            let value = median(values);
            let name = if index == 0 { curve.name } else { "" };
            let mut row = vec![
                name.to_owned(),
                format!("{size} {}", curve.of),
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

/// Time to open a log of that many events that no checkpoint covers.
fn replay(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.place.fresh("growth")?;
    let db = engine::open_without_checkpoints(&dir, Durability::OperatingSystem)?;
    // The job over and over, each time later.
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
    let db = engine::filled(&bench.place.fresh("growth")?, &events)?;
    let times = pause::take(&db, &events)?;
    let of = "changed states";
    curves.add("checkpoint", of, Milliseconds, size, times.alone);
    curves.add("pause of a writer", of, Milliseconds, size, times.pause);
    Ok(())
}

/// Time to open after a close.
fn opens(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.place.fresh("growth")?;
    engine::filled(&dir, &engine::spread(size))?.close()?;
    let (db, seconds) = engine::reopen(&dir)?;
    let last = EntityId(((size - 1) / usize::from(SIGNALS)) as u64);
    let score = db.score(last, SignalId(0), 0, BEGIN_MS)?;
    assert!(score > 0.0, "the states come back");
    curves.add("open after a close", "states", Milliseconds, size, seconds * 1e3);
    Ok(())
}

/// In a process of its own, reopened.
fn memories(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let dir = bench.place.fresh("growth")?;
    engine::filled(&dir, &engine::spread(size))?.close()?;
    for (name, bytes) in memory::of_reopened(&dir)? {
        curves.add(name, "keys", Megabytes, size, bytes / 1e6);
    }
    Ok(())
}

/// Time to forget an entity of a database of that many items.
fn forgets(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let [unknown, known] = forget::of_size(&bench.place.fresh("growth")?, size)?;
    let of = "items in the database";
    curves.add("forget an unknown entity", of, Microseconds, size, unknown);
    curves.add("forget a known entity", of, Microseconds, size, known);
    Ok(())
}

/// Time to forget an entity with that many cohort states, and an item in that many rings.
fn forgets_of_holders(bench: &Bench, curves: &mut Curves, size: usize) -> Measured {
    let times = forget::of_cohorts(&bench.place.fresh("growth")?, size)?;
    let of = "cohort states of the entity";
    curves.add("forget an entity in cohorts", of, Microseconds, size, times.each);
    curves.add("pause of a writer beside it", of, Microseconds, size, times.pause);
    let without = times.pause_without;
    curves.add("pause of a writer without", of, Microseconds, size, without);
    let in_rings = forget::of_holders(&bench.place.fresh("growth")?, size)?;
    let of = "rings with the item";
    curves.add("forget an item in rings", of, Microseconds, size, in_rings);
    Ok(())
}

/// Events in a second by several threads: batches without a sync, and calls of one event that share syncs.
fn throughput(bench: &Bench, curves: &mut Curves, threads: usize) -> Measured {
    let all = bench.job.len();
    let synced = all.min(threads * bench.args.synced / 4);
    let (written, durable) = (Durability::OperatingSystem, Durability::EverySynced);
    for (name, durability, batch_len, len) in [
        ("batches of 256, no sync", written, BATCH_LEN, all),
        ("one event a call, each synced", durable, 1, synced),
    ] {
        let db = engine::open_without_checkpoints(&bench.place.fresh("growth")?, durability)?;
        let (recorded, seconds) = timed(|| engine::record(&db, &bench.job[..len], batch_len, threads));
        recorded?;
        db.sync()?;
        curves.add(name, "threads", PerSecond, threads, len as f64 / seconds);
    }
    Ok(())
}
