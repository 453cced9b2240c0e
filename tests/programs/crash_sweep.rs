//! The deep profile: sweeps standard workloads of successive seeds under each policy in turn, with crashes inside
//! recoveries of recoveries, until its time is over. It shows its progress, prints each finding at once, and rewrites
//! the files of its report until the end.
//!
//! ```sh
//! cargo run --release --features test-utils --example crash_sweep -- --minutes 5 --html report.html
//! ```
//!
//! With `--rate` it measures instead the number of crashes for which one thread builds the image, recovers and verifies
//! in a second. The workloads have a hundred operations.
//!
//! `--help` lists the options. Exit status: 0 without findings, 1 with findings or if nothing was tested, 2 if a file
//! of the report cannot be written or an option is wrong.
#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures time and writes its report to the given files"
)]

#[path = "../bench/environment.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
mod environment;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use environment::processor_seconds;
use tidaldb::testing::lab::command_line::{CommandLine, GivenArguments};
use tidaldb::testing::report::{LiveLine, Report};
use tidaldb::testing::sweep::{DeepProfile, DeepTotals};

/// The minimum time between two writes of the report files.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The command line. With `--rate` the defaults differ.
fn command_line(defaults: &DeepProfile) -> CommandLine {
    CommandLine::new("crash_sweep [OPTIONS]")
        .option(
            "--rate",
            "",
            "measures one thread: no crashes in recoveries, no faults of the disk, no writes to a recovered database; \
             sets other defaults",
        )
        .option("--minutes N", defaults.time.as_secs_f64() / 60.0, "ends after this time; fractions are legal")
        .option("--states N", defaults.distinct_max, "ends after this many distinct images")
        .option("--operations N", defaults.operations_len, "the number of operations of each workload")
        .option(
            "--large N",
            defaults.large_events_len,
            "replaces the standard workloads by calls of N events, with the limits of production",
        )
        .option("--seed N", defaults.first_seed, "the seed of the first workload")
        .option("--depth N", defaults.depth, "crashes in recoveries, to this depth")
        .option("--images N", defaults.images_max, "the most images for each crash position and disk model")
        .option("--nested-images N", defaults.nested_images_max, "the same for crashes in recoveries")
        .option("--workers N", defaults.workers, "the number of threads")
        .option("--json FILE", "", "writes the report to this file, repeatedly until the end")
        .option("--html FILE", "", "writes the report to this file as one page, repeatedly until the end")
        .after("The first findings of a sweep are shrunk, which may exceed the time limit.")
}

fn profile(given: &GivenArguments, defaults: &DeepProfile) -> Result<DeepProfile, String> {
    Ok(DeepProfile {
        time: given.minutes("--minutes")?,
        distinct_max: given.number("--states", 1..=u64::MAX)?,
        operations_len: given.number("--operations", 1..=100_000)?,
        large_events_len: given.number("--large", 0..=65_536)?,
        first_seed: given.number("--seed", 0..=u64::from(u32::MAX))?,
        depth: given.number("--depth", 0..=2)?,
        images_max: given.number("--images", 1..=1_000_000)?,
        nested_images_max: given.number("--nested-images", 1..=1_000_000)?,
        workers: given.number("--workers", 1..=1024)?,
        ..defaults.clone()
    })
}

/// The report of the sweeps that have ended, and the files of the report.
struct ReportFiles {
    json: Option<PathBuf>,
    html: Option<PathBuf>,
    report: Report,
    next_write: Instant,
    /// The error of the last write.
    write_error: Option<String>,
}

impl ReportFiles {
    /// Writes the files if the next write is due. Large files are written less often, so that writes take at most about
    /// a twentieth of the time.
    fn write(&mut self) {
        let begin = Instant::now();
        if begin >= self.next_write {
            self.write_error = self.write_now().err();
            self.next_write = Instant::now() + WRITE_INTERVAL.max(20 * begin.elapsed());
        }
    }

    fn write_now(&self) -> Result<(), String> {
        if let Some(path) = &self.json {
            write(path, &self.report.json())?;
        }
        if let Some(path) = &self.html {
            write(path, &self.report.html())?;
        }
        Ok(())
    }

    /// Writes the final report to the files and to standard output.
    fn end(&mut self) -> ExitCode {
        self.next_write = Instant::now();
        self.write();
        println!("{}", self.report.terminal());
        match &self.write_error {
            Some(cause) => fail(cause),
            None => ExitCode::from(u8::from(!self.report.is_ok())),
        }
    }
}

/// Writes a file next to `path` and renames it to `path`, so that a reader never gets an incomplete file.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn lock(files: &Mutex<ReportFiles>) -> MutexGuard<'_, ReportFiles> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints the cause and returns exit status 2.
fn fail(cause: &str) -> ExitCode {
    eprintln!("crash_sweep: {cause}");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let is_rate = env::args_os().any(|argument| argument == "--rate");
    let mut defaults = DeepProfile::default();
    if is_rate {
        defaults = DeepProfile {
            depth: 0,
            workers: 1,
            faults_max: 0,
            continues: false,
            distinct_max: u64::MAX,
            time: Duration::from_secs(20),
            ..defaults
        };
    }
    let read = command_line(&defaults).of_process(|given| {
        let profile = profile(given, &defaults)?;
        let title = format!("standard workloads from seed {}", profile.first_seed);
        let files = ReportFiles {
            json: given.path("--json"),
            html: given.path("--html"),
            report: Report::new(&title),
            next_write: Instant::now(),
            write_error: None,
        };
        Ok((profile, files))
    });
    let (profile, mut files) = match read {
        Ok(values) => values,
        Err(status) => return status,
    };
    // If a file cannot be written, the program reports it now and not at the end.
    files.write();
    match &files.write_error {
        Some(cause) => fail(cause),
        None => run(&profile, files, is_rate),
    }
}

fn run(profile: &DeepProfile, files: ReportFiles, is_rate: bool) -> ExitCode {
    let processor_before = processor_seconds();
    let files = Arc::new(Mutex::new(files));
    let live = Arc::new(LiveLine::stderr());
    let (files_of_progress, live_of_progress) = (Arc::clone(&files), Arc::clone(&live));
    let totals = profile.run(
        move |progress| {
            live_of_progress.show(&progress.into());
            let mut files = lock(&files_of_progress);
            files.report.running(*progress);
            files.write();
        },
        |sweep, totals| {
            for finding in &sweep.findings {
                let (kind, replay) = (finding.failure.kind, finding.replay_line());
                live.print(&format!("✗ sweep {}: {kind}: {replay}", totals.sweeps));
            }
            let mut files = lock(&files);
            // A sweep without time for a single recovery adds nothing to the report.
            if sweep.distinct > 0 || sweep.findings_len > 0 {
                files.report.add(sweep.clone());
            }
            files.write();
        },
    );
    live.clear();
    let status = lock(&files).end();
    if is_rate {
        println!(
            "{}",
            rate(&totals, profile, processor_seconds() - processor_before)
        );
    }
    status
}

fn rate(totals: &DeepTotals, profile: &DeepProfile, processor_seconds: f64) -> String {
    let per_second = |seconds: f64| totals.distinct as f64 / seconds.max(1e-9);
    let by_processor = match processor_seconds {
        0.0 => "an unknown number".to_owned(),
        seconds => format!("{:.0}", per_second(seconds)),
    };
    format!(
        "{} distinct crash images of workloads of {} operations built, recovered and verified by {} thread(s): \
         {:.0} for each second, {by_processor} for each second of processor time",
        totals.distinct,
        profile.operations_len,
        profile.workers,
        per_second(totals.elapsed.as_secs_f64()),
    )
}
