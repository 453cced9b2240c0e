//! The only module that spawns threads. It holds no state, so a crash leaves nothing of it.
//!
//! In test builds the new thread inherits the crash injector of the thread that spawns it. So a crossing of a crash
//! point on an engine thread counts and fires like a crossing on the caller's thread.

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
