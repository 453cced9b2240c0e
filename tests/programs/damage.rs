//! The whole damage campaign: each truncation, each flipped bit and each other damage of the files of small databases,
//! then random pairs of damages until the time is over. It shows its progress and prints a table at the end.
//!
//! ```sh
//! cargo run --release --features test-utils --example damage -- --minutes 5
//! ```
//!
//! With `--copies 3` it tries every mixture of the files of three copies of one database that diverged.
//!
//! `--help` lists the options. Exit status: 0 without findings, 1 with findings or if nothing was tested, 2 if a
//! database cannot be opened or an option is wrong. Run it under `ulimit -v` to show that damaged files never cause
//! larger memory requests than that limit.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidaldb::TidalDb;
use tidaldb::testing::SimDisk;
use tidaldb::testing::lab::command_line::{CommandLine, GivenArguments};
use tidaldb::testing::lab::damage::{DamageCampaign, DamageReport};
use tidaldb::testing::lab::table::TextTable;
use tidaldb::testing::report::{LiveLine, LiveStatus};
use tidaldb::testing::sim_disk::ImageChoice;
use tidaldb::testing::workload::{Workload, standard_schema, tiny_options};

#[derive(Debug, Clone, Copy)]
struct DamageArguments {
    time: Duration,
    operations: usize,
    seed: u64,
    one_in: u64,
    pairs: u64,
    workers: usize,
    copies: usize,
    scale_mib: u64,
}

fn command_line() -> CommandLine {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    CommandLine::new("damage [OPTIONS]")
        .option("--minutes N", 5, "ends after this time; fractions are legal")
        .option("--operations N", 60, "the number of operations of the workload")
        .option("--seed N", 7, "the seed of the workload and of the pairs")
        .option("--one-in N", 1, "tries one of N damages of a single place")
        .option(
            "--pairs N",
            100_000,
            "the number of random pairs for each database",
        )
        .option("--workers N", workers, "the number of threads")
        .option(
            "--copies N",
            "",
            "mixes the files of N copies of one database instead of damaging one database",
        )
        .option(
            "--scale N",
            "",
            "runs no campaign: measures the time of an open by the size of the damaged part, up to N MiB",
        )
}

fn read(given: &GivenArguments) -> Result<DamageArguments, String> {
    Ok(DamageArguments {
        time: given.minutes("--minutes")?,
        operations: given.number("--operations", 0..=100_000)?,
        seed: given.number("--seed", 0..=u64::MAX)?,
        one_in: given.number("--one-in", 1..=u64::MAX)?,
        pairs: given.number("--pairs", 0..=u64::MAX)?,
        workers: given.number("--workers", 1..=1024)?,
        copies: given.number("--copies", 2..=3)?,
        scale_mib: given.number("--scale", 1..=4096)?,
    })
}

/// Prints the cause and returns exit status 2.
fn fail(cause: &str) -> ExitCode {
    eprintln!("damage: {cause}");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let arguments = match command_line().of_process(read) {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    if arguments.scale_mib > 0 {
        return scale(arguments.scale_mib);
    }
    let live = LiveLine::stderr();
    let progress = |report: &DamageReport| {
        let status = LiveStatus::of_time("damaging", report.elapsed, arguments.time);
        let status = status.count(report.total().cases, "images");
        live.show(&status.findings(report.findings_len));
    };
    let campaign = match arguments.copies {
        0 => DamageCampaign::standard(arguments.seed, arguments.operations),
        copies => DamageCampaign::of_copies(copies),
    };
    let report = campaign
        .one_in(arguments.one_in)
        .pairs(arguments.pairs, arguments.seed)
        .time(arguments.time)
        .workers(arguments.workers)
        .run_with(progress);
    live.clear();
    println!("{report}");
    let total = report.total();
    let tests_nothing = total.whole == 0 || total.refused_len() == 0;
    ExitCode::from(u8::from(report.findings_len > 0 || tests_nothing))
}

/// Measures the open of a small database whose last segment or last store file has a damaged tail. The tail is the most
/// expensive one for recovery: a possible header stands at every position where a header can begin.
fn scale(mib_max: u64) -> ExitCode {
    let disk = SimDisk::new();
    let options = tiny_options(standard_schema());
    let open = |disk: &SimDisk| TidalDb::open("/db", options.clone().files(Arc::new(disk.clone())));
    let made = open(&disk).and_then(|db| {
        let mut operations = Workload::standard(7, 30).operations.into_iter();
        operations.try_for_each(|operation| operation.apply_or_refuse(&db).map(drop))
    });
    if let Err(error) = made {
        return fail(&error.to_string());
    }
    let sound = disk.image(&ImageChoice::All);
    let mut table = TextTable::of_numbers(8, [8, 12, 12]);
    table.row(["file", "MiB", "ms", "ns/byte"]);
    for dir in ["log", "store"] {
        let last = sound
            .files()
            .filter(|(path, _)| path.starts_with(format!("/db/{dir}")));
        let Some((path, bytes)) = last.last() else {
            return fail("the database has no file to damage");
        };
        let mut mib = 1;
        while mib <= mib_max {
            let mut long = bytes.to_vec();
            long.resize(bytes.len().next_multiple_of(8), 0);
            long.extend((0..mib << 17).flat_map(|_| [8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));
            let mut image = sound.clone();
            image.insert_file(path, long);
            let damaged = SimDisk::from_image(&image);
            let begin = now();
            let opened = open(&damaged);
            let time = begin.elapsed();
            if let Err(error) = opened {
                return fail(&error.to_string());
            }
            let per_byte = time.as_nanos() as f64 / (mib << 20) as f64;
            let millis = time.as_secs_f64() * 1e3;
            table.row([
                dir.to_owned(),
                mib.to_string(),
                format!("{millis:.1}"),
                format!("{per_byte:.2}"),
            ]);
            mib *= 2;
        }
    }
    print!("{table}");
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_methods, reason = "a program that measures time")]
fn now() -> Instant {
    Instant::now()
}
