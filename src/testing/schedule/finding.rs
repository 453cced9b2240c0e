//! Findings of schedules: the failure, the line that replays its schedule, and the steps of the threads.
//!
//! A line is `tidaldb-schedule:` and then, separated by spaces, `program=PROGRAM` or the name of an application,
//! `durability=POLICY`, `background=own-threads` or `caller`, `schedule=DEVIATIONS`, and with a fault
//! `fault=ORDINAL:FAULT`. See [`Program`] and `decision.rs` for the grammar of programs and deviations.

use std::error::Error;
use std::fmt;

use super::program::Program;
use super::sweep::ScheduleSweep;
use crate::Background;
use crate::testing::scheduler::{Deviations, RunRecord};
use crate::testing::sim_disk::{Fault, IoFault, Recording};
use crate::testing::sweep::{Failure, FailureKind};
use crate::testing::workload::PolicyText;

const PREFIX: &str = "tidaldb-schedule:";

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

impl fmt::Display for SchedulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule={}", self.deviations)?;
        let mut fault = self.fault.iter();
        fault.try_for_each(|fault| write!(f, " fault={}:{}", fault.ordinal, fault.kind))
    }
}

/// A schedule under which a program fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct ScheduleFinding {
    /// The failure.
    pub failure: Failure,
    /// The line that replays the schedule, see [`ScheduleSweep::replay`] and [`replay_schedule`](super::replay_schedule).
    pub line: String,
    /// The number of deviations from the default before the schedule was shrunk, and after.
    pub deviations_before: usize,
    /// See [`deviations_before`](Self::deviations_before).
    pub deviations: usize,
    /// The steps of the threads, side by side: one column for each thread.
    pub steps: String,
}

impl ScheduleFinding {
    pub(super) fn new(sweep: &ScheduleSweep, plan: SchedulePlan, failure: Failure) -> Self {
        let deviations = plan.deviations.0.len();
        Self {
            failure,
            line: format!("{PREFIX} {} {plan}", sweep.text()),
            deviations_before: deviations,
            deviations,
            steps: String::new(),
        }
    }
}

impl fmt::Display for ScheduleFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.failure)?;
        writeln!(f, "{}", self.line)?;
        if self.deviations_before > self.deviations {
            writeln!(
                f,
                "shrunk from {} to {} deviations from the default schedule",
                self.deviations_before, self.deviations
            )?;
        }
        f.write_str(&self.steps)
    }
}

impl Error for ScheduleFinding {}

/// A replayed schedule without a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayedSchedule {
    /// The number of steps.
    pub steps: usize,
    /// The hash of the steps, the disk operations and their bytes. It is the same in every run of the schedule.
    pub hash: u64,
}

impl ReplayedSchedule {
    pub(super) fn new(record: &RunRecord, recording: &Recording) -> Self {
        let operations = (0..recording.len()).map(|ordinal| recording.operation_hash(ordinal));
        Self {
            steps: record.steps.len(),
            hash: operations.fold(record.fingerprint, |hash, operation| {
                hash.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ operation
            }),
        }
    }
}

/// The sweep and the schedule of a line.
pub(super) fn parse(
    sweep: &ScheduleSweep,
    line: &str,
) -> Result<(ScheduleSweep, SchedulePlan), Box<ScheduleFinding>> {
    let wrong = |message: String| {
        let failure = Failure::new(FailureKind::NeverReached, message);
        Box::new(ScheduleFinding::new(sweep, SchedulePlan::default(), failure))
    };
    let text = line.trim().strip_prefix(PREFIX);
    let text = text.ok_or_else(|| wrong(format!("a line begins with {PREFIX}")))?;
    let mut sweep = sweep.clone();
    let mut plan = SchedulePlan::default();
    let mut fault = None;
    for field in text.split_ascii_whitespace() {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| wrong(format!("{field:?} is not NAME=VALUE")))?;
        let unknown = |reason: &str| wrong(format!("{field:?}: {reason}"));
        match name {
            "program" if sweep.program.is_some() => {
                let program: Program = value.parse().map_err(|error| unknown(&format!("{error}")))?;
                let of_program = ScheduleSweep::of(program);
                sweep.work = of_program.work;
                sweep.program = of_program.program;
                sweep.name = of_program.name;
            }
            "program" if value == sweep.name.replace(' ', "_") => {}
            "program" => return Err(unknown("the line is one of another application")),
            "durability" => {
                let PolicyText(durability) = value.parse().map_err(unknown)?;
                sweep.setup.durability = durability;
            }
            "background" => {
                sweep.background = match value {
                    "own-threads" => Background::OwnThreads,
                    "caller" => Background::Caller,
                    _ => return Err(unknown("the background work is `own-threads` or `caller`")),
                };
            }
            "schedule" => plan.deviations = value.parse().map_err(unknown)?,
            "fault" => {
                let parts = value.split_once(':');
                let parsed =
                    parts.and_then(|(ordinal, kind)| Some((ordinal.parse().ok()?, IoFault::named(kind)?)));
                fault =
                    Some(parsed.ok_or_else(|| {
                        unknown("a fault is the ordinal of an operation, `:` and its name")
                    })?);
            }
            _ => return Err(unknown("the field is unknown")),
        }
    }
    if let Some((ordinal, kind)) = fault {
        let operation = super::explore::operation_of(&sweep, &plan, ordinal);
        let fault = operation.and_then(|operation| kind.of(&operation));
        let fault =
            fault.ok_or_else(|| wrong(format!("operation {ordinal} cannot have the fault {kind}")))?;
        plan.fault = Some(PlannedFault { ordinal, kind, fault });
    }
    Ok((sweep, plan))
}
