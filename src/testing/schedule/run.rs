//! Runs of sweeps, and the parser of replay lines. For the grammar of a line see `finding.rs`.

use super::explore::{ScheduleExplorer, operation_of};
use super::finding::{PREFIX, PlannedFault, ReplayedSchedule, ScheduleFinding, SchedulePlan};
use super::program::Program;
use super::report::ScheduleReport;
use super::sweep::ScheduleSweep;
use crate::Background;
use crate::testing::sim_disk::IoFault;
use crate::testing::sweep::{Failure, FailureKind};
use crate::testing::workload::PolicyText;

impl ScheduleSweep {
    /// Runs the sweep. It ends at the first finding.
    pub fn run(&self) -> ScheduleReport {
        ScheduleExplorer::new(self).run()
    }

    /// Runs the schedule of a line that a finding printed.
    ///
    /// # Errors
    /// The finding; or the reason for which the line does not fit this sweep.
    pub fn replay(&self, line: &str) -> Result<ReplayedSchedule, Box<ScheduleFinding>> {
        let (sweep, schedule) = parse(self, line)?;
        ScheduleExplorer::new(&sweep).replay(&schedule)
    }

    /// Runs the random schedule that follows from `seed`, without a fault. Equal runs have an equal result.
    ///
    /// # Errors
    /// The finding.
    pub fn run_seed(&self, seed: u64) -> Result<ReplayedSchedule, Box<ScheduleFinding>> {
        ScheduleExplorer::new(self).run_seed(seed)
    }
}

/// The sweep and the schedule of a line.
pub(super) fn parse(
    sweep: &ScheduleSweep,
    line: &str,
) -> Result<(ScheduleSweep, SchedulePlan), Box<ScheduleFinding>> {
    let wrong = |message: String| {
        let failure = Failure::new(FailureKind::NeverReached, message);
        Box::new(ScheduleFinding::new(
            &sweep.text(),
            &SchedulePlan::default(),
            failure,
        ))
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
        let operation = operation_of(&sweep, &plan, ordinal);
        let fault = operation.and_then(|operation| kind.of(&operation));
        let fault =
            fault.ok_or_else(|| wrong(format!("operation {ordinal} cannot have the fault {kind}")))?;
        plan.fault = Some(PlannedFault { ordinal, kind, fault });
    }
    Ok((sweep, plan))
}
