//! The clock of workloads: its time follows from the operations alone.

use std::cell::Cell;

use super::STANDARD_NOW_MS;
use crate::Clock;

thread_local! {
    static NOW_MS: Cell<i64> = const { Cell::new(STANDARD_NOW_MS) };
}

/// A clock that tells each thread the time of the last [`Record`](super::Operation::Record) that the thread applied;
/// [`STANDARD_NOW_MS`] before the first one.
///
/// So a workload decides when a timed sync is due, in the same way in every run, and threads that share a database each
/// have the time of their own operations.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkloadClock;

impl WorkloadClock {
    /// Sets the time that the clock tells the calling thread, in milliseconds since the Unix epoch.
    pub fn set(now_ms: i64) {
        NOW_MS.set(now_ms);
    }
}

impl Clock for WorkloadClock {
    fn now_ms(&self) -> i64 {
        NOW_MS.get()
    }
}
