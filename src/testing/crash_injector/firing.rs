//! The path of a crossing from the hook through the thread's slot to the crash, and the payload of the crash.
//!
//! Invariant: the slot is not borrowed while an action, a panic hook or a recorder's closure runs.

use std::any::Any;
use std::backtrace::Backtrace;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::process;
use std::thread;

use super::injector::{CrashAction, CrashInjector};
use super::point::CrashPoint;
use super::slot;

/// The second half of the hook, for a point that the slot watches.
#[inline(never)]
pub(super) fn cross(point: CrashPoint) {
    if thread::panicking() || !slot::count_early_crossing() {
        cross_with_watchers(point);
    }
}

#[cold]
fn cross_with_watchers(point: CrashPoint) {
    // Copies of the watchers, so that the slot is not borrowed during the crash.
    let Some((recorder, injector)) = slot::watchers() else {
        return;
    };
    if let Some(recorder) = recorder {
        recorder.record(point);
    }
    if let Some(injector) = injector {
        injector.maybe_crash(point);
    }
}

impl CrashInjector {
    /// Crosses `point`. Does nothing if `point` is not the target, or if the injector is disarmed or has fired.
    /// Otherwise counts the crossing, and fires if the count before it was at least `fire_after_n`.
    ///
    /// # Panics
    /// If the injector fires with the default action. On a thread inside [`run_with_crash`](super::run_with_crash) of
    /// this injector, and on threads that inherited its slot, the panic has a [`CrashPayload`] and prints nothing. On
    /// other threads it has the message `CrashInjector: simulated crash at {point:?} after {n} crossings`.
    pub fn maybe_crash(&self, point: CrashPoint) {
        if point != self.target() {
            return;
        }
        if thread::panicking() {
            self.withhold();
        } else if !self.count_early_crossing() {
            self.fire();
        }
    }

    /// Fires if the next crossing is due to fire. Otherwise the injector was disarmed or had fired when
    /// [`count_early_crossing`](Self::count_early_crossing) checked it. Then the crossing is not counted, even if the
    /// injector was armed again in between.
    #[cold]
    pub(super) fn fire(&self) {
        if !self.is_due() {
            return;
        }
        let is_caught = slot::is_inside_run_of(self.id());
        if matches!(self.action, CrashAction::Unwind) && !is_caught && is_in_thread_local_destructor() {
            self.withhold();
            return;
        }
        let Some(crossings) = self.claim() else { return };
        let point = self.target();
        let message = format!("CrashInjector: simulated crash at {point:?} after {crossings} crossings");
        match &self.action {
            CrashAction::Unwind if is_caught => resume_unwind(Box::new(CrashPayload {
                injector: self.id(),
                point,
                crossings,
            })),
            CrashAction::Unwind => panic!("{message}"),
            CrashAction::Abort => abort(&message),
            CrashAction::Call(action) => action(point, crossings),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this action must end the process")]
fn abort(message: &str) -> ! {
    // Writes to the file descriptor: a test harness captures the output of `eprintln!` and loses it when the process
    // aborts. If the write fails, the message has no other destination.
    writeln!(io::stderr(), "{message}").ok();
    process::abort()
}

/// Returns true inside the destructor of a thread-local, where a panic aborts the process.
///
/// The standard library has no function for this. A thread-local of this module cannot detect it either: destructors
/// run in the reverse order of first use, so a thread-local that was first used later is destroyed earlier. So this
/// function searches the stack for a frame of the standard library. The search takes milliseconds. It runs only before
/// a panic that no enclosing run catches. In a program without symbols the function always returns false.
fn is_in_thread_local_destructor() -> bool {
    let stack = Backtrace::force_capture().to_string();
    let mut frames = stack.lines();
    frames.any(|line| line.contains("std::sys::thread_local::") && line.contains("::destroy"))
}

/// The payload of an injected crash. Crashes on a thread inside [`run_with_crash`](super::run_with_crash) of the
/// injector, and on threads that inherited its slot, have this payload.
#[derive(Debug)]
pub struct CrashPayload {
    injector: u64,
    point: CrashPoint,
    crossings: u64,
}

impl CrashPayload {
    /// The point that was crossed.
    pub fn point(&self) -> CrashPoint {
        self.point
    }

    /// The number of crossings that the injector had counted, including the one that fired.
    pub fn crossings(&self) -> u64 {
        self.crossings
    }

    /// Returns true if this injector fired.
    pub fn is_from(&self, injector: &CrashInjector) -> bool {
        self.injector == injector.id()
    }
}

/// Returns the injected crash in the payload of `catch_unwind` or of a thread's `join`. `None` for any other panic.
///
/// Accepts the payload (`&*payload`), and also a reference to its box (`&payload`), because these are easily confused.
///
/// # Examples
/// ```
/// use std::thread;
/// use tidaldb::testing::{CrashInjector, CrashPoint, check_crash_point, crash_of, inherit, run_with_crash};
///
/// let injector = CrashInjector::new(CrashPoint::WalPreAggregate, 0);
/// let joined = run_with_crash(&injector, || {
///     thread::spawn(inherit(|| check_crash_point(CrashPoint::WalPreAggregate))).join()
/// });
/// let payload = joined.expect("the closure returned").expect_err("the spawned thread crashed");
/// assert_eq!(crash_of(&*payload).map(|crash| crash.point()), Some(CrashPoint::WalPreAggregate));
/// ```
pub fn crash_of<'a>(payload: &'a (dyn Any + Send + 'static)) -> Option<&'a CrashPayload> {
    match payload.downcast_ref::<Box<dyn Any + Send>>() {
        Some(boxed) => crash_of(boxed.as_ref()),
        None => payload.downcast_ref(),
    }
}
