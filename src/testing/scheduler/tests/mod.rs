//! Small closures under the scheduler: planned schedules, random ones, and all schedules with few preemptions.

mod condvar;
mod locks;
mod replay;
mod stuck;
mod threads;
mod unscheduled;

use std::sync::Arc;

use super::primitives::{Builder, JoinHandle};
use super::stuck::{Stuck, StuckKind};
use super::{Chooser, Deviations, DrawBelow, RunEnd, ScheduledRun, run};
use crate::testing::workload::Random;

/// A run of a closure: its record, and its value if it ended without a panic.
struct Ran<T> {
    record: ScheduledRun,
    value: Option<T>,
}

impl<T> Ran<T> {
    fn stuck(&self) -> &Stuck {
        match &self.record.end {
            RunEnd::Stuck(stuck) => stuck,
            RunEnd::Completed => panic!("the run ended"),
        }
    }

    /// The value of a run that must end.
    fn value(self) -> T {
        assert!(
            matches!(self.record.end, RunEnd::Completed),
            "{:?}",
            self.record.end
        );
        self.value.expect("the closure does not panic")
    }
}

/// Runs `body` under the schedule with this text.
fn run_planned<T: Send + 'static>(schedule: &str, body: impl FnOnce() -> T + Send + 'static) -> Ran<T> {
    let deviations: Deviations = schedule.parse().expect("the schedule is legal");
    let (record, result) = run(Chooser::planned(deviations), body);
    Ran {
        record,
        value: result.and_then(Result::ok),
    }
}

/// Runs `body` under a random schedule with three preemptions among the first hundred decisions.
fn run_random<T: Send + 'static>(seed: u64, body: impl FnOnce() -> T + Send + 'static) -> Ran<T> {
    let mut random = Random::new(seed);
    let mut at: Vec<u64> = (0..3).map(|_| random.below(100)).collect();
    at.sort_unstable();
    let draw = DrawBelow(Box::new(move |len| random.below(len as u64) as usize));
    let (record, result) = run(Chooser::Random { draw, at }, body);
    Ran {
        record,
        value: result.and_then(Result::ok),
    }
}

/// Runs `body` under every schedule with at most this number of preemptions, until `is_last` returns true.
fn explore_until<T: Send + 'static>(
    preemptions_max: u32,
    body: impl Fn() -> T + Send + Sync + 'static,
    mut is_last: impl FnMut(Ran<T>) -> bool,
) {
    let body = Arc::new(body);
    let mut pending = vec![(Deviations::default(), 0, 0)];
    while let Some((deviations, decisions_len, preemptions)) = pending.pop() {
        let body = Arc::clone(&body);
        let (record, result) = run(Chooser::planned(deviations.clone()), move || body());
        assert!(record.schedule_fits, "{deviations}");
        for (number, decision) in record.decisions.iter().enumerate().skip(decisions_len) {
            for thread in decision.alternatives() {
                let preemptions = preemptions + u32::from(decision.is_preemption(thread));
                if preemptions <= preemptions_max {
                    let mut deviations = deviations.clone();
                    deviations.0.push((number as u64, thread));
                    pending.push((deviations, number + 1, preemptions));
                }
            }
        }
        let ran = Ran {
            record,
            value: result.and_then(Result::ok),
        };
        if is_last(ran) {
            return;
        }
    }
}

/// Runs `body` under every schedule with at most this number of preemptions. Each run must end.
fn explore<T: Send + 'static>(preemptions_max: u32, body: impl Fn() -> T + Send + Sync + 'static) -> Vec<T> {
    let mut values = Vec::new();
    explore_until(preemptions_max, body, |ran| {
        values.push(ran.value());
        false
    });
    values
}

/// The first run that is stuck, of those with at most two preemptions.
fn first_stuck(body: impl Fn() + Send + Sync + 'static) -> Stuck {
    let mut found = None;
    explore_until(2, body, |ran| {
        if let RunEnd::Stuck(stuck) = ran.record.end {
            found = Some(stuck);
        }
        found.is_some()
    });
    found.expect("a schedule is stuck")
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let builder = Builder::new().name(name.to_owned());
    builder.spawn(body).expect("a thread starts")
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("the thread does not panic")
}
