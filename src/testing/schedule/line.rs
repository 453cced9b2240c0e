//! The replay line of a schedule: its grammar, printer and parser.
//!
//! A line is `tidaldb-schedule:` and then these fields in this order, separated by spaces:
//!
//! | field | value |
//! |---|---|
//! | `program=` | the text of a [`Program`], or the name of an application |
//! | `durability=` | the policy, as in a plan |
//! | `background=` | `own-threads` or `caller` |
//! | `schedule=` | `DECISION>THREAD` for each deviation, joined by commas; `default` without any |
//! | `fault=` | `ORDINAL:FAULT`: the disk operation that fails, and its fault; only for a run with a fault |
//!
//! `17>3` means: at decision 17 the scheduler chooses thread 3. Decisions count from 0 from the start of the run. A step with
//! one candidate is no decision.

use std::fmt;

use super::program::Program;
use super::sweep::ScheduleSweep;
use crate::Background;
use crate::testing::scheduler::Deviations;
use crate::testing::sim_disk::{DiskOperation, Fault, IoFault};
use crate::testing::workload::PolicyText;

pub(in crate::testing) const SCHEDULE_PREFIX: &str = "tidaldb-schedule:";

/// A schedule and its fault.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SchedulePlan {
    pub(super) deviations: Deviations,
    pub(super) fault: Option<PlannedFault>,
}

/// The fault of one disk operation of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PlannedFault {
    pub(super) ordinal: u64,
    pub(super) kind: IoFault,
    pub(super) fault: Fault,
}

impl PlannedFault {
    /// The faults of a write or sync. Empty for other operations.
    pub(super) fn all_of(operation: &DiskOperation) -> impl Iterator<Item = Self> {
        let is_write_or_sync = operation.kind.is_sync() || operation.len > 0;
        let kinds = [IoFault::Error, IoFault::HalfWritten, IoFault::SyncLost].into_iter();
        kinds.filter(move |_| is_write_or_sync).filter_map(|kind| {
            Some(Self {
                ordinal: operation.ordinal,
                kind,
                fault: kind.of(operation)?,
            })
        })
    }
}

impl fmt::Display for SchedulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule={}", self.deviations)?;
        let mut fault = self.fault.iter();
        fault.try_for_each(|fault| write!(f, " fault={}:{}", fault.ordinal, fault.kind))
    }
}

impl ScheduleSweep {
    /// The fields of the program and its settings.
    pub(super) fn text(&self) -> String {
        let background = match self.background {
            Background::OwnThreads => "own-threads",
            Background::Caller => "caller",
        };
        let durability = PolicyText(self.setup.durability);
        format!(
            "program={} durability={durability} background={background}",
            program_field(&self.name)
        )
    }
}

/// The name of a program as the value of a field.
fn program_field(name: &str) -> String {
    name.replace(char::is_whitespace, "_")
}

/// The line that replays this schedule of the sweep's program.
pub(super) fn line_of(sweep: &ScheduleSweep, plan: &SchedulePlan) -> String {
    format!("{SCHEDULE_PREFIX} {} {plan}", sweep.text())
}

/// A parsed line.
pub(super) struct ScheduleLine {
    /// The sweep with the program and the settings of the line.
    pub(super) sweep: ScheduleSweep,
    pub(super) deviations: Deviations,
    /// The ordinal of the disk operation that fails, and the fault.
    pub(super) fault: Option<(u64, IoFault)>,
}

/// Parses a line. Ignores any text before the prefix.
///
/// # Errors
/// The part that is wrong, and the reason.
pub(super) fn parse(sweep: &ScheduleSweep, line: &str) -> Result<ScheduleLine, String> {
    let (_, fields) = line
        .split_once(SCHEDULE_PREFIX)
        .ok_or_else(|| format!("a line begins with {SCHEDULE_PREFIX}"))?;
    let mut fields = fields.split_ascii_whitespace();
    let mut next = |name: &'static str| match fields.next() {
        None => Ok(None),
        Some(field) => match field.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            Some(value) => Ok(Some(value)),
            None => Err(format!("{field:?}: `{name}=` is expected here")),
        },
    };
    let mut required = |name| next(name)?.ok_or_else(|| format!("the line has no field `{name}=`"));
    let wrong = |value: &str, reason: &dyn fmt::Display| format!("{value:?}: {reason}");
    let mut sweep = sweep.clone();
    let program = required("program")?;
    if sweep.program.is_some() {
        let parsed: Program = program.parse().map_err(|error| wrong(program, &error))?;
        let of_program = ScheduleSweep::of(parsed);
        sweep.work = of_program.work;
        sweep.program = of_program.program;
        sweep.name = of_program.name;
    } else if program != program_field(&sweep.name) {
        return Err(wrong(program, &"the line is one of another application"));
    }
    let durability = required("durability")?;
    let PolicyText(policy) = durability
        .parse()
        .map_err(|reason: &str| wrong(durability, &reason))?;
    sweep.setup.durability = policy;
    sweep.background = match required("background")? {
        "own-threads" => Background::OwnThreads,
        "caller" => Background::Caller,
        other => return Err(wrong(other, &"the background work is `own-threads` or `caller`")),
    };
    let schedule = required("schedule")?;
    let deviations = schedule
        .parse()
        .map_err(|reason: &str| wrong(schedule, &reason))?;
    let fault = match next("fault")? {
        None => None,
        Some(value) => {
            let parts = value.split_once(':');
            let parsed =
                parts.and_then(|(ordinal, kind)| Some((ordinal.parse().ok()?, IoFault::named(kind)?)));
            let reason = "a fault is the ordinal of an operation, `:` and its name";
            Some(parsed.ok_or_else(|| wrong(value, &reason))?)
        }
    };
    match fields.next() {
        None => Ok(ScheduleLine {
            sweep,
            deviations,
            fault,
        }),
        Some(field) => Err(wrong(field, &"the line ends before this field")),
    }
}
