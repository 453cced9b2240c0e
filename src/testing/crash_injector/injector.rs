//! The one-shot injector: counts the crossings of one point and decides, once, to crash.
//!
//! Owns the count, the armed flag and the fired flag, packed into one word so that every decision is one
//! compare-and-exchange. Invariant: the fired flag is set by exactly one crossing and never cleared.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::point::CrashPoint;
use super::recorder::Crossing;
use crate::lock::lock;

/// Set by the crossing that fires, for good.
const FIRED: u64 = 1 << 63;
/// Set while the injector is disarmed.
const DISARMED: u64 = 1 << 62;
/// The bits that hold the count. Enough for a century of crossings.
const COUNT: u64 = DISARMED - 1;

/// The action of a [`CrashInjector`] at the crossing at which it fires.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum CrashAction {
    /// Panics: with a typed payload and in silence on a thread inside
    /// [`run_with_crash`](super::run_with_crash) of the injector, with a message elsewhere.
    #[default]
    Unwind,
    /// Writes the message to standard error and aborts the process: no destructor runs, nothing is caught.
    Abort,
    /// Calls this with the point and the number of crossings, the firing one included.
    ///
    /// When it returns, so does the hook, and the operation runs on. To fail a device, make every later call
    /// to it return an error and come back. To be killed at the exact crossing, report to the parent process
    /// and wait for the end of standard input.
    Call(Arc<dyn Fn(CrashPoint, u64) + Send + Sync>),
}

impl CrashAction {
    /// [`Call`](Self::Call) of a closure.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use tidaldb::testing::{CrashAction, CrashInjector, CrashPoint, check_crash_point, run_with_crash};
    ///
    /// let device_failed = Arc::new(AtomicBool::new(false));
    /// let device = Arc::clone(&device_failed);
    /// let fail = CrashAction::call(move |_point, _crossings| device.store(true, Ordering::SeqCst));
    /// let injector = CrashInjector::with_action(CrashPoint::CheckpointPreFlush, 0, fail);
    ///
    /// let outcome = run_with_crash(&injector, || {
    ///     check_crash_point(CrashPoint::CheckpointPreFlush);
    ///     if device_failed.load(Ordering::SeqCst) { Err("write refused") } else { Ok(()) }
    /// });
    /// assert_eq!(outcome, Ok(Err("write refused")));
    /// ```
    pub fn call(action: impl Fn(CrashPoint, u64) + Send + Sync + 'static) -> Self {
        Self::Call(Arc::new(action))
    }
}

impl fmt::Debug for CrashAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unwind => "Unwind",
            Self::Abort => "Abort",
            Self::Call(_) => "Call",
        })
    }
}

/// A one-shot crash at one point: lets a number of crossings pass and fires at the next one.
///
/// However many threads cross together, it fires exactly once. A crossing that a thread makes while it panics
/// is neither counted nor fired, because a second panic would abort the process: it is kept in a list of its
/// own, see [`withheld_crossings`](Self::withheld_crossings).
pub struct CrashInjector {
    /// Tells injectors apart. A payload carries it and outlives its injector, so it is never used again.
    id: u64,
    target: CrashPoint,
    /// How many crossings pass. At most [`COUNT`], so that a word below it has neither flag set.
    fire_after_n: u64,
    pub(super) action: CrashAction,
    /// [`FIRED`], [`DISARMED`] and the count.
    state: AtomicU64,
    withheld: Mutex<Vec<Crossing>>,
}

impl CrashInjector {
    /// An armed injector that lets `fire_after_n` crossings of `target` pass and panics at the next one (0:
    /// at the first).
    pub fn new(target: CrashPoint, fire_after_n: u64) -> Arc<Self> {
        Self::with_action(target, fire_after_n, CrashAction::Unwind)
    }

    /// Like [`new`](Self::new), with another action than the panic.
    pub fn with_action(target: CrashPoint, fire_after_n: u64, action: CrashAction) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            target,
            fire_after_n: fire_after_n.min(COUNT),
            action,
            state: AtomicU64::new(0),
            withheld: Mutex::new(Vec::new()),
        })
    }

    /// The point this injector fires at.
    pub fn target(&self) -> CrashPoint {
        self.target
    }

    /// Lets it count and fire again after [`disarm`](Self::disarm). The count goes on where it stood; an
    /// injector that has fired stays spent.
    pub fn arm(&self) {
        self.state.fetch_and(!DISARMED, Ordering::AcqRel);
    }

    /// From here on crossings are neither counted nor fired, until [`arm`](Self::arm).
    pub fn disarm(&self) {
        self.state.fetch_or(DISARMED, Ordering::AcqRel);
    }

    /// Whether it has fired. Stays true whatever became of the crash.
    pub fn has_fired(&self) -> bool {
        self.state.load(Ordering::Acquire) & FIRED != 0
    }

    /// How many crossings of the target were counted, the one that fired included.
    pub fn crossing_count(&self) -> u64 {
        self.state.load(Ordering::Acquire) & COUNT
    }

    /// The crossings of the target at which a crash could only have aborted the process by accident, in their
    /// order: all those made while the thread was panicking, and those at which it would have fired inside
    /// the destructor of a thread-local.
    pub fn withheld_crossings(&self) -> Vec<Crossing> {
        lock(&self.withheld).clone()
    }

    /// Counts a crossing of the target that comes before the one to fire at. False, and nothing is changed,
    /// if the injector is due, disarmed, or has fired.
    ///
    /// Runs no foreign code, so a caller may hold its thread's slot.
    #[inline]
    pub(super) fn counts_early_crossing(&self) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        // Below `fire_after_n` both flags are clear: armed and not fired.
        while state < self.fire_after_n {
            match self
                .state
                .compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Counts the crossing that fires and marks the injector as fired. `None`: not by this crossing.
    pub(super) fn claim(&self) -> Option<u64> {
        let fired = |state| self.is_due_in(state).then_some((state + 1) | FIRED);
        let claimed = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fired);
        claimed.ok().map(|before| before + 1)
    }

    /// Returns true if the next crossing fires: armed, not fired, and every crossing before it is counted.
    pub(super) fn is_due(&self) -> bool {
        self.is_due_in(self.state.load(Ordering::Acquire))
    }

    fn is_due_in(&self, state: u64) -> bool {
        state & (FIRED | DISARMED) == 0 && state >= self.fire_after_n
    }

    #[cold]
    pub(super) fn withhold(&self) {
        lock(&self.withheld).push(Crossing::here(self.target, None));
    }
}

impl fmt::Debug for CrashInjector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.load(Ordering::Acquire);
        f.debug_struct("CrashInjector")
            .field("target", &self.target)
            .field("fire_after_n", &self.fire_after_n)
            .field("action", &self.action)
            .field("armed", &(state & DISARMED == 0))
            .field("fired", &(state & FIRED != 0))
            .field("crossing_count", &(state & COUNT))
            .finish_non_exhaustive()
    }
}
