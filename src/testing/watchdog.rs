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
