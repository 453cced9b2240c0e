//! Findings of schedules: the failure, the line that replays its schedule, and the steps of the threads.
//!
//! A line is `tidaldb-schedule:` and then, separated by spaces, `program=PROGRAM` or the name of an application,
//! `durability=POLICY`, `background=own-threads` or `caller`, `schedule=DEVIATIONS`, and with a fault
//! `fault=ORDINAL:FAULT`. See [`Program`](super::Program) and `decision.rs` for the grammar of programs and deviations.

use std::error::Error;
use std::fmt;

use crate::testing::scheduler::{Deviations, ScheduledRun};
use crate::testing::sim_disk::{Fault, IoFault, Recording};
use crate::testing::sweep::Failure;

pub(super) const PREFIX: &str = "tidaldb-schedule:";

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
    /// The line that replays the schedule, see [`ScheduleSweep::replay`](super::ScheduleSweep::replay) and [`replay_schedule`](super::replay_schedule).
    pub line: String,
    /// The number of deviations from the default before the schedule was shrunk, and after.
    pub deviations_before: usize,
    /// See [`deviations_before`](Self::deviations_before).
    pub deviations: usize,
    /// The steps of the threads, side by side: one column for each thread.
    pub steps: String,
}

impl ScheduleFinding {
    /// A finding of the program with this text.
    pub(super) fn new(program: &str, plan: &SchedulePlan, failure: Failure) -> Self {
        let deviations = plan.deviations.0.len();
        Self {
            failure,
            line: format!("{PREFIX} {program} {plan}"),
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
    pub(super) fn new(record: &ScheduledRun, recording: &Recording) -> Self {
        let operations = (0..recording.len()).map(|ordinal| recording.operation_hash(ordinal));
        Self {
            steps: record.steps.len(),
            hash: operations.fold(record.fingerprint, |hash, operation| {
                hash.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ operation
            }),
        }
    }
}
