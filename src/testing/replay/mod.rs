//! The replay of a printed line, of a crash sweep or of a schedule sweep. It has no state.

mod failure;
#[cfg(test)]
mod tests;

pub use failure::ReplayFailure;

use crate::testing::schedule::{Program, ReplayedSchedule, SCHEDULE_PREFIX, ScheduleSweep};
use crate::testing::sweep::{RecoveredCase, run_plan};

/// The result of a line without a finding.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ReplayedLine {
    /// The line begins with `tidaldb-replay:`. The case recovered and passed every check.
    Crash(Box<RecoveredCase>),
    /// The line begins with `tidaldb-schedule:`. The run passed every check.
    Schedule(ReplayedSchedule),
}

/// Replays the line of a finding, with the standard options. For a line of a sweep with its own work, options, storage or
/// files use [`CrashSweep::replay`](crate::testing::CrashSweep::replay) or [`ScheduleSweep::replay`].
///
/// Any text before `tidaldb-replay:` or `tidaldb-schedule:` is ignored.
///
/// # Errors
/// [`ReplayFailure::NotAPlan`] or [`ReplayFailure::NotASchedule`] for a line that cannot be read;
/// [`ReplayFailure::DoesNotFit`] for a schedule of another version; [`ReplayFailure::Found`] or
/// [`ReplayFailure::FoundSchedule`] if a check fails, or the run does not crash as planned.
///
/// # Examples
/// ```
/// let line = "tidaldb-replay: work=standard:7:20 durability=every-synced crash=WalPostAggregate#3 mode=power-loss:synced";
/// tidaldb::testing::replay(line)?;
/// let line = "tidaldb-schedule: program=create:a|add:a,1|add:a,2 durability=every-synced background=caller schedule=default";
/// tidaldb::testing::replay(line)?;
/// # Ok::<(), tidaldb::testing::ReplayFailure>(())
/// ```
pub fn replay(line: &str) -> Result<ReplayedLine, ReplayFailure> {
    if line.contains(SCHEDULE_PREFIX) {
        let sweep = ScheduleSweep::of(Program::default());
        return sweep.replay(line).map(ReplayedLine::Schedule);
    }
    let recovered = run_plan(&line.parse()?)?;
    Ok(ReplayedLine::Crash(Box::new(recovered)))
}
