//! The injector: counting, arming, firing once. The other files test the slot, the runs and the recorder.

mod outcome;
mod point;
#[cfg(unix)]
mod process;
mod run;
mod threads;
mod watching;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::*;
use crate::testing::text::panic_text;

const TARGET: CrashPoint = CrashPoint::WalPreAggregate;
const OTHER: CrashPoint = CrashPoint::CheckpointPostFlush;
/// The message of an uncaught crash at the first crossing of the target.
const TEXT: &str = "CrashInjector: simulated crash at WalPreAggregate after 1 crossings";

fn cross(times: u64) {
    for _ in 0..times {
        check_crash_point(TARGET);
    }
}

/// Crosses the target `times` times in a run of the injector.
fn run(injector: &Arc<CrashInjector>, times: u64) -> Result<(), CrashPoint> {
    run_with_crash(injector, || cross(times))
}

/// True if the injector has fired, and its count.
fn state(injector: &CrashInjector) -> (bool, u64) {
    (injector.has_fired(), injector.crossing_count())
}

/// The message of the panic of `body`.
#[track_caller]
fn panic_of<T>(body: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(_) => panic!("the body does not panic"),
        Err(payload) => panic_text(&*payload),
    }
}

/// Runs `body` on a thread that does not inherit the slot.
fn on_unwatched_thread(name: &str, body: impl FnOnce() + Send + 'static) {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.expect("a thread").join().expect("no crash on the thread");
}

/// Runs `body` on a thread that inherits the slot.
fn on_watched_thread(name: &str, body: impl FnOnce() + Send + 'static) -> thread::Result<()> {
    crate::testing::threads::spawn(name, body)
        .expect("a thread")
        .join()
}

/// Crosses the point when dropped.
struct CrossesOnDrop(CrashPoint);

impl Drop for CrossesOnDrop {
    fn drop(&mut self) {
        check_crash_point(self.0);
    }
}

#[derive(Debug)]
enum InjectorStep {
    /// This number of crossings of the target. None of them fires.
    Pass(u64),
    /// This number of crossings of the target. One of them fires.
    Fire(u64),
    Arm,
    Disarm,
}

use InjectorStep::{Arm, Disarm, Fire, Pass};

/// Runs the steps with a new injector, and compares its final [`state`] with `end`.
#[track_caller]
fn assert_steps(threshold: u64, steps: &[InjectorStep], end: (bool, u64)) {
    let injector = CrashInjector::new(TARGET, threshold);
    for step in steps {
        match step {
            Pass(times) => assert_eq!(run(&injector, *times), Ok(()), "{threshold}: {steps:?}"),
            Fire(times) => assert_eq!(run(&injector, *times), Err(TARGET), "{threshold}: {steps:?}"),
            Arm => injector.arm(),
            Disarm => injector.disarm(),
        }
    }
    assert_eq!(state(&injector), end, "{threshold}: {steps:?}");
}

#[test]
fn injector_fires_at_threshold() {
    for threshold in [0, 1, 2, 3, 17, 1000] {
        assert_steps(threshold, &[Pass(threshold)], (false, threshold));
        assert_steps(threshold, &[Pass(threshold), Fire(1)], (true, threshold + 1));
    }
    assert_steps(u64::MAX, &[Pass(1000)], (false, 1000));
}

#[test]
fn injector_one_shot() {
    assert_steps(2, &[Fire(100), Pass(100)], (true, 3));
}

#[test]
fn injector_disarm_prevents_fire() {
    assert_steps(1, &[Pass(1), Disarm, Pass(10)], (false, 1));
    assert_steps(1, &[Pass(1), Disarm, Pass(10), Arm, Fire(1)], (true, 2));
    // A second call has no effect.
    assert_steps(1, &[Disarm, Disarm, Pass(5), Arm, Arm, Fire(5)], (true, 2));
    // An injector that has fired does not fire again after `arm`.
    assert_steps(0, &[Fire(1), Disarm, Pass(1), Arm, Pass(1)], (true, 1));
}

#[test]
fn injector_ignores_wrong_crash_point() {
    for target in CrashPoint::ALL {
        let injector = CrashInjector::new(target, 0);
        let outcome = run_with_crash(&injector, || {
            for point in CrashPoint::ALL.into_iter().filter(|point| *point != target) {
                check_crash_point(point);
                injector.maybe_crash(point);
            }
        });
        assert_eq!((outcome, state(&injector)), (Ok(()), (false, 0)));
        assert_eq!(
            run_with_crash(&injector, || check_crash_point(target)),
            Err(target)
        );
    }
}

#[test]
fn outside_a_run_the_crash_is_a_panic_with_the_documented_message() {
    let injector = CrashInjector::new(CrashPoint::CoEngagementUpdate, 2);
    let payload = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..10 {
            injector.maybe_crash(CrashPoint::CoEngagementUpdate);
        }
    }))
    .expect_err("the injector fires");
    let expected = "CrashInjector: simulated crash at CoEngagementUpdate after 3 crossings";
    assert_eq!(panic_text(&*payload), expected);
    assert!(crash_of(&*payload).is_none());
    assert_eq!(state(&injector), (true, 3));
}

#[test]
fn an_installed_injector_panics_with_the_message_until_it_is_replaced_or_cleared() {
    let injectors = [0, 5].map(|threshold| CrashInjector::new(TARGET, threshold));
    install_injector(Arc::clone(&injectors[0]));
    assert_eq!(panic_of(|| cross(1)), TEXT);
    assert_eq!(Arc::strong_count(&injectors[0]), 2);
    install_injector(Arc::clone(&injectors[1]));
    cross(2);
    clear_injector();
    cross(2);
    assert_eq!(injectors.each_ref().map(|it| it.crossing_count()), [1, 2]);
    assert_eq!(injectors.each_ref().map(Arc::strong_count), [1, 1]);
}

#[test]
fn dropping_the_guard_of_a_scoped_injector_restores_the_previous_injector_also_during_a_panic() {
    let outer = CrashInjector::new(TARGET, 100);
    let inner = CrashInjector::new(TARGET, 100);
    let _outer = scoped_injector(&outer);
    cross(1);
    panic_of(|| {
        let _inner = scoped_injector(&inner);
        cross(2);
        panic!("on purpose");
    });
    cross(4);
    assert_eq!((outer.crossing_count(), inner.crossing_count()), (5, 2));
}

/// Starts `threads` threads that each cross the target `crossings` times, and runs `meanwhile` on the calling thread.
/// Returns the number of threads whose run crashed.
fn crashes_of_threads(
    injector: &Arc<CrashInjector>,
    threads: usize,
    crossings: u64,
    meanwhile: fn(&CrashInjector),
) -> u64 {
    let start = Barrier::new(threads + 1);
    let crashes = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                start.wait();
                crashes.fetch_add(u64::from(run(injector, crossings).is_err()), Ordering::Relaxed);
            });
        }
        start.wait();
        meanwhile(injector);
    });
    crashes.into_inner()
}

#[test]
fn exactly_one_of_several_threads_that_cross_at_the_same_time_crashes() {
    for round in 0..100 {
        let threshold = round * 8 * 64 / 100;
        let injector = CrashInjector::new(TARGET, threshold);
        assert_eq!(crashes_of_threads(&injector, 8, 64, |_| ()), 1, "{threshold}");
        assert_eq!(state(&injector), (true, threshold + 1));
    }
}

#[test]
fn at_most_one_thread_crashes_while_another_thread_arms_and_disarms_the_injector() {
    for _ in 0..50 {
        let injector = CrashInjector::new(TARGET, 100);
        let crashes = crashes_of_threads(&injector, 4, 100, |injector| {
            for _ in 0..200 {
                injector.disarm();
                injector.arm();
            }
        });
        let (has_fired, crossings) = state(&injector);
        assert_eq!(crashes, u64::from(has_fired));
        assert!(crossings <= 101 && has_fired == (crossings == 101));
    }
}

#[test]
fn a_call_action_gets_point_and_count_once_and_then_the_operation_continues() {
    let calls = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&calls);
    let action = CrashAction::call(move |point, crossings| {
        assert_eq!((point, crossings), (TARGET, 4));
        counter.fetch_add(1, Ordering::Relaxed);
        // An action can cross points like other code: the injector has fired and does not fire again.
        check_crash_point(point);
    });
    let injector = CrashInjector::with_action(TARGET, 3, action);
    assert_eq!(run(&injector, 10), Ok(()));
    assert_eq!((calls.load(Ordering::Relaxed), state(&injector)), (1, (true, 4)));

    let panics = CrashInjector::with_action(TARGET, 0, CrashAction::call(|_, _| panic!("in the action")));
    assert_eq!(panic_of(|| run(&panics, 1)), "in the action");
}

#[test]
fn a_crossing_that_began_while_the_injector_was_disarmed_does_not_fire_after_arming() {
    let injector = CrashInjector::new(TARGET, 5);
    injector.disarm();
    assert!(!injector.count_early_crossing());
    injector.arm();
    injector.fire();
    assert_eq!(state(&injector), (false, 0));
}

#[test]
fn a_crossing_on_a_panicking_thread_is_withheld_and_neither_counted_nor_fired() {
    for threshold in [1, 2, 100] {
        let injector = CrashInjector::new(TARGET, threshold);
        let text = panic_of(|| {
            run_with_crash(&injector, || {
                let _second = CrossesOnDrop(TARGET);
                let _first = CrossesOnDrop(TARGET);
                let _another_point = CrossesOnDrop(OTHER);
                cross(1);
                panic!("on purpose");
            })
        });
        assert_eq!((&*text, state(&injector)), ("on purpose", (false, 1)));
        let withheld = vec![Crossing::by_this_thread(TARGET, None); 2];
        assert_eq!(injector.withheld_crossings(), withheld, "{threshold}");
    }
    // A crossing in a destructor that runs because of the crash.
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        let _guard = CrossesOnDrop(TARGET);
        cross(1);
    });
    assert_eq!((outcome, state(&injector)), (Err(TARGET), (true, 1)));
    assert_eq!(injector.withheld_crossings().len(), 1);
}

#[test]
fn the_destructor_of_a_replaced_injector_can_cross_points() {
    let captured = CrossesOnDrop(TARGET);
    let action = CrashAction::call(move |_, _| {
        let _captures = &captured;
    });
    install_injector(CrashInjector::with_action(OTHER, 0, action));
    let next = CrashInjector::new(TARGET, 10);
    install_injector(Arc::clone(&next));
    // The slot was not borrowed, and already had the next injector.
    assert_eq!(next.crossing_count(), 1);
    clear_injector();
}

#[test]
fn the_debug_output_shows_the_state_and_runs_no_foreign_code() {
    let injector = CrashInjector::with_action(TARGET, 7, CrashAction::call(|_, _| ()));
    injector.disarm();
    assert_eq!(
        format!("{injector:?}"),
        "CrashInjector { target: WalPreAggregate, fire_after_n: 7, action: Call, armed: false, fired: false, \
         crossing_count: 0, .. }"
    );
    assert_eq!(injector.target(), TARGET);
}
