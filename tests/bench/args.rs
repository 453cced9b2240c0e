//! The command line.

use std::path::PathBuf;

use crate::GROUPS;
use crate::command_line::CommandLine;

/// What the program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Groups,
    Growth,
    /// Nothing is measured: a test run of all targets has started this.
    Nothing,
}

/// What is to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Args {
    pub(crate) groups: Vec<String>,
    pub(crate) events: usize,
    pub(crate) synced: usize,
    pub(crate) spread: usize,
    pub(crate) rounds: usize,
    pub(crate) dir: PathBuf,
    pub(crate) processor: bool,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) mode: Mode,
    /// Set in a process that this one started for a measurement of its memory.
    pub(crate) child: Option<String>,
}

/// The command line of the program.
pub(crate) fn command_line() -> CommandLine<Args> {
    let values = Args {
        groups: Vec::new(),
        events: 1_000_000,
        synced: 4000,
        spread: 1_000_000,
        rounds: 5,
        dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        processor: false,
        svg: None,
        // A test run of all targets does without cargo's `--bench`: it is not the time to measure.
        mode: Mode::Nothing,
        child: None,
    };
    let groups: Vec<_> = GROUPS.iter().map(|group| (group.name, group.what)).collect();
    CommandLine::new("ledger [OPTIONS] [GROUP...]", values)
        .number("--events", "events of the job", 1..=usize::MAX, |it| {
            &mut it.events
        })
        .number(
            "--synced",
            "events where each call is synced, by one thread; by 16 threads four times as many",
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
        .path(
            "--dir",
            "PATH",
            "where the databases lie; default below the target directory of the build",
            |it, path| it.dir = path,
        )
        .flag(
            "--processor",
            "rates per processor second too, which a busy machine changes less",
            |it| &mut it.processor,
        )
        .switch(
            "--growth",
            "how the figures grow over three decades, instead of the groups",
            |it| it.mode = Mode::Growth,
        )
        .path("--svg", "FILE", "draws that there too", |it, path| {
            it.svg = Some(path);
        })
        .switch(
            "--quick",
            "small sizes and one round, before other options: whether it runs, not how fast",
            |it| (it.events, it.synced, it.spread, it.rounds) = (20_000, 160, 20_000, 1),
        )
        .switch("--bench", "", |it| {
            if it.mode == Mode::Nothing {
                it.mode = Mode::Groups;
            }
        })
        .hidden()
        .value("--child", "GROUP", "", |it, child| {
            it.child = Some(child.to_owned());
            Ok(())
        })
        .hidden()
        .words("Groups, all unless given:", &groups, |it| &mut it.groups)
}

impl Args {
    /// Whether the group is asked for.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|wanted| wanted == group)
    }
}
