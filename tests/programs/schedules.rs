//! Schedules: explores the programs of the project, each under every schedule with few preemptions, and checks up to 12
//! images of a crash at each disk operation.
//!
//! ```sh
//! cargo run --release --features test-utils --example schedules -- pairs listed --file target/schedules.txt
//! ```
//!
//! `--help` lists the options. Exit status: 0 without a finding, 1 with one, 2 if an option is wrong, a line does not fit
//! the program or the engine, or the file cannot be continued. The last line says if every sweep ran.
//!
//! A sweep is one program under one policy, with a largest number of preemptions, and with or without faults. `--file`
//! gets a line for each sweep without a finding. Its first line names the build of this program, because the lines of
//! another build say nothing about this one.
#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures time, starts threads and writes its own result file"
)]

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tidaldb::Durability;
use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::lab::programs::{self, POLICIES};
use tidaldb::testing::report::{LiveLine, LiveStatus};
use tidaldb::testing::schedule::{ScheduleReport, ScheduleSweep, ScheduleSweepEnd};
use tidaldb::testing::{ReplayFailure, ReplayedLine};

/// The largest number of preemptions of a schedule.
const PREEMPTIONS_MAX: u32 = 8;

struct ScheduleArguments {
    sets: Vec<String>,
    preemptions_max: u32,
    has_faults: bool,
    seeds: u64,
    first_seed: u64,
    runs: u64,
    workers: usize,
    /// The index of the part to run, and the number of parts.
    part: (usize, usize),
    time: Duration,
    ends_at_finding: bool,
    file: Option<PathBuf>,
    /// Continues a file of another build.
    accepts_other_build: bool,
    replay: Option<String>,
}

impl ScheduleArguments {
    /// Returns true if this set was chosen.
    fn has(&self, set: &str) -> bool {
        self.sets.iter().any(|given| given == set)
    }
}

fn arguments() -> Result<ScheduleArguments, ExitCode> {
    let line = CommandLine::new("schedules [OPTIONS] [pairs] [listed] [random] [repeat]")
        .option(
            "--preemptions N",
            2,
            "the largest number of preemptions of a schedule",
        )
        .option("--no-faults", "", "runs no schedule with a failing sync or write")
        .option(
            "--seeds N",
            1000,
            "the number of programs of `random` and `repeat`",
        )
        .option("--seed N", 0, "the first seed; each next program adds 1")
        .option(
            "--runs N",
            200,
            "the number of schedules of each program of `random`",
        )
        .option(
            "--workers N",
            4,
            "the number of sweeps that run at the same time; two for each core are fastest",
        )
        .option(
            "--part K/N",
            "1/1",
            "runs one of N parts of the programs, for several processes or machines",
        )
        .option(
            "--minutes N",
            100_000,
            "ends the running sweeps after this time, and starts no other; fractions are legal",
        )
        .option("--first", "", "ends at the first finding")
        .option(
            "--file PATH",
            "",
            "appends a line for each sweep without a finding, and skips the sweeps in the file",
        )
        .option("--other-build", "", "continues a file of another build too")
        .option("--replay LINE", "", "runs the schedule of a line instead")
        .words(
            "sets of programs; default: pairs and listed",
            [
                ("pairs", "every pair of calls, on two threads"),
                ("listed", "larger programs, of up to six calls"),
                (
                    "random",
                    "larger programs under random schedules with few preemptions",
                ),
                (
                    "repeat",
                    "runs a random schedule of each seed twice, and compares all bytes; alone, with --seed and --seeds",
                ),
            ],
        );
    line.of_process(|given| {
        let mut sets = given.operands.clone();
        if sets.is_empty() {
            sets = vec!["pairs".to_owned(), "listed".to_owned()];
        }
        if sets.len() > 1 && sets.iter().any(|set| set == "repeat") {
            return Err("`repeat` is possible only without other sets".to_owned());
        }
        Ok(ScheduleArguments {
            sets,
            preemptions_max: given.number("--preemptions", 0..=u64::from(PREEMPTIONS_MAX))? as u32,
            has_faults: !given.has("--no-faults"),
            seeds: given.number("--seeds", 1..=u64::MAX)?,
            first_seed: given.number("--seed", 0..=u64::MAX)?,
            runs: given.number("--runs", 1..=u64::MAX)?,
            workers: given.number("--workers", 1..=64)? as usize,
            part: part(given.texts("--part").last().map_or("1/1", String::as_str))?,
            time: given.minutes("--minutes")?,
            ends_at_finding: given.has("--first"),
            file: given.path("--file"),
            accepts_other_build: given.has("--other-build"),
            replay: given
                .texts("--replay")
                .last()
                .filter(|line| !line.is_empty())
                .map(ToString::to_string),
        })
    })
}

/// The index and the number of the parts in `K/N`.
fn part(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/');
    let numbers = numbers.and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    match numbers {
        Some((part, parts)) if (1..=parts).contains(&part) => Ok((part - 1, parts)),
        _ => Err(format!("--part {text}: a part is K/N, with K from 1 to N")),
    }
}

/// The logs of the pairs and the listed programs: of 1 frame (no checkpoint is due) and of 12 frames (one is due), each
/// under each policy.
const SETTINGS: [(usize, Durability); 6] = [
    (1, POLICIES[0]),
    (1, POLICIES[1]),
    (1, POLICIES[2]),
    (12, POLICIES[0]),
    (12, POLICIES[1]),
    (12, POLICIES[2]),
];

/// The sweeps of the programs of a set, with some of [`SETTINGS`].
struct Row {
    set: &'static str,
    settings: Range<usize>,
    preemptions: u32,
    has_faults: bool,
    schedules_max: u64,
}

const fn row(set: &'static str, settings: Range<usize>, preemptions: u32, has_faults: bool) -> Row {
    Row {
        set,
        settings,
        preemptions,
        has_faults,
        schedules_max: u64::MAX,
    }
}

/// The first schedules of each program. They have the fewest deviations, which most bugs do not need more of.
const fn first_schedules(set: &'static str) -> Row {
    let all = row(set, 0..1, 1, false);
    Row {
        schedules_max: 300,
        ..all
    }
}

/// The order of the sweeps. Each row costs more time than the one before it, and contains the schedules of earlier rows.
const ROWS: [Row; 12] = [
    first_schedules("pairs"),
    first_schedules("listed"),
    row("pairs", 0..1, 1, true),
    row("pairs", 1..6, 1, false),
    row("listed", 0..1, 1, false),
    row("pairs", 1..6, 1, true),
    row("pairs", 0..1, PREEMPTIONS_MAX, true),
    row("listed", 0..3, 1, true),
    row("pairs", 1..3, PREEMPTIONS_MAX, true),
    row("listed", 3..6, 1, true),
    row("pairs", 3..6, PREEMPTIONS_MAX, true),
    row("listed", 0..6, PREEMPTIONS_MAX, true),
];

/// The sweeps of the chosen sets.
fn sweeps(arguments: &ScheduleArguments) -> Vec<ScheduleSweep> {
    let mut sweeps = Vec::new();
    for row in ROWS {
        for (frames_len, policy) in &SETTINGS[row.settings] {
            let programs = match row.set {
                set if !arguments.has(set) => Vec::new(),
                "pairs" => programs::pairs(*frames_len),
                _ => programs::listed(*frames_len),
            };
            sweeps.extend(programs.into_iter().map(|program| {
                ScheduleSweep::of(program)
                    .durability(*policy)
                    .preemptions_max(row.preemptions.min(arguments.preemptions_max))
                    .faults(row.has_faults && arguments.has_faults)
                    .schedules_max(row.schedules_max)
            }));
        }
    }
    // The limits of the arguments make rows equal.
    let mut seen = HashSet::new();
    sweeps.retain(|sweep| seen.insert(sweep.description()));
    if arguments.has("random") {
        let seeds = (0..arguments.seeds).map(|number| arguments.first_seed.wrapping_add(number));
        sweeps.extend(seeds.map(|seed| {
            ScheduleSweep::of(programs::random(seed))
                .durability(POLICIES[(seed % 3) as usize])
                .faults(arguments.has_faults)
                .random(seed, arguments.runs)
        }));
    }
    sweeps
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    if let Some(line) = &arguments.replay {
        return replay(line);
    }
    if arguments.has("repeat") {
        return repeat(&arguments);
    }
    explore(&arguments)
}

/// Runs the schedule of a line.
fn replay(line: &str) -> ExitCode {
    match tidaldb::testing::replay(line) {
        Ok(ReplayedLine::Schedule(replayed)) => {
            println!(
                "no finding: {} steps, hash {:016x}",
                replayed.steps, replayed.hash
            );
            ExitCode::SUCCESS
        }
        Ok(_) => {
            println!("no finding");
            ExitCode::SUCCESS
        }
        Err(failure @ (ReplayFailure::Found(_) | ReplayFailure::FoundSchedule(_))) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
        Err(failure) => {
            println!("{failure:?}");
            ExitCode::from(2)
        }
    }
}

/// Runs a random schedule of each seed twice, and compares the runs. A finding counts as a failure.
fn repeat(arguments: &ScheduleArguments) -> ExitCode {
    let live = LiveLine::stderr();
    let (started, mut equal) = (Instant::now(), 0);
    for number in 0..arguments.seeds {
        let seed = arguments.first_seed.wrapping_add(number);
        let sweep = ScheduleSweep::of(programs::random(seed)).durability(POLICIES[(seed % 3) as usize]);
        match (sweep.run_seed(seed), sweep.run_seed(seed)) {
            (Ok(first), Ok(second)) if first == second => equal += 1,
            (Ok(first), Ok(second)) => {
                live.clear();
                println!("seed {seed}: {first:?} differs from {second:?}");
            }
            (Err(finding), _) | (_, Err(finding)) => {
                live.clear();
                println!("seed {seed}: {finding}");
            }
        }
        let status = LiveStatus::of_parts("repeating", number + 1, arguments.seeds, started.elapsed());
        live.show(&status.count(number + 1, "seeds"));
    }
    live.clear();
    println!(
        "{equal} of {} seeds gave the same steps, disk operations and bytes twice",
        arguments.seeds
    );
    if equal == arguments.seeds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The sums over all sweeps.
#[derive(Debug, Default)]
struct ScheduleTotals {
    sweeps: u64,
    schedules: u64,
    faults: u64,
    pruned: u64,
    steps: u64,
    images: u64,
    judged: u64,
    left_out: u128,
}

impl ScheduleTotals {
    fn add(&mut self, report: &ScheduleReport) {
        self.sweeps += 1;
        self.schedules += report.schedules;
        self.faults += report.faults;
        self.pruned += report.pruned;
        self.steps += report.steps;
        self.images += report.images;
        self.judged += report.judged;
        self.left_out = self.left_out.saturating_add(report.left_out);
    }
}

/// The sweeps without a finding, in a file that a later run continues.
struct SweepFile {
    file: File,
    /// The descriptions of the sweeps.
    done: HashSet<String>,
}

impl SweepFile {
    /// Reads the file, and writes the line of this build if it is missing.
    ///
    /// # Errors
    /// The file has lines of another build, and `accepts_other_build` is false; or the error of a file operation.
    fn open(path: &Path, accepts_other_build: bool) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut options = File::options();
        let options = options.read(true).append(true).create(true);
        let mut file = options.open(path).map_err(failed)?;
        let text = io::read_to_string(&file).map_err(failed)?;
        let build = build().map_err(|error| format!("cannot read this program: {error}"))?;
        // The first line names a build. Later ones do too if the file was continued by another build.
        let mut builds = text.lines().filter(|line| line.starts_with(BUILD));
        let has_build = text.lines().next().is_none_or(|line| line.starts_with(BUILD));
        let is_of_this_build = has_build && builds.all(|line| line == build);
        if !is_of_this_build && !accepts_other_build {
            return Err(format!(
                "{} has the sweeps of another build, which say nothing about this one. Give another file, or \
                 --other-build to skip its sweeps nevertheless",
                path.display()
            ));
        }
        if !text.lines().any(|line| line == build) {
            writeln!(file, "{build}").map_err(failed)?;
        }
        let description = |line: &str| Some(line.split_once(": ")?.0.to_owned());
        Ok(Self {
            file,
            done: text.lines().filter_map(description).collect(),
        })
    }
}

/// The beginning of the line that names a build.
const BUILD: &str = "# build ";

/// The line for the build of this program: its version, and a hash of its file.
fn build() -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(std::env::current_exe()?)?);
    Ok(format!(
        "{BUILD}{} {:016x}",
        env!("CARGO_PKG_VERSION"),
        hasher.finish()
    ))
}

fn explore(arguments: &ScheduleArguments) -> ExitCode {
    let file = arguments.file.as_ref();
    let file = file.map(|path| SweepFile::open(path, arguments.accepts_other_build));
    let mut file = match file.transpose() {
        Ok(file) => file,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    let (part, parts_len) = arguments.part;
    let mut sweeps: Vec<_> = sweeps(arguments)
        .into_iter()
        .skip(part)
        .step_by(parts_len)
        .collect();
    let sweeps_len = sweeps.len() as u64;
    if let Some(SweepFile { done, .. }) = &file {
        sweeps.retain(|sweep| !done.contains(&sweep.description()));
    }
    let left = sweeps.len() as u64;
    let live = LiveLine::stderr();
    let started = Instant::now();
    let reports = start_workers(sweeps, arguments, started);
    let (mut totals, mut findings_len) = (ScheduleTotals::default(), 0);
    let mut ended_by_time = 0;
    for report in reports {
        totals.add(&report);
        if report.end == ScheduleSweepEnd::Time {
            ended_by_time += 1;
            continue;
        }
        if report.finding.is_some() {
            live.clear();
            println!("{report}");
            findings_len += 1;
            if arguments.ends_at_finding {
                break;
            }
        } else if let Some(SweepFile { file, .. }) = &mut file {
            writeln!(file, "{report}").expect("the result file can be written");
        }
        let status = LiveStatus::of_parts("exploring", totals.sweeps, left, started.elapsed());
        live.show(&status.count(totals.schedules, "schedules"));
    }
    live.clear();
    let end = match left - totals.sweeps + ended_by_time {
        0 => "all sweeps ended".to_owned(),
        missing if arguments.ends_at_finding && findings_len > 0 => {
            format!("ended at the finding, {missing} sweeps did not end")
        }
        missing => format!("ended by --minutes, {missing} sweeps did not end"),
    };
    println!(
        "{} of {sweeps_len} sweeps ran ({} were in the file): {} schedules, {} of them with a fault, {} equal choices not \
         explored, {} steps; {} images recovered, {} judged, {} left out; {findings_len} findings; {:.0} s: {end}",
        totals.sweeps,
        sweeps_len - left,
        totals.schedules,
        totals.faults,
        totals.pruned,
        totals.steps,
        totals.images,
        totals.judged,
        totals.left_out,
        started.elapsed().as_secs_f64()
    );
    if findings_len == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Starts the threads that run the sweeps, and returns the reports of these threads. The end of the process ends the
/// threads.
fn start_workers(
    sweeps: Vec<ScheduleSweep>,
    arguments: &ScheduleArguments,
    started: Instant,
) -> Receiver<ScheduleReport> {
    let (sender, reports) = mpsc::channel();
    let next = Arc::new((sweeps, AtomicUsize::new(0)));
    for _ in 0..arguments.workers {
        let (sender, next, time) = (sender.clone(), Arc::clone(&next), arguments.time);
        std::thread::spawn(move || {
            let (sweeps, next) = &*next;
            while let Some(left) = time.checked_sub(started.elapsed())
                && let Some(sweep) = sweeps.get(next.fetch_add(1, Ordering::Relaxed))
                && sender.send(sweep.clone().time(left).run()).is_ok()
            {}
        });
    }
    reports
}
