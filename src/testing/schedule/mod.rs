//! Schedules: threads that run one at a time, in an order that can be chosen, replayed and explored.

mod database;
mod decision;
mod explore;
mod finding;
mod judge;
mod managed;
mod primitives;
mod program;
mod report;
mod scheduler;
mod side_by_side;
mod step;
mod stuck;
mod sweep;
#[cfg(test)]
mod tests;

pub use database::ScheduledDatabase;
pub use finding::{ReplayedSchedule, ScheduleFinding};
pub(in crate::testing) use managed::{file_step, note_fault};
pub use primitives::*;
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
