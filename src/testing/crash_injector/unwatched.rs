//! Listeners for crossings on unwatched threads.
//!
//! A run does not crash if only threads without an inherited slot cross its crash point. A listener reports these
//! crossings. The module owns the process's list of listeners, and the flag that the hook reads. Invariants: the flag
//! is set exactly while a listener exists. A listener changes neither a count nor a crash.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::point::CrashPoint;
use super::recorder::Crossing;
use super::slot;
use crate::testing::lock::lock;

/// Set while a listener exists. Every crossing of an unwatched thread reads it.
pub(super) static LISTENING: AtomicBool = AtomicBool::new(false);

static LISTENERS: Mutex<Vec<Arc<UnwatchedCrossings>>> = Mutex::new(Vec::new());

type UnwatchedCrossings = Mutex<Vec<Crossing>>;

/// Records the crossings on all threads of the process whose slot has neither an injector nor a recorder. It records
/// from its creation until it is dropped.
///
/// Tests that run in parallel share the process, so the listener also records unwatched threads of other tests. Print
/// its crossings as a hint next to a failure, with the names of the threads. Do not fail a test because of them. For an
/// exact check, call [`CrossingRecorder::watches_this_thread`](super::CrossingRecorder::watches_this_thread) in the
/// test disk.
///
/// # Examples
/// ```
/// use std::thread;
/// use tidaldb::testing::{
///     CrashInjector, CrashPoint, UnwatchedListener, check_crash_point, run_with_crash,
/// };
///
/// let listener = UnwatchedListener::new();
/// let injector = CrashInjector::new(CrashPoint::WalPreAggregate, 0);
/// let outcome = run_with_crash(&injector, || {
///     // Not wrapped by `inherit`: the injector does not watch this thread.
///     thread::spawn(|| check_crash_point(CrashPoint::WalPreAggregate)).join()
/// });
/// assert!(matches!(outcome, Ok(Ok(()))) && !injector.has_fired());
/// assert!(listener.crossings().iter().any(|crossing| crossing.point == CrashPoint::WalPreAggregate));
/// ```
#[derive(Debug)]
pub struct UnwatchedListener {
    crossings: Arc<UnwatchedCrossings>,
}

impl UnwatchedListener {
    /// Registers a listener.
    #[expect(
        clippy::new_without_default,
        reason = "the registration is a side effect, so this is not a default value"
    )]
    pub fn new() -> Self {
        let crossings = Arc::new(UnwatchedCrossings::default());
        let mut listeners = lock(&LISTENERS);
        listeners.push(Arc::clone(&crossings));
        LISTENING.store(true, Ordering::Relaxed);
        Self { crossings }
    }

    /// The crossings recorded so far.
    pub fn crossings(&self) -> Vec<Crossing> {
        lock(&self.crossings).clone()
    }
}

impl Drop for UnwatchedListener {
    fn drop(&mut self) {
        let mut listeners = lock(&LISTENERS);
        listeners.retain(|crossings| !Arc::ptr_eq(crossings, &self.crossings));
        LISTENING.store(!listeners.is_empty(), Ordering::Relaxed);
    }
}

/// Records a crossing of the calling thread in every listener if the thread is unwatched.
#[cold]
pub(super) fn record_crossing(point: CrashPoint) {
    if slot::is_thread_watched() {
        return;
    }
    for crossings in lock(&LISTENERS).iter() {
        lock(crossings).push(Crossing::by_this_thread(point, None));
    }
}
