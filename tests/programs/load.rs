//! Load with kills, for as long as one likes: two threads write and one reads in a child process that is killed with
//! `SIGKILL` at random moments and started again, under each policy in turn; what it acknowledged is counted outside of
//! it, and the whole state is compared after each kill.
//!
//! ```sh
//! cargo run --release --features test-utils --example load -- --minutes 5
//! ```
//!
//! `--help` lists the options. Exit status: 0 if nothing was lost or doubled, 1 if something was, 2 if it could not do
//! its work.
#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures time and looks after a directory of its own"
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
        .option("--seed N", 1, "of the moments of the kills")
        .option("--kills N", 50, "of a database, before the next policy is taken")
        .option(
            "--dir PATH",
            "",
            "where the databases are made; default the system's directory for temporary files",
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
    load::serve_if_asked();
    let ended = arguments().map(|arguments| run(&arguments));
    match ended {
        Ok(Ok(totals)) => {
            println!("{}\nnothing lost, nothing doubled", in_words(&totals));
            ExitCode::SUCCESS
        }
        Ok(Err((code, why))) => {
            eprintln!("load: {why}");
            ExitCode::from(code)
        }
        Err(status) => status,
    }
}

/// Databases one after the other until the time is over. What is wrong comes with the exit status it makes.
fn run(arguments: &LoadArguments) -> Result<LoadTotals, (u8, String)> {
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
            load.round(&program, policy).map_err(|why| {
                live.clear();
                let (policy, seed) = (POLICIES[policy], arguments.seed + number);
                (
                    1,
                    format!("{policy:?}, seed {seed}: {why}; see {}", dir.display()),
                )
            })?;
            let sum = totals.with(load.totals);
            let step = format!("{} kills", sum.kills);
            let status = LiveStatus::of_time(step, started.elapsed(), arguments.time);
            live.show(&status.count(sum.events, "events"));
        }
        totals = totals.with(load.totals);
        // What was found right is of no further use. It is not there if the time was over before the first round.
        std::fs::remove_dir_all(&dir).ok();
        if started.elapsed() >= arguments.time {
            break;
        }
    }
    live.clear();
    Ok(totals)
}

fn in_words(totals: &LoadTotals) -> String {
    format!(
        "{} kills, {} of them while opening; {} calls acknowledged, {} events found; {} calls in flight found too; \
         opening took at most {} ms",
        totals.kills,
        totals.kills_while_opening,
        totals.calls,
        totals.events,
        totals.in_flight_found,
        totals.open_time_max.as_millis()
    )
}
