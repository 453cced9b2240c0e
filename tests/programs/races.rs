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
use std::time::{Duration, Instant};

use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::lab::race::{Race, Told};
use tidaldb::testing::report::{LiveLine, LiveStatus};

struct Arguments {
    time: Duration,
    first_seed: u64,
    faults: bool,
}

fn command_line() -> CommandLine<Arguments> {
    let values = Arguments {
        time: Duration::from_secs(60),
        first_seed: 0,
        faults: false,
    };
    CommandLine::new("races [OPTIONS]", values)
        .minutes("--minutes", "ends after this time", |it| &mut it.time)
        .number(
            "--seed",
            "the first one; the others follow it",
            0..=u64::MAX,
            |it| &mut it.first_seed,
        )
        .flag(
            "--faults",
            "plans one failing sync or write for each race",
            |it| &mut it.faults,
        )
}

fn main() -> ExitCode {
    let Arguments {
        time,
        first_seed,
        faults,
    } = match command_line().of_process() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let live = LiveLine::stderr();
    let started = Instant::now();
    let mut all = Told::default();
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
