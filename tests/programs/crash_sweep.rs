//! The deep profile: sweeps standard workloads of one seed after another under each policy in turn, crashes two recoveries
//! deep, and ends by its time. It shows how far it is, names each finding when it comes, and writes its report to files
//! again and again until the end.
//!
//! ```sh
//! cargo run --release --features test-utils --example crash_sweep -- --minutes 5 --html report.html
//! ```
//!
//! With `--rate` it measures instead what one thread does in a second: a crash of a workload of a hundred operations, its
//! image, recovery, and verification, and nothing else.
//!
//! `--help` lists the options. Exit status: 0 if nothing was found, 1 if something was or nothing was tested, 2 if it
//! could not do its work.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::report::{LiveLine, Report};
use tidaldb::testing::sweep::{DeepProfile, DeepTotals, Progress, SweepReport};

/// How much time lies between two writings of the files, at least.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default)]
struct Arguments {
    profile: DeepProfile,
    files: Files,
    /// Whether what counts is the rate.
    is_rate: bool,
}

/// The command line, without and with `--rate`: it sets other defaults.
fn command_line(is_rate: bool) -> CommandLine<Arguments> {
    let mut values = Arguments::default();
    if is_rate {
        values.profile = DeepProfile {
            depth: 0,
            workers: 1,
            deaths_max: 0,
            continues: false,
            distinct_max: u64::MAX,
            time: Duration::from_secs(20),
            ..DeepProfile::default()
        };
    }
    CommandLine::new("crash_sweep [OPTIONS]", values)
        .flag(
            "--rate",
            "measures one thread: no crashes in recoveries, no deaths of the device, and a recovered database is \
             verified, not written to again; sets other defaults",
            |it| &mut it.is_rate,
        )
        .minutes("--minutes", "ends after this time", |it| &mut it.profile.time)
        .number("--states", "ends after this many distinct images", 1..=u64::MAX, |it| {
            &mut it.profile.distinct_max
        })
        .number("--operations", "the length of each workload", 1..=100_000, |it| {
            &mut it.profile.operations_len
        })
        .number("--seed", "of the first workload", 0..=u64::from(u32::MAX), |it| {
            &mut it.profile.first_seed
        })
        .number("--depth", "how many recoveries deep", 0..=2, |it| &mut it.profile.depth)
        .number("--images", "of each moment, for each disk model", 1..=1_000_000, |it| {
            &mut it.profile.images_max
        })
        .number("--nested-images", "the same in recoveries", 1..=1_000_000, |it| {
            &mut it.profile.nested_images_max
        })
        .number("--workers", "threads", 1..=1024, |it| &mut it.profile.workers)
        .path(
            "--json",
            "FILE",
            "writes the report there, again and again until the end",
            |it, path| it.files.json = Some(path),
        )
        .path("--html", "FILE", "the same as one page", |it, path| it.files.html = Some(path))
        .after("The first findings of a sweep are shrunk, which may take longer than the time that was given.")
}

#[derive(Debug, Clone, Default)]
struct Files {
    json: Option<PathBuf>,
    html: Option<PathBuf>,
}

impl Files {
    fn write(&self, report: &Report) -> Result<(), String> {
        if let Some(path) = &self.json {
            write(path, &report.json())?;
        }
        if let Some(path) = &self.html {
            write(path, &report.html())?;
        }
        Ok(())
    }
}

/// Writes a file beside `path`, which then takes its place: a reader never sees a part.
#[expect(
    clippy::disallowed_methods,
    reason = "a report goes to where its reader wants it"
)]
fn write(path: &Path, text: &str) -> Result<(), String> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// What the sweeps tell, and where it goes.
struct Account {
    files: Files,
    report: Report,
    /// When the files are to be written next.
    next_write: Instant,
    /// Why they could not be, the last time.
    write_error: Option<String>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "files are written in the time of whoever waits for them"
)]
fn now() -> Instant {
    Instant::now()
}

impl Account {
    /// Writes the files if it is time to. Large ones are written less often, so that writing takes little of the time.
    fn write(&mut self) {
        let begin = now();
        if begin < self.next_write {
            return;
        }
        self.write_error = self.files.write(&self.report).err();
        let end = now();
        self.next_write = end + WRITE_INTERVAL.max(20 * end.duration_since(begin));
    }

    fn progress(&mut self, progress: &Progress) {
        self.report.running(*progress);
        self.write();
    }

    fn add(&mut self, sweep: &SweepReport) {
        // One that had no time left to recover anything says nothing.
        if sweep.distinct > 0 || sweep.findings_len > 0 {
            self.report.add(sweep.clone());
        }
        self.write();
    }

    /// Writes the end to the files and to standard output.
    fn end(&mut self) -> ExitCode {
        self.next_write = now();
        self.write();
        println!("{}", self.report.terminal());
        match &self.write_error {
            Some(why) => cannot(why),
            None => ExitCode::from(u8::from(!self.report.is_ok())),
        }
    }
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cannot(why: &str) -> ExitCode {
    eprintln!("crash_sweep: {why}");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let Arguments {
        profile,
        files,
        is_rate,
    } = match command_line(env::args_os().any(|argument| argument == "--rate")).of_process() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let title = format!("standard workloads from seed {}", profile.first_seed);
    let mut account = Account {
        files,
        report: Report::new(&title),
        next_write: now(),
        write_error: None,
    };
    // A file that cannot be written is better known now than at the end.
    account.write();
    if let Some(why) = &account.write_error {
        return cannot(why);
    }
    run(&profile, account, is_rate)
}

/// The time for which processors worked for this process, as Linux tells it; `None` elsewhere.
#[expect(
    clippy::disallowed_methods,
    reason = "the standard library does not tell the time of processors"
)]
fn processor_time() -> Option<Duration> {
    // Hundredths of a second, in user and in kernel mode; the name before them may hold anything but a bracket.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (next()? + next()?)))
}

fn rate(totals: &DeepTotals, profile: &DeepProfile, processor: Option<Duration>) -> String {
    let per_second = |time: Duration| totals.distinct as f64 / time.as_secs_f64().max(1e-9);
    let processor = processor.map_or_else(
        || "unknown here".to_owned(),
        |time| format!("{:.0}", per_second(time)),
    );
    format!(
        "{} distinct images of crashes of workloads of {} operations built, recovered and verified by {} thread(s): \
         {:.0} a second, {processor} a second of processor time",
        totals.distinct,
        profile.operations_len,
        profile.workers,
        per_second(totals.elapsed),
    )
}

fn run(profile: &DeepProfile, account: Account, is_rate: bool) -> ExitCode {
    let processor_before = processor_time();
    let account = Arc::new(Mutex::new(account));
    let live = Arc::new(LiveLine::stderr());
    let (watched, watching) = (Arc::clone(&account), Arc::clone(&live));
    let totals = profile.run(
        move |progress| {
            watching.show(&progress.into());
            lock(&watched).progress(progress);
        },
        |sweep, totals| {
            for finding in &sweep.findings {
                let replay = finding.replay_line();
                let kind = finding.failure.kind;
                live.print(&format!("✗ sweep {}: {kind}: {replay}", totals.sweeps));
            }
            lock(&account).add(sweep);
        },
    );
    live.clear();
    let code = lock(&account).end();
    if is_rate {
        let processor = processor_time().zip(processor_before);
        println!(
            "{}",
            rate(
                &totals,
                profile,
                processor.map(|(end, begin)| end.saturating_sub(begin))
            )
        );
    }
    code
}
