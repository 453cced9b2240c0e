//! The deep profile: sweeps standard workloads, one seed and policy after another, until its time is over; shows how far
//! it is, and writes what it found as it goes.
//!
//! ```sh
//! cargo run --release --features test-utils --example crash_sweep -- --minutes 5 --depth 2 --html report.html
//! ```
//!
//! Exit status: 0 if nothing was found, 1 if something was or nothing was tested, 2 if it could not do its work.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tidaldb::Durability;
use tidaldb::testing::CrashSweep;
use tidaldb::testing::report::{LiveLine, Report};

const USAGE: &str = "\
usage: crash_sweep [OPTIONS]

  --minutes N      how long it runs at most; 1 unless given, fractions are legal
  --depth N        crashes in recoveries: 0 none, 1, or 2 for those inside them too; 1 unless given
  --operations N   operations of each workload; 100 unless given
  --seed N         the first workload's seed; 1 unless given. Each seed is swept under every policy
  --workers N      threads; as many as there are cores unless given
  --json FILE      writes the report there, again and again until the end
  --html FILE      the same as one page
  --help           prints this

The first findings are shrunk, which may take longer than the time that was given.";

/// How many findings are enough.
const FINDINGS_MAX: u64 = 100;
/// After how many findings no more are shrunk: they are hardly of another kind.
const SHRUNK_MAX: u64 = 10;
/// No sweep begins with less time than this.
const SWEEP_TIME_MIN: Duration = Duration::from_millis(200);
/// How much time lies between two looks at a sweep that runs.
const LOOK: Duration = Duration::from_millis(250);
/// How much time lies between two writings of the files, at least.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);
/// The policies that each seed is swept under.
const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 1000 },
    Durability::OperatingSystem,
];

#[derive(Debug, Clone)]
struct Arguments {
    time: Duration,
    depth: u32,
    operations_len: usize,
    seed: u64,
    workers: usize,
    files: Files,
}

#[derive(Debug, Clone, Default)]
struct Files {
    json: Option<PathBuf>,
    html: Option<PathBuf>,
}

impl Arguments {
    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut parsed = Self {
            time: Duration::from_secs(60),
            depth: 1,
            operations_len: 100,
            seed: 1,
            workers: thread::available_parallelism().map_or(1, usize::from),
            files: Files::default(),
        };
        while let Some(name) = args.next() {
            let name = name.to_string_lossy().into_owned();
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let options = [
                "--minutes",
                "--depth",
                "--operations",
                "--seed",
                "--workers",
                "--json",
                "--html",
            ];
            if !options.contains(&name.as_str()) {
                return Err(format!("there is no option {name:?}"));
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--minutes" => parsed.time = minutes(&value)?,
                "--depth" => parsed.depth = number(&name, &value, 0..=2)?,
                "--operations" => parsed.operations_len = number(&name, &value, 1..=100_000)?,
                "--seed" => parsed.seed = number(&name, &value, 0..=u64::MAX)?,
                "--workers" => parsed.workers = number(&name, &value, 1..=1024)?,
                "--json" => parsed.files.json = Some(value.into()),
                _ => parsed.files.html = Some(value.into()),
            }
        }
        Ok(Some(parsed))
    }
}

fn minutes(value: &OsString) -> Result<Duration, String> {
    let minutes = value.to_str().and_then(|text| text.parse::<f64>().ok());
    let time = minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
    // A year, so that sums of times cannot overflow.
    let max = Duration::from_secs(365 * 24 * 3600);
    time.filter(|time| !time.is_zero() && *time <= max)
        .ok_or_else(|| format!("--minutes takes a number above 0, not {}", value.display()))
}

fn number<T: FromStr + PartialOrd + Display>(
    name: &str,
    value: &OsString,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (min, max) = range.into_inner();
        format!(
            "{name} takes a whole number from {min} to {max}, not {}",
            value.display()
        )
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a report goes to where its reader wants it"
)]
impl Files {
    /// Writes the report to a file beside each one, which then takes its place: a reader never sees a part.
    fn write(&self, report: &Report) -> Result<(), Box<dyn Error>> {
        let write = |path: &Path, text: String| {
            let mut partial = path.as_os_str().to_owned();
            partial.push(".partial");
            std::fs::write(&partial, text)
                .and_then(|()| std::fs::rename(&partial, path))
                .map_err(|error| format!("cannot write {}: {error}", path.display()))
        };
        if let Some(path) = &self.json {
            write(path, report.json())?;
        }
        if let Some(path) = &self.html {
            write(path, report.html())?;
        }
        Ok(())
    }
}

/// What the sweeps share with whoever watches them.
struct Profile {
    arguments: Arguments,
    live: LiveLine,
    begin: Instant,
    state: Mutex<State>,
}

struct State {
    report: Report,
    /// When the files are to be written next.
    next_write: Instant,
    /// Why they could not be.
    write_error: Option<String>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the profile is bounded by the time of whoever waits for it"
)]
fn now() -> Instant {
    Instant::now()
}

impl Profile {
    fn new(arguments: Arguments) -> Self {
        let title = format!("standard workloads from seed {}", arguments.seed);
        Self {
            live: LiveLine::stderr(),
            begin: now(),
            state: Mutex::new(State {
                report: Report::new(&title),
                next_write: now(),
                write_error: None,
            }),
            arguments,
        }
    }

    fn time_left(&self) -> Duration {
        self.arguments
            .time
            .saturating_sub(now().duration_since(self.begin))
    }

    fn with_state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes the files if it is time to. Large ones are written less often, so that writing takes little of the time.
    fn write(&self, state: &mut State) {
        let begin = now();
        if begin < state.next_write {
            return;
        }
        state.write_error = self
            .arguments
            .files
            .write(&state.report)
            .err()
            .map(|error| error.to_string());
        let end = now();
        state.next_write = end + WRITE_INTERVAL.max(20 * end.duration_since(begin));
    }

    /// Sweeps one workload after another until the time is over.
    fn run(self: &Arc<Self>) {
        for number in 0.. {
            let (time_left, findings) = (
                self.time_left(),
                self.with_state(|state| state.report.findings_len()),
            );
            if time_left < SWEEP_TIME_MIN || findings >= FINDINGS_MAX {
                return;
            }
            let (seed, policy) = (number / POLICIES.len() as u64, number % POLICIES.len() as u64);
            let seed = self.arguments.seed.wrapping_add(seed);
            let swept = self.sweep(seed, POLICIES[policy as usize], time_left).run();
            self.with_state(|state| {
                // One that had no time left to recover anything says nothing.
                if swept.distinct > 0 || swept.findings_len > 0 || self.time_left() >= SWEEP_TIME_MIN {
                    state.report.add(swept);
                    self.write(state);
                }
            });
        }
    }

    fn sweep(self: &Arc<Self>, seed: u64, policy: Durability, time: Duration) -> CrashSweep {
        let watching = Arc::clone(self);
        CrashSweep::standard(seed, self.arguments.operations_len)
            .durability(policy)
            .depth(self.arguments.depth)
            .seed(seed)
            .nested_max(usize::MAX)
            .deaths_max(usize::MAX)
            .workers(self.arguments.workers)
            .shrink(self.with_state(|state| state.report.findings_len()) < SHRUNK_MAX)
            .time(time)
            .progress(LOOK, move |progress| {
                watching.with_state(|state| {
                    let line = state.report.progress_line(progress, Some(watching.time_left()));
                    watching.live.show(&line, now().duration_since(watching.begin));
                    state.report.running(*progress);
                    watching.write(state);
                });
            })
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("crash_sweep: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let profile = Arc::new(Profile::new(arguments));
    // A file that cannot be written is better known now than at the end.
    profile.with_state(|state| profile.write(state));
    if let Some(why) = profile.with_state(|state| state.write_error.clone()) {
        eprintln!("crash_sweep: {why}");
        return ExitCode::from(2);
    }
    profile.run();
    profile.live.clear();
    profile.with_state(|state| {
        println!("{}", state.report.terminal());
        state.next_write = now();
        profile.write(state);
        match &state.write_error {
            Some(why) => {
                eprintln!("crash_sweep: {why}");
                ExitCode::from(2)
            }
            None => ExitCode::from(u8::from(!state.report.is_ok())),
        }
    })
}
