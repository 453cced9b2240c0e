//! Schedules: the threads of a program run one at a time, in an order that can be chosen, explored and replayed.
//!
//! A [`ScheduleSweep`] runs a program many times. At each lock, unlock, wait, wake-up, atomic access, file call, crash
//! point, spawn, join and yield of the database the scheduler chooses the thread that continues. The sweep explores every
//! schedule with few preemptions, or random ones. It judges every run:
//!
//! | checked | against |
//! |---|---|
//! | the images of a process crash and of a power loss at each position of the run | the [oracle](crate::testing::oracle) at that position |
//! | the state in memory at the end | the oracle |
//! | the result of each call | the results that the run explains: a fault, a close |
//! | the end of all threads | a deadlock, a lost wake-up and an endless spin are findings at once |
//!
//! The threads of the engine take part, and so do its timers: a timer fires when the schedule says so, in simulated time.
//! With [`faults`](ScheduleSweep::faults) each schedule also runs with one failing write or sync.
//!
//! # Threads of an application
//! The closure of [`ScheduleSweep::driven`] runs on a scheduled thread, and [`ScheduledDatabase::spawn`] adds more:
//! ```
//! use tidaldb::EntityId;
//! use tidaldb::testing::schedule::ScheduleSweep;
//! use tidaldb::testing::workload::Operation;
//!
//! ScheduleSweep::driven("two writers", |database| {
//!     database.apply(&Operation::CreateCollection(b"to watch".to_vec()))?;
//!     let writer = database.spawn("writer", |database| {
//!         database.apply(&Operation::AddToCollection(b"to watch".to_vec(), EntityId(7)))
//!     });
//!     database.apply(&Operation::Sync)?;
//!     writer.join().expect("the writer does not panic")?;
//!     Ok(())
//! })
//! .preemptions_max(1)
//! .run()
//! .expect_clean();
//! ```
//! Threads may share the locks, condition variables and atomics of [`primitives`]. A lock of the standard library would block the one
//! thread that runs. Calls that change the database go through [`ScheduledDatabase::apply`], so that the oracle expects
//! their effect.
//!
//! # Findings
//! A finding prints the failure, a line that replays the schedule, and the steps of the threads side by side. The schedule
//! is shrunk to the fewest switches. [`replay_schedule`] runs the line of a [`Program`], [`ScheduleSweep::replay`] that of
//! an application.
//!
//! # Bounds
//! - A preemption is a switch away from a thread that could continue. A switch at a lock that is held, at a wait or at
//!   the end of a thread is none, so each schedule with 0 preemptions already is a different order of the calls. Most
//!   faults of real systems need one or two preemptions (Musuvathi and Qadeer, PLDI 2007).
//! - A preemption is tried only before a step that conflicts with a later step of another thread: every other one is
//!   equal to a later preemption. Equal prefixes of runs are explored once. Two prefixes are equal if each step depends on
//!   the same earlier steps (the partial order of Mazurkiewicz).
//! - Memory is sequentially consistent. A fault that only a weaker memory order causes is not found.
//! - Threads inside a foreign storage engine are not scheduled.
//! - A thread that waits is woken by a notification or a timer, never without a reason.

mod database;
mod explore;
mod finding;
mod judge;
mod program;
mod programs;
mod report;
mod run;
mod runner;
mod side_by_side;
mod sweep;
#[cfg(test)]
mod tests;

pub use crate::testing::scheduler::primitives;
pub use database::ScheduledDatabase;
pub use finding::{ReplayedSchedule, ScheduleFinding};
pub use program::{Program, ProgramCall};
pub use report::ScheduleReport;
pub use sweep::ScheduleSweep;

/// Runs the schedule of a line that a sweep of a [`Program`] printed.
///
/// # Errors
/// The finding; or the reason for which the line is wrong.
pub fn replay_schedule(line: &str) -> Result<ReplayedSchedule, Box<ScheduleFinding>> {
    ScheduleSweep::of(Program::default()).replay(line)
}
