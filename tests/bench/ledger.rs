//! Measures the engine: prints one table with the median and the spread of several rounds of every figure.
//!
//! ```sh
//! cargo bench --bench ledger -- --help
//! ```
//!
//! Rounds go through all groups in turn, so that a slow moment of the machine meets all of them. Every database lies in
//! a directory of its own that is removed at the end.

mod args;
mod board;
mod checkpoint;
#[path = "../../src/testing/lab/command_line.rs"]
mod command_line;
mod curve;
mod disk;
mod engine;
mod extras;
mod growth;
mod memory;
mod pause;
mod place;
mod plot;
mod read;
mod record;
mod recovery;
mod stopwatch;
#[path = "../../src/testing/report/table.rs"]
mod table;
mod workload;

use std::error::Error;
use std::process::ExitCode;

use tidaldb::SignalEvent;

use args::{Args, Mode};
use board::Board;
use place::Place;

/// A group of figures that are measured together.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    what: &'static str,
    run: fn(&mut Bench) -> Result<(), Box<dyn Error>>,
}

/// All groups, in the order in which they are measured.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "disk",
        what: "the disk's own sync",
        run: record::disk,
    },
    Group {
        name: "batches",
        what: "batches of 256, one final sync",
        run: record::batches,
    },
    Group {
        name: "synced-batches",
        what: "batches of 256, each synced",
        run: record::synced_batches,
    },
    Group {
        name: "synced-calls",
        what: "one event a call, each synced",
        run: record::synced_calls,
    },
    Group {
        name: "calls",
        what: "one event a call, written",
        run: record::calls,
    },
    Group {
        name: "replay",
        what: "replay of the log after a kill",
        run: recovery::replay,
    },
    Group {
        name: "checkpoint",
        what: "checkpoint of all states of the job, pause of a writer",
        run: checkpoint::of_the_job,
    },
    Group {
        name: "checkpoint-large",
        what: "the same of many changed states",
        run: checkpoint::of_many,
    },
    Group {
        name: "reopen",
        what: "close, and open after it",
        run: recovery::reopen_after_close,
    },
    Group {
        name: "memory",
        what: "memory at rest",
        run: memory::at_rest,
    },
    Group {
        name: "read",
        what: "reads of uniform keys",
        run: read::reads,
    },
    Group {
        name: "extras",
        what: "the job with cohorts and co-engagement",
        run: record::extras,
    },
];

/// What is measured with, and what came out.
pub(crate) struct Bench {
    pub(crate) args: Args,
    pub(crate) place: Place,
    pub(crate) job: Vec<SignalEvent<'static>>,
    pub(crate) board: Board,
}

fn main() -> ExitCode {
    let args = match args::command_line().of_process() {
        Ok(args) => args,
        Err(status) => return status,
    };
    if args.mode == Mode::Nothing && args.child.is_none() {
        println!("nothing is measured without --bench, which cargo bench passes");
        return ExitCode::SUCCESS;
    }
    let ended = match args.child.clone() {
        Some(child) => memory::child(&args, &child),
        None => run(args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let place = Place::new(&args.dir)?;
    println!("{}, {}", place::today(), place::machine(place.path()));
    println!("load average at the beginning: {}\n", place::load_average());
    let mut bench = Bench {
        job: engine::job(args.events),
        place,
        args,
        board: Board::default(),
    };
    if bench.args.mode == Mode::Growth {
        return growth::run(&mut bench);
    }
    for round in 1..=bench.args.rounds {
        for group in GROUPS {
            if !bench.args.wants(group.name) {
                continue;
            }
            eprintln!("round {round} of {}: {}", bench.args.rounds, group.what);
            (group.run)(&mut bench)?;
        }
    }
    println!(
        "{} events in {} rounds; {} where each call is synced\n\n{}",
        bench.args.events,
        bench.args.rounds,
        bench.args.synced,
        bench.board.table()
    );
    Ok(())
}
