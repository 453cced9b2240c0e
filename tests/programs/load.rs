//! Load with kills. In a child process two threads write and one reads. The program kills the child with `SIGKILL` at
//! random times and starts it again, under each policy in turn, until the time is over. The parent counts the
//! acknowledged calls and compares the whole state after each kill.
//!
//! ```sh
//! cargo run --release --features test-utils --example load -- --minutes 5
//! ```
//!
//! `--help` lists the options. Exit status: 0 if nothing was lost or doubled, 1 after any failure, 2 if an option is
//! wrong.
#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures time and removes its own directories"
)]

#[path = "../support/load/mod.rs"]
mod load;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use load::{Load, LoadTotals, POLICIES};
use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::lab::process::ChildProgram;
use tidaldb::testing::report::{LiveLine, LiveStatus};

struct LoadArguments {
    time: Duration,
    seed: u64,
    kills: u64,
    dir: PathBuf,
}

fn arguments() -> Result<LoadArguments, ExitCode> {
    let line = CommandLine::new("load [OPTIONS]")
        .option("--minutes N", 1, "ends after this time; fractions are legal")
        .option("--seed N", 1, "the seed of the times of the kills")
        .option(
            "--kills N",
            50,
            "the number of kills of a database, before the next policy begins",
        )
        .option(
            "--dir PATH",
            "",
            "the directory of the databases; default: the system's directory for temporary files",
        );
    line.of_process(|given| {
        Ok(LoadArguments {
            time: given.minutes("--minutes")?,
            seed: given.number("--seed", 0..=u64::MAX)?,
            kills: given.number("--kills", 1..=u64::MAX)?,
            dir: given.path("--dir").unwrap_or_else(std::env::temp_dir),
        })
    })
}

fn main() -> ExitCode {
    load::run_if_child();
    let ended = arguments().map(|arguments| run(&arguments));
    match ended {
        Ok(Ok(totals)) => {
            println!("{}\nnothing lost, nothing doubled", summary(&totals));
            ExitCode::SUCCESS
        }
        Ok(Err(failure)) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
        Err(status) => status,
    }
}

/// Runs the load on one database after another until the time is over. Returns the message of the first failure.
fn run(arguments: &LoadArguments) -> Result<LoadTotals, String> {
    let started = Instant::now();
    let live = LiveLine::stderr();
    let program = ChildProgram::this_program([""; 0]);
    let mut totals = LoadTotals::default();
    for (number, policy) in (0_u64..).zip((0..POLICIES.len()).cycle()) {
        let name = format!("tidaldb-load-{}-{number}", std::process::id());
        let dir = arguments.dir.join(name);
        let mut load = Load::new(dir.clone(), arguments.seed + number);
        for _ in 0..arguments.kills {
            if started.elapsed() >= arguments.time {
                break;
            }
            load.round(&program, policy).map_err(|failure| {
                live.clear();
                let (policy, seed) = (POLICIES[policy], arguments.seed + number);
                format!("{policy:?}, seed {seed}: {failure}; see {}", dir.display())
            })?;
            let sum = totals.with(load.totals);
            let step = format!("{} kills", sum.kills);
            let status = LiveStatus::of_time(step, started.elapsed(), arguments.time);
            live.show(&status.count(sum.events, "events"));
        }
        totals = totals.with(load.totals);
        // A correct database is not needed any more. It does not exist if the time was over before the first round.
        std::fs::remove_dir_all(&dir).ok();
        if started.elapsed() >= arguments.time {
            break;
        }
    }
    live.clear();
    Ok(totals)
}

fn summary(totals: &LoadTotals) -> String {
    format!(
        "{} kills, {} of them during an open; {} calls acknowledged, {} events recovered; {} calls in flight recovered \
         too; longest open {} ms",
        totals.kills,
        totals.kills_while_opening,
        totals.calls,
        totals.events,
        totals.in_flight_recovered,
        totals.open_time_max.as_millis()
    )
}
