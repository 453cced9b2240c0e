//! The injector by itself: counting, arming, firing once. Its siblings test the slot, the runs and the
//! recorder.

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

/// Crosses the target so often in a run of the injector.
fn run(injector: &Arc<CrashInjector>, times: u64) -> Result<(), CrashPoint> {
    run_with_crash(injector, || cross(times))
}

/// Whether the injector has fired, and its count.
fn state(injector: &CrashInjector) -> (bool, u64) {
    (injector.has_fired(), injector.crossing_count())
}

/// The message of the panic that `body` ends with.
#[track_caller]
fn panic_of<T>(body: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(_) => panic!("it does not panic"),
        Err(payload) => panic_text(&*payload),
    }
}

/// Runs `body` on a thread that does not inherit the slot.
fn on_unwatched_thread(name: &str, body: impl FnOnce() + Send + 'static) {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.expect("a thread").join().expect("no crash there");
}

/// Runs `body` on a thread that inherits the slot.
fn on_watched_thread(name: &str, body: impl FnOnce() + Send + 'static) -> thread::Result<()> {
    crate::threads::spawn(name, body).expect("a thread").join()
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
    /// So many crossings of the target, none of which fires.
    Pass(u64),
    /// So many crossings, one of which fires.
    Fire(u64),
    Arm,
    Disarm,
}

use InjectorStep::{Arm, Disarm, Fire, Pass};

/// Takes the steps with a new injector, and checks whether it has fired and its count at the end.
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
    // Twice is as once.
    assert_steps(1, &[Disarm, Disarm, Pass(5), Arm, Arm, Fire(5)], (true, 2));
    // Arming never revives an injector that has fired.
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
fn outside_a_run_the_crash_is_a_panic_with_the_fixed_text() {
    let injector = CrashInjector::new(CrashPoint::CoEngagementUpdate, 2);
    let payload = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..10 {
            injector.maybe_crash(CrashPoint::CoEngagementUpdate);
        }
    }))
    .expect_err("it fires");
    let expected = "CrashInjector: simulated crash at CoEngagementUpdate after 3 crossings";
    assert_eq!(panic_text(&*payload), expected);
    assert!(crash_of(&*payload).is_none());
    assert_eq!(state(&injector), (true, 3));
}

#[test]
fn an_installed_injector_panics_with_the_text_and_stays_installed_until_it_is_replaced_or_cleared() {
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
fn a_scoped_injector_restores_the_one_that_it_replaced_also_while_unwinding() {
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

/// Lets threads cross the target so often each, at the same time, while the calling thread does `meanwhile`. Returns the
/// number of their runs that crashed.
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
fn threads_that_cross_together_see_exactly_one_crash() {
    for round in 0..100 {
        let threshold = round * 8 * 64 / 100;
        let injector = CrashInjector::new(TARGET, threshold);
        assert_eq!(crashes_of_threads(&injector, 8, 64, |_| ()), 1, "{threshold}");
        assert_eq!(state(&injector), (true, threshold + 1));
    }
}

#[test]
fn threads_that_cross_while_others_arm_and_disarm_see_at_most_one_crash() {
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
fn a_called_action_gets_point_and_count_once_and_the_operation_runs_on() {
    let calls = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&calls);
    let action = CrashAction::call(move |point, crossings| {
        assert_eq!((point, crossings), (TARGET, 4));
        seen.fetch_add(1, Ordering::Relaxed);
        // An action crosses points like any other code: the injector is spent by now.
        check_crash_point(point);
    });
    let injector = CrashInjector::with_action(TARGET, 3, action);
    assert_eq!(run(&injector, 10), Ok(()));
    assert_eq!((calls.load(Ordering::Relaxed), state(&injector)), (1, (true, 4)));

    let panics = CrashInjector::with_action(TARGET, 0, CrashAction::call(|_, _| panic!("of its own")));
    assert_eq!(panic_of(|| run(&panics, 1)), "of its own");
}

#[test]
fn a_crossing_seen_while_disarmed_passes_although_armed_again_before_it_is_judged() {
    let injector = CrashInjector::new(TARGET, 5);
    injector.disarm();
    assert!(!injector.counts_early_crossing());
    injector.arm();
    injector.fire();
    assert_eq!(state(&injector), (false, 0));
}

#[test]
fn a_crossing_while_the_thread_panics_is_neither_counted_nor_fired_but_kept() {
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
        let kept = vec![Crossing::here(TARGET, None); 2];
        assert_eq!(injector.withheld_crossings(), kept, "{threshold}");
    }
    // In a destructor that the crash itself runs.
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        let _guard = CrossesOnDrop(TARGET);
        cross(1);
    });
    assert_eq!((outcome, state(&injector)), (Err(TARGET), (true, 1)));
    assert_eq!(injector.withheld_crossings().len(), 1);
}

#[test]
fn the_former_content_of_the_slot_may_cross_points_in_its_destructor() {
    let captured = CrossesOnDrop(TARGET);
    let action = CrashAction::call(move |_, _| {
        let _only_held = &captured;
    });
    install_injector(CrashInjector::with_action(OTHER, 0, action));
    let next = CrashInjector::new(TARGET, 10);
    install_injector(Arc::clone(&next));
    // The slot was free, and already held the next one.
    assert_eq!(next.crossing_count(), 1);
    clear_injector();
}

#[test]
fn debug_output_names_the_state_and_runs_no_foreign_code() {
    let injector = CrashInjector::with_action(TARGET, 7, CrashAction::call(|_, _| ()));
    injector.disarm();
    assert_eq!(
        format!("{injector:?}"),
        "CrashInjector { target: WalPreAggregate, fire_after_n: 7, action: Call, armed: false, fired: false, \
         crossing_count: 0, .. }"
    );
    assert_eq!(injector.target(), TARGET);
}
