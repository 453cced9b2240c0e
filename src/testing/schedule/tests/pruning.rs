//! The exploration leaves out schedules that are equal to others. Here a naive exploration runs all of them, and both
//! must reach the same ends.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::testing::lock::lock;
use crate::testing::schedule::explore::ScheduleExplorer;
use crate::testing::schedule::line::SchedulePlan;
use crate::testing::schedule::primitives::{AtomicU64, Builder, Condvar, Mutex, RwLock, sleep, yield_now};
use crate::testing::schedule::{ScheduleSweep, ScheduleSweepEnd};
use crate::testing::scheduler::{Deviations, RunEnd};
use crate::testing::workload::Random;
use crate::{Background, Durability};

const PREEMPTIONS_MAX: u32 = 2;

/// A step of a small program. The numbers are the indices of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SmallStep {
    /// Increments the value of a mutex.
    Lock(usize),
    /// Increments the value of the first mutex, and an atomic while it is locked.
    LockAround(usize, usize),
    TryLock(usize),
    Read(usize),
    Write(usize),
    Load(usize),
    Store(usize),
    Add(usize),
    /// Waits until the value of mutex 0 is positive, at most for a millisecond.
    WaitTimed,
    /// Waits until another thread increments mutex 1. A waker must exist.
    Wait,
    /// Increments mutex 0 and wakes one of its waiting threads, under the lock or after it.
    WakeUnderLock,
    WakeAfterLock,
    /// Increments mutex 1 and wakes all waiting threads.
    WakeAll,
    WakeOne,
    Sleep,
    Yield,
    /// Spawns a thread that adds to an atomic, and joins it.
    Spawn(usize),
}

#[derive(Debug, Default)]
struct SmallObjects {
    mutexes: [Mutex<u64>; 2],
    locks: [RwLock<u64>; 2],
    atomics: [AtomicU64; 2],
    wake_ups: [Condvar; 2],
}

type Seen = Vec<Vec<u64>>;

impl SmallStep {
    /// Makes the step. Returns the value that it observes.
    fn run(self, objects: &Arc<SmallObjects>) -> u64 {
        const ORDER: Ordering = Ordering::SeqCst;
        let lock_one = |index: usize| {
            objects.mutexes[index]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let increment = |value: &mut u64| {
            *value += 1;
            *value
        };
        match self {
            Self::Lock(index) => increment(&mut lock_one(index)),
            Self::LockAround(index, atomic) => {
                let mut value = lock_one(index);
                let added = objects.atomics[atomic].fetch_add(1, ORDER);
                10 * added + increment(&mut value)
            }
            Self::TryLock(index) => objects.mutexes[index]
                .try_lock()
                .map_or(77, |mut value| increment(&mut value)),
            Self::Read(index) => *objects.locks[index]
                .read()
                .unwrap_or_else(PoisonError::into_inner),
            Self::Write(index) => {
                let mut value = objects.locks[index]
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                increment(&mut value)
            }
            Self::Load(index) => objects.atomics[index].load(ORDER),
            Self::Store(index) => {
                objects.atomics[index].store(9, ORDER);
                0
            }
            Self::Add(index) => objects.atomics[index].fetch_add(1, ORDER),
            Self::WaitTimed => {
                let is_zero = |value: &mut u64| *value == 0;
                let waited =
                    objects.wake_ups[0].wait_timeout_while(lock_one(0), Duration::from_millis(1), is_zero);
                let (value, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
                10 * *value + u64::from(timed_out)
            }
            Self::Wait => {
                let mut value = lock_one(1);
                while *value == 0 {
                    value = objects.wake_ups[1]
                        .wait(value)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                *value
            }
            Self::WakeUnderLock => {
                let mut value = lock_one(0);
                objects.wake_ups[0].notify_one();
                increment(&mut value)
            }
            Self::WakeAfterLock => {
                let value = increment(&mut lock_one(0));
                objects.wake_ups[0].notify_one();
                value
            }
            Self::WakeAll => {
                let value = increment(&mut lock_one(1));
                objects.wake_ups[1].notify_all();
                value
            }
            Self::WakeOne => {
                let value = increment(&mut lock_one(1));
                objects.wake_ups[1].notify_one();
                value
            }
            Self::Sleep => {
                sleep(Duration::from_millis(1));
                0
            }
            Self::Yield => {
                yield_now();
                0
            }
            Self::Spawn(index) => {
                let shared = Arc::clone(objects);
                let body = move || shared.atomics[index].fetch_add(1, ORDER);
                let thread = Builder::new().name("spawned".to_owned()).spawn(body);
                let read = Self::Load(index).run(objects);
                let added = thread.ok().and_then(|thread| thread.join().ok());
                10 * read + added.unwrap_or(9)
            }
        }
    }
}

/// The steps of each thread.
#[derive(Clone)]
struct SmallProgram(Vec<Vec<SmallStep>>);

impl fmt::Debug for SmallProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SmallProgram {
    /// Runs the program. Returns the values that each thread observed, and the last values.
    fn run(&self) -> Seen {
        let objects = Arc::new(SmallObjects::default());
        // The first use determines the id of an object. It must not depend on the schedule here.
        for index in [0, 1] {
            for step in [SmallStep::Load(index), SmallStep::Read(index)] {
                step.run(&objects);
            }
            drop(objects.mutexes[index].lock());
            objects.wake_ups[index].notify_all();
        }
        let threads: Vec<_> = self
            .0
            .iter()
            .map(|steps| {
                let (steps, objects) = (steps.clone(), Arc::clone(&objects));
                let body = move || steps.iter().map(|step| step.run(&objects)).collect::<Vec<_>>();
                Builder::new().spawn(body).expect("a thread starts")
            })
            .collect();
        let mut seen: Seen = threads
            .into_iter()
            .map(|thread| thread.join().expect("no step panics"))
            .collect();
        let last = [0, 1].map(|index| *objects.mutexes[index].lock().expect("no thread panicked"));
        seen.push(last.into());
        seen
    }

    /// A program of two threads with at most `steps_max` steps each, or of three with at most two.
    fn random(seed: u64, steps_max: u64) -> Self {
        use SmallStep::{
            Add, Load, Lock, LockAround, Read, Sleep, Spawn, Store, TryLock, WaitTimed, WakeAfterLock,
            WakeUnderLock, Write, Yield,
        };
        let mut random = Random::new(seed);
        let threads_len = 2 + random.below(2);
        let steps_max = if threads_len == 2 { steps_max } else { 2 };
        let mut thread = |_| {
            let len = 1 + random.below(steps_max);
            let step = |_| {
                let index = random.below(2) as usize;
                let all = [
                    Lock(index),
                    LockAround(index, 0),
                    LockAround(index, 1),
                    TryLock(index),
                    Read(index),
                    Write(index),
                    Load(index),
                    Store(index),
                    Add(index),
                    WaitTimed,
                    WaitTimed,
                    WakeUnderLock,
                    WakeAfterLock,
                    Sleep,
                    Yield,
                    Spawn(index),
                ];
                *random.pick(&all)
            };
            (0..len).map(step).collect()
        };
        Self((0..threads_len).map(&mut thread).collect())
    }
}

/// The sweep of a program, and the values that its runs observe.
fn sweep_of(program: &SmallProgram) -> (ScheduleSweep, Arc<std::sync::Mutex<BTreeSet<Seen>>>) {
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let (all, program) = (Arc::clone(&seen), program.clone());
    let sweep = ScheduleSweep::of_threads("small", move || {
        let seen = program.run();
        lock(&all).insert(seen);
    });
    (sweep.preemptions_max(PREEMPTIONS_MAX), seen)
}

/// Runs every schedule with at most this number of preemptions. Returns the fingerprints of the ends, and the number of
/// runs. `None` if they are more than `runs_max`.
fn explore_naively(
    sweep: &ScheduleSweep,
    preemptions_max: u32,
    runs_max: u64,
) -> Option<(BTreeSet<u64>, u64)> {
    let mut explorer = ScheduleExplorer::new(sweep);
    explorer.runner.prepare().expect("the database can be prepared");
    let mut ends = BTreeSet::new();
    let mut pending = vec![(Deviations::default(), 0, 0)];
    let mut runs = 0;
    while let Some((deviations, decisions_len, preemptions)) = pending.pop() {
        let plan = SchedulePlan {
            deviations,
            fault: None,
        };
        let record = explorer.runner.run_plan(&plan).record;
        assert!(
            matches!(record.end, RunEnd::Completed) && record.schedule_fits,
            "{plan}: {:?}",
            record.end
        );
        ends.insert(record.fingerprint);
        runs += 1;
        if runs > runs_max {
            return None;
        }
        for (number, decision) in record.decisions.iter().enumerate().skip(decisions_len) {
            for thread in decision.alternatives().filter(|_| decision.may_deviate) {
                let preemptions = preemptions + u32::from(decision.is_preemption(thread));
                if preemptions <= preemptions_max {
                    let mut deviations = plan.deviations.clone();
                    deviations.0.push((number as u64, thread));
                    pending.push((deviations, number + 1, preemptions));
                }
            }
        }
    }
    Some((ends, runs))
}

/// Compares both explorations. Returns the numbers of runs, naive and pruned. `None` if the naive ones are more than
/// `runs_max`.
fn compare(program: &SmallProgram, runs_max: u64) -> Option<(u64, u64)> {
    let (sweep, naive_seen) = sweep_of(program);
    let (naive_ends, naive_runs) = explore_naively(&sweep, PREEMPTIONS_MAX, runs_max)?;
    let (sweep, seen) = sweep_of(program);
    let report = sweep.run();
    assert!(report.end == ScheduleSweepEnd::Complete, "{program:?}: {report}");
    let (naive_seen, seen) = (lock(&naive_seen).clone(), lock(&seen).clone());
    let missing: Vec<_> = naive_seen.difference(&seen).collect();
    assert!(missing.is_empty(), "{program:?} does not reach {missing:?}");
    assert_eq!(
        report.distinct,
        naive_ends.len() as u64,
        "distinct runs of {program:?}, {} of {naive_runs} schedules",
        report.schedules
    );
    Some((naive_runs, report.schedules))
}

#[test]
fn the_exploration_reaches_every_end_of_a_timed_wait_next_to_a_notification() {
    use SmallStep::{WaitTimed, WakeUnderLock};
    let program = SmallProgram(vec![vec![WakeUnderLock], vec![WaitTimed]]);
    assert!(compare(&program, 1000).is_some());
}

#[test]
fn the_exploration_reaches_every_end_if_a_third_thread_conflicts_first() {
    use SmallStep::{Add, Write};
    let writers = vec![vec![Add(0)], vec![Add(1), Write(0)], vec![Add(1), Write(0)]];
    assert!(compare(&SmallProgram(writers), 5000).is_some());
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn the_exploration_reaches_every_end_of_programs_with_each_kind_of_step() {
        use SmallStep::{Add, Load, Lock, LockAround, Read, Spawn, TryLock, Wait, WakeAll, WakeOne, Write};
        let programs = [
            vec![vec![Lock(0), Lock(1)], vec![LockAround(1, 0), Load(0)]],
            vec![vec![Read(0), Add(0)], vec![Write(0), Load(0)]],
            vec![vec![Read(0)], vec![Read(0)], vec![Write(0)]],
            vec![vec![TryLock(0)], vec![Lock(0)], vec![TryLock(0)]],
            vec![vec![Wait], vec![WakeAll]],
            vec![vec![Wait], vec![WakeOne], vec![Add(0)]],
            vec![vec![Spawn(0)], vec![Add(0), Spawn(1)]],
            vec![
                vec![LockAround(1, 0)],
                vec![TryLock(1), Write(0)],
                vec![Lock(1), Write(0)],
            ],
        ];
        for program in programs {
            let program = SmallProgram(program);
            assert!(compare(&program, 20_000).is_some(), "{program:?}");
        }
    }

    #[test]
    fn the_exploration_reaches_every_end_of_two_calls_of_the_engine() {
        let program =
            "create:a|record@1700000001000:0,1,1700000001000,2.0|record@1700000001010:0,1,1700000001010,3.0";
        let sweep = ScheduleSweep::of(program.parse().expect("the program is legal"))
            .background(Background::Caller)
            .durability(Durability::OperatingSystem)
            .preemptions_max(1);
        let (naive_ends, naive_runs) = explore_naively(&sweep, 1, 20_000).expect("few schedules");
        let report = sweep.run();
        report.expect_clean();
        assert_eq!(report.distinct, naive_ends.len() as u64, "{report}");
        assert!(report.distinct >= 10 && report.schedules < naive_runs, "{report}");
    }

    /// A thread that is preempted before it releases a lock continues without a preemption where the other thread waits
    /// for the lock.
    #[test]
    fn the_exploration_reaches_every_end_if_a_thread_waits_for_a_release() {
        use SmallStep::{Add, Load, Lock, Read, TryLock, WaitTimed, Write};
        let programs = [
            [
                vec![Add(0), Lock(0), Add(0), Lock(0), Add(1)],
                vec![Add(0), Lock(0), Add(1)],
            ],
            [
                vec![Add(0), Lock(0), Add(0), Lock(0), Add(1), Lock(1)],
                vec![Add(0), Lock(0), Add(1), Lock(1)],
            ],
            [
                vec![Add(0), Lock(0), Add(0), Lock(0), Add(0)],
                vec![Add(0), Lock(0), Add(0), Lock(0)],
            ],
            [
                vec![Add(0), Write(0), Add(0), Write(0), Add(1)],
                vec![Add(0), Read(0), Add(1)],
            ],
            [vec![Load(0), Load(1), WaitTimed], vec![TryLock(0)]],
        ];
        for program in programs {
            let program = SmallProgram(program.into());
            assert!(compare(&program, 20_000).is_some(), "{program:?}");
        }
    }

    /// The same choice is a preemption after a step of a thread that could continue, and none after another thread's.
    #[test]
    fn the_exploration_reaches_every_end_if_equal_states_have_other_running_threads() {
        use SmallStep::{Add, Load, Spawn, Store, WaitTimed, Yield};
        let programs = [
            [vec![Spawn(1)], vec![Yield, Spawn(1)]],
            [
                vec![Spawn(1), Store(1), WaitTimed, Load(1), Store(0)],
                vec![Yield, Add(1), Yield, Spawn(1)],
            ],
        ];
        for program in programs {
            let program = SmallProgram(program.into());
            assert!(compare(&program, 20_000).is_some(), "{program:?}");
        }
    }

    #[test]
    fn the_exploration_reaches_every_end_of_random_programs() {
        let (mut compared, mut naive, mut pruned) = (0, 0, 0);
        for seed in 0..100 {
            let program = SmallProgram::random(seed, 5);
            if let Some((naive_runs, pruned_runs)) = compare(&program, 1500) {
                compared += 1;
                naive += naive_runs;
                pruned += pruned_runs;
            }
        }
        assert!(
            compared >= 40 && pruned * 2 < naive,
            "{compared} programs: {pruned} of {naive} schedules"
        );
    }
}
