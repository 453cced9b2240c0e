//! Runs that must crash, and results that a test must use.

use super::*;
use crate::testing::conformance::Conformance;
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::{CrashSweep, Plan, SimDisk, run_plan};

#[test]
fn a_run_that_crashes_at_the_requested_crossing_returns_the_crash() {
    let crashed = run_to_crash(TARGET, 2, || cross(5)).expect("a crash");
    assert_eq!((crashed.point, crashed.crossing), (TARGET, 2));
    assert_eq!(crashed.crossings.count(TARGET), 3);
}

/// Runs `body`, which must not crash at this crossing. Checks the reason and the parts of the message.
#[track_caller]
fn assert_no_crash(crossing: u64, body: impl FnOnce(), reason: &NotCrashedReason, parts: &[&str]) {
    let not_crashed = run_to_crash(TARGET, crossing, body).expect_err("no crash");
    assert_eq!(not_crashed.reason, *reason);
    let message = not_crashed.to_string();
    for part in parts {
        assert!(message.contains(part), "{part} is not in {message}");
    }
}

#[test]
fn a_run_that_does_not_end_with_the_crash_returns_the_reason() {
    let crosses_too_few_times = || {
        cross(2);
        check_crash_point(CrashPoint::CohortLedgerUpdate);
    };
    let parts = [
        "WalPreAggregate#5",
        "WalPreAggregate 2 times",
        "CohortLedgerUpdate 1 times",
        "outcome::",
    ];
    assert_no_crash(5, crosses_too_few_times, &NotCrashedReason::NeverFired, &parts);

    let parts = ["tests nothing", "no crash point was crossed"];
    assert_no_crash(0, || (), &NotCrashedReason::NothingCrossed, &parts);

    let on_helper = || assert!(on_watched_thread("helper", || cross(1)).is_err());
    let reason = NotCrashedReason::OnAnotherThread("helper".into());
    assert_no_crash(0, on_helper, &reason, &["ended thread helper"]);

    let unwatched = || on_unwatched_thread("unwatched", || cross(1));
    assert_no_crash(
        0,
        unwatched,
        &NotCrashedReason::NothingCrossed,
        &["on thread unwatched"],
    );

    let catches = || drop(catch_unwind(|| cross(1)));
    assert_no_crash(
        0,
        catches,
        &NotCrashedReason::CaughtInsideRun,
        &["caught inside the run"],
    );

    let replaces = || {
        drop(catch_unwind(|| cross(1)));
        panic!("planned");
    };
    let reason = NotCrashedReason::ReplacedByPanic("planned".into());
    assert_no_crash(0, replaces, &reason, &["replaced by another panic: planned"]);
}

#[test]
fn a_panic_before_the_crash_continues_to_unwind() {
    let body = || drop(run_to_crash(TARGET, 1, || panic!("of the test")));
    assert_eq!(panic_of(body), "of the test");
}

/// The results that a test must use. This compiles only if each of them is `#[must_use]`. Otherwise an expectation is
/// not fulfilled.
#[deny(unfulfilled_lint_expectations)]
#[expect(dead_code, reason = "the function must compile and is never called")]
fn results_that_must_be_used(check: &Conformance, oracle: &Oracle, db: &crate::TidalDb, disk: &SimDisk) {
    #[expect(unused_must_use, reason = "it is the test")]
    CrashSweep::standard(7, 4).run();
    #[expect(unused_must_use, reason = "it is the test")]
    run_plan(&Plan::standard(7, 4));
    #[expect(unused_must_use, reason = "it is the test")]
    run_to_crash(TARGET, 0, || ());
    #[expect(unused_must_use, reason = "it is the test")]
    check.check();
    #[expect(unused_must_use, reason = "it is the test")]
    oracle.check(CrashKind::PowerLoss, db);
    #[expect(unused_must_use, reason = "it is the test")]
    disk.changes_after_refusal();
}
