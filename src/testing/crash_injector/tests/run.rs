//! `run_with_crash`: the panics that it catches, the panics that it does not catch, and the restored slot.

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
        // Changes by reference from before the crash stay.
        assert_eq!((outcome, reached), (Err(point), vec!["before"]));
        assert!(injector.has_fired());
    }
}

#[test]
fn the_payload_has_the_point_the_count_and_the_injector() {
    let injector = CrashInjector::new(TARGET, 4);
    let twin = CrashInjector::new(TARGET, 4);
    // The closure catches the crash, so the run returns the closure's result.
    let payload = run_with_crash(&injector, || catch_unwind(|| cross(10)).expect_err("a crash"))
        .expect("the closure caught the crash");
    assert!(injector.has_fired());
    let crash = crash_of(&*payload).expect("an injected crash");
    assert_eq!((crash.point(), crash.crossings()), (TARGET, 5));
    assert!(crash.is_from(&injector) && !crash.is_from(&twin));
    assert!(crash_of(&payload).is_some(), "a reference to the box");
    assert!(crash_of(&"another panic").is_none());
}

#[test]
fn another_panic_keeps_its_payload_also_after_the_injector_fired() {
    #[derive(Debug, PartialEq)]
    struct Typed(u32);

    let injector = CrashInjector::new(TARGET, 0);
    let payload = catch_unwind(AssertUnwindSafe(|| {
        run_with_crash(&injector, || {
            assert!(catch_unwind(|| cross(1)).is_err());
            resume_unwind(Box::new(Typed(7)));
        })
    }))
    .expect_err("a panic that is not the injector's crash");
    assert!(injector.has_fired());
    assert_eq!(payload.downcast_ref(), Some(&Typed(7)));
}

#[test]
fn only_the_run_of_its_injector_catches_a_rethrown_crash() {
    let injector = CrashInjector::new(TARGET, 0);
    let rethrown = run_with_crash(&injector, || {
        resume_unwind(catch_unwind(|| cross(1)).expect_err("a crash"))
    });
    assert_eq!(rethrown, Err(TARGET));

    let payload = {
        let earlier = CrashInjector::new(TARGET, 0);
        run_with_crash(&earlier, || catch_unwind(|| cross(1)).expect_err("a crash"))
            .expect("the closure caught the crash")
    };
    // The earlier injector is dropped. This injector can have the same address.
    let injector = CrashInjector::new(TARGET, 0);
    panic_of(|| run_with_crash(&injector, || resume_unwind(payload)));
    assert!(!injector.has_fired());
}

#[test]
fn the_slot_is_restored_after_every_kind_of_run() {
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
    for (index, (end, body)) in bodies.into_iter().enumerate() {
        let injector = CrashInjector::new(TARGET, 0);
        catch_unwind(AssertUnwindSafe(|| run_with_crash(&injector, body).ok())).ok();
        cross(1);
        assert_eq!(before.crossing_count(), index as u64 + 1, "{end}");
        assert_eq!(Arc::strong_count(&injector), 1, "{end}");
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
fn an_injector_outside_of_its_own_run_panics_with_the_message() {
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
fn the_crash_of_the_outer_injector_passes_the_inner_run_and_ends_the_outer_run() {
    let outer = CrashInjector::new(TARGET, 0);
    let inner = CrashInjector::new(OTHER, 0);
    let mut after_inner = false;
    let outcome = run_with_crash(&outer, || {
        let inner_outcome = run_with_crash(&inner, || {
            // The slot has the inner injector. This installs the outer injector again for one block.
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
        "the slot is empty after the runs"
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

    // After the inner run the thread is still inside the outer run.
    let injector = CrashInjector::new(TARGET, 0);
    let outcome = run_with_crash(&injector, || {
        run(&injector, 0).expect("nothing crossed");
        cross(1);
    });
    assert_eq!(outcome, Err(TARGET));
}

#[test]
fn a_run_in_a_destructor_on_a_panicking_thread_withholds_the_crash() {
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
fn a_build_with_abort_on_panic_gets_a_panic_with_the_reason() {
    require_unwinding(true);
}
