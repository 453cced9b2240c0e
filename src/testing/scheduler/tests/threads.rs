//! Threads: spawning, joining, panics and the end of a run.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::primitives::{AtomicU64, yield_now};
use super::super::{ScheduledThread, StepAction, unscheduled};
use super::*;
use crate::testing::{CrashPoint, check_crash_point};

#[test]
fn join_returns_the_result_of_the_thread_after_its_last_step() {
    let results = explore(2, || {
        let value = Arc::new(AtomicU64::new(0));
        let thread = {
            let value = Arc::clone(&value);
            spawn("", move || {
                yield_now();
                value.store(3, Ordering::SeqCst);
                "result"
            })
        };
        value.load(Ordering::SeqCst);
        (join(thread), value.load(Ordering::SeqCst))
    });
    assert!(results.len() >= 2);
    assert!(
        results.iter().all(|&result| result == ("result", 3)),
        "{results:?}"
    );
}

#[test]
fn join_returns_the_panic_of_the_thread() {
    let payload = run_planned("default", || {
        let thread = spawn("", || resume_unwind(Box::new("payload")));
        let payload: Box<dyn std::any::Any + Send> = thread.join().expect_err("the thread panicked");
        payload.downcast_ref::<&str>().copied()
    });
    assert_eq!(payload.value(), Some("payload"));
}

#[test]
fn the_panic_of_the_first_thread_is_the_result_of_the_run() {
    let (record, result) = run::<()>(Chooser::planned(Deviations::default()), || {
        resume_unwind(Box::new("payload"));
    });
    assert!(matches!(record.end, RunEnd::Completed));
    let payload = result.expect("the run ended").expect_err("it panicked");
    assert_eq!(payload.downcast_ref(), Some(&"payload"));
}

#[test]
fn a_run_ends_with_its_last_thread() {
    let value = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&value);
    let ran = run_planned("default", move || {
        drop(spawn("detached", move || {
            for _ in 0..3 {
                yield_now();
                shared.fetch_add(1, Ordering::SeqCst);
            }
        }));
    });
    assert!(matches!(ran.record.end, RunEnd::Completed));
    assert_eq!(value.load(Ordering::SeqCst), 3);
    assert_eq!(ran.record.thread_names, ["main", "detached"]);
}

#[test]
fn a_crossing_is_a_step_of_each_thread() {
    let ran = run_planned("default", || {
        join(spawn("", || check_crash_point(CrashPoint::WalPreAggregate)));
        check_crash_point(CrashPoint::WalPreAggregate);
    });
    let steps = ran.record.steps.iter();
    let crossings = steps.filter(|step| step.action == StepAction::Cross(CrashPoint::WalPreAggregate));
    let threads: Vec<_> = crossings.map(|step| step.thread).collect();
    assert_eq!(threads, [1, 0]);
}

#[test]
fn unscheduled_code_makes_no_step() {
    let body = |is_scheduled: bool| {
        move || {
            let value = AtomicU64::new(0);
            let add = || value.fetch_add(1, Ordering::SeqCst);
            if is_scheduled {
                add();
            } else {
                unscheduled(|| {
                    assert!(ScheduledThread::current().is_none());
                    add();
                });
            }
            assert!(ScheduledThread::current().is_some());
        }
    };
    let steps = |is_scheduled| run_planned("default", body(is_scheduled)).record.steps.len();
    assert_eq!(steps(true), 1 + steps(false));
}
