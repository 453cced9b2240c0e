//! The record of a run.

use super::decision::{Decision, DiskStep};
use super::step::{LastAccess, Step};
use super::stuck::Stuck;

/// The reason for which a run ended.
#[derive(Debug, Clone)]
pub(in crate::testing) enum RunEnd {
    /// Every thread has ended.
    Completed,
    /// The run has no end. Its threads stay parked until the process ends.
    Stuck(Stuck),
}

/// The record of a run.
#[derive(Debug)]
pub(in crate::testing) struct ScheduledRun {
    pub(in crate::testing) end: RunEnd,
    pub(in crate::testing) decisions: Vec<Decision>,
    pub(in crate::testing) steps: Vec<Step>,
    /// The changes of the disk, in order.
    pub(in crate::testing) disk_steps: Vec<DiskStep>,
    pub(in crate::testing) thread_names: Vec<String>,
    /// The panics that ended threads: the name of each thread and the message.
    pub(in crate::testing) panics: Vec<String>,
    /// The last accesses of each thread to each object, while the program runs.
    pub(in crate::testing) accesses: Vec<((usize, u64), LastAccess)>,
    /// The hash of the run's steps and their order.
    pub(in crate::testing) fingerprint: u64,
    /// False if a deviation of the schedule did not fit the run.
    pub(in crate::testing) schedule_fits: bool,
}
