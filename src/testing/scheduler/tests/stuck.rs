//! Runs that cannot continue, and runs that only seem so.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::super::primitives::{AtomicBool, AtomicU64, Condvar, Mutex, sleep, yield_now};
use super::super::scheduled_thread::run_within;
use super::*;

#[test]
fn two_locks_in_opposite_order_are_a_deadlock_with_the_place_of_each_thread() {
    let body = || {
        let locks = Arc::new((Mutex::new(()), Mutex::new(())));
        let other = {
            let locks = Arc::clone(&locks);
            spawn("other", move || {
                let _second = locks.1.lock();
                let _first = locks.0.lock();
            })
        };
        {
            let _first = locks.0.lock();
            let _second = locks.1.lock();
        }
        join(other);
    };
    assert!(run_planned("default", body).value.is_some());
    let mut steps = 0;
    explore_until(1, body, |ran| {
        let is_stuck = matches!(ran.record.end, RunEnd::Stuck(_));
        if is_stuck {
            steps = ran.record.steps.len();
        }
        is_stuck
    });
    assert!(steps > 0 && steps < 20, "{steps} steps");
    let stuck = first_stuck(body);
    assert_eq!(stuck.kind, StuckKind::Deadlock);
    let names: Vec<_> = stuck.threads.iter().map(|thread| &*thread.name).collect();
    assert_eq!(names, ["main", "other"]);
    for thread in &stuck.threads {
        assert!(
            thread.text.starts_with("locks ") && thread.text.contains("scheduler/tests/stuck.rs:"),
            "{thread:?}"
        );
    }
    let text = stuck.to_string();
    assert!(text.contains("\n  other: locks "), "{text}");
}

#[test]
fn a_thread_that_locks_its_own_mutex_again_is_a_deadlock() {
    let stuck = run_planned("default", || {
        let mutex = Mutex::new(());
        let _held = mutex.lock();
        drop(mutex.lock());
    });
    assert_eq!(stuck.stuck().kind, StuckKind::Deadlock);
}

#[test]
fn a_wait_without_a_check_loses_the_wake_up_in_some_schedule() {
    let stuck = first_stuck(|| {
        let shared = Arc::new((Mutex::new(()), Condvar::new()));
        let other = {
            let shared = Arc::clone(&shared);
            spawn("other", move || shared.1.notify_one())
        };
        let guard = shared.0.lock().expect("no thread panics");
        drop(shared.1.wait(guard));
        join(other);
    });
    assert_eq!(stuck.kind, StuckKind::LostWakeUp);
    assert!(
        stuck.threads[0].text.starts_with("waits for a notification"),
        "{stuck}"
    );
}

#[test]
fn a_thread_that_spins_for_a_change_that_never_comes_is_found() {
    let stuck = run_planned("default", || {
        let flag = AtomicBool::new(false);
        while !flag.load(Ordering::SeqCst) {
            yield_now();
        }
    });
    assert_eq!(stuck.stuck().kind, StuckKind::EndlessSpin);
}

#[test]
fn a_thread_that_spins_until_another_one_stores_is_not_stuck() {
    let ended = explore(2, || {
        let flag = Arc::new(AtomicBool::new(false));
        let other = {
            let flag = Arc::clone(&flag);
            spawn("other", move || flag.store(true, Ordering::SeqCst))
        };
        while !flag.load(Ordering::SeqCst) {
            yield_now();
        }
        join(other);
    });
    assert!(ended.len() > 2);
}

#[test]
fn a_thread_that_spins_until_a_sleeping_one_stores_is_not_stuck() {
    let ended = run_planned("default", || {
        let flag = Arc::new(AtomicBool::new(false));
        let other = {
            let flag = Arc::clone(&flag);
            spawn("other", move || {
                sleep(Duration::from_secs(1));
                flag.store(true, Ordering::SeqCst);
            })
        };
        while !flag.load(Ordering::SeqCst) {
            yield_now();
        }
        join(other);
    });
    ended.value();
}

#[test]
fn a_thread_with_a_timer_does_not_hide_a_deadlock() {
    let stuck = first_stuck(|| {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let periodic = {
            let shared = Arc::clone(&shared);
            spawn("periodic", move || {
                let mut ends = shared.0.lock().expect("no thread panics");
                while !*ends {
                    let second = Duration::from_secs(1);
                    let waited = shared.1.wait_timeout_while(ends, second, |ends| !*ends);
                    ends = waited.expect("no thread panics").0;
                }
            })
        };
        let locks = Arc::new((Mutex::new(()), Mutex::new(())));
        let other = {
            let locks = Arc::clone(&locks);
            spawn("other", move || {
                let _second = locks.1.lock();
                let _first = locks.0.lock();
            })
        };
        {
            let _first = locks.0.lock();
            let _second = locks.1.lock();
        }
        join(other);
        *shared.0.lock().expect("no thread panics") = true;
        shared.1.notify_all();
        join(periodic);
    });
    assert_eq!(stuck.kind, StuckKind::Deadlock);
    assert_eq!(stuck.threads.len(), 3, "{stuck}");
}

#[test]
fn a_run_in_which_all_threads_only_sleep_has_no_end() {
    let slept = run_planned("default", || {
        loop {
            sleep(Duration::from_secs(1));
        }
    });
    assert_eq!(slept.stuck().kind, StuckKind::NoEnd);
}

#[test]
fn a_thread_that_waits_for_a_channel_of_the_standard_library_is_found() {
    let body = || {
        let (sender, receiver) = mpsc::channel::<()>();
        let other = spawn("other", move || drop(sender));
        receiver.recv().unwrap_or_default();
        join(other);
    };
    let limit = Duration::from_millis(100);
    let (record, result) = run_within(limit, Chooser::planned(Deviations::default()), body);
    assert!(result.is_none());
    let RunEnd::Stuck(stuck) = record.end else {
        panic!("the first thread waits")
    };
    assert_eq!(stuck.kind, StuckKind::NoStep);
    let text = stuck.to_string();
    assert!(text.contains("channel") && text.contains("\n  main: "), "{text}");
}

#[test]
fn a_thread_that_sleeps_many_times_is_not_stuck() {
    let slept = run_planned("default", || {
        let count = AtomicU64::new(0);
        for _ in 0..300 {
            sleep(Duration::from_secs(1));
            count.fetch_add(1, Ordering::SeqCst);
        }
        count.load(Ordering::SeqCst)
    });
    assert_eq!(slept.value(), 300);
}
