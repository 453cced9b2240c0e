//! Crash points, and the one-shot injector that crashes at them.
//!
//! A hook is one statement in a write path, [`check_crash_point`], which exists in test builds only. Each call of a
//! hook is a crossing of its point. The hook looks into the slot of the calling thread. If the slot has an injector for
//! the point, the injector counts the crossing, and fires at one of the crossings. A slot belongs to one thread, so
//! parallel tests never crash one another. [`inherit`] copies the slot to a new thread; every thread of the engine uses
//! it.
//!
//! | task | item |
//! |---|---|
//! | crash a closure and catch the crash | [`run_with_crash`], or [`run_to_crash`], which fails without a crash |
//! | watch a block of code | [`scoped_injector`], or [`install_injector`] and [`clear_injector`] |
//! | watch a thread that the test spawns | [`inherit`] |
//! | distinguish an injected crash from another panic | [`crash_of`] |
//! | list the crossings of a run without a crash | [`CrossingRecorder`] with [`scoped_recorder`] |
//! | list crossings on unwatched threads | [`UnwatchedListener`] |
//!
//! Invariants: an injector fires at most once, also if many threads cross its point at the same time. A hook aborts the
//! process only if the action of the injector is to abort. Three rules prevent an accidental abort. A crossing on a
//! panicking thread does not crash: the injector lists it as withheld. A crossing in the destructor of a thread-local
//! never panics. The slot is never borrowed while foreign code runs.

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
pub use outcome::{Crashed, CrossingCounts, NotCrashed, NotCrashedReason, run_to_crash};
pub use point::{CrashPoint, ParseCrashPointError};
pub use recorder::{Crossing, CrossingRecorder};
pub use slot::{SlotGuard, scoped_injector, scoped_recorder};
pub use unwatched::UnwatchedListener;

/// The hook: crosses `point` on the calling thread.
///
/// Calls [`CrashInjector::maybe_crash`] of the injector in the thread's slot. Does nothing if the slot is empty.
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
/// // No injector is installed: the hook does nothing.
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
    if slot::is_point_watched(point) {
        firing::cross(point);
    } else if unwatched::LISTENING.load(Ordering::Relaxed) {
        unwatched::record_crossing(point);
    }
}

/// Puts `injector` into the calling thread's slot. It stays there until it is cleared or replaced.
///
/// Use [`scoped_injector`] to remove the injector at the end of a block.
pub fn install_injector(injector: Arc<CrashInjector>) {
    slot::set_injector(Some(injector));
}

/// Removes the injector from the calling thread's slot. A recorder stays in the slot.
pub fn clear_injector() {
    slot::set_injector(None);
}

/// Runs `f` with `injector` installed on the calling thread, and catches only the crash of this injector.
///
/// Afterwards the slot has its previous content, also if `f` panicked. `Ok` is the return value of `f`. `f` can return
/// although the injector fired: if code in `f` caught the crash, or if the crash ended another thread. Call
/// [`CrashInjector::has_fired`] to check this. A panic that is not the crash of this injector continues to unwind, also
/// after the injector fired. So runs nest: the inner run does not catch the crash of the outer injector.
///
/// After a crash, values that `f` changed by reference keep these changes. Tests need this to check the state at the
/// crash, so `f` has no `UnwindSafe` bound.
///
/// # Errors
/// The injector's target, if the crash ended `f`. A caught crash prints nothing.
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

/// Wraps the body of a thread. The thread gets a copy of the slot that the calling thread has now: the injector, the
/// recorder, and the list of enclosing runs.
///
/// A crash on the thread unwinds with the typed payload and prints nothing. The thread's `join` returns the payload,
/// and [`crash_of`] recognises it. The thread has the slot until `body` ends, also after the run of the spawning
/// thread.
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
