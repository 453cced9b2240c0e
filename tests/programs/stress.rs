//! Stress until enough crash images were recovered: several threads call one handle, with failing syncs, torn writes,
//! full disks and crashes inside recoveries, under every policy and both kinds of background work.
//!
//! ```sh
//! cargo run --release --features test-utils --example stress -- --images 200000
//! ```
//!
//! `--help` lists the options. Exit status: 0 if every recovered state was correct, 1 if one was wrong, 2 if an option
//! is wrong.
#![allow(clippy::disallowed_methods, reason = "a program that measures time")]

use std::process::ExitCode;
use std::time::Instant;

use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::lab::race::{Race, RaceStatistics};
use tidaldb::testing::report::{LiveLine, LiveStatus};

fn main() -> ExitCode {
    let line = CommandLine::new("stress [OPTIONS]")
        .option("--images N", 200_000, "ends after N recovered images")
        .option(
            "--seed N",
            0,
            "the seed of the first round; each next round adds 1",
        );
    let read = line.of_process(|given| {
        Ok((
            given.number("--images", 1..=u64::MAX)?,
            given.number("--seed", 0..=u64::MAX)?,
        ))
    });
    let (images_max, first_seed) = match read {
        Ok(values) => values,
        Err(status) => return status,
    };
    let live = LiveLine::stderr();
    let started = Instant::now();
    let (mut totals, mut rounds) = (RaceStatistics::default(), 0_u64);
    while totals.images < images_max {
        match Race::stress_of_seed(first_seed.wrapping_add(rounds)).run() {
            Ok(statistics) => totals = totals.with(statistics),
            Err(failure) => {
                live.clear();
                println!("failed after {rounds} rounds, {totals:?}\n{failure}");
                return ExitCode::FAILURE;
            }
        }
        rounds += 1;
        let step = format!("next seed {}", first_seed.wrapping_add(rounds));
        let status = LiveStatus::of_parts(step, totals.images, images_max, started.elapsed());
        live.show(&status.count(totals.images, "images"));
    }
    live.clear();
    println!(
        "{} images recovered, 0 wrong, {} of them of crashes inside a recovery; {} rounds, {} calls acknowledged, \
         {} calls failed; in {} rounds a disk operation failed, in {} the handle was closed; {:.0} s; next seed {}",
        totals.images,
        totals.nested,
        rounds,
        totals.acknowledged,
        totals.calls_failed,
        totals.failed,
        totals.closed,
        started.elapsed().as_secs_f64(),
        first_seed.wrapping_add(rounds)
    );
    ExitCode::SUCCESS
}
