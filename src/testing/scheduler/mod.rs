//! The scheduler: runs the threads of a program one at a time. A run follows a schedule, so it can be repeated.
//!
//! [`primitives`] has the locks, condition variables, atomics and threads of the engine in test builds. On a scheduled
//! thread each call of them is a step. So are the calls of the simulated disk and the crossings of crash points.
//!
//! This module imports nothing of the engine, because the engine imports it.

mod decision;
pub mod primitives;
mod record;
mod scheduled_thread;
mod state;
mod step;
mod stuck;
#[cfg(test)]
mod tests;
mod turns;

pub(in crate::testing) use decision::{Chooser, DecisionKind, Deviations, DrawBelow};
pub(in crate::testing) use record::{RunEnd, ScheduledRun};
pub(in crate::testing) use scheduled_thread::{ScheduledThread, file_step, note_fault, run, unscheduled};
pub(in crate::testing) use state::bit;
pub(in crate::testing) use step::{LastAccess, Step, StepAction, id_can_differ};
