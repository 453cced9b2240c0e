//! Listeners for crossings on unwatched threads.
//!
//! A plan whose point is crossed only on a thread that inherited no slot would pass without having crashed.
//! Owns the process's list of listeners and the flag that the hook reads. Invariant: the flag is set exactly
//! while there is a listener; listening changes neither a count nor a crash.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::point::CrashPoint;
use super::recorder::Crossing;
use super::slot;
use crate::lock::lock;

/// Set while there is a listener. Read by every crossing of an unwatched thread.
pub(super) static LISTENING: AtomicBool = AtomicBool::new(false);

static LISTENERS: Mutex<Vec<Arc<UnwatchedCrossings>>> = Mutex::new(Vec::new());

type UnwatchedCrossings = Mutex<Vec<Crossing>>;

/// Hears, from its making until it is dropped, every crossing in the process that was made on a thread whose
/// slot holds neither an injector nor a recorder.
///
/// In a process that runs one plan, what it hears is the plan's. Among tests that run in parallel it also
/// hears other tests' unwatched threads: there it is a hint to be printed beside a failure, with the threads'
/// names, and no verdict. The exact question is
/// [`CrossingRecorder::watches_this_thread`](super::CrossingRecorder::watches_this_thread), asked by the
/// plan's own device.
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
///     // Not wrapped by `inherit`: the injector knows nothing of this thread.
///     thread::spawn(|| check_crash_point(CrashPoint::WalPreAggregate)).join()
/// });
/// assert!(matches!(outcome, Ok(Ok(()))) && !injector.has_fired());
/// assert!(listener.heard().iter().any(|crossing| crossing.point == CrashPoint::WalPreAggregate));
/// ```
#[derive(Debug)]
pub struct UnwatchedListener {
    heard: Arc<UnwatchedCrossings>,
}

impl UnwatchedListener {
    /// Begins to listen.
    #[expect(
        clippy::new_without_default,
        reason = "to begin to listen is an effect, not a value's default"
    )]
    pub fn new() -> Self {
        let heard = Arc::new(UnwatchedCrossings::default());
        let mut listeners = lock(&LISTENERS);
        listeners.push(Arc::clone(&heard));
        LISTENING.store(true, Ordering::Relaxed);
        Self { heard }
    }

    /// What was heard so far.
    pub fn heard(&self) -> Vec<Crossing> {
        lock(&self.heard).clone()
    }
}

impl Drop for UnwatchedListener {
    fn drop(&mut self) {
        let mut listeners = lock(&LISTENERS);
        listeners.retain(|heard| !Arc::ptr_eq(heard, &self.heard));
        LISTENING.store(!listeners.is_empty(), Ordering::Relaxed);
    }
}

/// Tells the listeners of a crossing by the calling thread, if it is unwatched.
#[cold]
pub(super) fn crossed(point: CrashPoint) {
    if slot::is_watched() {
        return;
    }
    for heard in lock(&LISTENERS).iter() {
        lock(heard).push(Crossing::here(point, None));
    }
}
