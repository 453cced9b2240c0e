//! How much memory the states take at rest. Each measurement is a process of its own, so that nothing of another one
//! is counted; it prints its figures, one a line, and the process that started it reads them.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use tidaldb::{Durability, TidalDb};

use crate::Bench;
use crate::args::Args;
use crate::board::Unit;
use crate::engine;
use crate::place::resident_bytes;

/// After the job, after a checkpoint, and after reopening.
pub(crate) fn at_rest(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    bench.place.fresh("memory")?;
    for child in ["recorded", "reopened"] {
        let output = Command::new(std::env::current_exe()?)
            .args([
                "--child",
                child,
                "--events",
                &bench.args.events.to_string(),
                "--dir",
            ])
            .arg(bench.place.path().join("memory"))
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        for line in String::from_utf8(output.stdout)?.lines() {
            let (name, bytes) = line.split_once('\t').ok_or("a child's line has no value")?;
            let bytes: f64 = bytes.parse()?;
            if name.starts_with("bytes") {
                bench.board.add(name, Unit::Bytes, bytes);
            } else {
                bench.board.add(name, Unit::Megabytes, bytes / 1e6);
            }
        }
    }
    Ok(())
}

/// What a process that was started for it does.
pub(crate) fn child(args: &Args, what: &str) -> Result<(), Box<dyn Error>> {
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
    print("memory at rest after reopening, VmRSS", resident);
    print_own(&db, resident)
}

fn print_own(db: &TidalDb, resident: u64) -> Result<(), Box<dyn Error>> {
    let statistics = db.statistics()?;
    let keys = statistics.states_len as u64;
    print("the same, the engine's own count", statistics.states_bytes as u64);
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
