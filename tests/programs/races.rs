//! Races for as long as one likes: many threads at one handle, who goes first decided by one seed after another, until
//! the time is over or one goes wrong.
//!
//! ```sh
//! cargo run --release --features test-utils --example races -- --minutes 5
//! ```
//!
//! `--help` lists the options. Exit status: 0 if no race went wrong, 1 if one did, 2 if the options are wrong.
#![allow(clippy::disallowed_methods, reason = "a program that measures time")]

use std::process::ExitCode;
use std::time::Instant;

use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::lab::race::{Race, RaceStatistics};
use tidaldb::testing::report::{LiveLine, LiveStatus};

fn main() -> ExitCode {
    let line = CommandLine::new("races [OPTIONS]")
        .option("--minutes N", 1, "ends after this time; fractions are legal")
        .option("--seed N", 0, "the first one; the others follow it")
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
    let mut all = RaceStatistics::default();
    let mut races = 0_u64;
    while started.elapsed() < time {
        let mut race = Race::of_seed(first_seed.wrapping_add(races));
        if faults {
            race = race.with_a_fault();
        }
        let result = race.run();
        races += 1;
        match result {
            Ok(told) => all = all.with(told),
            Err(failure) => {
                live.clear();
                println!("race {races} went wrong\n{failure}");
                return ExitCode::FAILURE;
            }
        }
        let status = LiveStatus::of_time("racing", started.elapsed(), time);
        live.show(&status.count(races, "races"));
    }
    live.clear();
    println!(
        "{races} races, none went wrong: {} places passed, {} of them held at, {} images recovered; {} races closed \
         early, {} panicked, in {} a sync or write failed",
        all.places, all.holds, all.images, all.closed, all.panicked, all.failed
    );
    ExitCode::SUCCESS
}
