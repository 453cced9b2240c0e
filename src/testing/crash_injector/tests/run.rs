//! `run_with_crash`: what it catches, what it lets through, what it restores.

use std::panic::resume_unwind;

use super::*;

#[test]
fn run_with_crash_returns_ok_on_complete() {
    let injector = CrashInjector::new(TARGET, 3);
    let outcome = run_with_crash(&injector, || {
        cross(3);
        vec![1, 2, 3]
    });
    assert_eq!(outcome, Ok(vec![1, 2, 3]));
    assert!(!injector.has_fired());
}

#[test]
fn run_with_crash_returns_err_on_fire() {
    for point in CrashPoint::ALL {
        let injector = CrashInjector::new(point, 0);
        let mut reached = Vec::new();
        let outcome = run_with_crash(&injector, || {
            reached.push("before");
            check_crash_point(point);
            reached.push("after");
        });
        assert_eq!(outcome, Err(point));
        assert_eq!(
            reached,
            ["before"],
            "what was changed by reference stays as the crash found it"
        );
        assert!(injector.has_fired());
    }
}

#[test]
fn the_payload_names_point_count_and_injector() {
    let injector = CrashInjector::new(TARGET, 4);
    let twin = CrashInjector::new(TARGET, 4);
    let payload = run_with_crash(&injector, || catch_unwind(|| cross(10)).expect_err("it fires"))
        .expect("the closure swallowed the crash");
    let crash = crash_of(&*payload).expect("an injected crash");
    assert_eq!((crash.point(), crash.crossings()), (TARGET, 5));
    assert!(crash.is_from(&injector) && !crash.is_from(&twin));
    assert!(
        crash_of(&payload).is_some(),
        "a reference to the box is taken for the payload"
    );
    assert!(crash_of(&"another panic").is_none());
}

#[test]
fn a_swallowed_crash_is_the_closures_own_result() {
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        assert!(catch_unwind(|| cross(1)).is_err());
        "went on"
    });
    assert_eq!(outcome, Ok("went on"));
    assert!(injector.has_fired());
}

#[test]
fn another_panic_goes_on_with_its_own_payload_whatever_fired_before_it() {
    #[derive(Debug, PartialEq)]
    struct Typed(u32);

    let injector = CrashInjector::new(TARGET, 0);
    let payload = catch_unwind(AssertUnwindSafe(|| {
        run_with_crash(&injector, || {
            assert!(catch_unwind(|| cross(1)).is_err());
            resume_unwind(Box::new(Typed(7)));
        })
    }))
    .expect_err("not the injector's");
    assert!(injector.has_fired());
    assert_eq!(payload.downcast_ref(), Some(&Typed(7)));
}

#[test]
fn a_crash_that_is_rethrown_is_caught_as_the_crash_it_is() {
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        let payload = catch_unwind(|| cross(1)).expect_err("it fires");
        resume_unwind(payload);
    });
    assert_eq!(outcome, Err(TARGET));
}

#[test]
fn a_crash_of_an_earlier_injector_is_not_taken_for_this_ones() {
    let payload = {
        let earlier = CrashInjector::new(TARGET, 0);
        run_with_crash(&earlier, || catch_unwind(|| cross(1)).expect_err("it fires")).expect("swallowed")
    };
    // The earlier injector is gone; this one may well have its address.
    let injector = CrashInjector::new(TARGET, 0);
    let rethrown = catch_unwind(AssertUnwindSafe(|| {
        run_with_crash(&injector, || resume_unwind(payload))
    }));
    assert!(rethrown.is_err());
    assert!(!injector.has_fired());
}

#[test]
fn the_slot_is_restored_on_every_exit() {
    let before = CrashInjector::new(TARGET, 1000);
    let other = CrashInjector::new(TARGET, 1000);
    let _before = scoped_injector(&before);
    let assert_restored = |exit: &str| {
        let counted = before.crossing_count();
        cross(1);
        assert_eq!(before.crossing_count(), counted + 1, "{exit}");
    };

    run_with_crash(&CrashInjector::new(TARGET, 0), || ()).expect("nothing crossed");
    assert_restored("complete");

    run_with_crash(&CrashInjector::new(TARGET, 0), || cross(1)).expect_err("it fires");
    assert_restored("crash");

    let panic = AssertUnwindSafe(|| run_with_crash(&CrashInjector::new(TARGET, 0), || panic!("on purpose")));
    assert!(catch_unwind(panic).is_err());
    assert_restored("another panic");

    run_with_crash(&CrashInjector::new(TARGET, 0), || {
        install_injector(Arc::clone(&other));
    })
    .expect("complete");
    assert_restored("the closure installed another");

    run_with_crash(&CrashInjector::new(TARGET, 0), clear_injector).expect("complete");
    assert_restored("the closure cleared the slot");
    assert_eq!(other.crossing_count(), 0);
}

#[test]
fn an_empty_slot_is_empty_again_after_a_run() {
    let injector = CrashInjector::new(TARGET, 10);
    run_with_crash(&injector, || cross(1)).expect("not due");
    cross(5);
    assert_eq!(injector.crossing_count(), 1);
    assert_eq!(Arc::strong_count(&injector), 1);
}

#[test]
fn after_its_run_an_injector_panics_with_the_text() {
    let injector = CrashInjector::new(TARGET, 0);
    run_with_crash(&injector, || ()).expect("nothing crossed");
    let payload = catch_unwind(AssertUnwindSafe(|| injector.maybe_crash(TARGET))).expect_err("it fires");
    assert_ne!(panic_text(&*payload), "a panic without a text");
}

#[test]
fn an_injector_installed_inside_anothers_run_panics_with_the_text_and_is_not_caught() {
    let run = CrashInjector::new(OTHER, 0);
    let installed = CrashInjector::new(TARGET, 0);
    let payload = catch_unwind(AssertUnwindSafe(|| {
        run_with_crash(&run, || {
            install_injector(Arc::clone(&installed));
            cross(1);
        })
    }))
    .expect_err("not the run's injector");
    assert!(panic_text(&*payload).starts_with("CrashInjector: simulated crash"));
}

#[test]
fn an_inner_run_replaces_the_outer_injector_and_catches_only_its_own_crash() {
    let outer = CrashInjector::new(TARGET, 10);
    let inner = CrashInjector::new(TARGET, 1);
    let outcome = run_with_crash(&outer, || {
        cross(1);
        let inner_outcome = run_with_crash(&inner, || cross(5));
        cross(1);
        inner_outcome
    });
    assert_eq!(outcome, Ok(Err(TARGET)));
    assert_eq!((outer.crossing_count(), inner.crossing_count()), (2, 2));
}

#[test]
fn the_outer_injectors_crash_goes_through_an_inner_run_to_the_outer_one() {
    let outer = CrashInjector::new(TARGET, 0);
    let inner = CrashInjector::new(OTHER, 0);
    let mut after_inner = false;
    let outcome = run_with_crash(&outer, || {
        let inner_outcome = run_with_crash(&inner, || {
            // The slot is the inner one's; the outer injector is crossed through its own slot for a while.
            let _outer_again = scoped_injector(&outer);
            cross(1);
        });
        after_inner = true;
        inner_outcome
    });
    assert_eq!(outcome, Err(TARGET));
    assert!(!after_inner && !inner.has_fired());
    cross(1);
    assert_eq!(
        (outer.crossing_count(), inner.crossing_count()),
        (1, 0),
        "the slot is empty again"
    );
}

#[test]
fn a_run_inside_a_run_of_the_same_injector_catches_the_crash() {
    let injector = CrashInjector::new(TARGET, 2);
    let outcome = run_with_crash(&injector, || {
        cross(1);
        let inner = run_with_crash(&injector, || cross(5));
        cross(5);
        inner
    });
    assert_eq!(outcome, Ok(Err(TARGET)));
    assert_eq!(injector.crossing_count(), 3);
}

#[test]
fn after_an_inner_run_of_the_same_injector_the_thread_is_still_inside_the_outer_one() {
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        run_with_crash(&injector, || ()).expect("nothing crossed");
        cross(1);
    });
    assert_eq!(outcome, Err(TARGET));
}

#[test]
fn a_run_inside_a_destructor_of_a_panicking_thread_withholds_the_crash() {
    struct RunsOnDrop(Arc<CrashInjector>);
    impl Drop for RunsOnDrop {
        fn drop(&mut self) {
            assert_eq!(run_with_crash(&self.0, || cross(1)), Ok(()));
        }
    }

    let injector = CrashInjector::new(TARGET, 0);
    let runs_on_drop = RunsOnDrop(Arc::clone(&injector));
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _runs_on_drop = runs_on_drop;
        panic!("on purpose");
    }));
    assert_eq!(panic_text(&*unwound.expect_err("it panics")), "on purpose");
    assert_eq!(
        (injector.crossing_count(), injector.withheld_crossings().len()),
        (0, 1)
    );
}

#[test]
#[should_panic(expected = "run_with_crash needs panic = \"unwind\": this build has panic = \"abort\"")]
fn a_build_that_aborts_on_panic_is_told_so() {
    require_unwinding(true);
}
