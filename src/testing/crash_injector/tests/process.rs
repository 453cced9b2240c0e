//! Effects that show only from outside the process: its output, and the way it ends.
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

/// Runs the calling test again as a child, which must come to the end of `body`. `words` judges its output.
fn assert_child_ends(body: impl FnOnce(), words: fn(&str) -> bool) {
    if let Some(end) = in_child(body) {
        assert!(end.status.success() && end.answers == [TO_THE_END], "{end}");
        assert!(words(&end.stderr_tail), "{end}");
    }
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
    assert_eq!(end.stderr_tail, expected);
}

#[test]
fn a_caught_crash_prints_nothing_and_runs_no_panic_hook() {
    let body = || {
        panic::set_hook(Box::new(|_| eprintln!("the hook ran")));
        assert_eq!(run(&CrashInjector::new(TARGET, 0), 1), Err(TARGET));
        let there = CrashInjector::new(TARGET, 0);
        let joined = run_with_crash(&there, || on_watched_thread("there", || cross(1)));
        assert!(joined.is_ok_and(|joined| joined.is_err()) && there.has_fired());
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
fn an_uncaught_crash_prints_its_text_once() {
    let body = || {
        let other_run = CrashInjector::new(OTHER, 0);
        let injector = CrashInjector::new(TARGET, 0);
        panic_of(|| run_with_crash(&other_run, || injector.maybe_crash(TARGET)));
    };
    assert_child_ends(body, |words| words.matches(TEXT).count() == 1);
}

#[test]
fn another_panic_is_printed_once_however_many_runs_it_unwinds_through() {
    let body = || {
        let outer = CrashInjector::new(TARGET, 0);
        let inner = CrashInjector::new(OTHER, 0);
        let runs = || run_with_crash(&outer, || run_with_crash(&inner, || panic!("a bug")));
        assert_eq!(panic_of(runs), "a bug");
    };
    assert_child_ends(body, |words| words.matches("a bug").count() == 1);
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
    let body = || {
        panic::set_hook(Box::new(|_| cross(1)));
        let injector = CrashInjector::new(TARGET, 0);
        let _installed = scoped_injector(&injector);
        panic_of(|| panic!("{CrossesInDebug:?}"));
        assert!(!injector.has_fired(), "withheld, not fired");
        assert_ne!(injector.withheld_crossings(), []);
        // Its own panic runs the hook, which crosses the point.
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
            .expect_err("caught, so no abort");
        install_injector(CrashInjector::new(OTHER, 0));
    }
}

fn cross_at_thread_end() {
    LOCAL.set(Some(CrossesOnDrop(TARGET)));
}

#[test]
fn a_crossing_in_a_thread_locals_destructor_does_not_abort() {
    let body = || {
        // Destructors run in the reverse order of first use: here while the slot is full, then when it is empty.
        for (is_full, withheld_len) in [(true, 1), (false, 0)] {
            let injector = CrashInjector::new(TARGET, 0);
            let installed = Arc::clone(&injector);
            on_unwatched_thread("ends", move || {
                if !is_full {
                    cross_at_thread_end();
                }
                install_injector(installed);
                if is_full {
                    cross_at_thread_end();
                }
            });
            assert_eq!(state(&injector), (false, 0));
            assert_eq!(injector.withheld_crossings().len(), withheld_len);
            assert_eq!(Arc::strong_count(&injector), 1, "the ended thread let go of it");
        }
        // An inherited slot is gone with the body.
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
fn an_injector_asked_directly_in_a_thread_locals_destructor_does_not_abort() {
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
        assert_eq!(child.receive_answer(TIME_MAX).expect("an answer"), expected);
    }
    let end = child.kill().expect("its end");
    assert!(end.is_killed() && end.answers.is_empty(), "{end}");
}
