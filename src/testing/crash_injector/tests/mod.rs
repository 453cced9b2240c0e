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

fn cross(times: u64) {
    for _ in 0..times {
        check_crash_point(TARGET);
    }
}

/// Crosses the point when dropped.
struct CrossesOnDrop(CrashPoint);

impl Drop for CrossesOnDrop {
    fn drop(&mut self) {
        check_crash_point(self.0);
    }
}

#[test]
fn injector_fires_at_threshold() {
    for threshold in [0, 1, 2, 3, 17, 1000] {
        let injector = CrashInjector::new(TARGET, threshold);
        assert_eq!(
            run_with_crash(&injector, || cross(threshold)),
            Ok(()),
            "threshold {threshold}"
        );
        assert_eq!(
            (injector.has_fired(), injector.crossing_count()),
            (false, threshold)
        );

        assert_eq!(
            run_with_crash(&injector, || cross(1)),
            Err(TARGET),
            "threshold {threshold}"
        );
        assert_eq!(
            (injector.has_fired(), injector.crossing_count()),
            (true, threshold + 1)
        );
    }
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
        assert_eq!(outcome, Ok(()));
        assert_eq!((injector.has_fired(), injector.crossing_count()), (false, 0));
        assert_eq!(
            run_with_crash(&injector, || check_crash_point(target)),
            Err(target)
        );
    }
}

#[test]
fn injector_one_shot() {
    let injector = CrashInjector::new(TARGET, 2);
    assert_eq!(run_with_crash(&injector, || cross(100)), Err(TARGET));
    assert_eq!(run_with_crash(&injector, || cross(100)), Ok(()));
    assert_eq!(
        injector.crossing_count(),
        3,
        "crossings after the crash are not counted"
    );
    assert!(injector.has_fired());
}

#[test]
fn injector_disarm_prevents_fire() {
    let injector = CrashInjector::new(TARGET, 1);
    let outcome = run_with_crash(&injector, || {
        cross(1);
        injector.disarm();
        cross(10);
    });
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        (injector.has_fired(), injector.crossing_count()),
        (false, 1),
        "nothing counts while disarmed"
    );

    injector.arm();
    assert_eq!(
        run_with_crash(&injector, || cross(1)),
        Err(TARGET),
        "the count was kept"
    );
    assert_eq!(injector.crossing_count(), 2);
}

#[test]
fn arming_never_revives_an_injector_that_has_fired() {
    let injector = CrashInjector::new(TARGET, 0);
    assert_eq!(run_with_crash(&injector, || cross(1)), Err(TARGET));
    injector.disarm();
    assert_eq!(run_with_crash(&injector, || cross(1)), Ok(()));
    injector.arm();
    assert_eq!(run_with_crash(&injector, || cross(1)), Ok(()));
    assert_eq!((injector.has_fired(), injector.crossing_count()), (true, 1));
}

#[test]
fn arming_twice_and_disarming_twice_is_arming_and_disarming_once() {
    let injector = CrashInjector::new(TARGET, 1);
    injector.disarm();
    injector.disarm();
    assert_eq!(run_with_crash(&injector, || cross(5)), Ok(()));
    injector.arm();
    injector.arm();
    assert_eq!(run_with_crash(&injector, || cross(5)), Err(TARGET));
    assert_eq!(injector.crossing_count(), 2);
}

#[test]
fn the_largest_threshold_never_fires() {
    let injector = CrashInjector::new(TARGET, u64::MAX);
    assert_eq!(run_with_crash(&injector, || cross(1000)), Ok(()));
    assert_eq!((injector.has_fired(), injector.crossing_count()), (false, 1000));
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
    assert_eq!(injector.crossing_count(), 3);
}

#[test]
fn installed_without_a_run_it_panics_with_the_text_and_stays_installed() {
    let injector = CrashInjector::new(TARGET, 0);
    install_injector(Arc::clone(&injector));
    let payload = catch_unwind(|| cross(1)).expect_err("it fires");
    assert_eq!(
        panic_text(&*payload),
        "CrashInjector: simulated crash at WalPreAggregate after 1 crossings"
    );

    let second = CrashInjector::new(TARGET, 5);
    install_injector(Arc::clone(&second));
    cross(2);
    clear_injector();
    cross(2);
    assert_eq!((injector.crossing_count(), second.crossing_count()), (1, 2));
    assert_eq!(
        (Arc::strong_count(&injector), Arc::strong_count(&second)),
        (1, 1),
        "the slot let go of both"
    );
}

#[test]
fn a_scoped_injector_restores_what_it_replaced_also_while_unwinding() {
    let outer = CrashInjector::new(TARGET, 100);
    let inner = CrashInjector::new(TARGET, 100);
    let _outer = scoped_injector(&outer);
    cross(1);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _inner = scoped_injector(&inner);
        cross(2);
        panic!("on purpose");
    }));
    assert!(unwound.is_err());
    cross(4);
    assert_eq!((outer.crossing_count(), inner.crossing_count()), (5, 2));
}

#[test]
fn threads_that_cross_together_see_exactly_one_crash() {
    const THREADS: u64 = 8;
    const CROSSINGS: u64 = 64;
    for round in 0..100 {
        let threshold = round * THREADS * CROSSINGS / 100;
        let injector = CrashInjector::new(TARGET, threshold);
        let start = Barrier::new(THREADS as usize);
        let crashes = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    if run_with_crash(&injector, || cross(CROSSINGS)).is_err() {
                        crashes.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(crashes.into_inner(), 1, "threshold {threshold}");
        assert_eq!(injector.crossing_count(), threshold + 1, "threshold {threshold}");
    }
}

#[test]
fn threads_that_cross_while_others_arm_and_disarm_see_at_most_one_crash() {
    const THREADS: usize = 4;
    for _ in 0..50 {
        let injector = CrashInjector::new(TARGET, 100);
        let start = Barrier::new(THREADS + 1);
        let crashes = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    crashes.fetch_add(
                        u64::from(run_with_crash(&injector, || cross(100)).is_err()),
                        Ordering::Relaxed,
                    );
                });
            }
            start.wait();
            for _ in 0..200 {
                injector.disarm();
                injector.arm();
            }
        });
        assert_eq!(crashes.into_inner(), u64::from(injector.has_fired()));
        assert!(injector.crossing_count() <= 101);
        assert_eq!(injector.has_fired(), injector.crossing_count() == 101);
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
    let outcome = run_with_crash(&injector, || {
        cross(10);
        "ran on"
    });
    assert_eq!(outcome, Ok("ran on"));
    assert_eq!((calls.load(Ordering::Relaxed), injector.crossing_count()), (1, 4));
    assert!(injector.has_fired());
}

#[test]
fn a_called_action_that_panics_is_a_panic_of_its_own() {
    let injector = CrashInjector::with_action(TARGET, 0, CrashAction::call(|_, _| panic!("of its own")));
    let payload =
        catch_unwind(AssertUnwindSafe(|| run_with_crash(&injector, || cross(1)))).expect_err("it panics");
    assert_eq!(panic_text(&*payload), "of its own");
}

#[test]
fn a_crossing_seen_while_disarmed_passes_although_armed_again_before_it_is_judged() {
    let injector = CrashInjector::new(TARGET, 5);
    injector.disarm();
    assert!(!injector.counts_early_crossing());
    injector.arm();
    injector.fire();
    assert_eq!((injector.has_fired(), injector.crossing_count()), (false, 0));
}

#[test]
fn a_crossing_while_the_thread_panics_is_neither_counted_nor_fired_but_kept() {
    for threshold in [1, 2, 100] {
        let injector = CrashInjector::new(TARGET, threshold);
        let payload = catch_unwind(AssertUnwindSafe(|| {
            run_with_crash(&injector, || {
                let _second = CrossesOnDrop(TARGET);
                let _first = CrossesOnDrop(TARGET);
                let _another_point = CrossesOnDrop(OTHER);
                cross(1);
                panic!("on purpose");
            })
        }))
        .expect_err("not the injector's panic");
        assert_eq!(panic_text(&*payload), "on purpose");
        assert_eq!(
            (injector.has_fired(), injector.crossing_count()),
            (false, 1),
            "threshold {threshold}"
        );
        assert_eq!(
            injector.withheld_crossings(),
            vec![Crossing::here(TARGET, None); 2]
        );
    }
}

#[test]
fn a_crossing_in_a_destructor_that_the_crash_itself_runs_is_kept() {
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        let _guard = CrossesOnDrop(TARGET);
        cross(1);
    });
    assert_eq!(outcome, Err(TARGET));
    assert_eq!(
        (injector.crossing_count(), injector.withheld_crossings().len()),
        (1, 1)
    );
}

#[test]
fn what_the_slot_lets_go_of_may_cross_points_in_its_destructor() {
    let captured = CrossesOnDrop(TARGET);
    let action = CrashAction::call(move |_, _| {
        let _only_held = &captured;
    });
    install_injector(CrashInjector::with_action(OTHER, 0, action));

    let next = CrashInjector::new(TARGET, 10);
    install_injector(Arc::clone(&next));
    assert_eq!(
        next.crossing_count(),
        1,
        "the slot was free, and already held the next one"
    );
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
