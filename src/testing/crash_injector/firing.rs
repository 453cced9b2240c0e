//! A crossing on its way from the hook through the thread's slot to the crash, and the payload of the crash.
//!
//! Invariant: the slot is free while an action, a panic hook or a recorder's closure runs.

use std::any::Any;
use std::backtrace::Backtrace;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::process;
use std::thread;

use super::injector::{CrashAction, CrashInjector};
use super::point::CrashPoint;
use super::slot;

/// The hook's second half, for a point that the slot is interested in.
#[inline(never)]
pub(super) fn crossed(point: CrashPoint) {
    if thread::panicking() || !slot::counts_early_crossing() {
        crossed_beyond_counting(point);
    }
}

#[cold]
fn crossed_beyond_counting(point: CrashPoint) {
    // Copies, so that the slot is free during the crash.
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
    /// Crosses `point`: returns if it is another point, disarmed, or has fired; else counts the crossing, and
    /// fires if the count before it was at least `fire_after_n`.
    ///
    /// # Panics
    /// That is the default action. On a thread inside [`run_with_crash`](super::run_with_crash) of this
    /// injector, or one that inherited it, with a [`CrashPayload`] and in silence. Elsewhere with the message
    /// `CrashInjector: simulated crash at {point:?} after {n} crossings`.
    pub fn maybe_crash(&self, point: CrashPoint) {
        if point != self.target() {
            return;
        }
        if thread::panicking() {
            self.withhold();
        } else if !self.counts_early_crossing() {
            self.fire();
        }
    }

    /// Fires if it is due. If not, it was disarmed or had fired when
    /// [`counts_early_crossing`](Self::counts_early_crossing) looked, and the crossing passes uncounted, even
    /// if the injector was armed again since.
    #[cold]
    pub(super) fn fire(&self) {
        if !self.is_due() {
            return;
        }
        let caught = slot::is_inside_run_of(self.id());
        if matches!(self.action, CrashAction::Unwind) && !caught && in_thread_local_destructor() {
            self.withhold();
            return;
        }
        let Some(crossings) = self.claim() else { return };
        let point = self.target();
        let message = format!("CrashInjector: simulated crash at {point:?} after {crossings} crossings");
        match &self.action {
            CrashAction::Unwind if caught => resume_unwind(Box::new(CrashPayload {
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

#[expect(
    clippy::disallowed_methods,
    reason = "ending the process is this action's purpose"
)]
fn abort(message: &str) -> ! {
    // Straight to the descriptor: a test harness captures the output of `eprintln!`, which would end with the
    // process. A message that cannot be written has no other place.
    writeln!(io::stderr(), "{message}").ok();
    process::abort()
}

/// Returns true inside the destructor of a thread-local, where a panic aborts the process.
///
/// The standard library has no such question, and no thread-local of ours could answer it: destructors run in
/// the reverse order of first use, so one that was first used after ours runs before it. So this looks for the
/// standard library's frame on the stack. That takes milliseconds, and is asked only before a panic that no
/// run is known to catch. In a program stripped of its symbols the answer is always no.
fn in_thread_local_destructor() -> bool {
    let stack = Backtrace::force_capture().to_string();
    let mut frames = stack.lines();
    frames.any(|line| line.contains("std::sys::thread_local::") && line.contains("::destroy"))
}

/// The payload of an injected crash on a thread inside [`run_with_crash`](super::run_with_crash) of its
/// injector, or one that inherited it.
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

    /// The crossings of the point that the injector had counted, the one that fired included.
    pub fn crossings(&self) -> u64 {
        self.crossings
    }

    /// Returns true if this injector fired.
    pub fn is_from(&self, injector: &CrashInjector) -> bool {
        self.injector == injector.id()
    }
}

/// The injected crash in the payload of `catch_unwind` or of a thread's `join`, `None` for any other panic.
///
/// Takes the payload itself and, because the two are easily mistaken for one another, a reference to its box
/// too.
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
/// let payload = joined.expect("the crash was on another thread").expect_err("and ended it");
/// assert_eq!(crash_of(&*payload).map(|crash| crash.point()), Some(CrashPoint::WalPreAggregate));
/// ```
pub fn crash_of<'a>(payload: &'a (dyn Any + Send + 'static)) -> Option<&'a CrashPayload> {
    match payload.downcast_ref::<Box<dyn Any + Send>>() {
        Some(boxed) => crash_of(boxed.as_ref()),
        None => payload.downcast_ref(),
    }
}
