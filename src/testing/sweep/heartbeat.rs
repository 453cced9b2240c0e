//! The heartbeats of the workers, and the progress of a sweep.
//!
//! The thread that started the sweep checks the heartbeats of its worker threads. If a worker hangs, the sweep ends
//! with a finding for its case, and the thread of the worker is left running.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bounds::now;
use super::shared::{SharedResults, lock};
use crate::testing::plan::Crash;

/// The heartbeat of a worker: it changes when the worker begins a case.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// The number of cases that the worker began since it last paused; 0 while it waits for other workers, or is done.
    cases: AtomicU64,
    /// The crashes of the current case.
    current: Mutex<Vec<Crash>>,
}

impl Heartbeat {
    /// Notes that the worker begins a case.
    pub(crate) fn begin(&self, crashes: &[Crash]) {
        let mut current = lock(&self.current);
        current.clear();
        current.extend_from_slice(crashes);
        drop(current);
        self.cases.fetch_add(1, Ordering::Release);
    }

    /// Notes that the worker waits for other workers, or is done.
    pub(crate) fn pause(&self) {
        self.cases.store(0, Ordering::Release);
    }
}

/// Finds workers that hang, by their heartbeats.
#[derive(Debug)]
pub(crate) struct HeartbeatMonitor {
    case_time: Duration,
    /// For each worker: the heartbeat at the last check, and the time of its last change.
    last_beats: Vec<(u64, Instant)>,
}

impl HeartbeatMonitor {
    pub(crate) fn new(case_time: Duration, workers: usize) -> Self {
        Self {
            case_time,
            last_beats: vec![(0, now()); workers],
        }
    }

    /// The crashes of a case that runs longer than the time of a case, if there is one.
    pub(crate) fn find_hang(&mut self, heartbeats: &[Heartbeat]) -> Option<Vec<Crash>> {
        let time = now();
        for (heartbeat, last_beat) in heartbeats.iter().zip(&mut self.last_beats) {
            let cases = heartbeat.cases.load(Ordering::Acquire);
            if cases != last_beat.0 || cases == 0 {
                *last_beat = (cases, time);
            } else if time.duration_since(last_beat.1) >= self.case_time {
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
    /// The number of completed steps of the phase.
    pub done: usize,
    /// The number of all steps of the phase.
    pub total: usize,
    /// The time since the start of the sweep.
    pub elapsed: Duration,
    /// The number of cases. Each has one image.
    pub images: u64,
    /// The number of distinct images.
    pub distinct: u64,
    /// The number of recoveries.
    pub recoveries: u64,
    /// The number of recoveries each second since the start.
    pub per_second: f64,
    /// The number of failing cases.
    pub findings: u64,
    /// An estimate of the time until the end, from the bound on time and the completed steps; `None` without both.
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
    /// Nested cases: crashes in recoveries.
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
    pub(crate) fn of(shared: &SharedResults, phase: Phase) -> Self {
        let counters = &shared.counters;
        let elapsed = now().duration_since(shared.started);
        let (done, total) = (
            counters.done.load(Ordering::Relaxed),
            counters.total.load(Ordering::Relaxed),
        );
        let recoveries = counters.recoveries.load(Ordering::Relaxed);
        let by_time = shared.bounds.time.map(|time| time.saturating_sub(elapsed));
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
