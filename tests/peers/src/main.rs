//! The same job by tidaldb and by other stores in one run, as one Markdown table with targets and ratios.
//!
//! ```sh
//! cargo run --release --manifest-path tests/peers/Cargo.toml > tests/peers/RESULTS.md
//! ```
//!
//! `-- --help` lists the options. Each round measures all engines once and begins with another engine, so that a slow
//! phase of the machine affects all of them. The final states are compared with sums over the events.

mod args;
#[path = "../../bench/board.rs"]
#[allow(
    dead_code,
    reason = "shared with the crate's own benchmark, which uses more of it"
)]
mod board;
#[path = "../../../src/testing/lab/command_line.rs"]
mod command_line;
#[path = "../../bench/disk.rs"]
#[allow(
    dead_code,
    reason = "shared with the crate's own benchmark, which uses more of it"
)]
mod disk;
#[path = "../../bench/engine.rs"]
#[allow(
    dead_code,
    reason = "shared with the crate's own benchmark, which uses more of it"
)]
mod engine;
#[path = "../../bench/environment.rs"]
#[allow(
    dead_code,
    reason = "shared with the crate's own benchmark, which uses more of it"
)]
mod environment;
#[path = "../../bench/extras.rs"]
mod extras;
mod figures;
mod memory;
mod passes;
#[path = "../../bench/pause.rs"]
#[allow(
    dead_code,
    reason = "shared with the crate's own benchmark, which uses more of it"
)]
mod pause;
mod peer;
mod peers;
mod reference;
mod sheet;
#[path = "../../bench/stopwatch.rs"]
mod stopwatch;
#[path = "../../../src/testing/report/table.rs"]
mod table;
mod tidal_only;
#[path = "../../bench/workload.rs"]
#[allow(
    dead_code,
    reason = "shared with the crate's own benchmark, which uses more of it"
)]
mod workload;

use std::process::ExitCode;

use args::PeerArgs;
use passes::Run;
use peer::PeerResult;

fn main() -> ExitCode {
    let is_quick = std::env::args_os().any(|argument| argument == "--quick");
    let args = match args::command_line(is_quick).of_process(args::read) {
        Ok(args) => args,
        Err(status) => return status,
    };
    let ended = match args.child.clone() {
        Some(engine) => memory::child(&args, &engine),
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

fn run(args: PeerArgs) -> PeerResult<()> {
    let mut run = Run::new(args)?;
    for round in 1..=run.args.rounds {
        for group in passes::GROUPS {
            if run.args.has_group(group.name) {
                eprintln!("round {round} of {}: {}", run.args.rounds, group.description);
                (group.run)(&mut run, round)?;
            }
        }
    }
    run.print();
    Ok(())
}
