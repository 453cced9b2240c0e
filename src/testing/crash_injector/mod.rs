//! Crash points, and the one-shot injector that crashes at them.
//!
//! A hook is one statement in a write path, [`check_crash_point`], which exists in test builds only. It asks
//! the calling thread's slot: an injector in it counts the crossing and, once, fires. The slot belongs to the
//! thread, so tests that run in parallel never crash one another; threads get their spawner's slot by
//! [`inherit`], as every thread of the engine does.
//!
//! | to | use |
//! |---|---|
//! | crash a closure and catch it | [`run_with_crash`], or [`run_to_crash`], which fails if it did not crash |
//! | watch a stretch of code | [`scoped_injector`], or [`install_injector`] and [`clear_injector`] |
//! | watch a thread of your own | [`inherit`] |
//! | tell an injected crash from another panic | [`crash_of`] |
//! | list the crossings there are, without a crash | [`CrossingRecorder`] with [`scoped_recorder`] |
//! | list crossings on unwatched threads | [`UnwatchedListener`] |
//!
//! Invariants: an injector fires exactly once however many threads cross together; a hook aborts the process
//! only if the injector's action says so. So a crossing made while the thread is already panicking is kept in
//! a list and passes, one in a thread-local's destructor never panics, and the slot is never borrowed while
//! foreign code runs.

mod firing;
mod injector;
mod outcome;
mod point;
mod recorder;
mod slot;
#[cfg(test)]
mod tests;
mod unwatched;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use firing::{CrashPayload, crash_of};
pub use injector::{CrashAction, CrashInjector};
pub use outcome::{Crashed, Crossed, NotCrashed, NotCrashedReason, run_to_crash};
pub use point::{CrashPoint, ParseCrashPointError};
pub use recorder::{Crossing, CrossingRecorder};
pub use slot::{SlotGuard, scoped_injector, scoped_recorder};
pub use unwatched::UnwatchedListener;

/// The hook: crosses `point` on the calling thread.
///
/// [`CrashInjector::maybe_crash`] of the injector in the thread's slot; nothing with an empty slot.
///
/// # Panics
/// If the injector fires and its action is to panic.
///
/// # Examples
/// ```
/// use tidaldb::testing::{
///     CrashInjector, CrashPoint, check_crash_point, clear_injector, install_injector,
/// };
///
/// // Nothing is installed: nothing happens.
/// check_crash_point(CrashPoint::WalPreAggregate);
///
/// let injector = CrashInjector::new(CrashPoint::WalPreAggregate, 1);
/// install_injector(injector.clone());
/// check_crash_point(CrashPoint::WalPostAggregate);
/// check_crash_point(CrashPoint::WalPreAggregate);
/// assert_eq!((injector.crossing_count(), injector.has_fired()), (1, false));
///
/// // The next crossing of the target would panic.
/// clear_injector();
/// check_crash_point(CrashPoint::WalPreAggregate);
/// assert_eq!(injector.crossing_count(), 1);
/// ```
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a hook on an unwatched thread costs two loads, not a call"
)]
pub fn check_crash_point(point: CrashPoint) {
    if slot::is_interested_in(point) {
        firing::crossed(point);
    } else if unwatched::LISTENING.load(Ordering::Relaxed) {
        unwatched::crossed(point);
    }
}

/// Puts `injector` into the calling thread's slot, where it stays until it is cleared or replaced.
///
/// [`scoped_injector`] takes it out again by itself.
pub fn install_injector(injector: Arc<CrashInjector>) {
    slot::set_injector(Some(injector));
}

/// Empties the calling thread's slot of its injector. A recorder stays.
pub fn clear_injector() {
    slot::set_injector(None);
}

/// Runs `f` with `injector` installed on the calling thread, and catches this injector's crash alone.
///
/// Afterwards the slot holds what it held before, whichever way `f` ended. `Ok` is what `f` returned: also if
/// it swallowed the crash, or the crash ended another thread; [`CrashInjector::has_fired`] tells. A panic
/// that is not this injector's crash goes on unwinding, whatever fired before it, so runs nest: the inner one
/// lets the outer one's crash through.
///
/// What `f` changed by reference is left as the crash found it, like memory that a crashed process leaves
/// behind; hence no `UnwindSafe` bound.
///
/// # Errors
/// The injector's target, if the crash unwound out of `f`. It printed nothing.
///
/// # Panics
/// If the crate was built with `panic = "abort"`, where a crash cannot be caught.
///
/// # Examples
/// ```
/// use tidaldb::testing::{CrashInjector, CrashPoint, check_crash_point, run_with_crash};
///
/// let mut log = Vec::new();
/// let injector = CrashInjector::new(CrashPoint::WalPreAggregate, 1);
/// let outcome = run_with_crash(&injector, || {
///     for event in 0..10 {
///         log.push(event);
///         check_crash_point(CrashPoint::WalPreAggregate);
///     }
/// });
/// assert_eq!(outcome, Err(CrashPoint::WalPreAggregate));
/// assert_eq!(log, [0, 1]);
/// ```
pub fn run_with_crash<T, F: FnOnce() -> T>(injector: &Arc<CrashInjector>, f: F) -> Result<T, CrashPoint> {
    require_unwinding(cfg!(panic = "abort"));
    let run = slot::enter_run(injector);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    drop(run);
    outcome.or_else(|payload| match crash_of(&*payload) {
        Some(crash) if crash.is_from(injector) => Err(crash.point()),
        _ => resume_unwind(payload),
    })
}

fn require_unwinding(panic_aborts: bool) {
    assert!(
        !panic_aborts,
        "run_with_crash needs panic = \"unwind\": this build has panic = \"abort\", where a simulated crash cannot \
         be caught; change the profile, or crash a child process with CrashAction::Abort"
    );
}

/// Wraps the body of a thread so that the thread has the slot the calling thread has now: its injector, its
/// recorder, and the runs it is inside of.
///
/// A crash on it then unwinds with the typed payload and prints nothing, and the thread's `join` returns the
/// payload, which [`crash_of`] recognises. The slot is the thread's for as long as `body` runs. It goes on
/// watching after the spawner's run has ended.
///
/// # Examples
/// ```
/// use std::thread;
/// use tidaldb::testing::{CrashInjector, CrashPoint, check_crash_point, inherit, scoped_injector};
///
/// let injector = CrashInjector::new(CrashPoint::WalPreAggregate, 9);
/// let _installed = scoped_injector(&injector);
/// thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(inherit(|| check_crash_point(CrashPoint::WalPreAggregate)));
///     }
/// });
/// assert_eq!(injector.crossing_count(), 4);
/// ```
pub fn inherit<T, F: FnOnce() -> T>(body: F) -> impl FnOnce() -> T {
    let inherited = slot::copy();
    move || {
        let _restored = slot::enter(inherited);
        body()
    }
}
