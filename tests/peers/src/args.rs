//! The command line.

use std::path::PathBuf;

use crate::command_line::{CommandLine, GivenArguments};
use crate::passes::GROUPS;
use crate::peers::KINDS;

/// What is to be measured.
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
    /// Set in a process that this one started for a measurement of its memory: the engine's name.
    pub(crate) child: Option<String>,
}

/// The command line of the program; with `--quick` it has other defaults.
pub(crate) fn command_line(is_quick: bool) -> CommandLine {
    let [events, batched, calls, synced, spread, rounds] = if is_quick {
        [50_000, 5120, 2000, 50, 50_000, 1]
    } else {
        [1_000_000, 256_000, 200_000, 2000, 1_000_000, 5]
    };
    let engines: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    CommandLine::new("ledgers [OPTIONS] [GROUP...]")
        .option("--events N", events, "events of the job")
        .option("--batched N", batched, "events where each batch of 256 is synced")
        .option("--calls N", calls, "events where one is recorded a call")
        .option(
            "--synced N",
            synced,
            "events where each call is synced; by 16 threads eight times as many",
        )
        .option("--spread N", spread, "changed states of the large checkpoint")
        .option("--rounds N", rounds, "how often everything is measured")
        .option("--engine NAME", "", "only this one and tidaldb; may be repeated")
        .option(
            "--dir PATH",
            "",
            "where the databases lie; default below the target directory of this package",
        )
        .option(
            "--quick",
            "",
            "small sizes and one round by default: whether it runs and agrees, not how fast",
        )
        .option("--child NAME", "", "")
        .words(
            "Groups, all unless given:",
            GROUPS.iter().map(|group| (group.name, group.what)),
        )
        .after(&format!("Engines: {}", engines.join("; ")))
}

/// Looks the values of the options up.
///
/// # Errors
/// The first wrong value.
pub(crate) fn read(given: &GivenArguments) -> Result<PeerArgs, String> {
    let engines = |name: &str| -> Result<Vec<String>, String> {
        given.texts(name).iter().map(|text| engine(name, text)).collect()
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
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|wanted| wanted == group)
    }

    /// tidaldb is always there: everything is compared with it.
    pub(crate) fn wants_engine(&self, engine: &str) -> bool {
        self.engines.is_empty() || engine == "tidaldb" || self.engines.iter().any(|wanted| wanted == engine)
    }
}

fn engine(option: &str, name: &str) -> Result<String, String> {
    let engines: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    if engines.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{option} takes one of {}, not {name:?}",
        engines.join("; ")
    ))
}
