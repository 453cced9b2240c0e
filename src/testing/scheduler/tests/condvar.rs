//! Condition variables, time limits and simulated time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::primitives::{AtomicU64, Condvar, Mutex, sleep, yield_now};
use super::super::{DecisionKind, ScheduledThread};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Duration {
    ScheduledThread::current().expect("the thread is scheduled").now()
}

/// A number under a lock, and its condition variable.
#[derive(Debug, Default)]
struct Gate {
    value: Mutex<u64>,
    changed: Condvar,
    woken: AtomicU64,
}

impl Gate {
    /// Spawns threads that wait once, and waits until they do. A woken thread sets its bit.
    fn spawn_waiting(self: &Arc<Self>, len: usize) -> Vec<JoinHandle<()>> {
        let spawn_one = |index: usize| {
            let gate = Arc::clone(self);
            spawn("waits", move || {
                let mut value = gate.value.lock().expect("no thread panics");
                *value += 1;
                drop(gate.changed.wait(value));
                gate.woken.fetch_add(1 << index, Ordering::SeqCst);
            })
        };
        let threads = (0..len).map(spawn_one).collect();
        while *self.value.lock().expect("no thread panics") < len as u64 {
            yield_now();
        }
        threads
    }
}

#[test]
fn notify_one_wakes_one_thread_and_a_schedule_can_choose_each() {
    let body = || {
        let gate = Arc::new(Gate::default());
        let threads = gate.spawn_waiting(3);
        gate.changed.notify_one();
        while gate.woken.load(Ordering::SeqCst) == 0 {
            yield_now();
        }
        sleep(HOUR);
        let woken = gate.woken.load(Ordering::SeqCst);
        gate.changed.notify_one();
        gate.changed.notify_one();
        threads.into_iter().for_each(join);
        woken
    };
    let mut woken = Vec::new();
    explore_until(0, body, |ran| {
        let choices = ran.record.decisions.iter();
        let choices = choices.filter(|decision| matches!(decision.kind, DecisionKind::Wake));
        let candidates: Vec<_> = choices.map(|decision| decision.candidates.count_ones()).collect();
        assert_eq!(candidates, [3, 2]);
        woken.push(ran.value());
        woken.len() == 400
    });
    woken.sort_unstable();
    woken.dedup();
    assert_eq!(woken, [1, 2, 4]);
}

#[test]
fn notify_all_wakes_all_threads() {
    let woken = run_planned("default", || {
        let gate = Arc::new(Gate::default());
        let threads = gate.spawn_waiting(3);
        gate.changed.notify_all();
        threads.into_iter().for_each(join);
        gate.woken.load(Ordering::SeqCst)
    });
    assert_eq!(woken.value(), 7);
}

#[test]
fn a_notification_without_a_waiting_thread_has_no_effect() {
    let stuck = run_planned("default", || {
        let gate = Gate::default();
        gate.changed.notify_all();
        drop(gate.changed.wait(gate.value.lock().expect("no thread panics")));
    });
    assert_eq!(stuck.stuck().kind, StuckKind::LostWakeUp);
}

#[test]
fn a_waiting_thread_releases_the_mutex_and_holds_it_again_afterwards() {
    let values = explore(2, || {
        let gate = Arc::new(Gate::default());
        let other = {
            let gate = Arc::clone(&gate);
            spawn("other", move || {
                let mut value = gate.value.lock().expect("no thread panics");
                *value += 1;
                gate.changed.notify_one();
                yield_now();
                *value += 1;
            })
        };
        let mut value = gate.value.lock().expect("no thread panics");
        let waits = *value == 0;
        while *value == 0 {
            value = gate.changed.wait(value).expect("no thread panics");
        }
        let result = (waits, *value);
        drop(value);
        join(other);
        result
    });
    assert!(
        values.contains(&(true, 2)) && values.contains(&(false, 2)),
        "{values:?}"
    );
    assert!(values.iter().all(|&(_, value)| value == 2), "{values:?}");
}

#[test]
fn a_time_limit_passes_in_simulated_time_when_only_it_can() {
    let waited = run_planned("default", || {
        let gate = Gate::default();
        let guard = gate.value.lock().expect("no thread panics");
        let waited = gate.changed.wait_timeout_while(guard, HOUR, |value| *value == 0);
        (waited.expect("no thread panics").1, now())
    });
    assert_eq!(waited.value(), (true, HOUR));
}

#[test]
fn a_wait_whose_condition_is_false_does_not_wait() {
    let waited = run_planned("default", || {
        let gate = Gate::default();
        let guard = gate.value.lock().expect("no thread panics");
        let waited = gate.changed.wait_timeout_while(guard, HOUR, |_| false);
        (waited.expect("no thread panics").1, now())
    });
    assert_eq!(waited.value(), (false, Duration::ZERO));
}

#[test]
fn a_time_limit_passes_before_the_notification_if_the_schedule_requires_it() {
    let waited = explore(1, || {
        let gate = Arc::new(Gate::default());
        let other = {
            let gate = Arc::clone(&gate);
            spawn("other", move || {
                *gate.value.lock().expect("no thread panics") = 1;
                gate.changed.notify_one();
            })
        };
        let guard = gate.value.lock().expect("no thread panics");
        let waited = gate.changed.wait_timeout_while(guard, HOUR, |value| *value == 0);
        let (value, timed_out) = waited.expect("no thread panics");
        let result = (*value, timed_out);
        drop(value);
        join(other);
        result
    });
    let waited: BTreeSet<_> = waited.into_iter().collect();
    assert_eq!(waited, BTreeSet::from([(1, false), (0, true)]));
}

#[test]
fn sleeping_threads_wake_in_the_order_of_their_times() {
    let woken = run_planned("default", || {
        let order = Arc::new(Mutex::new(Vec::new()));
        let threads = [3, 1, 2].map(|hours| {
            let order = Arc::clone(&order);
            spawn("sleeps", move || {
                sleep(hours * HOUR);
                order.lock().expect("no thread panics").push((hours, now()));
            })
        });
        threads.into_iter().for_each(join);
        let order = order.lock().expect("no thread panics").clone();
        (order, now())
    });
    let expected = vec![(1, HOUR), (2, 2 * HOUR), (3, 3 * HOUR)];
    assert_eq!(woken.value(), (expected, 3 * HOUR));
}
