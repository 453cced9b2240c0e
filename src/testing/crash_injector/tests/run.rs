//! `run_with_crash`: which panics it catches and lets through, and that it restores the slot.

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
        // A change by reference stays as the crash found it.
        assert_eq!((outcome, reached), (Err(point), vec!["before"]));
        assert!(injector.has_fired());
    }
}

#[test]
fn the_payload_names_point_count_and_injector() {
    let injector = CrashInjector::new(TARGET, 4);
    let twin = CrashInjector::new(TARGET, 4);
    // A swallowed crash: the result is the closure's own.
    let payload = run_with_crash(&injector, || catch_unwind(|| cross(10)).expect_err("it fires"))
        .expect("the closure swallowed the crash");
    assert!(injector.has_fired());
    let crash = crash_of(&*payload).expect("an injected crash");
    assert_eq!((crash.point(), crash.crossings()), (TARGET, 5));
    assert!(crash.is_from(&injector) && !crash.is_from(&twin));
    assert!(crash_of(&payload).is_some(), "a reference to the box");
    assert!(crash_of(&"another panic").is_none());
}

#[test]
fn another_panic_unwinds_with_its_own_payload_whatever_fired_before_it() {
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
fn a_rethrown_crash_is_caught_by_the_run_of_its_own_injector_alone() {
    let injector = CrashInjector::new(TARGET, 0);
    let rethrown = run_with_crash(&injector, || {
        resume_unwind(catch_unwind(|| cross(1)).expect_err("a crash"))
    });
    assert_eq!(rethrown, Err(TARGET));

    let payload = {
        let earlier = CrashInjector::new(TARGET, 0);
        run_with_crash(&earlier, || catch_unwind(|| cross(1)).expect_err("it fires")).expect("swallowed")
    };
    // The earlier injector is gone; this one may well have its address.
    let injector = CrashInjector::new(TARGET, 0);
    panic_of(|| run_with_crash(&injector, || resume_unwind(payload)));
    assert!(!injector.has_fired());
}

#[test]
fn the_slot_is_restored_on_every_exit() {
    let before = CrashInjector::new(TARGET, 1000);
    let other = CrashInjector::new(TARGET, 1000);
    let _before = scoped_injector(&before);
    let bodies: [(&str, &dyn Fn()); 5] = [
        ("complete", &|| ()),
        ("crash", &|| cross(1)),
        ("another panic", &|| panic!("on purpose")),
        ("the closure installed another", &|| {
            install_injector(Arc::clone(&other));
        }),
        ("the closure cleared the slot", &clear_injector),
    ];
    for (index, (exit, body)) in bodies.into_iter().enumerate() {
        let injector = CrashInjector::new(TARGET, 0);
        catch_unwind(AssertUnwindSafe(|| run_with_crash(&injector, body).ok())).ok();
        cross(1);
        assert_eq!(before.crossing_count(), index as u64 + 1, "{exit}");
        assert_eq!(Arc::strong_count(&injector), 1, "{exit}");
    }
    assert_eq!(other.crossing_count(), 0);
}

#[test]
fn an_empty_slot_is_empty_again_after_a_run() {
    let injector = CrashInjector::new(TARGET, 10);
    run(&injector, 1).expect("not due");
    cross(5);
    assert_eq!((injector.crossing_count(), Arc::strong_count(&injector)), (1, 1));
}

#[test]
fn an_injector_outside_of_its_own_run_panics_with_the_text() {
    let after_its_run = CrashInjector::new(TARGET, 0);
    run(&after_its_run, 0).expect("nothing crossed");
    assert_eq!(panic_of(|| after_its_run.maybe_crash(TARGET)), TEXT);

    let other_run = CrashInjector::new(OTHER, 0);
    let in_other_run = CrashInjector::new(TARGET, 0);
    let body = || {
        install_injector(Arc::clone(&in_other_run));
        cross(1);
    };
    assert_eq!(panic_of(|| run_with_crash(&other_run, body)), TEXT);
}

#[test]
fn an_inner_run_replaces_the_outer_injector_and_catches_only_its_own_crash() {
    let outer = CrashInjector::new(TARGET, 10);
    let inner = CrashInjector::new(TARGET, 1);
    let outcome = run_with_crash(&outer, || {
        cross(1);
        let inner_outcome = run(&inner, 5);
        cross(1);
        inner_outcome
    });
    assert_eq!(outcome, Ok(Err(TARGET)));
    assert_eq!((outer.crossing_count(), inner.crossing_count()), (2, 2));
}

#[test]
fn the_outer_injectors_crash_unwinds_through_an_inner_run_to_the_outer_one() {
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
        "an empty slot"
    );
}

#[test]
fn runs_of_one_injector_nest() {
    // The inner run catches the crash.
    let injector = CrashInjector::new(TARGET, 2);
    let outcome = run_with_crash(&injector, || {
        cross(1);
        let inner = run(&injector, 5);
        cross(5);
        inner
    });
    assert_eq!((outcome, state(&injector)), (Ok(Err(TARGET)), (true, 3)));

    // After the inner run the thread is still inside the outer one.
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        run(&injector, 0).expect("nothing crossed");
        cross(1);
    });
    assert_eq!(outcome, Err(TARGET));
}

#[test]
fn a_run_inside_a_destructor_of_a_panicking_thread_withholds_the_crash() {
    struct RunsOnDrop(Arc<CrashInjector>);
    impl Drop for RunsOnDrop {
        fn drop(&mut self) {
            assert_eq!(run(&self.0, 1), Ok(()));
        }
    }

    let injector = CrashInjector::new(TARGET, 0);
    let text = panic_of(|| {
        let _runs_on_drop = RunsOnDrop(Arc::clone(&injector));
        panic!("on purpose");
    });
    assert_eq!((&*text, state(&injector)), ("on purpose", (false, 0)));
    assert_eq!(injector.withheld_crossings().len(), 1);
}

#[test]
#[should_panic(expected = "run_with_crash needs panic = \"unwind\": this build has panic = \"abort\"")]
fn a_build_that_aborts_on_panic_is_told_so() {
    require_unwinding(true);
}
