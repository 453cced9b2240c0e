//! Schedules: explores the programs of the project, each under every schedule with few preemptions, and judges every
//! image that a crash at any of their steps can leave.
//!
//! ```sh
//! cargo run --release --features test-utils --example schedules -- pairs listed --file schedules.txt
//! ```
//!
//! `--help` lists the options. Exit status: 0 without a finding, 1 with one, 2 if an option is wrong.
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

use tidaldb::Durability;
use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::report::{LiveLine, LiveStatus};
use tidaldb::testing::schedule::{Program, ScheduleReport, ScheduleSweep, replay_schedule};

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
            "the number of programs that are explored at the same time",
        )
        .option(
            "--minutes N",
            100_000,
            "starts no program after this time; fractions are legal",
        )
        .option("--first", "", "ends at the first finding")
        .option(
            "--file PATH",
            "",
            "appends the result of each program, and skips the programs in the file",
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
                    "runs a random schedule of each seed twice, and compares all bytes",
                ),
            ],
        );
    line.of_process(|given| {
        let mut sets = given.operands.clone();
        if sets.is_empty() {
            sets = vec!["pairs".to_owned(), "listed".to_owned()];
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

const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 2000 },
    Durability::OperatingSystem,
];

/// The sweeps of the chosen sets. Each group of programs is explored with few preemptions before it is explored with more,
/// and without faults before it is explored with faults. The next group begins one round later.
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
            ScheduleSweep::of(Program::random(seed))
                .durability(POLICIES[(seed % 3) as usize])
                .faults(arguments.has_faults)
                .random(seed, arguments.runs)
        }));
    }
    sweeps
}

/// The groups of programs: the pairs under each policy, with a log in which nothing is due and one in which a checkpoint
/// is, and the listed programs.
fn groups(arguments: &ScheduleArguments) -> Vec<Vec<ScheduleSweep>> {
    let mut groups = Vec::new();
    let of = |program: Program, policy: usize| {
        ScheduleSweep::of(program).durability(POLICIES[policy % POLICIES.len()])
    };
    if arguments.has("pairs") {
        for frames_len in [1, 12] {
            for policy in 0..POLICIES.len() {
                let pairs = Program::pairs(frames_len).into_iter();
                groups.push(pairs.map(|program| of(program, policy)).collect());
            }
        }
    }
    if arguments.has("listed") {
        let listed = Program::listed(12).into_iter().enumerate();
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
        return match replay_schedule(line) {
            Ok(replayed) => {
                println!(
                    "no finding: {} steps, hash {:016x}",
                    replayed.steps, replayed.hash
                );
                ExitCode::SUCCESS
            }
            Err(finding) => {
                println!("{finding}");
                ExitCode::FAILURE
            }
        };
    }
    if arguments.has("repeat") {
        return repeat(&arguments);
    }
    explore(&arguments)
}

/// Runs a random schedule of each seed twice, and compares the runs.
fn repeat(arguments: &ScheduleArguments) -> ExitCode {
    let live = LiveLine::stderr();
    let (started, mut equal) = (Instant::now(), 0);
    for number in 0..arguments.seeds {
        let seed = arguments.first_seed.wrapping_add(number);
        let sweep = ScheduleSweep::of(Program::random(seed)).durability(POLICIES[(seed % 3) as usize]);
        let [first, second] = [sweep.run_seed(seed), sweep.run_seed(seed)];
        if first == second {
            equal += 1;
        } else {
            live.clear();
            println!("seed {seed}: {first:?} differs from {second:?}");
        }
        let status = LiveStatus::of_parts("repeating", number, arguments.seeds, started.elapsed());
        live.show(&status.count(number, "seeds"));
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

/// The sums over all programs.
#[derive(Debug, Default)]
struct ScheduleTotals {
    programs: u64,
    schedules: u64,
    with_fault: u64,
    pruned: u64,
    steps: u64,
    images: u64,
    judged: u64,
    left_out: u128,
}

impl ScheduleTotals {
    fn add(&mut self, report: &ScheduleReport) {
        self.programs += 1;
        self.schedules += report.schedules;
        self.with_fault += report.with_fault;
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
    let all = sweeps.len();
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
        let status = LiveStatus::of_parts("exploring", totals.programs, left, started.elapsed());
        live.show(&status.count(totals.schedules, "schedules"));
    }
    live.clear();
    println!(
        "{} of {all} programs explored ({} were done before): {} schedules, {} of them with a fault, {} equal ones not \
         run, {} steps; {} images recovered, {} judged, {} wrong; {:.0} s",
        totals.programs,
        done.len(),
        totals.schedules,
        totals.with_fault,
        totals.pruned,
        totals.steps,
        totals.images,
        totals.judged,
        findings_len,
        started.elapsed().as_secs_f64()
    );
    if findings_len == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Starts the threads that explore the programs, and returns the reports of these threads. The end of the process ends
/// the threads.
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
