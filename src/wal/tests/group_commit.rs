//! Group commit with counters in the place of a log: the thread that syncs, and the threads that each sync covers.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::Error;
use crate::wal::group_commit::GroupCommit;

const THREADS: u64 = 6;
const CALLS: u64 = 300;

#[test]
fn a_call_returns_after_its_frame_is_synced_and_one_thread_syncs_at_a_time() {
    let commits = GroupCommit::default();
    let (written, synced, syncs) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let is_syncing = AtomicBool::new(false);
    let call = || {
        let sequence = written.fetch_add(1, Ordering::SeqCst) + 1;
        let is_durable = || synced.load(Ordering::SeqCst) >= sequence;
        let sync = || {
            assert!(!is_syncing.swap(true, Ordering::SeqCst), "two threads sync");
            let now = written.load(Ordering::SeqCst);
            thread::yield_now();
            let before = synced.swap(now, Ordering::SeqCst);
            syncs.fetch_add(1, Ordering::SeqCst);
            assert!(is_syncing.swap(false, Ordering::SeqCst));
            Ok(now - before)
        };
        let committed = commits.commit(is_durable, || Ok(()), |_| thread::yield_now(), sync);
        committed.expect("no sync fails");
        assert!(is_durable(), "returned before {sequence} was synced");
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
fn the_sync_covers_a_thread_that_arrives_while_the_leader_gathers() {
    // Such a thread waited for the sync after it, although its frame was written before this sync began.
    let commits = GroupCommit::default();
    let (written, synced, syncs) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
    let (gathering, checks) = (Barrier::new(2), AtomicU64::new(0));
    let sync = || {
        assert_eq!(commits.lock().begun, 1);
        syncs.fetch_add(1, Ordering::SeqCst);
        synced.store(written.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(1)
    };
    let is_durable = |sequence| synced.load(Ordering::SeqCst) >= sequence;
    thread::scope(|scope| {
        scope.spawn(|| {
            let gather = |_| {
                gathering.wait();
                // The late thread holds the lock during its second check, and releases it only when it waits.
                while checks.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
                // This thread got the lock, so the late thread waits. It waits for sync 1, which has not begun.
                assert_eq!(commits.lock().begun, 0);
            };
            let led = commits.commit(|| is_durable(1), || Ok(()), gather, sync);
            led.expect("no sync fails");
        });
        gathering.wait();
        written.store(2, Ordering::SeqCst);
        let check = || {
            checks.fetch_add(1, Ordering::SeqCst);
            is_durable(2)
        };
        let late = commits.commit(check, || Ok(()), |_| {}, sync);
        late.expect("no sync fails");
    });
    assert_eq!(syncs.into_inner(), 1);
}

#[test]
fn a_sync_that_fails_or_panics_wakes_every_waiting_thread_and_no_thread_syncs_again() {
    for panics in [false, true] {
        let commits = GroupCommit::default();
        let (has_failed, begun) = (AtomicBool::new(false), AtomicU64::new(0));
        let all_started = Barrier::new(THREADS as usize);
        let call = || {
            all_started.wait();
            let refuse = |is_refused: bool| if is_refused { Err(Error::Closed) } else { Ok(()) };
            let may_sync = || refuse(has_failed.load(Ordering::SeqCst));
            let sync = || {
                begun.fetch_add(1, Ordering::SeqCst);
                // Gives the other threads time to wait for the next sync.
                (0..100).for_each(|_| thread::yield_now());
                has_failed.store(true, Ordering::SeqCst);
                if panics {
                    std::panic::resume_unwind(Box::new("planned"));
                }
                Err(Error::Closed)
            };
            commits.commit(|| false, may_sync, |_| {}, sync)
        };
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(call)).collect();
            threads.into_iter().map(|thread| thread.join().ok()).collect()
        });
        assert_eq!(begun.into_inner(), 1);
        let refused = results
            .iter()
            .filter(|result| matches!(result, Some(Err(Error::Closed))));
        assert_eq!(refused.count() as u64, THREADS - u64::from(panics));
    }
}
