use super::*;
use crate::testing::{check_crash_point, inherit};

const POINT: CrashPoint = CrashPoint::WalPreAggregate;

fn cross(times: usize) {
    for _ in 0..times {
        check_crash_point(POINT);
    }
}

fn why<T>(outcome: Result<Crashed, NotCrashed<T>>) -> (WhyNot, String) {
    match outcome {
        Ok(crashed) => panic!("it crashed: {crashed:?}"),
        Err(not) => (not.why.clone(), not.to_string()),
    }
}

#[test]
fn a_crash_at_its_crossing_is_a_crash() {
    let crashed = run_to_crash(POINT, 2, || cross(5)).expect("it crashes");
    assert_eq!((crashed.point, crashed.crossing), (POINT, 2));
    assert_eq!(crashed.crossed.count(POINT), 3);
}

#[test]
fn a_crossing_that_never_comes_is_told_with_what_came() {
    let (why, message) = why(run_to_crash(POINT, 5, || {
        cross(2);
        check_crash_point(CrashPoint::CohortLedgerUpdate);
    }));
    assert_eq!(why, WhyNot::NeverFired);
    for part in [
        "WalPreAggregate#5",
        "WalPreAggregate 2 times",
        "CohortLedgerUpdate 1 times",
        "outcome::",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
}

#[test]
fn a_run_that_crosses_nothing_tests_nothing() {
    let (why, message) = why(run_to_crash(POINT, 0, || ()));
    assert_eq!(why, WhyNot::NothingCrossed);
    assert!(
        message.contains("tests nothing") && message.contains("nothing was crossed"),
        "{message}"
    );
    assert!(run_to_end(|| ()).is_err());
    assert_eq!(
        run_to_end(|| cross(2)).expect("it crosses").crossed.count(POINT),
        2
    );
}

#[test]
fn a_crash_on_another_thread_is_no_crash_of_the_run() {
    let (why, message) = why(run_to_crash(POINT, 0, || {
        let body = inherit(|| cross(1));
        let helper = thread::Builder::new().name("helper".into());
        let joined = thread::scope(|scope| helper.spawn_scoped(scope, body).map(|it| it.join().is_err()));
        assert!(joined.expect("a thread"));
    }));
    assert_eq!(why, WhyNot::OnAnotherThread("helper".into()));
    assert!(message.contains("ended thread helper"), "{message}");
}

#[test]
fn a_crash_on_a_thread_that_nobody_watches_is_told_of() {
    let (why, message) = why(run_to_crash(POINT, 0, || {
        let helper = thread::Builder::new().name("stranger".into());
        thread::scope(|scope| {
            helper
                .spawn_scoped(scope, || cross(1))
                .map(|it| it.join().is_ok())
        })
    }));
    assert_eq!(why, WhyNot::NothingCrossed);
    assert!(message.contains("on thread stranger"), "{message}");
}

#[test]
fn a_crash_that_was_swallowed_is_no_crash() {
    let (why, _) = why(run_to_crash(POINT, 0, || catch_unwind(|| cross(1)).is_err()));
    assert_eq!(why, WhyNot::Swallowed);
}

#[test]
fn a_crash_that_another_panic_replaces_is_no_crash() {
    let (why, message) = why(run_to_crash(POINT, 0, || {
        let caught = catch_unwind(|| cross(1));
        assert!(caught.is_ok(), "planned");
    }));
    assert!(
        matches!(&why, WhyNot::ReplacedByPanic(text) if text.contains("planned")),
        "{why:?}"
    );
    assert!(message.contains("replaced by another panic"), "{message}");
}

#[test]
fn a_panic_before_the_crash_goes_on_unwinding() {
    let payload =
        catch_unwind(|| drop(run_to_crash(POINT, 1, || panic!("of the test")))).expect_err("it panics");
    assert_eq!(panic_text(&*payload), "of the test");
}
