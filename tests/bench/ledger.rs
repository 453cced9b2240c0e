//! Measures the engine: prints one table with the median and the spread of each figure over several rounds.
//!
//! ```sh
//! cargo bench --bench ledger -- --help
//! ```
//!
//! Each round measures all groups once, so that a slow phase of the machine affects all of them. Every database has a
//! separate directory, which is removed at the end.

mod args;
mod board;
mod collections;
#[path = "../../src/testing/lab/command_line.rs"]
mod command_line;
mod compaction;
mod curve;
mod disk;
mod engine;
mod environment;
mod extras;
mod forget;
mod growth;
mod memory;
mod pause;
mod plot;
mod read;
mod record;
mod recovery;
mod short_sessions;
mod stopwatch;
#[path = "../../src/testing/report/table.rs"]
mod table;
mod workload;

use std::error::Error;
use std::process::ExitCode;

use tidaldb::SignalEvent;

use args::BenchArgs;
use board::{FigureBoard, FigureUnit};
use environment::BenchDir;

type Measured = Result<(), Box<dyn Error>>;
type MeasureGroup = fn(&mut Bench) -> Measured;

/// All groups of figures in the order in which they are measured: name, description, measurement.
const GROUPS: [(&str, &str, MeasureGroup); 12] = [
    (
        "disk",
        "an append and sync of the disk, without the engine",
        record::disk,
    ),
    ("batches", "batches of 256, one final sync", record::batches),
    (
        "synced-batches",
        "batches of 256, each synced",
        record::synced_batches,
    ),
    (
        "synced-calls",
        "one event a call, each synced",
        record::synced_calls,
    ),
    ("calls", "one event a call, written", record::calls),
    ("replay", "replay of the log after a kill", recovery::replay),
    (
        "checkpoint",
        "checkpoint of all states of the job, pause of a writer",
        recovery::checkpoint,
    ),
    (
        "checkpoint-large",
        "the same for many changed states",
        recovery::checkpoint_of_many,
    ),
    (
        "reopen",
        "close, and open after the close",
        recovery::reopen_after_close,
    ),
    ("memory", "memory at rest", memory::at_rest),
    ("read", "reads of uniform keys", read::reads),
    ("extras", "the job with cohorts and co-engagement", record::extras),
];

/// The command line, the measured job and the figures.
struct Bench {
    args: BenchArgs,
    dir: BenchDir,
    job: Vec<SignalEvent<'static>>,
    board: FigureBoard,
}

impl Bench {
    /// Adds the rate of `len` events for each second, and with `--processor` also for each second of processor time.
    fn add_rate(&mut self, name: &str, len: usize, seconds: f64, processor_seconds: f64) {
        self.board.add(name, FigureUnit::PerSecond, len as f64 / seconds);
        if self.args.processor {
            let name = format!("{name}: per processor second");
            let rate = len as f64 / processor_seconds.max(0.01);
            self.board.add(name, FigureUnit::PerSecond, rate);
        }
    }
}

fn main() -> ExitCode {
    let is_quick = std::env::args_os().any(|argument| argument == "--quick");
    let args = match args::command_line(is_quick).of_process(args::read) {
        Ok(args) => args,
        Err(status) => return status,
    };
    let ended = match args.child.clone() {
        Some(child) if child.starts_with("members") => collections::child(&args, &child),
        Some(child) => memory::child(&args, &child),
        None if args.is_measured || args.is_growth => run(args),
        None => {
            println!("nothing is measured without --bench, which `cargo bench` passes");
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: BenchArgs) -> Measured {
    let dir = BenchDir::new(&args.dir)?;
    println!("{}, {}", environment::today(), environment::machine(dir.path()));
    println!("load average at the beginning: {}\n", environment::load_average());
    let mut bench = Bench {
        job: engine::job(args.events),
        dir,
        args,
        board: FigureBoard::default(),
    };
    if bench.args.is_growth {
        return growth::run(&mut bench);
    }
    for round in 1..=bench.args.rounds {
        let selected = bench.args.groups.clone();
        let is_selected = |name: &str| selected.is_empty() || selected.iter().any(|group| group == name);
        for (_, description, measure) in GROUPS.into_iter().filter(|(name, ..)| is_selected(name)) {
            eprintln!("round {round} of {}: {description}", bench.args.rounds);
            measure(&mut bench)?;
        }
    }
    println!(
        "{} events in {} rounds; {} events where each call is synced\n\n{}",
        bench.args.events,
        bench.args.rounds,
        bench.args.synced,
        bench.board.table()
    );
    Ok(())
}
