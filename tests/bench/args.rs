//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::GROUPS;

/// What `--help` prints, before the groups.
pub(crate) const USAGE: &str = "\
usage: cargo bench --bench ledger -- [OPTIONS] [GROUP...]

  --events N     events of the job, 1000000 unless given
  --synced N     events where each call is synced, by one thread; 4000 unless given, four times as many by 16 threads
  --spread N     changed states of the large checkpoint, 1000000 unless given
  --rounds N     how often everything is measured, 5 unless given
  --dir PATH     where the databases lie; below the build's target directory unless given
  --processor    rates per processor second too, which a busy machine changes less
  --growth       how the figures grow over three decades, instead of the groups
  --svg FILE     draws that there too
  --quick        small sizes and one round: whether it runs, not how fast
  --help         prints this

Groups, all unless given:";

/// What the program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Groups,
    Growth,
    /// Nothing is measured: help was asked for, or a test run of all targets has started this.
    Help,
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

impl Args {
    /// # Errors
    /// What is wrong with the command line.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            groups: Vec::new(),
            events: 1_000_000,
            synced: 4000,
            spread: 1_000_000,
            rounds: 5,
            dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            processor: false,
            svg: None,
            mode: Mode::Groups,
            child: None,
        };
        let (mut benches, mut help, mut quick) = (false, false, false);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--events" => args.events = number(&argument, &value()?)?,
                "--synced" => args.synced = number(&argument, &value()?)?,
                "--spread" => args.spread = number(&argument, &value()?)?,
                "--rounds" => args.rounds = number(&argument, &value()?)?,
                "--dir" => args.dir = value()?.into(),
                "--child" => args.child = Some(value()?),
                "--processor" => args.processor = true,
                "--growth" => args.mode = Mode::Growth,
                "--svg" => args.svg = Some(value()?.into()),
                "--quick" => quick = true,
                "--help" | "-h" => help = true,
                "--bench" => benches = true,
                _ if argument.starts_with('-') => return Err(format!("there is no option {argument}")),
                _ if GROUPS.iter().any(|group| group.name == argument) => args.groups.push(argument),
                _ => return Err(format!("there is no group {argument}")),
            }
        }
        if quick {
            (args.events, args.synced, args.spread, args.rounds) = (20_000, 160, 20_000, 1);
        }
        // A test run of all targets does without cargo's `--bench`: it is not the time to measure.
        if help || (!benches && args.child.is_none()) {
            args.mode = Mode::Help;
        }
        Ok(args)
    }

    /// Whether the group is asked for.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|wanted| wanted == group)
    }
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    match usize::from_str(text) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name} is {text:?}: it is a number of at least 1")),
    }
}
