//! The command line of the program.

use std::path::PathBuf;

use crate::command_line::{CommandLine, GivenArguments};
use crate::passes::GROUPS;
use crate::peers::ENGINES;

/// The parsed command line.
#[derive(Debug, Clone)]
pub(crate) struct PeerArgs {
    groups: Vec<String>,
    engines: Vec<String>,
    pub(crate) events: usize,
    pub(crate) batched: usize,
    pub(crate) calls: usize,
    pub(crate) synced: usize,
    pub(crate) spread: usize,
    pub(crate) rounds: usize,
    pub(crate) dir: PathBuf,
    /// The name of an engine, in a child process that measures the memory of this engine.
    pub(crate) child: Option<String>,
}

/// The command line of the program. With `--quick` the defaults differ.
pub(crate) fn command_line(is_quick: bool) -> CommandLine {
    let [events, batched, calls, synced, spread, rounds] = if is_quick {
        [50_000, 5120, 2000, 50, 50_000, 1]
    } else {
        [1_000_000, 256_000, 200_000, 2000, 1_000_000, 5]
    };
    let engines: Vec<_> = ENGINES.iter().map(|engine| engine.name).collect();
    CommandLine::new("ledgers [OPTIONS] [GROUP...]")
        .option("--events N", events, "the number of events of the job")
        .option("--batched N", batched, "the number of events where each batch of 256 is synced")
        .option("--calls N", calls, "the number of events where each call records one event")
        .option(
            "--synced N",
            synced,
            "the number of events where one thread syncs each call; eight times as many for 16 threads",
        )
        .option("--spread N", spread, "the number of changed states of the large checkpoint")
        .option("--rounds N", rounds, "the number of rounds")
        .option("--engine NAME", "", "measures only this engine and tidaldb; may be repeated")
        .option(
            "--dir PATH",
            "",
            "the directory of the databases; default: below the target directory of this package",
        )
        .option(
            "--quick",
            "",
            "sets small sizes and one round as defaults: a test of the program and of the states, not of the speed",
        )
        .option("--child NAME", "", "")
        .words(
            "Groups; default: all of them:",
            GROUPS.iter().map(|group| (group.name, group.description)),
        )
        .after(&format!("Engines: {}", engines.join("; ")))
}

/// Reads the values of the options.
///
/// # Errors
/// The message for the first wrong value.
pub(crate) fn read(given: &GivenArguments) -> Result<PeerArgs, String> {
    let engines = |name: &str| -> Result<Vec<String>, String> {
        given
            .texts(name)
            .iter()
            .map(|text| engine_name(name, text))
            .collect()
    };
    let dir = given.path("--dir");
    Ok(PeerArgs {
        groups: given.operands.clone(),
        engines: engines("--engine")?,
        events: given.number("--events", 1..=usize::MAX)?,
        batched: given.number("--batched", 1..=usize::MAX)?,
        calls: given.number("--calls", 1..=usize::MAX)?,
        synced: given.number("--synced", 1..=usize::MAX)?,
        spread: given.number("--spread", 1..=usize::MAX)?,
        rounds: given.number("--rounds", 1..=usize::MAX)?,
        dir: dir.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp").into()),
        child: engines("--child")?.pop(),
    })
}

impl PeerArgs {
    /// Returns true if the run measures this group.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|selected| selected == group)
    }

    /// Returns true if the run measures this engine. It always measures tidaldb, because each engine is compared with
    /// it.
    pub(crate) fn has_engine(&self, engine: &str) -> bool {
        self.engines.is_empty()
            || engine == "tidaldb"
            || self.engines.iter().any(|selected| selected == engine)
    }
}

/// The name of an engine, if it exists.
fn engine_name(option: &str, name: &str) -> Result<String, String> {
    let engines: Vec<_> = ENGINES.iter().map(|engine| engine.name).collect();
    if engines.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{option} must be one of {}, not {name:?}",
        engines.join("; ")
    ))
}
