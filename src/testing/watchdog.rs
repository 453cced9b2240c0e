//! The watchdog of the kit: runs a body on a separate thread, so that a body that hangs becomes an error.
//!
//! A sweep uses heartbeats of its workers instead: a thread for each case would cost more than the case.
//!
//! Invariant: if the body returns or panics, its thread has ended when the call returns. After a [`Hang`] the thread
//! continues until the process ends, and keeps everything that the body owns.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::testing::threads;

/// The error of a body that did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hang {
    /// The time limit.
    pub time_max: Duration,
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hangs: no end after {:?}; its thread still runs",
            self.time_max
        )
    }
}

impl std::error::Error for Hang {}

/// Runs `body` on a thread named `name`, which inherits the crash injector of the calling thread. A panic of the body
/// continues on the calling thread with the same payload.
///
/// # Errors
/// [`Hang`] if the body does not end within `time_max`.
///
/// # Panics
/// If the body panics, or if the operating system cannot start a thread.
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
        // After a hang no receiver exists.
        sender.send(body()).ok();
    })
    .unwrap_or_else(|error| panic!("cannot start the thread {name}: {error}"));
    let result = receiver.recv_timeout(time_max);
    if matches!(result, Err(RecvTimeoutError::Timeout)) {
        return Err(Hang { time_max });
    }
    // The thread has sent its result or has panicked.
    if let Err(payload) = thread.join() {
        resume_unwind(payload);
    }
    result.map_err(|_| unreachable!("a body that returns sends its result"))
}
