//! Schedules: threads that run one at a time, in an order that can be chosen, replayed and explored.

mod database;
mod explore;
mod finding;
mod judge;
mod program;
mod programs;
mod report;
mod side_by_side;
mod sweep;
#[cfg(test)]
mod tests;

pub use crate::testing::scheduler::primitives;
pub use database::ScheduledDatabase;
pub use finding::{ReplayedSchedule, ScheduleFinding};
pub use program::{Program, ThreadCall};
pub use report::ScheduleReport;
pub use sweep::ScheduleSweep;

/// Runs the schedule of a line that a sweep of a [`Program`] printed.
///
/// # Errors
/// The finding; or the reason for which the line is wrong.
pub fn replay_schedule(line: &str) -> Result<ReplayedSchedule, Box<ScheduleFinding>> {
    ScheduleSweep::of(Program::default()).replay(line)
}
