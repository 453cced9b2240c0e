//! Findings of schedules: the failure, the line and the test that replay its schedule, and the steps of the threads.

use std::error::Error;
use std::fmt;

use super::line::{SchedulePlan, line_of};
use super::side_by_side::side_by_side;
use super::sweep::ScheduleSweep;
use crate::testing::scheduler::ScheduledRun;
use crate::testing::sim_disk::Recording;
use crate::testing::sweep::Failure;

/// A schedule under which a program fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct ScheduleFinding {
    /// The failure.
    pub failure: Failure,
    /// The number of deviations from the default before the schedule was shrunk.
    pub deviations_len_before: usize,
    /// The number of deviations from the default.
    pub deviations_len: usize,
    /// The steps of the threads, side by side: one column for each thread. Empty if the database could not be prepared.
    pub steps: String,
    /// True if the sweep has its own work or options, which the replay line does not contain.
    pub has_own_setup: bool,
    line: String,
}

impl ScheduleFinding {
    pub(super) fn new(sweep: &ScheduleSweep, plan: &SchedulePlan, failure: Failure) -> Self {
        let deviations_len = plan.deviations.0.len();
        Self {
            failure,
            deviations_len_before: deviations_len,
            deviations_len,
            steps: String::new(),
            has_own_setup: sweep.program.is_none() || sweep.has_own_options,
            line: line_of(sweep, plan),
        }
    }

    /// Adds the steps of the run.
    pub(super) fn show_steps(&mut self, record: &ScheduledRun) {
        self.steps = side_by_side(record);
    }

    /// The line that replays the schedule by [`replay`](crate::testing::replay()), or by [`ScheduleSweep::replay`] of a
    /// sweep with its own work or options. It is valid for one version of the engine and of the program.
    pub fn replay_line(&self) -> String {
        self.line.clone()
    }

    /// The source of a test, to paste into a crate. The test fails as long as the schedule fails, or does not fit the run.
    /// For a sweep with its own work or options, the test needs a function `sweep` that makes that sweep.
    pub fn test_to_paste(&self) -> String {
        let name = self.failure.kind.name().replace(' ', "_");
        let replay = if self.has_own_setup {
            "sweep().replay"
        } else {
            "tidaldb::testing::replay"
        };
        format!(
            "#[test]\nfn a_replayed_schedule_has_no_finding_{name}() {{\n    {replay}({:?}).unwrap();\n}}",
            self.line
        )
    }
}

impl fmt::Display for ScheduleFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.failure)?;
        writeln!(f, "{}", self.line)?;
        if self.deviations_len_before > self.deviations_len {
            writeln!(
                f,
                "shrunk from {} to {} deviations from the default schedule",
                self.deviations_len_before, self.deviations_len
            )?;
        }
        write!(f, "{}{}", self.steps, self.test_to_paste())
    }
}

impl Error for ScheduleFinding {}

/// A replayed schedule without a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayedSchedule {
    /// The number of steps.
    pub steps: usize,
    /// The hash of the steps, the disk operations and their bytes. It is the same in every run of the schedule by the same
    /// build.
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
