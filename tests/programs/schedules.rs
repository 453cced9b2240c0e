//! Schedules: explores the programs of the project, each under every schedule with few preemptions, and checks up to 12
//! images of a crash at each disk operation.
//!
//! ```sh
//! cargo run --release --features test-utils --example schedules -- pairs listed --file schedules.txt
//! ```
//!
//! `--help` lists the options. Exit status: 0 without a finding, 1 with one, 2 if an option is wrong or a line does not
//! fit the program or the engine.
//!
//! A sweep is one program under one policy, with a largest number of preemptions, and with or without faults. `--file`
//! gets a line for each sweep without a finding. Remove the file after a change of the engine.
#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures time, starts threads and writes its own result file"
)]

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::lab::programs::{self, POLICIES};
use tidaldb::testing::report::{LiveLine, LiveStatus};
use tidaldb::testing::schedule::{Program, ScheduleReport, ScheduleSweep};
use tidaldb::testing::{ReplayFailure, ReplayedLine};

struct ScheduleArguments {
    sets: Vec<String>,
    preemptions_max: u32,
    has_faults: bool,
    seeds: u64,
    first_seed: u64,
    runs: u64,
    workers: usize,
    time: Duration,
    ends_at_finding: bool,
    file: Option<PathBuf>,
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
            2,
            "the number of sweeps that run at the same time",
        )
        .option(
            "--minutes N",
            100_000,
            "starts no sweep after this time; fractions are legal",
        )
        .option("--first", "", "ends at the first finding")
        .option(
            "--file PATH",
            "",
            "appends a line for each sweep without a finding, and skips the sweeps in the file",
        )
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
            preemptions_max: given.number("--preemptions", 0..=8)? as u32,
            has_faults: !given.has("--no-faults"),
            seeds: given.number("--seeds", 1..=u64::MAX)?,
            first_seed: given.number("--seed", 0..=u64::MAX)?,
            runs: given.number("--runs", 1..=u64::MAX)?,
            workers: given.number("--workers", 1..=64)? as usize,
            time: given.minutes("--minutes")?,
            ends_at_finding: given.has("--first"),
            file: given.path("--file"),
            replay: given
                .texts("--replay")
                .last()
                .filter(|line| !line.is_empty())
                .map(ToString::to_string),
        })
    })
}

/// The sweeps of the chosen sets. In each round a group of programs is explored with one more preemption than in the round
/// before, without faults and then with faults. Each group begins one round after the group before it.
fn sweeps(arguments: &ScheduleArguments) -> Vec<ScheduleSweep> {
    let mut sweeps = Vec::new();
    let groups = groups(arguments);
    let levels = arguments.preemptions_max as usize + 1;
    for round in 0..groups.len() + levels {
        for (number, group) in groups.iter().enumerate() {
            let Some(level) = round.checked_sub(number).filter(|level| *level < levels) else {
                continue;
            };
            for has_faults in [false, true].into_iter().filter(|it| arguments.has_faults || !it) {
                let bounded = group.iter().cloned().map(|sweep| {
                    let sweep = sweep.preemptions_max(level as u32);
                    sweep.faults(has_faults)
                });
                sweeps.extend(bounded);
            }
        }
    }
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

/// The groups of programs: the pairs under each policy, with a log of 1 frame (no checkpoint is due) and of 12 frames (one
/// is due), and the listed programs.
fn groups(arguments: &ScheduleArguments) -> Vec<Vec<ScheduleSweep>> {
    let mut groups = Vec::new();
    let of = |program: Program, policy: usize| {
        ScheduleSweep::of(program).durability(POLICIES[policy % POLICIES.len()])
    };
    if arguments.has("pairs") {
        for frames_len in [1, 12] {
            for policy in 0..POLICIES.len() {
                let pairs = programs::pairs(frames_len).into_iter();
                groups.push(pairs.map(|program| of(program, policy)).collect());
            }
        }
    }
    if arguments.has("listed") {
        let listed = programs::listed(12).into_iter().enumerate();
        groups.insert(
            groups.len().min(1),
            listed.map(|(index, program)| of(program, index)).collect(),
        );
    }
    groups
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

fn explore(arguments: &ScheduleArguments) -> ExitCode {
    let done: HashSet<String> = arguments
        .file
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok())
        .map(|text| {
            text.lines()
                .filter_map(|line| Some(line.split_once(": ")?.0.to_owned()))
                .collect()
        })
        .unwrap_or_default();
    let mut sweeps = sweeps(arguments);
    let sweeps_len = sweeps.len() as u64;
    sweeps.retain(|sweep| !done.contains(&sweep.description()));
    let left = sweeps.len() as u64;
    let live = LiveLine::stderr();
    let started = Instant::now();
    let reports = start_workers(sweeps, arguments, started);
    let (mut totals, mut findings_len) = (ScheduleTotals::default(), 0);
    for report in reports {
        totals.add(&report);
        if report.finding.is_some() {
            live.clear();
            println!("{report}");
            findings_len += 1;
            if arguments.ends_at_finding {
                break;
            }
        } else if let Some(path) = &arguments.file {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let written = file.and_then(|mut file| writeln!(file, "{report}"));
            written.expect("the result file can be written");
        }
        let status = LiveStatus::of_parts("exploring", totals.sweeps, left, started.elapsed());
        live.show(&status.count(totals.schedules, "schedules"));
    }
    live.clear();
    println!(
        "{} of {sweeps_len} sweeps ran ({} were in the file): {} schedules, {} of them with a fault, {} equal choices not \
         explored, {} steps; {} images recovered, {} judged, {} left out; {findings_len} findings; {:.0} s",
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
            while started.elapsed() < time
                && let Some(sweep) = sweeps.get(next.fetch_add(1, Ordering::Relaxed))
                && sender.send(sweep.run()).is_ok()
            {}
        });
    }
    reports
}
