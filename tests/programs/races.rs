//! Races: several threads call one handle, and a seed decides the order in which they run. The program runs the races
//! of successive seeds until the time is over or a race fails.
//!
//! ```sh
//! cargo run --release --features test-utils --example races -- --minutes 5
//! ```
//!
//! `--help` lists the options. Exit status: 0 if no race failed, 1 if one failed, 2 if an option is wrong.
#![allow(clippy::disallowed_methods, reason = "a program that measures time")]

use std::process::ExitCode;
use std::time::Instant;

use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::lab::race::{Race, RaceStatistics};
use tidaldb::testing::report::{LiveLine, LiveStatus};

fn main() -> ExitCode {
    let line = CommandLine::new("races [OPTIONS]")
        .option("--minutes N", 1, "ends after this time; fractions are legal")
        .option("--seed N", 0, "the seed of the first race; each next race adds 1")
        .option("--faults", "", "plans one failing sync or write for each race");
    let read = line.of_process(|given| {
        let (time, first_seed) = (given.minutes("--minutes")?, given.number("--seed", 0..=u64::MAX)?);
        Ok((time, first_seed, given.has("--faults")))
    });
    let (time, first_seed, faults) = match read {
        Ok(values) => values,
        Err(status) => return status,
    };
    let live = LiveLine::stderr();
    let started = Instant::now();
    let mut totals = RaceStatistics::default();
    let mut races = 0_u64;
    while started.elapsed() < time {
        let mut race = Race::of_seed(first_seed.wrapping_add(races));
        if faults {
            race = race.with_a_fault();
        }
        let result = race.run();
        races += 1;
        match result {
            Ok(statistics) => totals = totals.with(statistics),
            Err(failure) => {
                live.clear();
                println!("race {races} failed\n{failure}");
                return ExitCode::FAILURE;
            }
        }
        let status = LiveStatus::of_time("racing", started.elapsed(), time);
        live.show(&status.count(races, "races"));
    }
    live.clear();
    println!(
        "{races} races, none failed: {} places passed, a thread was held at {} of them, {} images recovered; {} races \
         closed the handle early, in {} a thread panicked, in {} a sync or write failed",
        totals.yield_points, totals.waits, totals.images, totals.closed, totals.panicked, totals.failed
    );
    ExitCode::SUCCESS
}
