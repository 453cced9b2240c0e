//! The watchdog of the kit: runs a body on a thread of its own, so that one that hangs ends in an error.
//!
//! A sweep watches its workers by heartbeats instead: a thread for each of its cases would cost more than the case.
//! Invariant: after a result no thread is left; after a
//! [`Hang`] the body's thread is left behind, with everything that the body owns, until the process ends.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::threads;

/// A body that did not end in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hang {
    /// The time that it had.
    pub time_max: Duration,
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hangs: no end after {:?}; its thread is left behind",
            self.time_max
        )
    }
}

impl std::error::Error for Hang {}

/// Runs `body` on a thread named `name`, which inherits the crash injector of the calling thread. A panic of the body
/// unwinds the calling thread with the same payload.
///
/// # Errors
/// [`Hang`] if the body does not end within `time_max`.
///
/// # Panics
/// If the body panics, and if no thread can be started.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tidaldb::testing::lab::run_within;
///
/// assert_eq!(run_within(Duration::from_secs(60), "sum", || 1 + 1), Ok(2));
/// let hang = run_within(Duration::from_millis(10), "hanging", || {
///     loop {
///         std::thread::park();
///     }
/// });
/// # let hang: Result<(), _> = hang;
/// assert!(hang.is_err());
/// ```
pub fn run_within<T, F>(time_max: Duration, name: &str, body: F) -> Result<T, Hang>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = channel();
    let thread = threads::spawn(name, move || {
        // After a hang nothing receives it.
        sender.send(body()).ok();
    })
    .unwrap_or_else(|error| panic!("no thread for {name}: {error}"));
    let result = receiver.recv_timeout(time_max);
    if matches!(result, Err(RecvTimeoutError::Timeout)) {
        return Err(Hang { time_max });
    }
    // The thread has sent its result, or unwinds without one.
    if let Err(payload) = thread.join() {
        resume_unwind(payload);
    }
    result.map_err(|_| unreachable!("a body that returns has sent its result"))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::testing::{CrashInjector, CrashPoint, check_crash_point, run_with_crash};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_panic_of_the_body_unwinds_the_caller_with_the_same_payload() {
        let payload = catch_unwind(AssertUnwindSafe(|| {
            run_within(MINUTE, "panics", || resume_unwind(Box::new(42_u8)))
        }));
        let payload: Box<dyn std::any::Any + Send> = match payload {
            Err(payload) => payload,
            Ok(result) => {
                let result: Result<(), Hang> = result;
                panic!("no panic, but {result:?}")
            }
        };
        assert_eq!(payload.downcast_ref(), Some(&42_u8));
    }

    #[test]
    fn a_body_that_does_not_end_is_a_hang() {
        let time_max = Duration::from_millis(20);
        let hang = run_within::<(), _>(time_max, "hangs", || {
            loop {
                std::thread::park();
            }
        });
        assert_eq!(hang, Err(Hang { time_max }));
    }

    #[test]
    fn a_crash_point_in_the_body_is_crossed_on_behalf_of_the_caller() {
        let point = CrashPoint::WalPreAggregate;
        let injector = CrashInjector::new(point, 0);
        let outcome = run_with_crash(&injector, || {
            run_within(MINUTE, "crosses", move || check_crash_point(point))
        });
        assert_eq!(outcome, Err(point));
    }
}
