//! The results that the workers of a sweep share: the recovery from each image, the verdict on each state, the
//! findings.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::bounds::{Bounds, now};
use super::finding::Failure;
use super::state::RecoveredState;
use crate::testing::oracle::{CrashKind, Verdict};
use crate::testing::plan::Crash;

/// A stored recovered state, with the report of its opening. Cases with equal states share it.
#[derive(Debug, Clone)]
pub(crate) struct InternedState {
    /// Equal for equal states.
    pub(crate) id: u32,
    /// Equal for equal states whose reports have the same earlier openings. Such states have the same verdict.
    pub(crate) verdict_id: u32,
    pub(crate) state: Arc<RecoveredState>,
}

/// The result of the recovery from an image by a session. It depends on nothing else, so all cases with the image share
/// it.
pub(crate) type Recovery = Result<InternedState, Arc<Failure>>;

#[derive(Debug, Default)]
struct States {
    by_sequence: BTreeMap<u64, Vec<InternedState>>,
    len: u32,
}

/// A case with a failure.
#[derive(Debug, Clone)]
pub(crate) struct FailedCase {
    pub(crate) crashes: Vec<Crash>,
    pub(crate) failure: Failure,
}

type Verdicts = HashMap<(u64, usize, u32, CrashKind), Arc<Verdict>>;

/// The bounds, results and counts that the workers share.
#[derive(Debug)]
pub(crate) struct SharedResults {
    pub(crate) bounds: Bounds,
    pub(crate) started: Instant,
    recoveries: Mutex<HashMap<u128, Recovery>>,
    /// The hashes of the recovered disks with which a case continued.
    continued: Mutex<HashSet<u128>>,
    states: Mutex<States>,
    verdicts: Mutex<Verdicts>,
    failed: Mutex<Vec<FailedCase>>,
    /// True if the workers must end.
    pub(crate) stop: AtomicBool,
    pub(crate) counters: Counters,
}

/// The counts of a sweep so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) images: AtomicU64,
    pub(crate) distinct: AtomicU64,
    pub(crate) recoveries: AtomicU64,
    pub(crate) continued: AtomicU64,
    pub(crate) nested_recoveries: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) findings: AtomicU64,
    /// The number of completed steps of the current phase.
    pub(crate) done: AtomicUsize,
    /// The number of all steps of the current phase.
    pub(crate) total: AtomicUsize,
}

impl Counters {
    pub(crate) fn increment(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl SharedResults {
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

    pub(crate) fn stored_recovery(&self, image: u128) -> Option<Recovery> {
        lock(&self.recoveries).get(&image).cloned()
    }

    /// Stores the recovery from an image. Returns true if none was stored for this image.
    pub(crate) fn store_recovery(&self, image: u128, recovery: &Recovery) -> bool {
        lock(&self.recoveries).insert(image, recovery.clone()).is_none()
    }

    /// Returns true for the first call with the hash of this recovered disk.
    pub(crate) fn is_first_continuation(&self, disk: u128) -> bool {
        lock(&self.continued).insert(disk)
    }

    pub(crate) fn intern(&self, state: RecoveredState) -> InternedState {
        let mut states = lock(&self.states);
        let states = &mut *states;
        let same = states.by_sequence.entry(state.last_sequence).or_default();
        let mut equal = same.iter().filter(|interned| *interned.state == state);
        let has_same_openings = |interned: &&InternedState| interned.state.openings() == state.openings();
        if let Some(interned) = equal.clone().find(has_same_openings) {
            return interned.clone();
        }
        let equal = equal.next();
        let interned = InternedState {
            id: equal.map_or(states.len, |interned| interned.id),
            verdict_id: states.len,
            state: Arc::new(state),
        };
        states.len += 1;
        same.push(interned.clone());
        interned
    }

    /// The verdict on a state by the oracle snapshot with this index, of the run with the id `run`. The first call
    /// computes the verdict with `check`, and stores it.
    pub(crate) fn verdict(
        &self,
        run: u64,
        snapshot_index: usize,
        state: &InternedState,
        crash_kind: CrashKind,
        check: impl FnOnce() -> Verdict,
    ) -> Arc<Verdict> {
        let key = (run, snapshot_index, state.verdict_id, crash_kind);
        if let Some(verdict) = lock(&self.verdicts).get(&key) {
            return Arc::clone(verdict);
        }
        let verdict = Arc::new(check());
        lock(&self.verdicts).insert(key, Arc::clone(&verdict));
        verdict
    }

    /// Stores a failing case and counts it. Stops the sweep at the bound on findings.
    pub(crate) fn store_failed_case(&self, crashes: Vec<Crash>, failure: Failure) {
        if self.bounds.only_kind.is_some_and(|kind| kind != failure.kind) {
            return;
        }
        Counters::increment(&self.counters.findings);
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

    /// Returns true if the sweep must end: a bound is reached, or the sweep was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
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
