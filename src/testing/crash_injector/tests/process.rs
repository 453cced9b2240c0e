//! Effects that are visible only from another process: the output of a process and its exit status.
//!
//! Each test runs itself again as a child.

use std::cell::RefCell;
use std::panic;
use std::time::Duration;

use super::*;
use crate::testing::process::{ChildEnd, ChildProgram, ChildSide};

const TIME_MAX: Duration = Duration::from_secs(60);
/// The answer of a child after its body returned.
const BODY_RETURNED: &str = "the body returned";

fn this_test() -> ChildProgram {
    ChildProgram::calling_test().expect("the harness names the thread")
}

/// Runs the calling test again as a child and waits for its end. In the child, runs `body` and returns `None`.
fn in_child(body: impl FnOnce()) -> Option<ChildEnd> {
    if ChildSide::orders().is_some() {
        body();
        ChildSide::answer(BODY_RETURNED);
        return None;
    }
    let child = this_test().start("").expect("a child");
    Some(child.wait(TIME_MAX).expect("its end"))
}

/// Runs the calling test again as a child. In the child, `body` must return, and the standard error must satisfy
/// `is_right`.
fn assert_child_ends(body: impl FnOnce(), is_right: fn(&str) -> bool) {
    if let Some(end) = in_child(body) {
        assert!(end.status.success() && end.answers == [BODY_RETURNED], "{end}");
        assert!(is_right(&end.stderr_tail), "{end}");
    }
}

#[test]
fn the_abort_action_ends_the_process_and_nothing_catches_it() {
    let end = in_child(|| {
        let injector = CrashInjector::with_action(TARGET, 1, CrashAction::Abort);
        let outcome = run_with_crash(&injector, || {
            let _destructor = CrossesOnDrop(OTHER);
            cross(1);
            eprintln!("before the crash");
            cross(1);
        });
        eprintln!("after the crash: {outcome:?}");
    });
    let Some(end) = end else { return };
    assert!(end.is_aborted() && end.answers.is_empty(), "{end}");
    let expected = "before the crash | CrashInjector: simulated crash at WalPreAggregate after 2 crossings";
    assert_eq!(end.stderr_tail, expected);
}

#[test]
fn a_caught_crash_prints_nothing_and_runs_no_panic_hook() {
    let body = || {
        panic::set_hook(Box::new(|_| eprintln!("the hook ran")));
        assert_eq!(run(&CrashInjector::new(TARGET, 0), 1), Err(TARGET));
        let on_thread = CrashInjector::new(TARGET, 0);
        let joined = run_with_crash(&on_thread, || on_watched_thread("helper", || cross(1)));
        assert!(joined.is_ok_and(|joined| joined.is_err()) && on_thread.has_fired());
        let through = CrashInjector::new(TARGET, 0);
        let inner = CrashInjector::new(OTHER, 0);
        let outcome = run_with_crash(&through, || {
            run_with_crash(&inner, || through.maybe_crash(TARGET))
        });
        assert_eq!(outcome, Err(TARGET));
    };
    assert_child_ends(body, str::is_empty);
}

#[test]
fn an_uncaught_crash_prints_its_message_once() {
    let body = || {
        let other_run = CrashInjector::new(OTHER, 0);
        let injector = CrashInjector::new(TARGET, 0);
        panic_of(|| run_with_crash(&other_run, || injector.maybe_crash(TARGET)));
    };
    assert_child_ends(body, |stderr| stderr.matches(TEXT).count() == 1);
}

#[test]
fn another_panic_is_printed_once_if_it_unwinds_through_several_runs() {
    let body = || {
        let outer = CrashInjector::new(TARGET, 0);
        let inner = CrashInjector::new(OTHER, 0);
        let runs = || run_with_crash(&outer, || run_with_crash(&inner, || panic!("a bug")));
        assert_eq!(panic_of(runs), "a bug");
    };
    assert_child_ends(body, |stderr| stderr.matches("a bug").count() == 1);
}

/// Crosses the target when it is formatted.
struct CrossesInDebug;

impl std::fmt::Debug for CrossesInDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        cross(1);
        f.write_str("CrossesInDebug")
    }
}

#[test]
fn a_panic_hook_or_a_panic_message_that_crosses_the_point_does_not_abort() {
    let body = || {
        panic::set_hook(Box::new(|_| cross(1)));
        let injector = CrashInjector::new(TARGET, 0);
        let _installed = scoped_injector(&injector);
        panic_of(|| panic!("{CrossesInDebug:?}"));
        assert!(!injector.has_fired(), "withheld, not fired");
        assert_ne!(injector.withheld_crossings(), []);
        // The panic of the injector runs the hook, which crosses the point.
        panic_of(|| cross(1));
        assert_eq!(state(&injector), (true, 1));
    };
    assert_child_ends(body, |_| true);
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
            .expect_err("a caught crash");
        install_injector(CrashInjector::new(OTHER, 0));
    }
}

fn cross_at_thread_end() {
    LOCAL.set(Some(CrossesOnDrop(TARGET)));
}

#[test]
fn a_crossing_in_a_thread_locals_destructor_does_not_abort() {
    let body = || {
        // Destructors run in the reverse order of first use. So the destructor crosses the point first with an injector
        // in the slot, and in the second round with an empty slot.
        for (has_injector, withheld_len) in [(true, 1), (false, 0)] {
            let injector = CrashInjector::new(TARGET, 0);
            let installed = Arc::clone(&injector);
            on_unwatched_thread("ends", move || {
                if !has_injector {
                    cross_at_thread_end();
                }
                install_injector(installed);
                if has_injector {
                    cross_at_thread_end();
                }
            });
            assert_eq!(state(&injector), (false, 0));
            assert_eq!(injector.withheld_crossings().len(), withheld_len);
            assert_eq!(
                Arc::strong_count(&injector),
                1,
                "the ended thread released the injector"
            );
        }
        // The inherited slot is removed when the body ends, before the destructors run.
        let inherited = CrashInjector::new(TARGET, 0);
        let outcome = run_with_crash(&inherited, || {
            on_watched_thread("inherits", cross_at_thread_end).is_ok()
        });
        assert_eq!((outcome, inherited.has_fired()), (Ok(true), false));
        eprintln!("the end");
    };
    assert_child_ends(body, |words| words == "the end");
}

#[test]
fn a_direct_call_of_the_injector_in_a_thread_locals_destructor_does_not_abort() {
    let body = || {
        let injector = CrashInjector::new(TARGET, 0);
        for use_slot_first in [true, false] {
            let direct = CrashesOnDrop(Arc::clone(&injector));
            on_unwatched_thread("direct", move || {
                if use_slot_first {
                    clear_injector();
                }
                DIRECT.set(Some(direct));
                clear_injector();
            });
        }
        assert!(!injector.has_fired());
        assert_eq!(injector.withheld_crossings().len(), 2);
        eprintln!("the end");
    };
    assert_child_ends(body, |words| words == "the end");
}

#[test]
fn a_child_that_is_parked_at_a_crossing_can_be_killed_there() {
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
        assert_eq!(child.receive_answer(TIME_MAX).expect("an answer"), expected);
    }
    let end = child.kill().expect("its end");
    assert!(end.is_killed() && end.answers.is_empty(), "{end}");
}
