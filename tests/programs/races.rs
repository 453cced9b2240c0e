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

use tidaldb::testing::lab::race::{Race, Told};
use tidaldb::testing::report::LiveLine;

const USAGE: &str = "\
usage: races [OPTIONS]

  --minutes N    ends after this time, 1 unless given; fractions are legal
  --seed N       the first one, 0 unless given; the others follow it
  --faults       plans one failing sync or write for each race
  --help         prints this";

/// `None` if help is asked for.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<(Duration, u64, bool)>, String> {
    let (mut time, mut seed, mut faults) = (Duration::from_secs(60), 0, false);
    while let Some(name) = args.next() {
        if name == "--help" || name == "-h" {
            return Ok(None);
        }
        if name == "--faults" {
            faults = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let wrong = || format!("{name} takes no {value:?}");
        match name.as_str() {
            "--minutes" => {
                let minutes: f64 = value.parse().map_err(|_| wrong())?;
                time = Duration::try_from_secs_f64(minutes * 60.0).map_err(|_| wrong())?;
            }
            "--seed" => seed = value.parse().map_err(|_| wrong())?,
            _ => return Err(format!("there is no option {name}")),
        }
    }
    Ok(Some((time, seed, faults)))
}

fn main() -> ExitCode {
    let (time, first_seed, faults) = match parse(std::env::args().skip(1)) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("races: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
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
            Err(lost) => {
                live.clear();
                println!("race {races} went wrong\n{lost}");
                return ExitCode::FAILURE;
            }
        }
        let elapsed = started.elapsed();
        let per_second = races as f64 / elapsed.as_secs_f64();
        live.show(
            &format!(
                "{} s | {races} races | {} places | {per_second:.1} races/s",
                elapsed.as_secs(),
                all.places
            ),
            elapsed,
        );
    }
    live.clear();
    println!(
        "{races} races, none went wrong: {} places passed, {} of them held at, {} images recovered; {} races closed \
         early, {} panicked, in {} a sync or write failed",
        all.places, all.holds, all.images, all.closed, all.panicked, all.failed
    );
    ExitCode::SUCCESS
}
