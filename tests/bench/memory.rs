//! How much memory the states take at rest. Each measurement is a process of its own, so that nothing of another one
//! is counted; it prints its figures, one a line, and the process that started it reads them.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use tidaldb::{Durability, TidalDb};

use crate::Bench;
use crate::args::BenchArgs;
use crate::board::FigureUnit;
use crate::engine;
use crate::place::resident_bytes;

/// After the job, after a checkpoint, and after reopening.
pub(crate) fn at_rest(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let dir = bench.place.fresh("memory")?;
    let mut figures = start("recorded", &dir, bench.args.events)?;
    figures.extend(start("reopened", &dir, bench.args.events)?);
    for (name, bytes) in figures {
        if name.starts_with("bytes") {
            bench.board.add(name, FigureUnit::Bytes, bytes);
        } else {
            bench.board.add(name, FigureUnit::Megabytes, bytes / 1e6);
        }
    }
    Ok(())
}

/// What a process that reopens the closed database takes in bytes, and what the engine itself counts of it.
pub(crate) fn of_reopened(dir: &Path) -> Result<[(&'static str, f64); 2], Box<dyn Error>> {
    let figures = start("reopened", dir, 1)?;
    let of = |name: &str| {
        let found = figures.iter().find(|(found, _)| found == name);
        found.map(|(_, bytes)| *bytes).ok_or("the child did not print it")
    };
    Ok([
        ("memory, VmRSS", of(REOPENED)?),
        ("memory, the engine's own count", of(OWN)?),
    ])
}

const REOPENED: &str = "memory at rest after reopening, VmRSS";
const OWN: &str = "the same, the engine's own count";

/// Runs this program as a child, and gives the figures that it prints.
fn start(child: &str, dir: &Path, events_len: usize) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--child", child, "--events", &events_len.to_string(), "--dir"])
        .arg(dir)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let mut figures = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let (name, bytes) = line.split_once('\t').ok_or("a child's line has no value")?;
        figures.push((name.to_owned(), bytes.parse()?));
    }
    Ok(figures)
}

/// What a process that was started for it does.
pub(crate) fn child(args: &BenchArgs, what: &str) -> Result<(), Box<dyn Error>> {
    if what == "recorded" {
        recorded(&args.dir, args.events)
    } else {
        reopened(&args.dir)
    }
}

fn recorded(dir: &Path, events_len: usize) -> Result<(), Box<dyn Error>> {
    let job = engine::job(events_len);
    let before = resident_bytes();
    let db = engine::filled(dir, &job)?;
    print(
        "memory after the job, VmRSS",
        resident_bytes().saturating_sub(before),
    );
    db.checkpoint()?;
    print(
        "memory after the job and a checkpoint, VmRSS",
        resident_bytes().saturating_sub(before),
    );
    db.close()?;
    Ok(())
}

fn reopened(dir: &Path) -> Result<(), Box<dyn Error>> {
    let before = resident_bytes();
    let db = engine::open_without_checkpoints(dir, Durability::OperatingSystem)?;
    let resident = resident_bytes().saturating_sub(before);
    print(REOPENED, resident);
    print_own(&db, resident)
}

fn print_own(db: &TidalDb, resident: u64) -> Result<(), Box<dyn Error>> {
    let statistics = db.statistics()?;
    let keys = statistics.states_len as u64;
    print(OWN, statistics.states_bytes as u64);
    print("bytes per key, VmRSS", resident / keys);
    print(
        "bytes per key, the engine's own count",
        statistics.states_bytes as u64 / keys,
    );
    Ok(())
}

fn print(name: &str, bytes: u64) {
    println!("{name}\t{bytes}");
}
