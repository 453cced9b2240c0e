//! What can only be seen from outside the process: what is printed, and how the process ends.
//!
//! Each test runs itself again as a child.

use std::cell::RefCell;
use std::panic;
use std::time::Duration;

use super::*;
use crate::testing::process::{ChildEnd, ChildProgram, ChildSide};

const TIME_MAX: Duration = Duration::from_secs(60);
/// The answer of a child that came to the end of its body.
const TO_THE_END: &str = "to the end";

fn this_test() -> ChildProgram {
    ChildProgram::calling_test().expect("the harness names the thread")
}

/// Runs the calling test again as a child to its end. In the child itself: `None`, after running `body`.
fn in_child(body: impl FnOnce()) -> Option<ChildEnd> {
    if ChildSide::orders().is_some() {
        body();
        ChildSide::answer(TO_THE_END);
        return None;
    }
    let child = this_test().start("").expect("a child");
    Some(child.wait(TIME_MAX).expect("its end"))
}

fn assert_succeeded(end: &ChildEnd) {
    assert!(end.status.success(), "{end}");
    assert_eq!(end.answers, [TO_THE_END]);
}

#[test]
fn the_abort_action_ends_the_process_and_nothing_catches_it() {
    let end = in_child(|| {
        let injector = CrashInjector::with_action(TARGET, 1, CrashAction::Abort);
        let outcome = run_with_crash(&injector, || {
            let _destructor = CrossesOnDrop(OTHER);
            cross(1);
            eprintln!("still here");
            cross(1);
        });
        eprintln!("never here: {outcome:?}");
    });
    let Some(end) = end else { return };
    assert!(end.is_aborted() && end.answers.is_empty(), "{end}");
    let expected = "still here | CrashInjector: simulated crash at WalPreAggregate after 2 crossings";
    assert_eq!(end.last_words, expected);
}

#[test]
fn a_caught_crash_prints_nothing_and_runs_no_panic_hook() {
    let end = in_child(|| {
        panic::set_hook(Box::new(|_| eprintln!("the hook ran")));
        let here = CrashInjector::new(TARGET, 0);
        assert_eq!(run_with_crash(&here, || cross(1)), Err(TARGET));
        let there = CrashInjector::new(TARGET, 0);
        let joined = run_with_crash(&there, || {
            crate::threads::spawn("there", || cross(1))
                .expect("a thread")
                .join()
        });
        assert!(joined.is_ok_and(|joined| joined.is_err()) && there.has_fired());
        let through = CrashInjector::new(TARGET, 0);
        let inner = CrashInjector::new(OTHER, 0);
        let outcome = run_with_crash(&through, || {
            run_with_crash(&inner, || through.maybe_crash(TARGET))
        });
        assert_eq!(outcome, Err(TARGET));
    });
    let Some(end) = end else { return };
    assert_succeeded(&end);
    assert_eq!(end.last_words, "");
}

#[test]
fn an_uncaught_crash_prints_its_text_once() {
    let end = in_child(|| {
        let run = CrashInjector::new(OTHER, 0);
        let injector = CrashInjector::new(TARGET, 0);
        drop(catch_unwind(AssertUnwindSafe(|| {
            run_with_crash(&run, || injector.maybe_crash(TARGET))
        })));
    });
    let Some(end) = end else { return };
    assert_succeeded(&end);
    let text = "CrashInjector: simulated crash at WalPreAggregate after 1 crossings";
    assert_eq!(end.last_words.matches(text).count(), 1, "{end}");
}

#[test]
fn another_panic_is_printed_once_however_many_runs_it_goes_through() {
    let end = in_child(|| {
        let outer = CrashInjector::new(TARGET, 0);
        let inner = CrashInjector::new(OTHER, 0);
        let payload = catch_unwind(AssertUnwindSafe(|| {
            run_with_crash(&outer, || run_with_crash(&inner, || panic!("a bug")))
        }))
        .expect_err("not injected");
        assert_eq!(panic_text(&*payload), "a bug");
    });
    let Some(end) = end else { return };
    assert_succeeded(&end);
    assert_eq!(end.last_words.matches("a bug").count(), 1, "{end}");
}

/// Crosses the target and shows as its name.
struct CrossesInDebug;

impl std::fmt::Debug for CrossesInDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        cross(1);
        f.write_str("CrossesInDebug")
    }
}

#[test]
fn a_panic_hook_or_a_message_that_crosses_the_point_does_not_abort() {
    let end = in_child(|| {
        panic::set_hook(Box::new(|_| cross(1)));
        let injector = CrashInjector::new(TARGET, 0);
        let _installed = scoped_injector(&injector);
        assert!(catch_unwind(|| panic!("{CrossesInDebug:?}")).is_err());
        assert!(!injector.has_fired(), "withheld, not fired");
        assert_ne!(injector.withheld_crossings(), []);

        assert!(
            catch_unwind(|| cross(1)).is_err(),
            "its own panic runs the hook, which crosses the point"
        );
        assert!(injector.has_fired());
        assert_eq!(injector.crossing_count(), 1);
    });
    let Some(end) = end else { return };
    assert_succeeded(&end);
}

thread_local! {
    static LOCAL: RefCell<Option<CrossesOnDrop>> = const { RefCell::new(None) };
    static DIRECT: RefCell<Option<CrashesOnDrop>> = const { RefCell::new(None) };
}

struct CrashesOnDrop(Arc<CrashInjector>);

impl Drop for CrashesOnDrop {
    fn drop(&mut self) {
        self.0.maybe_crash(TARGET);
        run_with_crash(&CrashInjector::new(OTHER, 0), || check_crash_point(OTHER))
            .expect_err("caught, so no abort");
        install_injector(CrashInjector::new(OTHER, 0));
    }
}

fn cross_at_thread_end() {
    LOCAL.set(Some(CrossesOnDrop(TARGET)));
}

#[test]
fn a_crossing_in_a_thread_locals_destructor_does_not_abort() {
    let end = in_child(|| {
        // Destructors run in the reverse order of first use: here while the slot is full ...
        let full = CrashInjector::new(TARGET, 0);
        let slot = Arc::clone(&full);
        let full_slot = thread::Builder::new().spawn(move || {
            install_injector(slot);
            cross_at_thread_end();
        });
        full_slot.expect("a thread").join().expect("no panic");
        assert_eq!(
            (
                full.has_fired(),
                full.crossing_count(),
                full.withheld_crossings().len()
            ),
            (false, 0, 1)
        );
        assert_eq!(Arc::strong_count(&full), 1, "the ending thread let go of it");

        // ... here when it has been emptied ...
        let emptied = CrashInjector::new(TARGET, 0);
        let slot = Arc::clone(&emptied);
        let emptied_slot = thread::Builder::new().spawn(move || {
            cross_at_thread_end();
            install_injector(slot);
        });
        emptied_slot.expect("a thread").join().expect("no panic");
        assert_eq!(
            (emptied.has_fired(), emptied.withheld_crossings()),
            (false, vec![])
        );
        assert_eq!(Arc::strong_count(&emptied), 1);

        // ... and an inherited slot is gone with the body.
        let inherited = CrashInjector::new(TARGET, 0);
        let outcome = run_with_crash(&inherited, || {
            crate::threads::spawn("inherits", cross_at_thread_end)
                .expect("a thread")
                .join()
                .expect("no panic");
        });
        assert_eq!((outcome, inherited.has_fired()), (Ok(()), false));
        eprintln!("the end");
    });
    let Some(end) = end else { return };
    assert_succeeded(&end);
    assert_eq!(end.last_words, "the end");
}

#[test]
fn an_injector_asked_directly_in_a_thread_locals_destructor_does_not_abort() {
    let end = in_child(|| {
        let injector = CrashInjector::new(TARGET, 0);
        for use_slot_first in [true, false] {
            let direct = CrashesOnDrop(Arc::clone(&injector));
            let spawned = thread::Builder::new().spawn(move || {
                if use_slot_first {
                    clear_injector();
                }
                DIRECT.set(Some(direct));
                clear_injector();
            });
            spawned.expect("a thread").join().expect("no panic");
        }
        assert_eq!(
            (injector.has_fired(), injector.withheld_crossings().len()),
            (false, 2)
        );
        eprintln!("the end");
    });
    let Some(end) = end else { return };
    assert_succeeded(&end);
    assert_eq!(end.last_words, "the end");
}

#[test]
fn a_child_parked_at_the_point_is_killed_exactly_there() {
    if ChildSide::orders().is_some() {
        let park = CrashAction::call(|point, crossings| {
            ChildSide::park(&format!("parked at {point} {crossings}"));
        });
        let injector = CrashInjector::with_action(TARGET, 2, park);
        let outcome = run_with_crash(&injector, || {
            for crossing in 1..=10 {
                cross(1);
                ChildSide::answer(&format!("passed {crossing}"));
            }
        });
        assert_eq!(outcome, Ok(()));
        return;
    }
    let mut child = this_test().start("").expect("a child");
    for expected in ["passed 1", "passed 2", "parked at WalPreAggregate 3"] {
        assert_eq!(child.answer(TIME_MAX).expect("an answer"), expected);
    }
    let end = child.kill().expect("its end");
    assert!(end.is_killed() && end.answers.is_empty(), "{end}");
}
