//! Group commit: threads that wait for a sync at the same time share one.
//!
//! One thread leads at a time: it syncs on behalf of all. Those who come while it does wait for the sync after it, since
//! their frames may have been written too late for this one. So at most two groups wait, each on a condition of its own,
//! and the end of a sync wakes those whom it served and one more, to lead the next. A thread that is woken for nothing
//! costs as much as one that is woken for good.
//!
//! Invariant: while anyone waits there is a leader, or somebody was woken to become one.
//!
//! In memory only: there is nothing for a crash to leave behind.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::Error;

/// Shared by all threads of a log.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    syncs: Mutex<Syncs>,
    /// Who waits for a sync with an even number, and who for one with an odd number.
    turns: [Condvar; 2],
}

#[derive(Debug, Default)]
struct Syncs {
    /// Whether a thread leads.
    led: bool,
    /// How many syncs have begun.
    begun: u64,
    /// How many threads wait for a sync with an even and with an odd number.
    waiting: [u64; 2],
    /// How many threads the last sync served, its leader included.
    served: u64,
}

impl GroupCommit {
    /// Returns once `is_done`, if need be by way of `sync`, which is told how many threads the sync before served.
    ///
    /// # Errors
    /// That of `may_sync`, which is asked before, or that of `sync`, whose other waiters find `may_sync` failing.
    pub(super) fn commit(
        &self,
        is_done: impl Fn() -> bool,
        may_sync: impl Fn() -> Result<(), Error>,
        sync: impl FnOnce(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if is_done() {
            return Ok(());
        }
        let mut syncs = self.lock();
        // The sync on its way may have begun before what is waited for was written; any later one has not.
        let first = syncs.begun + 1;
        while syncs.led && !is_done() {
            let turn = turn(first.max(syncs.begun));
            syncs.waiting[turn] += 1;
            syncs = self.turns[turn]
                .wait(syncs)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let done = is_done();
        let ready = if done { Ok(()) } else { may_sync() };
        if done || ready.is_err() {
            if !syncs.led {
                // Whoever was woken to lead and does not hands the lead on.
                self.turns[turn(syncs.begun + 1)].notify_one();
            }
            return ready;
        }
        syncs.led = true;
        syncs.begun += 1;
        let served = syncs.served;
        drop(syncs);
        let _lead = Lead(self);
        sync(served)
    }

    fn lock(&self) -> MutexGuard<'_, Syncs> {
        // Plain values, whole whatever happened to another holder of the lock.
        self.syncs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn turn(number: u64) -> usize {
    (number % 2) as usize
}

/// Held by the thread that leads; dropping it, also while unwinding, wakes whom the sync served and lets another one lead.
struct Lead<'a>(&'a GroupCommit);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut syncs = self.0.lock();
        let (this, next) = (turn(syncs.begun), turn(syncs.begun + 1));
        syncs.led = false;
        syncs.served = 1 + std::mem::take(&mut syncs.waiting[this]);
        drop(syncs);
        self.0.turns[this].notify_all();
        self.0.turns[next].notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    use super::GroupCommit;
    use crate::Error;

    const THREADS: u64 = 6;
    const CALLS: u64 = 300;

    #[test]
    fn a_call_returns_once_what_it_wrote_is_synced_and_one_thread_syncs_at_a_time() {
        let commits = GroupCommit::default();
        let (written, synced, syncs) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let leading = AtomicBool::new(false);
        let call = || {
            let sequence = written.fetch_add(1, Ordering::SeqCst) + 1;
            let is_done = || synced.load(Ordering::SeqCst) >= sequence;
            let sync = |_| {
                assert!(!leading.swap(true, Ordering::SeqCst), "two threads sync");
                let now = written.load(Ordering::SeqCst);
                thread::yield_now();
                synced.store(now, Ordering::SeqCst);
                syncs.fetch_add(1, Ordering::SeqCst);
                assert!(leading.swap(false, Ordering::SeqCst));
                Ok(())
            };
            commits.commit(is_done, || Ok(()), sync).expect("no sync fails");
            assert!(is_done(), "returned before {sequence} was synced");
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..CALLS).for_each(|_| call()));
            }
        });
        assert_eq!(synced.into_inner(), THREADS * CALLS);
        assert!((1..=THREADS * CALLS).contains(&syncs.into_inner()));
    }

    #[test]
    fn a_sync_that_fails_or_panics_wakes_everyone_who_waits_and_no_other_is_made() {
        for panics in [false, true] {
            let commits = GroupCommit::default();
            let (failed, begun) = (AtomicBool::new(false), AtomicU64::new(0));
            let all_there = Barrier::new(THREADS as usize);
            let call = || {
                all_there.wait();
                let refuse = |refused: bool| if refused { Err(Error::Closed) } else { Ok(()) };
                let may_sync = || refuse(failed.load(Ordering::SeqCst));
                let sync = |_| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    // Give the others time to queue up behind.
                    (0..100).for_each(|_| thread::yield_now());
                    failed.store(true, Ordering::SeqCst);
                    if panics {
                        std::panic::resume_unwind(Box::new("planned"));
                    }
                    Err(Error::Closed)
                };
                commits.commit(|| false, may_sync, sync)
            };
            let ended: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(call)).collect();
                threads.into_iter().map(|thread| thread.join().ok()).collect()
            });
            assert_eq!(begun.into_inner(), 1);
            let refused = ended.iter().filter(|end| matches!(end, Some(Err(Error::Closed))));
            assert_eq!(refused.count() as u64, THREADS - u64::from(panics));
        }
    }
}
