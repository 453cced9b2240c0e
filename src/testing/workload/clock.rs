//! The clock of workloads: its time follows from the operations alone.

use std::cell::Cell;

use crate::Clock;

/// When standard workloads begin, in milliseconds since the Unix epoch.
pub const STANDARD_NOW_MS: i64 = 1_700_000_000_000;

thread_local! {
    static NOW_MS: Cell<i64> = const { Cell::new(STANDARD_NOW_MS) };
}

/// A read of the clock moves it by so many milliseconds.
const STEP_MS: i64 = 400;

/// A clock that tells each thread the time of the last [`Record`](super::Operation::Record) that the thread applied;
/// [`STANDARD_NOW_MS`] before the first one. Each further read is 400 ms later than the one before, so that timed work is
/// due before calls of every kind.
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

    /// The latest time that a call of the calling thread can have read. Does not move the clock.
    pub(crate) fn latest_read_ms() -> i64 {
        NOW_MS.get().saturating_sub(STEP_MS)
    }

    /// The time of the calling thread. Does not move the clock.
    pub(crate) fn time_ms() -> i64 {
        NOW_MS.get()
    }
}

impl Clock for WorkloadClock {
    fn now_ms(&self) -> i64 {
        let now_ms = NOW_MS.get();
        NOW_MS.set(now_ms.saturating_add(STEP_MS));
        now_ms
    }
}
