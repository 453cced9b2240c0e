//! The database's own threads: one makes checkpoints when asked, one syncs at an interval if the policy has one.
//!
//! A thread ends when it is told to stop or when its work fails; the failure is in the handle's poison by then.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lock::lock;
use crate::threads;

/// What a background thread is told.
#[derive(Debug, Default)]
struct Signals {
    stop: bool,
    /// A checkpoint is due.
    checkpoint_due: bool,
}

/// Told by the handle, waited on by its threads.
#[derive(Debug, Default)]
pub(super) struct WakeSignal {
    signals: Mutex<Signals>,
    rung: Condvar,
}

impl WakeSignal {
    /// Asks for a checkpoint.
    pub(super) fn request_checkpoint(&self) {
        let mut signals = self.lock();
        if !signals.checkpoint_due {
            signals.checkpoint_due = true;
            self.rung.notify_all();
        }
    }

    fn stop(&self) {
        self.lock().stop = true;
        self.rung.notify_all();
    }

    /// Waits until a checkpoint is asked for; false to stop.
    fn wait_for_checkpoint(&self) -> bool {
        let mut signals = self.lock();
        while !signals.stop && !signals.checkpoint_due {
            signals = self.rung.wait(signals).unwrap_or_else(PoisonError::into_inner);
        }
        signals.checkpoint_due = false;
        !signals.stop
    }

    /// Waits for one interval; false to stop.
    fn wait_for_interval(&self, interval: Duration) -> bool {
        let signals = self.lock();
        let waited = self
            .rung
            .wait_timeout_while(signals, interval, |signals| !signals.stop);
        let (signals, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !signals.stop
    }

    fn lock(&self) -> MutexGuard<'_, Signals> {
        lock(&self.signals)
    }
}

/// The threads of a handle.
#[derive(Debug, Default)]
pub(super) struct Workers {
    bell: Arc<WakeSignal>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// What the threads wait on.
    pub(super) fn bell(&self) -> Arc<WakeSignal> {
        Arc::clone(&self.bell)
    }

    /// Starts the thread that runs `checkpoint` when one is asked for, until it says that it failed.
    ///
    /// # Errors
    /// The operating system's error if it refuses another thread.
    pub(super) fn start_checkpoints(
        &mut self,
        checkpoint: impl Fn() -> bool + Send + 'static,
    ) -> std::io::Result<()> {
        let bell = self.bell();
        self.threads.push(threads::spawn("tidaldb-checkpoint", move || {
            while bell.wait_for_checkpoint() && checkpoint() {}
        })?);
        Ok(())
    }

    /// Starts the thread that runs `sync` after every interval, until it says that it failed.
    ///
    /// # Errors
    /// The operating system's error if it refuses another thread.
    pub(super) fn start_syncs(
        &mut self,
        interval_ms: u64,
        sync: impl Fn() -> bool + Send + 'static,
    ) -> std::io::Result<()> {
        let bell = self.bell();
        let interval = Duration::from_millis(interval_ms);
        self.threads.push(threads::spawn("tidaldb-sync", move || {
            while bell.wait_for_interval(interval) && sync() {}
        })?);
        Ok(())
    }
}

impl Drop for Workers {
    /// Stops the threads and waits until they have ended.
    fn drop(&mut self) {
        self.bell.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has poisoned the handle on its way out.
            drop(thread.join());
        }
    }
}
