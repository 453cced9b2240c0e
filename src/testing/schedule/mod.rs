//! Schedules: the threads of a program run one at a time, in an order that can be chosen, explored and replayed.
//!
//! A [`ScheduleSweep`] runs a program many times. At each lock, unlock, wait, wake-up, atomic access, file call, crash
//! point, spawn, join and yield of the database the scheduler chooses the thread that continues. The sweep explores every
//! schedule with few preemptions, or random ones. It checks every run:
//!
//! | checked | against |
//! |---|---|
//! | the images of a process crash and of a power loss at each disk operation of the program, at most [`images_max`](ScheduleSweep::images_max) for each | the [oracle](crate::testing::oracle) at that position |
//! | the state in memory at the end | the oracle |
//! | an error of a call | the errors that the run explains: a fault, a close |
//! | the results of changes of collections, and the values that a `read` of a [`Program`] returns | the results of the orders in which the calls can have taken effect |
//! | the end of all threads | a panic of a thread or a call, a deadlock, a lost wake-up and an endless spin are findings at once |
//! | the steps of the program | the same schedule must give the same steps |
//! | the disk after a close | no operation after the release of the directory's lock |
//!
//! The threads of the engine take part, and so do its timers. Time limits and sleeps use simulated time, which passes only
//! when a timer fires, and the schedule chooses that moment. The clock of the options is independent of it. With
//! [`faults`](ScheduleSweep::faults) each schedule also runs once for each fault of each later write or sync: the operation
//! fails; half of a write is written; a sync fails and loses writes.
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
//!     // Join before the first `?`, so that the thread has ended when the closure returns.
//!     let synced = database.apply(&Operation::Sync);
//!     writer.join().expect("the writer does not panic")?;
//!     synced.map(drop)
//! })
//! .preemptions_max(1)
//! .run()
//! .expect_clean();
//! ```
//! Threads may share the locks, condition variables and atomics of [`primitives`]. Only one thread runs at a time. If it
//! waits for a lock, a channel, a barrier or a thread of the standard library, and makes no step for 30 s, this is a finding
//! (`no step`). Calls that change the database go through [`ScheduledDatabase::apply`], so that the oracle expects their effect.
//!
//! # Findings
//! A finding prints the failure, a line that replays the schedule, the steps of the threads side by side, and a test to
//! paste. The schedule is shrunk: no single deviation can be removed without losing the failure.
//! [`replay`](crate::testing::replay()) runs the line of a [`Program`], [`ScheduleSweep::replay`] that of an application or of
//! a sweep with its own options. A line is valid for one version of the engine and of the program.
//!
//! # Bounds
//! - A preemption is a choice that costs one of [`preemptions_max`](ScheduleSweep::preemptions_max): a switch away from a
//!   thread that could continue, a timer that fires although a thread can run, or a thread that continues after its
//!   yield. A switch at a lock that is held, at a wait or at the end of a thread is none, so each schedule with 0
//!   preemptions already is a different order of the calls. Most bugs of real systems need one or two preemptions
//!   (Musuvathi and Qadeer, PLDI 2007).
//! - A preemption is tried only before a step on an object that another thread uses later: every other one is equal to a
//!   later preemption. Equal prefixes of runs are explored once. Two prefixes are equal if each step depends on
//!   the same earlier steps (the partial order of Mazurkiewicz).
//! - Memory is sequentially consistent. A bug that only a weaker memory order shows is not found.
//! - Only threads that [`ScheduledDatabase::spawn`] or [`primitives::Builder`] start are scheduled. The sweep uses the
//!   embedded store.
//! - Spurious wake-ups are not explored. The counts of `Arc` and thread-locals are no steps: a replaced file of the embedded
//!   store is removed when no reader holds its `Arc`, and the order of the two is not explored.
//! - A run has at most 32 threads and 2 million steps. A thread that yields 10,000 times, while no step changes an object,
//!   spins forever. A run in which only timers fire, 1000 times in a row, is stuck. The threads of a stuck run, and their
//!   memory, stay until the process ends.

mod database;
mod explore;
mod finding;
mod judge;
mod line;
mod preempted;
mod program;
mod random;
mod report;
mod runner;
mod side_by_side;
mod sweep;
#[cfg(test)]
mod tests;

pub use crate::testing::scheduler::primitives;
pub use database::ScheduledDatabase;
pub use finding::{ReplayedSchedule, ScheduleFinding};
pub use program::{Program, ProgramCall};
pub use report::{ScheduleReport, ScheduleSweepEnd};
pub use sweep::ScheduleSweep;

use crate::testing::replay::ReplayFailure;
use explore::{ScheduleExplorer, operation_of};
pub(in crate::testing) use line::SCHEDULE_PREFIX;
use line::{PlannedFault, ScheduleLine, SchedulePlan};

impl ScheduleSweep {
    /// Runs the sweep. It ends at the first finding.
    pub fn run(&self) -> ScheduleReport {
        ScheduleExplorer::new(self).run()
    }

    /// Runs the schedule of a line that a finding printed, with the options of this sweep. Any text before
    /// `tidaldb-schedule:` is ignored.
    ///
    /// # Errors
    /// [`ReplayFailure::NotASchedule`] for a line that cannot be read or is one of another application;
    /// [`ReplayFailure::DoesNotFit`] if the program or the engine has changed; [`ReplayFailure::FoundSchedule`] with the
    /// finding.
    pub fn replay(&self, line: &str) -> Result<ReplayedSchedule, ReplayFailure> {
        let ScheduleLine {
            sweep,
            deviations,
            fault,
        } = line::parse(self, line).map_err(ReplayFailure::NotASchedule)?;
        let mut plan = SchedulePlan {
            deviations,
            fault: None,
        };
        if let Some((ordinal, kind)) = fault {
            let operation = operation_of(&sweep, &plan, ordinal);
            let fault = operation.and_then(|operation| kind.of(&operation));
            let Some(fault) = fault else {
                let part = format!("operation {ordinal} cannot have the fault {kind}");
                return Err(ReplayFailure::DoesNotFit(part));
            };
            plan.fault = Some(PlannedFault { ordinal, kind, fault });
        }
        ScheduleExplorer::new(&sweep).replay(&plan)
    }

    /// Runs the random schedule that follows from `seed`, without a fault. Equal runs have an equal result.
    ///
    /// # Errors
    /// The finding. Its schedule is not shrunk.
    pub fn run_seed(&self, seed: u64) -> Result<ReplayedSchedule, Box<ScheduleFinding>> {
        ScheduleExplorer::new(self).run_seed(seed)
    }
}
