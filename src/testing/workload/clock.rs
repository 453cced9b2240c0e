//! The clock of workloads. Its time follows from the operations alone.

use std::cell::Cell;

use crate::Clock;

pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;
/// The time at which standard workloads begin, in milliseconds since the Unix epoch.
pub const STANDARD_NOW_MS: i64 = 1_700_000_000_000;

thread_local! {
    static NOW_MS: Cell<i64> = const { Cell::new(STANDARD_NOW_MS) };
}

/// The number of milliseconds by which a read of the clock advances it.
const STEP_MS: i64 = 400;

/// A clock with a separate time for each thread. A [`Record`](super::Operation::Record) sets the time of the thread
/// that applies it. Before the first one the time is [`STANDARD_NOW_MS`]. Each further read returns a time 400 ms later
/// than the read before it, so that timed work is due before calls of every kind.
///
/// So the workload determines when a timed sync is due, equally in every run. Threads that share a database each have
/// the time of their own operations.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkloadClock;

impl WorkloadClock {
    /// Sets the time of the calling thread, in milliseconds since the Unix epoch.
    pub fn set(now_ms: i64) {
        NOW_MS.set(now_ms);
    }

    /// The latest time that a call of the calling thread can have read. Does not advance the clock.
    pub(crate) fn latest_read_ms() -> i64 {
        NOW_MS.get().saturating_sub(STEP_MS)
    }

    /// The time of the calling thread. Does not advance the clock.
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
