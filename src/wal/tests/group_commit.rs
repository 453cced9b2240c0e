use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::Error;
use crate::wal::group_commit::GroupCommit;

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
        let sync = || {
            assert!(!leading.swap(true, Ordering::SeqCst), "two threads sync");
            let now = written.load(Ordering::SeqCst);
            thread::yield_now();
            let before = synced.swap(now, Ordering::SeqCst);
            syncs.fetch_add(1, Ordering::SeqCst);
            assert!(leading.swap(false, Ordering::SeqCst));
            Ok(now - before)
        };
        let committed = commits.commit(is_done, || Ok(()), |_| thread::yield_now(), sync);
        committed.expect("no sync fails");
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
fn a_thread_that_comes_while_a_sync_gathers_is_served_by_it() {
    // They waited for the sync after it, though their frames were written before this one began.
    let commits = GroupCommit::default();
    let (written, synced, syncs) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
    let (gathering, looks) = (Barrier::new(2), AtomicU64::new(0));
    let sync = || {
        assert_eq!(commits.lock().begun, 1);
        syncs.fetch_add(1, Ordering::SeqCst);
        synced.store(written.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(1)
    };
    let is_done = |sequence| synced.load(Ordering::SeqCst) >= sequence;
    thread::scope(|scope| {
        scope.spawn(|| {
            let gather = |_| {
                gathering.wait();
                // The second look is the last thing before the other thread waits, and it holds the lock then.
                while looks.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
                // So the other thread waits for this very sync.
                assert_eq!(commits.lock().begun, 0);
            };
            let led = commits.commit(|| is_done(1), || Ok(()), gather, sync);
            led.expect("no sync fails");
        });
        gathering.wait();
        written.store(2, Ordering::SeqCst);
        let look = || {
            looks.fetch_add(1, Ordering::SeqCst);
            is_done(2)
        };
        let late = commits.commit(look, || Ok(()), |_| {}, sync);
        late.expect("no sync fails");
    });
    assert_eq!(syncs.into_inner(), 1);
}

#[test]
fn a_sync_that_fails_or_panics_wakes_every_waiting_thread_and_no_other_is_made() {
    for panics in [false, true] {
        let commits = GroupCommit::default();
        let (failed, begun) = (AtomicBool::new(false), AtomicU64::new(0));
        let all_there = Barrier::new(THREADS as usize);
        let call = || {
            all_there.wait();
            let refuse = |refused: bool| if refused { Err(Error::Closed) } else { Ok(()) };
            let may_sync = || refuse(failed.load(Ordering::SeqCst));
            let sync = || {
                begun.fetch_add(1, Ordering::SeqCst);
                // Give the others time to queue up behind.
                (0..100).for_each(|_| thread::yield_now());
                failed.store(true, Ordering::SeqCst);
                if panics {
                    std::panic::resume_unwind(Box::new("planned"));
                }
                Err(Error::Closed)
            };
            commits.commit(|| false, may_sync, |_| {}, sync)
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
