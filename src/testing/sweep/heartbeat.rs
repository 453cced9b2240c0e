//! The heartbeats of the workers, and the progress of a sweep.
//!
//! The calling thread watches the threads of the sweep. A thread that hangs is left behind, and the sweep ends with a
//! finding that names its case.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bounds::now;
use super::memory::{SweepMemory, lock};
use crate::testing::plan::Crash;

/// The case that a worker runs.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    cases: AtomicU64,
    current: Mutex<Vec<Crash>>,
}

impl Heartbeat {
    /// The worker begins a case.
    pub(crate) fn begin(&self, crashes: &[Crash]) {
        let mut current = lock(&self.current);
        current.clear();
        current.extend_from_slice(crashes);
        drop(current);
        self.cases.fetch_add(1, Ordering::Release);
    }

    /// The worker waits for others, or is done.
    pub(crate) fn rest(&self) {
        self.cases.store(0, Ordering::Release);
    }
}

/// Watches the heartbeats.
#[derive(Debug)]
pub(crate) struct Watch {
    limit: Duration,
    seen: Vec<(u64, Instant)>,
}

impl Watch {
    pub(crate) fn new(limit: Duration, workers: usize) -> Self {
        Self {
            limit,
            seen: vec![(0, now()); workers],
        }
    }

    /// The case that a worker has run for too long, if there is one.
    pub(crate) fn hanging(&mut self, heartbeats: &[Heartbeat]) -> Option<Vec<Crash>> {
        let time = now();
        for (heartbeat, seen) in heartbeats.iter().zip(&mut self.seen) {
            let cases = heartbeat.cases.load(Ordering::Acquire);
            if cases != seen.0 || cases == 0 {
                *seen = (cases, time);
            } else if time.duration_since(seen.1) >= self.limit {
                return Some(lock(&heartbeat.current).clone());
            }
        }
        None
    }
}

/// The progress of a sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The current phase.
    pub phase: Phase,
    /// Steps of the phase that are done.
    pub done: usize,
    /// Steps that the phase has.
    pub total: usize,
    /// Time since the beginning.
    pub elapsed: Duration,
    /// Images that were built.
    pub images: u64,
    /// Images that differ.
    pub distinct: u64,
    /// Recoveries that were made.
    pub recoveries: u64,
    /// Recoveries each second, since the beginning.
    pub per_second: f64,
    /// Failing cases.
    pub findings: u64,
    /// An estimate of the time that is left, from the bound on time and the steps done; none without either.
    pub time_left: Option<Duration>,
}

/// A phase of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Phase {
    /// The recording run.
    #[default]
    Record,
    /// Crashes in the work.
    Crash,
    /// Faults of the disk under the running work and under recoveries.
    Fault,
    /// Crashes in recoveries.
    Nested,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: &'static [Self] = &[Self::Record, Self::Crash, Self::Fault, Self::Nested];

    /// The phase's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "recording",
            Self::Crash => "crashing the work",
            Self::Fault => "failing operations",
            Self::Nested => "crashing recoveries",
        }
    }
}

impl Progress {
    pub(crate) fn of(memory: &SweepMemory, phase: Phase) -> Self {
        let counters = &memory.counters;
        let elapsed = now().duration_since(memory.started);
        let (done, total) = (
            counters.done.load(Ordering::Relaxed),
            counters.total.load(Ordering::Relaxed),
        );
        let recoveries = counters.recoveries.load(Ordering::Relaxed);
        let by_time = memory.bounds.time.map(|time| time.saturating_sub(elapsed));
        let by_steps =
            (done > 0 && total >= done).then(|| elapsed.mul_f64((total - done) as f64 / done as f64));
        Self {
            phase,
            done,
            total,
            elapsed,
            images: counters.images.load(Ordering::Relaxed),
            distinct: counters.distinct.load(Ordering::Relaxed),
            recoveries,
            per_second: recoveries as f64 / elapsed.as_secs_f64().max(1e-9),
            findings: counters.findings.load(Ordering::Relaxed),
            time_left: match (by_time, by_steps) {
                (Some(time), Some(steps)) => Some(time.min(steps)),
                (time, steps) => time.or(steps),
            },
        }
    }
}
