//! The memory of a sweep, which its workers share: the recovery from each image, the verdict on each state, the findings.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::bounds::{Bounds, now};
use super::finding::Failure;
use super::state::RecoveredState;
use crate::testing::oracle::{CrashKind, Verdict};
use crate::testing::plan::Crash;

/// A state that some image recovered to, with the report of its opening.
#[derive(Debug, Clone)]
pub(crate) struct Interned {
    /// Equal for equal states.
    pub(crate) id: u32,
    /// Equal for equal states whose reports say the same of earlier openings.
    pub(crate) verdict_id: u32,
    pub(crate) state: Arc<RecoveredState>,
}

/// The recovery from an image. It depends on the image alone, so it holds wherever the image occurs.
pub(crate) type Recovery = Result<Interned, Arc<Failure>>;

#[derive(Debug, Default)]
struct States {
    by_sequence: BTreeMap<u64, Vec<Interned>>,
    len: u32,
}

/// A case with a failure.
#[derive(Debug, Clone)]
pub(crate) struct FailedCase {
    pub(crate) crashes: Vec<Crash>,
    pub(crate) failure: Failure,
}

type Verdicts = HashMap<(u64, usize, u32, CrashKind), Arc<Verdict>>;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct SweepMemory {
    pub(crate) bounds: Bounds,
    pub(crate) started: Instant,
    recoveries: Mutex<HashMap<u128, Recovery>>,
    /// The disks after recovery from which a case continued.
    continued: Mutex<HashSet<u128>>,
    states: Mutex<States>,
    verdicts: Mutex<Verdicts>,
    failed: Mutex<Vec<FailedCase>>,
    pub(crate) stop: AtomicBool,
    pub(crate) counters: Counters,
}

/// Counts of a sweep so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) images: AtomicU64,
    pub(crate) distinct: AtomicU64,
    pub(crate) recoveries: AtomicU64,
    pub(crate) continued: AtomicU64,
    pub(crate) nested_recoveries: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) findings: AtomicU64,
    /// Steps of the phase that runs.
    pub(crate) done: AtomicUsize,
    pub(crate) total: AtomicUsize,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl SweepMemory {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            started: now(),
            recoveries: Mutex::default(),
            continued: Mutex::default(),
            states: Mutex::default(),
            verdicts: Mutex::default(),
            failed: Mutex::default(),
            stop: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(crate) fn recovery_of(&self, image: u128) -> Option<Recovery> {
        lock(&self.recoveries).get(&image).cloned()
    }

    /// Keeps the recovery from an image. Returns true the first time.
    pub(crate) fn keep_recovery(&self, image: u128, recovery: &Recovery) -> bool {
        lock(&self.recoveries).insert(image, recovery.clone()).is_none()
    }

    /// Returns true for the first call with this disk after recovery.
    pub(crate) fn continues_first(&self, disk: u128) -> bool {
        lock(&self.continued).insert(disk)
    }

    pub(crate) fn intern(&self, state: RecoveredState) -> Interned {
        let mut states = lock(&self.states);
        let states = &mut *states;
        let same = states.by_sequence.entry(state.last_sequence).or_default();
        let mut equal = same.iter().filter(|known| *known.state == state);
        let is_known = |known: &&Interned| known.state.openings() == state.openings();
        if let Some(known) = equal.clone().find(is_known) {
            return known.clone();
        }
        let equal = equal.next();
        let interned = Interned {
            id: equal.map_or(states.len, |known| known.id),
            verdict_id: states.len,
            state: Arc::new(state),
        };
        states.len += 1;
        same.push(interned.clone());
        interned
    }

    /// The verdict on a state by the journal entry `known` of a run. The first call computes it with `judge`.
    pub(crate) fn verdict(
        &self,
        run: u64,
        known: usize,
        state: &Interned,
        death: CrashKind,
        judge: impl FnOnce() -> Verdict,
    ) -> Arc<Verdict> {
        let key = (run, known, state.verdict_id, death);
        if let Some(verdict) = lock(&self.verdicts).get(&key) {
            return Arc::clone(verdict);
        }
        let verdict = Arc::new(judge());
        lock(&self.verdicts).insert(key, Arc::clone(&verdict));
        verdict
    }

    /// Keeps a case with a failure.
    pub(crate) fn keep_failed(&self, crashes: Vec<Crash>, failure: Failure) {
        if self.bounds.wanted.is_some_and(|wanted| wanted != failure.kind) {
            return;
        }
        Counters::add(&self.counters.findings);
        let mut failed = lock(&self.failed);
        if failed.len() < self.bounds.findings_max {
            failed.push(FailedCase { crashes, failure });
        }
        if failed.len() == self.bounds.findings_max {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed_cases(&self) -> Vec<FailedCase> {
        lock(&self.failed).clone()
    }

    /// Returns true if a bound is reached.
    pub(crate) fn is_over(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return true;
        }
        let is_late = self
            .bounds
            .time
            .is_some_and(|time| now().duration_since(self.started) >= time);
        let is_full = self.counters.distinct.load(Ordering::Relaxed) >= self.bounds.distinct_max;
        if is_late || is_full {
            self.stop.store(true, Ordering::Relaxed);
        }
        is_late || is_full
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
