//! The threads of a database: one makes checkpoints on request, one syncs at the interval of the policy, if it has one.
//!
//! A thread ends at a stop request, or when its work fails. Then the failure is already in the poison of the handle. A
//! crash of the process ends the threads; they own no state on disk.

use std::sync::Arc;
use std::time::Duration;

use crate::sync::{Condvar, JoinHandle, Mutex, MutexGuard, lock, spawn, wait, wait_timeout_while};

/// The requests to the background threads.
#[derive(Debug, Default)]
struct WakeRequests {
    stop: bool,
    checkpoint: bool,
}

/// The requests of the handle, and the wake-up of the threads that wait for them.
#[derive(Debug, Default)]
pub(super) struct WakeSignal {
    requests: Mutex<WakeRequests>,
    changed: Condvar,
}

impl WakeSignal {
    pub(super) fn request_checkpoint(&self) {
        let mut requests = self.lock();
        if !requests.checkpoint {
            requests.checkpoint = true;
            self.changed.notify_all();
        }
    }

    fn request_stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    /// Waits for a request. Returns true for a checkpoint, false for a stop.
    fn wait_for_checkpoint(&self) -> bool {
        let mut requests = self.lock();
        while !requests.stop && !requests.checkpoint {
            requests = wait(&self.changed, requests);
        }
        requests.checkpoint = false;
        !requests.stop
    }

    /// Waits for one interval. Returns false if a stop was requested.
    fn wait_for_interval(&self, interval: Duration) -> bool {
        let requests = self.lock();
        let requests = wait_timeout_while(&self.changed, requests, interval, |requests| !requests.stop);
        !requests.stop
    }

    fn lock(&self) -> MutexGuard<'_, WakeRequests> {
        lock(&self.requests)
    }
}

/// The threads of a handle.
#[derive(Debug, Default)]
pub(super) struct Workers {
    wake_signal: Arc<WakeSignal>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn wake_signal(&self) -> Arc<WakeSignal> {
        Arc::clone(&self.wake_signal)
    }

    /// Starts the thread that runs `checkpoint` on each request, until it returns false.
    ///
    /// # Errors
    /// The operating system's error if it refuses another thread.
    pub(super) fn start_checkpoints(
        &mut self,
        checkpoint: impl Fn() -> bool + Send + 'static,
    ) -> std::io::Result<()> {
        let wake_signal = self.wake_signal();
        self.threads.push(spawn("tidaldb-checkpoint", move || {
            while wake_signal.wait_for_checkpoint() && checkpoint() {}
        })?);
        Ok(())
    }

    /// Starts the thread that runs `sync` after every interval, until it returns false.
    ///
    /// # Errors
    /// The operating system's error if it refuses another thread.
    pub(super) fn start_syncs(
        &mut self,
        interval_ms: u64,
        sync: impl Fn() -> bool + Send + 'static,
    ) -> std::io::Result<()> {
        let wake_signal = self.wake_signal();
        let interval = Duration::from_millis(interval_ms);
        self.threads.push(spawn("tidaldb-sync", move || {
            while wake_signal.wait_for_interval(interval) && sync() {}
        })?);
        Ok(())
    }
}

impl Drop for Workers {
    /// Stops the threads and waits until they have ended.
    fn drop(&mut self) {
        self.wake_signal.request_stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has poisoned the handle before it ended.
            drop(thread.join());
        }
    }
}
