//! The threads of the kit: those of the standard library. A new thread inherits the crash injector of the thread that
//! spawns it.

use std::io;
use std::thread::{Builder, JoinHandle};

use super::crash_injector::inherit;

/// Spawns a named thread that runs `body`.
///
/// # Errors
/// The operating system's error if it refuses another thread.
pub(crate) fn spawn<F>(name: &str, body: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    Builder::new().name(name.to_owned()).spawn(inherit(body))
}
