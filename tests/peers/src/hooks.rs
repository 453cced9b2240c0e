//! What a crossing of a crash point costs: tidaldb's `check_crash_point` beside `fail`'s `fail_point!`, net of an empty call.
//!
//! ```sh
//! cargo run --release --manifest-path tests/peers/Cargo.toml --no-default-features --features hooks --bin hooks
//! ```
//!
//! A build of its own, since features unify: the ledger is measured without the test kit. With `--instructions` each case
//! is run under `valgrind --tool=callgrind` too, twice with different numbers of calls; the difference is what the calls
//! themselves execute.

#[path = "../../bench/board.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
mod board;
#[path = "../../bench/place.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
mod place;
#[path = "../../bench/stopwatch.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
mod stopwatch;
#[path = "../../../src/testing/report/table.rs"]
mod table;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Barrier};

use fail::fail_point;
use tidaldb::testing::lab::command_line::CommandLine;
use tidaldb::testing::{CrashInjector, CrashPoint, check_crash_point, clear_injector, install_injector};

use board::{FigureBoard, FigureUnit, markdown, median};
use stopwatch::now;

/// What is crossed, and never fires.
const TARGET: CrashPoint = CrashPoint::WalPreAggregate;
const FAIL_POINT: &str = "target";
/// How many calls are timed at once.
const SLICE: u64 = 100_000;

/// What is called again and again, through a pointer: so that the empty one is called too.
type HookCall = fn();

#[inline(never)]
fn empty() {}

#[inline(never)]
fn tidaldb_hook() {
    check_crash_point(TARGET);
}

#[inline(never)]
fn fail_hook() {
    fail_point!(FAIL_POINT);
}

/// One row.
struct HookCase {
    id: &'static str,
    name: &'static str,
    call: HookCall,
    /// On the thread that calls; `injector` is the same for all threads.
    install: fn(injector: &Arc<CrashInjector>),
    clear: fn(),
}

const EMPTY: HookCase = HookCase {
    id: "empty",
    name: "empty call",
    call: empty,
    install: |_| {},
    clear: || {},
};

const CASES: [HookCase; 4] = [
    HookCase {
        id: "tidaldb-nothing",
        name: "tidaldb, nothing installed",
        call: tidaldb_hook,
        install: |_| {},
        clear: || {},
    },
    HookCase {
        id: "fail-nothing",
        name: "fail, nothing installed",
        call: fail_hook,
        install: |_| {},
        clear: || {},
    },
    HookCase {
        id: "tidaldb-counted",
        name: "tidaldb, target counted",
        call: tidaldb_hook,
        install: |injector| install_injector(Arc::clone(injector)),
        clear: clear_injector,
    },
    HookCase {
        id: "fail-counted",
        name: "fail, target counted",
        call: fail_hook,
        // Counts down, and does nothing each time.
        install: |_| fail::cfg(FAIL_POINT, "4000000000*off").expect("the action is one of fail's"),
        clear: || fail::remove(FAIL_POINT),
    },
];

#[derive(Default)]
struct HooksArguments {
    is_quick: bool,
    instructions: bool,
    /// Set in a process whose instructions are counted: the name of the case.
    case: Option<String>,
    calls: u64,
}

fn main() -> ExitCode {
    let line = CommandLine::new("hooks [OPTIONS]")
        .option(
            "--quick",
            "",
            "few calls and rounds: whether it runs, not how fast",
        )
        .option("--instructions", "", "counts instructions by valgrind too")
        .option("--case NAME", "", "")
        .option("--calls N", "", "");
    let read = line.of_process(|given| {
        Ok(HooksArguments {
            is_quick: given.has("--quick"),
            instructions: given.has("--instructions"),
            case: given.texts("--case").pop(),
            calls: given.number("--calls", 0..=u64::MAX)?,
        })
    });
    let ended = read.map(|arguments| run(&arguments));
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(status) => status,
    }
}

fn run(arguments: &HooksArguments) -> Result<(), Box<dyn Error>> {
    if let Some(id) = &arguments.case {
        let case = [&EMPTY].into_iter().chain(&CASES).find(|case| case.id == id);
        call(case.ok_or("there is no such case")?, arguments.calls);
        return Ok(());
    }
    let (rounds, slices) = if arguments.is_quick { (1, 3) } else { (9, 41) };

    println!("## What a crossing costs\n");
    println!("{}, {}", place::today(), place::machine(Path::new(".")));
    println!(
        "{rounds} rounds of {slices} times {SLICE} calls; times are those of one call, net of an empty one\n"
    );
    println!("{}", times(rounds, slices));
    if arguments.instructions {
        println!("{}", instructions()?);
    }
    Ok(())
}

/// Medians and spreads, on one thread and on two at once.
fn times(rounds: usize, slices: usize) -> String {
    let mut board = FigureBoard::default();
    for _ in 0..rounds {
        for threads in [1, 2] {
            for case in &CASES {
                let name = match threads {
                    1 => format!("{}, one thread", case.name),
                    _ => format!("{}, {threads} threads at once", case.name),
                };
                board.add(name, FigureUnit::Nanoseconds, nanoseconds(case, threads, slices));
            }
        }
    }
    board.table()
}

/// The time of one call, net of an empty one: the median over slices of calls, each beside a slice of empty ones, so that
/// a slow moment of the machine spoils a few of them only. Of several threads, the mean.
fn nanoseconds(case: &HookCase, threads: usize, slices: usize) -> f64 {
    let injector = CrashInjector::new(TARGET, u64::MAX);
    let barrier = Barrier::new(threads);
    let work = || {
        (case.install)(&injector);
        let mut net = Vec::with_capacity(slices);
        for _ in 0..slices {
            barrier.wait();
            let empty = seconds(EMPTY.call, SLICE);
            barrier.wait();
            net.push((seconds(case.call, SLICE) - empty) * 1e9 / SLICE as f64);
        }
        // Nobody takes away what others still cross.
        barrier.wait();
        (case.clear)();
        median(&net)
    };
    let sum: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"));
        ended.sum()
    });
    sum / threads as f64
}

fn seconds(call: HookCall, calls: u64) -> f64 {
    let call = black_box(call);
    let begun = now();
    for _ in 0..calls {
        call();
    }
    begun.elapsed().as_secs_f64()
}

/// All that a process does whose instructions are counted.
fn call(case: &HookCase, calls: u64) {
    (case.install)(&CrashInjector::new(TARGET, u64::MAX));
    seconds(case.call, calls);
    (case.clear)();
}

/// How many instructions a call executes, net of an empty one.
fn instructions() -> Result<String, Box<dyn Error>> {
    const CALLS: u64 = 50_000;
    let mut rows = vec![vec!["case".to_owned(), "instructions".to_owned()]];
    let of_call = |case: &HookCase| -> Result<f64, Box<dyn Error>> {
        let more = collected(case, 3 * CALLS)?.saturating_sub(collected(case, CALLS)?);
        Ok(more as f64 / (2 * CALLS) as f64)
    };
    let empty = of_call(&EMPTY)?;
    for case in &CASES {
        rows.push(vec![
            case.name.to_owned(),
            format!("{:.1}", of_call(case)? - empty),
        ]);
    }
    Ok(markdown(&rows))
}

/// The instructions of a whole process that makes so many calls.
fn collected(case: &HookCase, calls: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--case", case.id, "--calls", &calls.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = line.ok_or_else(|| format!("valgrind says:\n{text}"))?;
    Ok(count.trim().parse()?)
}
