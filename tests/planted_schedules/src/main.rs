//! Planted faults of concurrency: checks that the schedule sweeps find each of them.
//!
//! ```sh
//! cargo run --manifest-path tests/planted_schedules/Cargo.toml -- --file target/planted_schedules.txt
//! ```
//!
//! A wrapper of files or storage cannot have a fault of concurrency, so a planted fault is a change of a few lines of
//! the engine. `changes.txt` lists the changes. The program copies the crate to `target/planted_schedules`, and
//! explores the standard programs of `schedules` (`tests/programs/schedules.rs`) there:
//!
//! 1. The unchanged engine has no finding within a short time.
//! 2. Each change is found from nothing within the time of `--minutes`.
//! 3. The line of the finding replays a failure of the same kind.
//! 4. The same line has no finding in the unchanged engine, or does not fit it.
//!
//! It prints a row for each change. `--help` lists the options. Exit status: 0 if every change was found, 1 if not,
//! 2 if an option is wrong.
#![allow(
    clippy::disallowed_methods,
    reason = "copies sources, runs programs and measures time"
)]

#[path = "../../../src/testing/lab/command_line.rs"]
mod command_line;
mod engine_copy;
mod exploration;
#[path = "../../../src/tests/planted_changes.rs"]
mod planted_changes;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::command_line::CommandLine;
use crate::engine_copy::EngineCopy;
use crate::planted_changes::PlantedChange;

/// The time of the exploration of the unchanged engine.
const UNCHANGED_TIME: Duration = Duration::from_secs(20);

struct PlantArguments {
    changes: Vec<PlantedChange>,
    lists: bool,
    time: Duration,
    workers: usize,
    file: Option<PathBuf>,
}

fn arguments() -> Result<PlantArguments, ExitCode> {
    let line = CommandLine::new("planted_schedules [OPTIONS]")
        .option("--only NAME", "", "plants only this change; may be repeated")
        .option(
            "--list",
            "",
            "prints the names of the changes and the promises that they break",
        )
        .option(
            "--minutes N",
            5,
            "the time to find each change; fractions are legal",
        )
        .option(
            "--workers N",
            2,
            "the number of programs that are explored at the same time",
        )
        .option(
            "--file PATH",
            "",
            "appends the row of each found change, and skips the changes in the file",
        );
    line.of_process(|given| {
        let mut changes = PlantedChange::all();
        let only = given.texts("--only");
        if let Some(unknown) = only
            .iter()
            .find(|name| changes.iter().all(|change| change.name != **name))
        {
            return Err(format!(
                "no change has the name {unknown}; --list shows the names"
            ));
        }
        changes.retain(|change| only.is_empty() || only.iter().any(|name| name == change.name));
        Ok(PlantArguments {
            changes,
            lists: given.has("--list"),
            time: given.minutes("--minutes")?,
            workers: given.number("--workers", 1..=64)?,
            file: given.path("--file"),
        })
    })
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    if arguments.lists {
        for change in &arguments.changes {
            println!("{} | {} | {}", change.name, change.promise, change.file);
        }
        return ExitCode::SUCCESS;
    }
    match find_all(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed_len) => {
            println!("{failed_len} of {} changes failed", arguments.changes.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Finds each change, and prints its row. Returns the number of changes that failed.
fn find_all(arguments: &PlantArguments) -> Result<usize, String> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copied = crate_dir.canonicalize().and_then(EngineCopy::of);
    let copy = copied.map_err(|error| format!("cannot copy the crate: {error}"))?;
    let rows = arguments
        .file
        .as_ref()
        .and_then(|file| fs::read_to_string(file).ok());
    let rows = rows.unwrap_or_default();
    eprintln!("unchanged engine");
    let unchanged = copy.build_unchanged()?;
    let control = exploration::explore(&unchanged, arguments.workers, UNCHANGED_TIME)?;
    if let Some(finding) = control.finding {
        return Err(format!(
            "the unchanged engine fails: {}\n{}",
            finding.failure, finding.line
        ));
    }
    println!("name | promise | finding | schedules | build s | run s | replay line");
    let mut failed_len = 0;
    for change in &arguments.changes {
        let is_of_change = |row: &&str| row.split(" | ").next() == Some(change.name);
        if let Some(row) = rows.lines().find(is_of_change) {
            println!("{row}");
            continue;
        }
        eprintln!("{}: {}", change.name, change.promise);
        match find(change, &copy, &unchanged, arguments) {
            Ok(row) => {
                println!("{row}");
                if let Some(path) = &arguments.file {
                    let file = OpenOptions::new().create(true).append(true).open(path);
                    let written = file.and_then(|mut file| writeln!(file, "{row}"));
                    written.map_err(|error| format!("{}: {error}", path.display()))?;
                }
            }
            Err(reason) => {
                println!("{} | {} | FAILED: {reason}", change.name, change.promise);
                failed_len += 1;
            }
        }
    }
    Ok(failed_len)
}

/// Finds a change, and returns its row.
///
/// # Errors
/// The reason for which the change was not found, or its line does not replay the finding.
fn find(
    change: &PlantedChange,
    copy: &EngineCopy,
    unchanged: &Path,
    arguments: &PlantArguments,
) -> Result<String, String> {
    let begun = Instant::now();
    let changed = copy.build_changed(change)?;
    let build_seconds = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let exploration = exploration::explore(&changed, arguments.workers, arguments.time)?;
    let seconds = begun.elapsed().as_secs_f64();
    let finding = exploration
        .finding
        .ok_or_else(|| format!("not found in {seconds:.0} s"))?;
    let replayed = exploration::replay(&changed, &finding.line)?;
    let kind = replayed.as_ref().map_or("no finding", |replayed| replayed.kind());
    if kind != finding.kind() {
        return Err(format!(
            "found {}, replayed {kind}: {}",
            finding.failure, finding.line
        ));
    }
    if let Some(other) = exploration::replay(unchanged, &finding.line)? {
        return Err(format!(
            "the unchanged engine fails too: {}\n{}",
            other.failure, finding.line
        ));
    }
    Ok(format!(
        "{} | {} | {} | {} | {build_seconds:.0} | {seconds:.1} | {}",
        change.name,
        change.promise,
        finding.kind(),
        exploration.schedules,
        finding.line
    ))
}
