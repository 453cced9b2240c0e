//! What the workers of a sweep share: what each image recovered to, what was said of each state, what was found.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::limits::{Limits, now};
use super::recover::State;
use crate::testing::oracle::{Death, Verdict};
use crate::testing::plan::Crash;
use crate::testing::verdict::Failure;

const SHARDS: usize = 16;

/// A set or map in pieces, so that workers seldom wait for each other.
#[derive(Debug)]
pub(crate) struct Sharded<T>([Mutex<T>; SHARDS]);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl<T> Sharded<T> {
    fn of(&self, hash: u128) -> MutexGuard<'_, T> {
        lock(&self.0[(hash >> 64) as usize % SHARDS])
    }
}

/// A state that some image recovered to; equal states have equal ids.
#[derive(Debug, Clone)]
pub(crate) struct Interned {
    pub(crate) id: u32,
    pub(crate) state: Arc<State>,
}

/// What an image recovered to. Recovery depends on the image alone, so this holds wherever the image comes up.
pub(crate) type Outcome = Result<Interned, Arc<Failure>>;

#[derive(Debug, Default)]
struct States {
    by_sequence: BTreeMap<u64, Vec<Interned>>,
    len: u32,
}

/// A failing case.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) crashes: Vec<Crash>,
    pub(crate) failure: Failure,
}

type Judged = HashMap<(usize, u32, Death), Arc<Verdict>>;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) started: Instant,
    outcomes: Sharded<HashMap<u128, Outcome>>,
    /// The images after recovery from which going on was tried.
    gone_on: Sharded<HashSet<u128>>,
    /// The disks whose recovery is crashed in.
    nested: Sharded<HashSet<u128>>,
    states: Mutex<States>,
    judged: Mutex<Judged>,
    found: Mutex<Vec<Found>>,
    pub(crate) stop: AtomicBool,
    pub(crate) counters: Counters,
}

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) images: AtomicU64,
    pub(crate) distinct: AtomicU64,
    pub(crate) recoveries: AtomicU64,
    pub(crate) gone_on: AtomicU64,
    pub(crate) nested_recoveries: AtomicU64,
    pub(crate) deaths: AtomicU64,
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

impl Shared {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            started: now(),
            outcomes: Sharded::default(),
            gone_on: Sharded::default(),
            nested: Sharded::default(),
            states: Mutex::default(),
            judged: Mutex::default(),
            found: Mutex::default(),
            stop: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(crate) fn outcome_of(&self, image: u128) -> Option<Outcome> {
        self.outcomes.of(image).get(&image).cloned()
    }

    /// Keeps what an image recovered to. True if nobody had before.
    pub(crate) fn keep_outcome(&self, image: u128, outcome: &Outcome) -> bool {
        self.outcomes.of(image).insert(image, outcome.clone()).is_none()
    }

    /// Whether this is the first call for this disk after recovery.
    pub(crate) fn goes_on_first(&self, disk: u128) -> bool {
        self.gone_on.of(disk).insert(disk)
    }

    /// Whether this is the first call for this disk, before recovery.
    pub(crate) fn nests_first(&self, disk: u128) -> bool {
        self.nested.of(disk).insert(disk)
    }

    pub(crate) fn intern(&self, state: State) -> Interned {
        let mut states = lock(&self.states);
        let states = &mut *states;
        let same = states.by_sequence.entry(state.last_sequence).or_default();
        if let Some(known) = same.iter().find(|known| *known.state == state) {
            return known.clone();
        }
        let interned = Interned {
            id: states.len,
            state: Arc::new(state),
        };
        states.len += 1;
        same.push(interned.clone());
        interned
    }

    pub(crate) fn judged(&self, known: usize, state: u32, death: Death) -> Option<Arc<Verdict>> {
        lock(&self.judged).get(&(known, state, death)).cloned()
    }

    pub(crate) fn keep_judged(&self, known: usize, state: u32, death: Death, verdict: &Arc<Verdict>) {
        lock(&self.judged).insert((known, state, death), Arc::clone(verdict));
    }

    /// Keeps a failing case.
    pub(crate) fn find(&self, crashes: Vec<Crash>, failure: Failure) {
        if self.limits.wanted.is_some_and(|wanted| wanted != failure.kind) {
            return;
        }
        Counters::add(&self.counters.findings);
        let mut found = lock(&self.found);
        if found.len() < self.limits.findings_max {
            found.push(Found { crashes, failure });
        }
        if found.len() == self.limits.findings_max {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn found(&self) -> Vec<Found> {
        lock(&self.found).clone()
    }

    /// Whether a bound says to stop now.
    pub(crate) fn is_over(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return true;
        }
        let is_late = self
            .limits
            .time
            .is_some_and(|time| now().duration_since(self.started) >= time);
        let is_full = self.counters.distinct.load(Ordering::Relaxed) >= self.limits.distinct_max;
        if is_late || is_full {
            self.stop.store(true, Ordering::Relaxed);
        }
        is_late || is_full
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
