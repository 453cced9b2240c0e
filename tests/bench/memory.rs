//! The memory of the states at rest. Each measurement runs in a separate child process, so that the memory of another
//! measurement does not count. The child prints its figures, one in each line, and the parent reads them.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use crate::args::BenchArgs;
use crate::board::FigureUnit;
use crate::engine;
use crate::environment::resident_bytes;
use crate::{Bench, Measured};

/// Measures the memory after the job, after a checkpoint, and after reopening.
pub(crate) fn at_rest(bench: &mut Bench) -> Measured {
    let dir = bench.dir.empty_dir("memory")?;
    for child in ["recorded", "reopened"] {
        for (name, bytes) in start(child, &dir, bench.args.events)? {
            if name.starts_with("bytes") {
                bench.board.add(name, FigureUnit::Bytes, bytes);
            } else {
                bench.board.add(name, FigureUnit::Megabytes, bytes / 1e6);
            }
        }
    }
    Ok(())
}

const REOPENED: &str = "memory at rest after reopening, VmRSS";
const OWN: &str = "the same, the engine's own count";

/// The bytes of a process that reopens the closed database, and the bytes that the engine itself counts.
pub(crate) fn of_reopened(dir: &Path) -> Result<[(&'static str, f64); 2], Box<dyn Error>> {
    let figures = start("reopened", dir, 1)?;
    Ok([
        ("memory, VmRSS", figure(&figures, REOPENED)?),
        ("memory, the engine's own count", figure(&figures, OWN)?),
    ])
}

/// The value of a figure that a child process printed.
pub(crate) fn figure(figures: &[(String, f64)], name: &str) -> Result<f64, String> {
    let figure = figures.iter().find(|(found, _)| found == name);
    figure
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("the child process did not print {name:?}"))
}

/// Runs the measurement `child` in a child process, and returns the figures that it prints.
pub(crate) fn start(
    child: &str,
    dir: &Path,
    events_len: usize,
) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--child", child, "--events", &events_len.to_string(), "--dir"])
        .arg(dir)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let mut figures = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let (name, bytes) = line
            .split_once('\t')
            .ok_or_else(|| format!("a line of the child process has no value: {line:?}"))?;
        figures.push((name.to_owned(), bytes.parse()?));
    }
    Ok(figures)
}

/// The measurement `name`, in a child process that was started for it.
pub(crate) fn child(args: &BenchArgs, name: &str) -> Measured {
    let print = |name: &str, bytes: u64| println!("{name}\t{bytes}");
    let job = if name == "recorded" {
        engine::job(args.events)
    } else {
        Vec::new()
    };
    let before = resident_bytes();
    let resident = || resident_bytes().saturating_sub(before);
    if name == "recorded" {
        let db = engine::filled(&args.dir, &job)?;
        print("memory after the job, VmRSS", resident());
        db.checkpoint()?;
        print("memory after the job and a checkpoint, VmRSS", resident());
        return Ok(db.close()?);
    }
    let (db, _) = engine::reopen(&args.dir)?;
    let resident = resident();
    let statistics = db.statistics()?;
    let (keys, own) = (statistics.states_len as u64, statistics.states_bytes as u64);
    print(REOPENED, resident);
    print(OWN, own);
    print("bytes per key, VmRSS", resident / keys);
    print("bytes per key, the engine's own count", own / keys);
    Ok(())
}
