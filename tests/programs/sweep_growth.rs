//! Measures the growth of the time of a sweep with the crossings of its workload. The standard workloads have ten to
//! ten thousand operations. The sweep crashes at each crossing and disk operation, and recovers and compares a few
//! images of each.
//!
//! ```sh
//! cargo run --release --features test-utils --example sweep_growth
//! ```
//!
//! `-- N` sets the largest number of operations. `-- --events N` measures crashes over N events of the user's own, and
//! over a thousandth, a hundredth and a tenth of that number. A finding ends the program.
#![allow(clippy::disallowed_methods, reason = "a program that measures time")]

#[path = "../bench/board.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
mod board;
#[path = "../bench/curve.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
mod curve;
#[path = "../bench/own_events.rs"]
mod own_events;
#[path = "../../src/testing/report/table.rs"]
mod table;

use std::process::ExitCode;

use tidaldb::testing::CrashSweep;
use tidaldb::testing::lab::command_line::CommandLine;

use board::{FigureUnit, markdown};
use curve::{Curve, exponents};

const SEED: u64 = 7;
const ROUNDS: usize = 3;
/// The maximum number of images for each crash position and disk model: enough for every kind of image, few enough for
/// long workloads.
const IMAGES_MAX: usize = 4;

fn main() -> ExitCode {
    let line = CommandLine::new("sweep_growth [OPERATIONS]")
        .operands()
        .option(
            "--events N",
            "",
            "measures crashes over N events of the user's own instead",
        )
        .after("OPERATIONS is the number of operations of the largest workload; default 10000.");
    let read = line.of_process(|given| {
        if given.has("--events") {
            return given
                .number("--events", 20_000..=10_000_000)
                .map(|len: usize| (0, len));
        }
        let text = given.operands.last().map_or("10000", String::as_str);
        let number = text.parse().ok().filter(|number| *number > 0);
        number
            .map(|number| (number, 0))
            .ok_or_else(|| "OPERATIONS must be a whole number of at least 1".to_owned())
    });
    let (operations_max, events_max): (usize, usize) = match read {
        Ok(lens) => lens,
        Err(status) => return status,
    };
    if events_max > 0 {
        let (curve, rows) = own_events::measure(events_max);
        print_growth(&rows, &curve);
        return ExitCode::SUCCESS;
    }
    let mut curve = Curve::new("sweep", "crossings", FigureUnit::Milliseconds);
    let head = "operations|crossings|recoveries|time|for each crossing|recoveries a second";
    let head = head.split('|').map(str::to_owned);
    let mut rows = vec![head.collect::<Vec<_>>()];
    for operations in [1000, 100, 10, 1].map(|part| operations_max / part) {
        let mut rate = 0.0_f64;
        let mut sweep = (0, 0);
        for _ in 0..ROUNDS {
            // Crashes in recoveries and faults of the disk are left out: they have fixed bounds, which do not grow.
            let report = CrashSweep::standard(SEED, operations)
                .images_max(IMAGES_MAX)
                .workers(1)
                .depth(0)
                .faults_max(0)
                .continue_after_recovery(false)
                .run();
            report.expect_clean();
            let crossings: u64 = report.crossings.iter().map(|(_, count)| count).sum();
            let crossings = crossings as usize;
            curve.add(crossings, report.elapsed.as_secs_f64() * 1e3);
            sweep = (crossings, report.recoveries);
            rate = rate.max(report.per_second());
        }
        let Some((_, values)) = curve.points.last() else {
            continue;
        };
        let median = board::median(values);
        let (crossings, recoveries) = sweep;
        rows.push(vec![
            operations.to_string(),
            crossings.to_string(),
            recoveries.to_string(),
            curve.unit.show(median),
            curve.show_each(crossings, median),
            format!("{rate:.0}"),
        ]);
        eprintln!("{operations} operations: done");
    }
    print_growth(&rows, &curve);
    ExitCode::SUCCESS
}

fn print_growth(rows: &[Vec<String>], curve: &Curve) {
    println!("{}", markdown(rows));
    let [all, last] = exponents(&curve.points);
    println!("exponent {all:.2}, over the last decade {last:.2}");
}
