//! The whole damage campaign: every cut, every bit and every other damage of the files of small databases, then random
//! pairs of them until the time is over. It shows how far it is, and ends with a table.
//!
//! ```sh
//! cargo run --release --features test-utils --example damage -- --minutes 5
//! ```
//!
//! `--help` lists the options. Exit status: 0 if nothing was found, 1 if something was or nothing was tested, 2 if it
//! could not do its work. Below `ulimit -v` it shows that damage makes nothing ask for more memory than that.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use tidaldb::testing::damage::{DamageCampaign, DamageReport};
use tidaldb::testing::report::LiveLine;

const USAGE: &str = "\
usage: damage [OPTIONS]

  --minutes N     ends after this time, 5 unless given; fractions are legal
  --operations N  the length of the workload, 60 unless given
  --seed N        of the workload and of the pairs, 7 unless given
  --one-in N      of the damages of single places this part, 1 unless given
  --pairs N       random pairs for each database, 100000 unless given
  --workers N     threads, one for each core unless given
  --help          prints this";

#[derive(Debug, Clone, Copy)]
struct Arguments {
    minutes: f64,
    operations: usize,
    seed: u64,
    one_in: u64,
    pairs: u64,
    workers: usize,
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
    let live = LiveLine::stderr();
    let campaign = DamageCampaign::standard(arguments.seed, arguments.operations)
        .one_in(arguments.one_in)
        .pairs(arguments.pairs, arguments.seed)
        .time(time)
        .workers(arguments.workers);
    let report = campaign.run_with(|report| live.show(&line(report), report.elapsed));
    live.clear();
    println!("{report}");
    let total = report.total();
    let tests_nothing = total.whole == 0 || total.refused_len() == 0;
    ExitCode::from(u8::from(report.findings_len > 0 || tests_nothing))
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
