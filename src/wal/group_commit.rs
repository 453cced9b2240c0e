//! Group commit: threads that wait for a sync at the same time share one sync.
//!
//! One thread is the leader. It waits a short time, so that other threads append their frames, and then it syncs for
//! all of them. A thread that arrives after the sync began waits for the next sync: the running sync may have begun
//! before its frame was written. So at most two groups of threads wait, and each group has a condition variable. After
//! a sync the leader wakes the whole group of that sync, and one thread of the other group, which leads the next sync.
//! It wakes no other thread, because a useless wake-up costs as much as a useful one.
//!
//! Invariant: while a thread waits, a leader exists or a thread was woken to become the leader.
//!
//! In memory only: a crash leaves nothing of it.

use crate::Error;
use crate::sync::{Condvar, Mutex, MutexGuard, lock, wait};

/// The group commit of a log. All threads of the log share it.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    state: Mutex<GroupCommitState>,
    /// The first wakes the threads that wait for a sync with an even number, the second those of an odd number.
    groups: [Condvar; 2],
}

#[derive(Debug, Default)]
pub(super) struct GroupCommitState {
    /// True while a thread is the leader.
    has_leader: bool,
    /// The number of syncs that have begun: also the number of the last one.
    pub(super) begun: u64,
    /// The number of frames that the last sync made durable.
    last_synced_len: u64,
}

/// The result of a wait.
enum WaitResult {
    /// Another thread's sync made the frames durable.
    Durable,
    /// The thread is the leader now. `last_synced_len` is the number of frames that the last sync made durable.
    Leader { last_synced_len: u64 },
}

impl GroupCommit {
    /// Returns once `is_durable` returns true. If no other thread's sync makes it true, this thread becomes the leader:
    /// it calls `gather`, which may give other threads time to append, and then `sync`. `gather` gets the number of
    /// frames that the last sync made durable; `sync` returns that number for its own sync.
    ///
    /// # Errors
    /// The error of `may_sync`, which is called before each sync, or that of `sync`. After a failed sync `may_sync`
    /// must fail, so that the other waiting threads return its error.
    pub(super) fn commit(
        &self,
        is_durable: impl Fn() -> bool,
        may_sync: impl Fn() -> Result<(), Error>,
        gather: impl FnOnce(u64),
        sync: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<(), Error> {
        if is_durable() {
            return Ok(());
        }
        match self.wait(is_durable, may_sync)? {
            WaitResult::Durable => Ok(()),
            WaitResult::Leader { last_synced_len } => self.lead(last_synced_len, gather, sync),
        }
    }

    /// Waits while another thread leads and `is_durable` returns false. If it is still false then, this thread becomes
    /// the leader.
    fn wait(
        &self,
        is_durable: impl Fn() -> bool,
        may_sync: impl Fn() -> Result<(), Error>,
    ) -> Result<WaitResult, Error> {
        let mut state = self.lock();
        // The last sync may have begun before the frame was written. Each later sync covers the frame.
        let first_covering_sync = state.begun + 1;
        while state.has_leader && !is_durable() {
            let awaited_sync = first_covering_sync.max(state.begun);
            state = wait(self.group(awaited_sync), state);
        }
        let result = if is_durable() {
            Ok(WaitResult::Durable)
        } else {
            may_sync().map(|()| WaitResult::Leader {
                last_synced_len: state.last_synced_len,
            })
        };
        if let Ok(WaitResult::Leader { .. }) = result {
            state.has_leader = true;
        } else if !state.has_leader {
            // This thread may have been woken to lead, and it does not lead. Another thread must.
            self.group(state.begun + 1).notify_one();
        }
        result
    }

    /// Gathers and syncs as the leader. On return, also after a panic, this thread is not the leader any more.
    fn lead(
        &self,
        last_synced_len: u64,
        gather: impl FnOnce(u64),
        sync: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<(), Error> {
        let _guard = LeaderGuard(self);
        gather(last_synced_len);
        // Each thread that waits for this sync has written its frames before this line, so the sync covers them.
        self.lock().begun += 1;
        let synced_len = sync()?;
        self.lock().last_synced_len = synced_len;
        Ok(())
    }

    /// The condition variable of the threads that wait for the sync with this number.
    fn group(&self, sync: u64) -> &Condvar {
        &self.groups[(sync % 2) as usize]
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, GroupCommitState> {
        lock(&self.state)
    }
}

/// The leader holds it. Its drop, also during a panic, ends the leadership: it wakes the group of the last sync, and
/// one thread that leads the next sync.
struct LeaderGuard<'a>(&'a GroupCommit);

impl Drop for LeaderGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let last_sync = state.begun;
        state.has_leader = false;
        drop(state);
        self.0.group(last_sync).notify_all();
        self.0.group(last_sync + 1).notify_one();
    }
}
