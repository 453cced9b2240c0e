//! Planted bugs of the order of threads: checks that the schedule sweeps find each of them.
//!
//! ```sh
//! cargo run --release --manifest-path tests/planted_schedules/Cargo.toml -- --file target/planted.txt
//! ```
//!
//! A wrapper of files or storage cannot have such a bug, so each bug changes a few lines of the engine. `bugs.txt` lists
//! them. The program copies the crate to `target/planted_schedules`, and explores the sets `pairs` and `listed` of the
//! example `schedules` (`tests/programs/schedules.rs`) there:
//!
//! 1. The unchanged engine has no finding within a short time.
//! 2. Each bug is found without a known schedule within the time of `--minutes`.
//! 3. The finding has a kind that shows the broken promise.
//! 4. The line of the finding replays a failure of the same kind.
//! 5. The same line has no finding in the unchanged engine, or does not fit it.
//!
//! It prints a row for each bug. With `--workers 1` the number of schedules until the finding is the same in each run of
//! the same sources. With more workers it varies by a few per cent, because the sweeps end in another order.
//!
//! `--help` lists the options. Exit status: 0 if every bug was found, 1 if not,
//! 2 if an option is wrong.
#![allow(
    clippy::disallowed_methods,
    reason = "copies sources, runs programs and measures time"
)]

#[path = "../../../src/testing/lab/command_line.rs"]
mod command_line;
mod engine_copy;
mod exploration;
#[path = "../../../src/tests/source_bugs.rs"]
mod source_bugs;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::command_line::CommandLine;
use crate::engine_copy::EngineCopy;
use crate::source_bugs::SourceBug;

/// The time of the exploration of the unchanged engine.
const UNCHANGED_TIME: Duration = Duration::from_secs(20);

struct PlantArguments {
    bugs: Vec<SourceBug>,
    lists: bool,
    time: Duration,
    workers: usize,
    file: Option<PathBuf>,
}

fn arguments() -> Result<PlantArguments, ExitCode> {
    let line = CommandLine::new("planted_schedules [OPTIONS]")
        .option("--only NAME", "", "plants only this bug; may be repeated")
        .option(
            "--list",
            "",
            "prints the names of the bugs, the promises that they break, and the kinds of their findings",
        )
        .option("--minutes N", 5, "the time to find each bug; fractions are legal")
        .option("--workers N", 4, "the number of sweeps that run at the same time")
        .option(
            "--file PATH",
            "",
            "appends the row of each found bug, and skips the bugs with such a row",
        );
    line.of_process(|given| {
        let mut bugs = SourceBug::all();
        let only = given.texts("--only");
        if let Some(unknown) = only.iter().find(|name| bugs.iter().all(|bug| bug.name != **name)) {
            return Err(format!("no bug has the name {unknown}; --list shows the names"));
        }
        bugs.retain(|bug| only.is_empty() || only.iter().any(|name| name == bug.name));
        Ok(PlantArguments {
            bugs,
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
        for bug in &arguments.bugs {
            let kinds = bug.kinds.join(", ");
            println!("{} | {} | {kinds} | {}", bug.name, bug.promise, bug.file);
        }
        return ExitCode::SUCCESS;
    }
    match find_all(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed_len) => {
            println!("{failed_len} of {} bugs failed", arguments.bugs.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Finds each bug, and prints its row. Returns the number of bugs that failed.
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
    if control.schedules == 0 {
        return Err("no sweep of the unchanged engine ended".to_owned());
    }
    println!("name | promise | finding | schedules | build s | run s | replay line");
    let mut failed_len = 0;
    for bug in &arguments.bugs {
        let is_of_bug = |row: &&str| {
            let mut columns = row.split(" | ");
            columns.next() == Some(bug.name) && columns.nth(1).is_some_and(|kind| bug.kinds.contains(&kind))
        };
        if let Some(row) = rows.lines().find(is_of_bug) {
            println!("{row}");
            continue;
        }
        eprintln!("{}: {}", bug.name, bug.promise);
        match find(bug, &copy, &unchanged, arguments) {
            Ok(row) => {
                println!("{row}");
                if let Some(path) = &arguments.file {
                    let file = OpenOptions::new().create(true).append(true).open(path);
                    let written = file.and_then(|mut file| writeln!(file, "{row}"));
                    written.map_err(|error| format!("{}: {error}", path.display()))?;
                }
            }
            Err(reason) => {
                println!("{} | {} | FAILED: {reason}", bug.name, bug.promise);
                failed_len += 1;
            }
        }
    }
    Ok(failed_len)
}

/// Finds a bug, and returns its row.
///
/// # Errors
/// The reason for which the bug was not found, its finding has another kind, or its line does not replay the finding.
fn find(
    bug: &SourceBug,
    copy: &EngineCopy,
    unchanged: &Path,
    arguments: &PlantArguments,
) -> Result<String, String> {
    let begun = Instant::now();
    let changed = copy.build_with(bug)?;
    let build_seconds = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let exploration = exploration::explore(&changed, arguments.workers, arguments.time)?;
    let seconds = begun.elapsed().as_secs_f64();
    let finding = exploration.finding.ok_or_else(|| {
        format!(
            "not found in {seconds:.0} s, by {} schedules",
            exploration.schedules
        )
    })?;
    if !bug.kinds.contains(&finding.kind()) {
        return Err(format!(
            "expected {}, found {}: {}",
            bug.kinds.join(" or "),
            finding.failure,
            finding.line
        ));
    }
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
        bug.name,
        bug.promise,
        finding.kind(),
        exploration.schedules,
        finding.line
    ))
}
