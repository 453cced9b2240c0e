//! The cost of crossing a crash point: tidaldb's `check_crash_point` and the macro `fail_point!` of the crate `fail`,
//! less the cost of an empty call.
//!
//! ```sh
//! cargo run --release --manifest-path tests/peers/Cargo.toml --no-default-features --features hooks --bin hooks
//! ```
//!
//! The program needs a separate build, because cargo unifies features and the ledger is measured without the test kit.
//! With `--instructions` each case also runs under `valgrind --tool=callgrind`, twice with different numbers of calls.
//! The difference of the two counts belongs to the calls alone.

#[path = "../../bench/board.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
mod board;
#[path = "../../bench/environment.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
mod environment;
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

/// The crossed crash point. It never crashes.
const TARGET: CrashPoint = CrashPoint::WalPreAggregate;
/// The crossed fail point. It never fails.
const FAIL_POINT: &str = "target";
/// The number of calls in one measurement of time.
const SLICE: u64 = 100_000;

/// The measured function. It is called through a pointer, so that the compiler does not remove the empty call.
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

/// One row of the table.
struct HookCase {
    id: &'static str,
    name: &'static str,
    call: HookCall,
    /// Called on each thread before its calls. All threads share `injector`.
    install: fn(injector: &Arc<CrashInjector>),
    /// Called on each thread after its calls.
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
        // The action counts down and does nothing else.
        install: |_| fail::cfg(FAIL_POINT, "4000000000*off").expect("`fail` has this action"),
        clear: || fail::remove(FAIL_POINT),
    },
];

#[derive(Default)]
struct HooksArguments {
    is_quick: bool,
    instructions: bool,
    /// The name of the case, in a child process whose instructions are counted.
    case: Option<String>,
    calls: u64,
}

fn main() -> ExitCode {
    let line = CommandLine::new("hooks [OPTIONS]")
        .option(
            "--quick",
            "",
            "makes few calls and rounds: a test of the program, not of the speed",
        )
        .option("--instructions", "", "also counts instructions, with valgrind")
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
        call(
            case.ok_or_else(|| format!("no case is named {id:?}"))?,
            arguments.calls,
        );
        return Ok(());
    }
    let (rounds, slices) = if arguments.is_quick { (1, 3) } else { (9, 41) };

    println!("## The cost of a crossing\n");
    println!(
        "{}, {}",
        environment::today(),
        environment::machine(Path::new("."))
    );
    println!(
        "{rounds} rounds of {slices} times {SLICE} calls; times of one call, less the time of an empty call\n"
    );
    println!("{}", times(rounds, slices));
    if arguments.instructions {
        println!("{}", instructions()?);
    }
    Ok(())
}

/// The table of medians and spreads, for one thread and for two threads at the same time.
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

/// The time of one call less the time of an empty call, in nanoseconds. It is the median over slices of calls. A slice
/// of empty calls runs before each, so that a slow phase of the machine changes only a few differences. For several
/// threads, it is the mean of their medians.
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
        // No thread removes the hook before all threads have ended their calls.
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

/// The work of a child process whose instructions are counted.
fn call(case: &HookCase, calls: u64) {
    (case.install)(&CrashInjector::new(TARGET, u64::MAX));
    seconds(case.call, calls);
    (case.clear)();
}

/// The table of the instructions of one call, less the instructions of an empty call.
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

/// The instructions of a whole process that makes `calls` calls.
fn collected(case: &HookCase, calls: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--case", case.id, "--calls", &calls.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = line.ok_or_else(|| format!("valgrind printed no count:\n{text}"))?;
    Ok(count.trim().parse()?)
}
