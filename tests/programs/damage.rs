//! The whole damage campaign: every cut, every bit and every other damage of the files of small databases, then random
//! pairs of them until the time is over. It shows how far it is, and ends with a table.
//!
//! ```sh
//! cargo run --release --features test-utils --example damage -- --minutes 5
//! ```
//!
//! With `--copies 3` it mixes the files of three copies of one database that diverged, in every way.
//!
//! `--help` lists the options. Exit status: 0 if nothing was found, 1 if something was or nothing was tested, 2 if it
//! could not do its work. Below `ulimit -v` it shows that damage makes nothing ask for more memory than that.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidaldb::TidalDb;
use tidaldb::testing::SimDisk;
use tidaldb::testing::lab::damage::{DamageCampaign, DamageReport};
use tidaldb::testing::report::LiveLine;
use tidaldb::testing::sim_disk::ImageChoice;
use tidaldb::testing::workload::{Workload, standard_schema, tiny_options};

const USAGE: &str = "\
usage: damage [OPTIONS]

  --minutes N     ends after this time, 5 unless given; fractions are legal
  --operations N  the length of the workload, 60 unless given
  --seed N        of the workload and of the pairs, 7 unless given
  --one-in N      of the damages of single places this part, 1 unless given
  --pairs N       random pairs for each database, 100000 unless given
  --workers N     threads, one for each core unless given
  --copies N      mixes the files of N copies of one database in the place of damaging one, 2 or 3
  --scale MIB     no campaign: how long opening takes by the size of what is damaged, up to this
  --help          prints this";

#[derive(Debug, Clone, Copy)]
struct Arguments {
    minutes: f64,
    operations: usize,
    seed: u64,
    one_in: u64,
    pairs: u64,
    workers: usize,
    copies: usize,
    scale_mib: u64,
}

impl Arguments {
    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut arguments = Self {
            minutes: 5.0,
            operations: 60,
            seed: 7,
            one_in: 1,
            pairs: 100_000,
            copies: 0,
            scale_mib: 0,
            workers: std::thread::available_parallelism().map_or(1, Into::into),
        };
        while let Some(name) = args.next() {
            let name = name.to_string_lossy().into_owned();
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let value = value.to_string_lossy();
            let wrong =
                |error: &dyn std::fmt::Display| format!("{name} takes a number, not {value:?}: {error}");
            match name.as_str() {
                "--minutes" => arguments.minutes = value.parse().map_err(|error| wrong(&error))?,
                "--operations" => arguments.operations = value.parse().map_err(|error| wrong(&error))?,
                "--seed" => arguments.seed = value.parse().map_err(|error| wrong(&error))?,
                "--one-in" => arguments.one_in = value.parse().map_err(|error| wrong(&error))?,
                "--pairs" => arguments.pairs = value.parse().map_err(|error| wrong(&error))?,
                "--copies" => arguments.copies = value.parse().map_err(|error| wrong(&error))?,
                "--scale" => arguments.scale_mib = value.parse().map_err(|error| wrong(&error))?,
                "--workers" => arguments.workers = value.parse().map_err(|error| wrong(&error))?,
                _ => return Err(format!("there is no option {name}")),
            }
        }
        Ok(Some(arguments))
    }
}

fn cannot(why: &str) -> ExitCode {
    eprintln!("damage: {why}");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => return cannot(&format!("{why}\n\n{USAGE}")),
    };
    let Ok(time) = Duration::try_from_secs_f64(arguments.minutes * 60.0) else {
        return cannot("--minutes takes a number above 0");
    };
    if arguments.scale_mib > 0 {
        return scale(arguments.scale_mib);
    }
    let live = LiveLine::stderr();
    let progress = |report: &DamageReport| live.show(&line(report), report.elapsed);
    let campaign = match arguments.copies {
        0 => DamageCampaign::standard(arguments.seed, arguments.operations),
        copies @ 2..=3 => DamageCampaign::of_copies(copies),
        _ => return cannot("--copies takes 2 or 3"),
    };
    let report = campaign
        .one_in(arguments.one_in)
        .pairs(arguments.pairs, arguments.seed)
        .time(time)
        .workers(arguments.workers)
        .run_with(progress);
    live.clear();
    println!("{report}");
    let total = report.total();
    let tests_nothing = total.whole == 0 || total.refused_len() == 0;
    ExitCode::from(u8::from(report.findings_len > 0 || tests_nothing))
}

/// Opens a small database whose last segment, or last store file, is followed by what costs a reader the most: something
/// that may be a header at every place where one can be.
fn scale(mib_max: u64) -> ExitCode {
    let disk = SimDisk::new();
    let options = tiny_options(standard_schema());
    let open = |disk: &SimDisk| TidalDb::open("/db", options.clone().files(Arc::new(disk.clone())));
    let made = open(&disk).and_then(|db| {
        let mut operations = Workload::standard(7, 30).operations.into_iter();
        operations.try_for_each(|operation| operation.apply_or_refuse(&db).map(drop))
    });
    if let Err(error) = made {
        return cannot(&error.to_string());
    }
    let sound = disk.image(&ImageChoice::All);
    println!("{:<8}{:>8}{:>12}{:>12}", "file", "MiB", "ms", "ns/byte");
    for dir in ["log", "store"] {
        let last = sound
            .files()
            .filter(|(path, _)| path.starts_with(format!("/db/{dir}")));
        let Some((path, bytes)) = last.last() else {
            return cannot("there is no file to damage");
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
                return cannot(&error.to_string());
            }
            let per_byte = time.as_nanos() as f64 / (mib << 20) as f64;
            println!(
                "{dir:<8}{mib:>8}{:>12.1}{per_byte:>12.2}",
                time.as_secs_f64() * 1e3
            );
            mib *= 2;
        }
    }
    ExitCode::SUCCESS
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program tells how long something takes"
)]
fn now() -> Instant {
    Instant::now()
}

fn line(report: &DamageReport) -> String {
    let total = report.total();
    let seconds = report.elapsed.as_secs_f64();
    format!(
        "{} images, {:.0}/s, {} refused, {} findings",
        total.cases,
        total.cases as f64 / seconds.max(1e-3),
        total.refused_len(),
        report.findings_len
    )
}
