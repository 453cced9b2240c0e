//! Threads, sleeping and yielding. A thread that a scheduled thread spawns is scheduled too.

use std::io;
use std::panic::Location;
use std::time::Duration;

use crate::testing::crash_injector::inherit;
use crate::testing::scheduler::scheduled_thread::{ScheduledThread, SpawnedThread};
use crate::testing::scheduler::step::StepAction;

/// [`std::thread::JoinHandle`] with a step in [`join`](Self::join).
#[derive(Debug)]
pub struct JoinHandle<T> {
    handle: std::thread::JoinHandle<T>,
    /// The index of the thread in its scheduler, if it is scheduled.
    index: Option<usize>,
}

impl<T> JoinHandle<T> {
    /// Waits for the end of the thread, and returns its result.
    ///
    /// # Errors
    /// The payload of the panic, if the thread panicked.
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        if let (Some(thread), Some(index)) = (ScheduledThread::current(), self.index) {
            thread.step(StepAction::Join(index), None, Location::caller());
        }
        self.handle.join()
    }
}

/// [`std::thread::Builder`]: the new thread inherits the crash injector and the scheduler of the thread that spawns it.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
}

impl Builder {
    /// A builder of a thread without a name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name of the thread.
    #[must_use]
    pub fn name(self, name: String) -> Self {
        Self { name: Some(name) }
    }

    /// Spawns the thread.
    ///
    /// # Errors
    /// The operating system's error if it refuses another thread.
    #[track_caller]
    pub fn spawn<T, F>(self, body: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let current = ScheduledThread::current();
        let name = self.name.as_deref().unwrap_or("unnamed");
        let spawned = current.map(|thread| thread.register_spawned(name, Location::caller()));
        let index = spawned.as_ref().map(SpawnedThread::index);
        let body = inherit(body);
        let mut builder = std::thread::Builder::new();
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        let handle = builder.spawn(move || match spawned {
            Some(spawned) => spawned.run(body),
            None => body(),
        })?;
        Ok(JoinHandle { handle, index })
    }
}

/// Sleeps for `time`: simulated time on a scheduled thread.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "the call of the standard library that the engine replaces"
)]
pub fn sleep(time: Duration) {
    match ScheduledThread::current() {
        Some(thread) => thread.sleep(time, Location::caller()),
        None => std::thread::sleep(time),
    }
}

/// Lets other threads run.
#[track_caller]
pub fn yield_now() {
    match ScheduledThread::current() {
        Some(thread) => thread.step(StepAction::Yield, None, Location::caller()),
        None => std::thread::yield_now(),
    }
}

/// Like [`yield_now`] on a scheduled thread. On other threads the processor waits for some cycles.
#[track_caller]
pub fn spin_loop() {
    match ScheduledThread::current() {
        Some(thread) => thread.step(StepAction::Yield, None, Location::caller()),
        None => std::hint::spin_loop(),
    }
}
