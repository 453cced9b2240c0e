//! The one place that spawns threads.
//!
//! In test builds the new thread inherits the crash injector of the thread that spawns it, so that a crash point
//! crossed on an engine thread is counted and fires like one crossed by the caller.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Spawns a named thread that runs `body`.
///
/// # Errors
/// The operating system's error if it refuses another thread.
pub(crate) fn spawn<F>(name: &str, body: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    #[cfg(any(test, feature = "test-utils"))]
    let body = crate::testing::crash_injector::inherit(body);
    Builder::new().name(name.to_owned()).spawn(body)
}
