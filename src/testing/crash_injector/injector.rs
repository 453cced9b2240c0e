//! The one-shot injector: counts the crossings of one point and fires at one of them.
//!
//! Owns the count, the armed flag and the fired flag. All three are in one word, so each decision is one
//! compare-and-exchange. Invariant: at most one crossing sets the fired flag, and the flag is never cleared.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::point::CrashPoint;
use super::recorder::Crossing;
use crate::testing::lock::lock;

/// Set by the crossing that fires, and never cleared.
const FIRED: u64 = 1 << 63;
/// Set while the injector is disarmed.
const DISARMED: u64 = 1 << 62;
/// The bits of the count: enough for a century of crossings.
const COUNT: u64 = DISARMED - 1;

/// The action of a [`CrashInjector`] when it fires.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum CrashAction {
    /// Panics. On a thread inside [`run_with_crash`](super::run_with_crash) of the injector, the panic has a typed
    /// payload and prints nothing. Elsewhere it has a message.
    #[default]
    Unwind,
    /// Writes the message to standard error and aborts the process. No destructor runs and no code can catch it.
    Abort,
    /// Calls the closure with the point and the number of crossings, including the one that fires.
    ///
    /// When the closure returns, the hook returns and the operation continues. To fail a device, let the closure make
    /// every later call to the device return an error. To kill the process at exactly this crossing, let the closure
    /// report to the parent process and wait for the end of standard input.
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
/// It fires at most once, also if many threads cross the point at the same time. A crossing on a panicking thread is
/// neither counted nor fired, because a second panic would abort the process.
/// [`withheld_crossings`](Self::withheld_crossings) lists these crossings.
pub struct CrashInjector {
    /// The unique number of the injector. A payload has this number and can outlive the injector, so no number is
    /// reused.
    id: u64,
    target: CrashPoint,
    /// The number of crossings that pass. At most [`COUNT`], so a word below it has no flag set.
    fire_after_n: u64,
    pub(super) action: CrashAction,
    /// [`FIRED`], [`DISARMED`] and the count.
    state: AtomicU64,
    withheld: Mutex<Vec<Crossing>>,
}

impl CrashInjector {
    /// An armed injector that lets `fire_after_n` crossings of `target` pass and panics at the next one. With 0 it
    /// panics at the first crossing.
    pub fn new(target: CrashPoint, fire_after_n: u64) -> Arc<Self> {
        Self::with_action(target, fire_after_n, CrashAction::Unwind)
    }

    /// Like [`new`](Self::new), with `action` in place of the panic.
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

    /// The crash point of this injector.
    pub fn target(&self) -> CrashPoint {
        self.target
    }

    /// Lets the injector count and fire again after [`disarm`](Self::disarm). It continues from its count. An injector
    /// that has fired does not fire again.
    pub fn arm(&self) {
        self.state.fetch_and(!DISARMED, Ordering::AcqRel);
    }

    /// Stops the injector: until [`arm`](Self::arm), crossings are neither counted nor fired.
    pub fn disarm(&self) {
        self.state.fetch_or(DISARMED, Ordering::AcqRel);
    }

    /// Returns true if the injector has fired, also if code caught the crash or the action did not crash.
    pub fn has_fired(&self) -> bool {
        self.state.load(Ordering::Acquire) & FIRED != 0
    }

    /// The number of counted crossings of the target, including the one that fired.
    pub fn crossing_count(&self) -> u64 {
        self.state.load(Ordering::Acquire) & COUNT
    }

    /// The crossings of the target at which a crash would have aborted the process by accident, in their order. These
    /// are all crossings on panicking threads, and the crossings in destructors of thread-locals at which the injector
    /// would have fired.
    pub fn withheld_crossings(&self) -> Vec<Crossing> {
        lock(&self.withheld).clone()
    }

    /// Counts the crossing and returns true if the injector must not fire at it yet. Returns false and changes nothing
    /// if the injector is due to fire, is disarmed or has fired.
    ///
    /// Runs no foreign code, so the caller may borrow its thread's slot.
    #[inline]
    pub(super) fn count_early_crossing(&self) -> bool {
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

    /// Counts the crossing that fires, marks the injector as fired, and returns the count. `None` if this crossing must
    /// not fire.
    pub(super) fn claim(&self) -> Option<u64> {
        let fired = |state| self.is_due_in(state).then_some((state + 1) | FIRED);
        let claimed = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fired);
        claimed.ok().map(|before| before + 1)
    }

    /// Returns true if the next crossing fires: the injector is armed, has not fired, and has let enough crossings
    /// pass.
    pub(super) fn is_due(&self) -> bool {
        self.is_due_in(self.state.load(Ordering::Acquire))
    }

    fn is_due_in(&self, state: u64) -> bool {
        state & (FIRED | DISARMED) == 0 && state >= self.fire_after_n
    }

    #[cold]
    pub(super) fn withhold(&self) {
        lock(&self.withheld).push(Crossing::by_this_thread(self.target, None));
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
