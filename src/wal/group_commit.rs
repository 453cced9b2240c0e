//! Group commit: threads that wait for a sync at the same time share one.
//!
//! One thread leads at a time: it lets others gather for a moment, then syncs on behalf of all. Threads that come after the
//! sync has begun wait for the next one, since their frames may have been written too late for this one. So at most two
//! groups wait, each on its own condition. The end of a sync wakes the group that it served, and one thread of the other group
//! to lead the next sync. A useless wake-up costs as much as a useful one, so there are no others.
//!
//! Invariant: while a thread waits there is a leader, or a thread was woken to become one.
//!
//! In memory only: a crash leaves nothing of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::lock::lock;

/// Shared by all threads of a log.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    syncs: Mutex<Syncs>,
    /// Threads waiting for an even-numbered sync, and threads waiting for an odd-numbered one.
    turns: [Condvar; 2],
}

#[derive(Debug, Default)]
pub(super) struct Syncs {
    /// Whether a thread leads.
    led: bool,
    /// How many syncs have begun.
    pub(super) begun: u64,
    /// How many frames the last sync made durable.
    served: u64,
}

impl GroupCommit {
    /// Returns once `is_done`, if need be after a call of `sync`, which returns how many frames it made durable. Before it
    /// `gather` may give other threads time to come; its argument is the number of the sync before.
    ///
    /// # Errors
    /// That of `may_sync`, which is asked before, or that of `sync`, whose other waiters find `may_sync` failing.
    pub(super) fn commit(
        &self,
        is_done: impl Fn() -> bool,
        may_sync: impl Fn() -> Result<(), Error>,
        gather: impl FnOnce(u64),
        sync: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<(), Error> {
        if is_done() {
            return Ok(());
        }
        let mut syncs = self.lock();
        // The running sync may have begun before the frame was written; a later one has not.
        let first = syncs.begun + 1;
        while syncs.led && !is_done() {
            syncs = self.turns[turn(first.max(syncs.begun))]
                .wait(syncs)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let done = is_done();
        let ready = if done { Ok(()) } else { may_sync() };
        if done || ready.is_err() {
            if !syncs.led {
                // This thread was woken to lead and has no need to, so it wakes another one.
                self.turns[turn(syncs.begun + 1)].notify_one();
            }
            return ready;
        }
        syncs.led = true;
        let served = syncs.served;
        drop(syncs);
        let _lead = LeaderGuard(self);
        gather(served);
        // A thread that came before this line has written its frames, so this sync serves it.
        self.lock().begun += 1;
        let served = sync()?;
        self.lock().served = served;
        Ok(())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Syncs> {
        lock(&self.syncs)
    }
}

fn turn(number: u64) -> usize {
    (number % 2) as usize
}

/// Held by the thread that leads. Dropping it, also while unwinding, wakes the group that the sync served and lets another
/// thread lead.
struct LeaderGuard<'a>(&'a GroupCommit);

impl Drop for LeaderGuard<'_> {
    fn drop(&mut self) {
        let mut syncs = self.0.lock();
        let (this, next) = (turn(syncs.begun), turn(syncs.begun + 1));
        syncs.led = false;
        drop(syncs);
        self.0.turns[this].notify_all();
        self.0.turns[next].notify_one();
    }
}
