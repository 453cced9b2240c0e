//! The typed payload a crash unwinds with, and how to recognise it in a caught panic.

use std::any::Any;

use super::injector::{CrashInjector, InjectorId};
use super::point::CrashPoint;

/// What an injected crash unwinds with on a thread inside [`run_with_crash`](super::run_with_crash) of its
/// injector, or one that inherited it.
#[derive(Debug)]
pub struct CrashPayload {
    injector: InjectorId,
    point: CrashPoint,
    crossings: u64,
}

impl CrashPayload {
    pub(super) fn new(injector: InjectorId, point: CrashPoint, crossings: u64) -> Self {
        Self {
            injector,
            point,
            crossings,
        }
    }

    /// The point that was crossed.
    pub fn point(&self) -> CrashPoint {
        self.point
    }

    /// How many crossings of the point the injector had counted, the one that fired included.
    pub fn crossings(&self) -> u64 {
        self.crossings
    }

    /// Whether it was this injector that fired.
    pub fn is_from(&self, injector: &CrashInjector) -> bool {
        self.injector == injector.id()
    }
}

/// The injected crash in what `catch_unwind` or a thread's `join` returned, `None` for any other panic.
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
