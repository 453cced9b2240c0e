//! Runs that were to crash, and results that a test must look at.

use super::*;
use crate::testing::conformance::Conformance;
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::{CrashSweep, Plan, SimDisk, run_plan};

#[test]
fn a_crash_at_its_crossing_is_a_crash() {
    let crashed = run_to_crash(TARGET, 2, || cross(5)).expect("it crashes");
    assert_eq!((crashed.point, crashed.crossing), (TARGET, 2));
    assert_eq!(crashed.crossed.count(TARGET), 3);
}

/// Checks the reason and the parts of the message of a run that was to crash at this crossing.
#[track_caller]
fn assert_no_crash(crossing: u64, body: impl FnOnce(), why: &NotCrashedReason, parts: &[&str]) {
    let not_crashed = run_to_crash(TARGET, crossing, body).expect_err("no crash");
    assert_eq!(not_crashed.why, *why);
    let message = not_crashed.to_string();
    for part in parts {
        assert!(message.contains(part), "{part} is not in {message}");
    }
}

#[test]
fn a_run_that_ends_in_another_way_is_no_crash_and_says_why() {
    let crosses_too_little = || {
        cross(2);
        check_crash_point(CrashPoint::CohortLedgerUpdate);
    };
    let parts = [
        "WalPreAggregate#5",
        "WalPreAggregate 2 times",
        "CohortLedgerUpdate 1 times",
        "outcome::",
    ];
    assert_no_crash(5, crosses_too_little, &NotCrashedReason::NeverFired, &parts);

    let parts = ["tests nothing", "nothing was crossed"];
    assert_no_crash(0, || (), &NotCrashedReason::NothingCrossed, &parts);

    let on_helper = || assert!(on_watched_thread("helper", || cross(1)).is_err());
    let why = NotCrashedReason::OnAnotherThread("helper".into());
    assert_no_crash(0, on_helper, &why, &["ended thread helper"]);

    let unwatched = || on_unwatched_thread("stranger", || cross(1));
    assert_no_crash(
        0,
        unwatched,
        &NotCrashedReason::NothingCrossed,
        &["on thread stranger"],
    );

    let swallows = || drop(catch_unwind(|| cross(1)));
    assert_no_crash(
        0,
        swallows,
        &NotCrashedReason::Swallowed,
        &["caught inside the run"],
    );

    let replaces = || {
        drop(catch_unwind(|| cross(1)));
        panic!("planned");
    };
    let why = NotCrashedReason::ReplacedByPanic("planned".into());
    assert_no_crash(0, replaces, &why, &["replaced by another panic: planned"]);
}

#[test]
fn a_panic_before_the_crash_continues_to_unwind() {
    let body = || drop(run_to_crash(TARGET, 1, || panic!("of the test")));
    assert_eq!(panic_of(body), "of the test");
}

/// Results that a test must look at. This compiles as long as each of them is `#[must_use]`: else an expectation is not
/// fulfilled.
#[deny(unfulfilled_lint_expectations)]
#[expect(dead_code, reason = "it has to compile, not to run")]
fn results_that_cannot_be_dropped(check: &Conformance, oracle: &Oracle, db: &crate::TidalDb, disk: &SimDisk) {
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
