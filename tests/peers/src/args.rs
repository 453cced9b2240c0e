//! The command line.

use std::path::PathBuf;

use crate::command_line::CommandLine;
use crate::passes::GROUPS;
use crate::peers::KINDS;

/// What is to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Args {
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

/// The command line of the program.
pub(crate) fn command_line() -> CommandLine<Args> {
    let values = Args {
        groups: Vec::new(),
        engines: Vec::new(),
        events: 1_000_000,
        batched: 256_000,
        calls: 200_000,
        synced: 2000,
        spread: 1_000_000,
        rounds: 5,
        dir: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp")),
        child: None,
    };
    let engines: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    let groups: Vec<_> = GROUPS.iter().map(|group| (group.name, group.what)).collect();
    CommandLine::new("ledgers [OPTIONS] [GROUP...]", values)
        .number("--events", "events of the job", 1..=usize::MAX, |it| {
            &mut it.events
        })
        .number(
            "--batched",
            "events where each batch of 256 is synced",
            1..=usize::MAX,
            |it| &mut it.batched,
        )
        .number(
            "--calls",
            "events where one is recorded a call",
            1..=usize::MAX,
            |it| &mut it.calls,
        )
        .number(
            "--synced",
            "events where each call is synced; by 16 threads eight times as many",
            1..=usize::MAX,
            |it| &mut it.synced,
        )
        .number(
            "--spread",
            "changed states of the large checkpoint",
            1..=usize::MAX,
            |it| &mut it.spread,
        )
        .number(
            "--rounds",
            "how often everything is measured",
            1..=usize::MAX,
            |it| &mut it.rounds,
        )
        .value(
            "--engine",
            "NAME",
            "only this one and tidaldb; may be repeated",
            |it, name| {
                it.engines.push(engine(name)?);
                Ok(())
            },
        )
        .path(
            "--dir",
            "PATH",
            "where the databases lie; default below the target directory of this package",
            |it, path| it.dir = path,
        )
        .switch(
            "--quick",
            "small sizes and one round, before other options: whether it runs and agrees, not how fast",
            |it| {
                (it.events, it.batched, it.calls) = (50_000, 5120, 2000);
                (it.synced, it.spread, it.rounds) = (50, 50_000, 1);
            },
        )
        .value("--child", "NAME", "", |it, name| {
            it.child = Some(engine(name)?);
            Ok(())
        })
        .hidden()
        .words("Groups, all unless given:", &groups, |it| &mut it.groups)
        .after(&format!("Engines: {}", engines.join("; ")))
}

impl Args {
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|wanted| wanted == group)
    }

    /// tidaldb is always there: everything is compared with it.
    pub(crate) fn wants_engine(&self, engine: &str) -> bool {
        self.engines.is_empty() || engine == "tidaldb" || self.engines.iter().any(|wanted| wanted == engine)
    }
}

fn engine(name: &str) -> Result<String, String> {
    let engines = KINDS.iter().map(|kind| kind.name);
    let found = engines.clone().find(|engine| *engine == name);
    let expected = || format!("one of {}", engines.collect::<Vec<_>>().join("; "));
    found.map(str::to_owned).ok_or_else(expected)
}
