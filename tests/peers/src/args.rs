//! The command line.

use std::fmt::Write;
use std::path::PathBuf;

use crate::passes::GROUPS;
use crate::peers::KINDS;

const USAGE: &str = "\
usage: cargo run --release --manifest-path tests/peers/Cargo.toml -- [OPTIONS] [GROUP...]

  --events N     events of the job, 1000000 unless given
  --batched N    events where each batch of 256 is synced, 256000 unless given
  --calls N      events where one is recorded a call, 200000 unless given
  --synced N     events where each call is synced, 2000 unless given; by 16 threads eight times as many
  --spread N     changed states of the large checkpoint, 1000000 unless given
  --rounds N     how often everything is measured, 5 unless given
  --engine NAME  only this one and tidaldb; may be repeated
  --dir PATH     where the databases lie; below this package's target directory unless given
  --quick        small sizes and one round: whether it runs and agrees, not how fast
  --help         prints this
";

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
    pub(crate) help: bool,
    /// Set in a process that this one started for a measurement of its memory: the engine's name.
    pub(crate) child: Option<String>,
}

/// What `--help` prints.
pub(crate) fn usage() -> String {
    let mut text = USAGE.to_owned();
    text.push_str("\nGroups, all unless given:\n");
    for group in GROUPS {
        writeln!(text, "  {:<17}{}", group.name, group.what).expect("writing to a string cannot fail");
    }
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    text + "\nEngines: " + &names.join("; ")
}

impl Args {
    /// # Errors
    /// What is wrong with the command line.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            groups: Vec::new(),
            engines: Vec::new(),
            events: 1_000_000,
            batched: 256_000,
            calls: 200_000,
            synced: 2000,
            spread: 1_000_000,
            rounds: 5,
            dir: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp")),
            help: false,
            child: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--events" => args.events = number(&argument, &value()?)?,
                "--batched" => args.batched = number(&argument, &value()?)?,
                "--calls" => args.calls = number(&argument, &value()?)?,
                "--synced" => args.synced = number(&argument, &value()?)?,
                "--spread" => args.spread = number(&argument, &value()?)?,
                "--rounds" => args.rounds = number(&argument, &value()?)?,
                "--engine" => args.engines.push(engine(value()?)?),
                "--dir" => args.dir = value()?.into(),
                "--child" => args.child = Some(engine(value()?)?),
                "--quick" => {
                    (args.events, args.batched, args.calls) = (50_000, 5120, 2000);
                    (args.synced, args.spread, args.rounds) = (50, 50_000, 1);
                }
                "--help" | "-h" => args.help = true,
                _ if argument.starts_with('-') => return Err(format!("there is no option {argument}")),
                _ if GROUPS.iter().any(|group| group.name == argument) => args.groups.push(argument),
                _ => return Err(format!("there is no group {argument}")),
            }
        }
        Ok(args)
    }

    pub(crate) fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|wanted| wanted == group)
    }

    /// tidaldb is always there: everything is compared with it.
    pub(crate) fn wants_engine(&self, engine: &str) -> bool {
        self.engines.is_empty() || engine == "tidaldb" || self.engines.iter().any(|wanted| wanted == engine)
    }
}

fn engine(name: String) -> Result<String, String> {
    if KINDS.iter().any(|kind| kind.name == name) {
        Ok(name)
    } else {
        Err(format!("there is no engine {name}"))
    }
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name} is {text:?}: it is a number of at least 1")),
    }
}
