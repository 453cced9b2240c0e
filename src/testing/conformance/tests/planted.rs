//! Engines with a planted bug. Each is caught, by the check that is there for it, and the engine without a bug passes.

use std::time::Duration;

use super::super::{Check, Conformance, Outcome};
use super::bugs::Bug;
use super::{DISK_FULL, KILLS};

fn toy(bug: Bug) -> Conformance {
    let name = format!("toy with {bug:?}");
    let mut conformance = Conformance::over_file_access(&name, move |files, dir| bug.open(files, dir))
        .time_limit(Duration::from_secs(60));
    conformance.keeps_failures = false;
    conformance
}

#[track_caller]
fn assert_caught(conformance: &Conformance, name: &str, saying: &str) {
    let report = conformance.check_those(|check| check == name);
    let outcome = report.checks.first().map(|check| &check.outcome);
    let is_caught = matches!(outcome, Some(Outcome::Failed { reason }) if reason.contains(saying));
    assert!(is_caught, "not caught by {name}, saying {saying:?}:\n{report}");
    println!("{report}");
}

#[test]
fn a_close_that_makes_nothing_durable_and_one_that_changes_what_is_read_are_caught() {
    assert_caught(&toy(Bug::CloseDoesNothing), "power-loss-after-closing", "is lost");
    assert_caught(&toy(Bug::CloseDamages), "closing", "is missing");
    assert_caught(
        &toy(Bug::CloseEndsReads),
        "closing",
        "after closing with 3 writes",
    );
}

#[test]
fn a_close_that_damages_what_is_there_is_caught_after_a_kill() {
    assert_caught(&toy(Bug::CloseDamages), "killed-after-closing", "is lost");
}

#[test]
fn an_engine_without_a_bug_passes_every_check() {
    let report = toy(Bug::None).check();
    super::assert_all_but(&report, &[]);
    let failures = report.check("disk-failures").expect("every check is made");
    assert_eq!(
        failures.notes,
        [
            "one thing goes wrong in each run; opening, reading and listing files never fail",
            "at most 6 images of the power loss that ends each run; 142526 left out",
            "9 runs ended where the engine would have been opened after a sync had lost what it covered",
            "2 runs in which no call met what was to go wrong",
        ]
    );
}

#[test]
fn each_bug_that_one_process_shows_is_caught() {
    for (bug, check, saying) in [
        (
            Bug::DeleteIgnored,
            "basic-operations",
            "after it was deleted, key \"key\" gave",
        ),
        (
            Bug::EmptyValueDeletes,
            "basic-operations",
            "gave nothing, not \"\"",
        ),
        (Bug::EmptyValueDeletes, "value-sizes", "putting 0 bytes"),
        (Bug::PutLate, "basic-operations", "after it was put"),
        (Bug::FirstOfBatchWins, "batch-order", "has value"),
        (Bug::BatchInPieces, "batch-refused", "failed and was half done"),
        (Bug::OrderIsSigned, "scan-order", "not in ascending order"),
        (Bug::OrderIsSigned, "random-model", "not in ascending order"),
        (Bug::ScanEndOverflows, "scan-bounds", "is missing"),
        (Bug::ScanSeesMore, "scan-bounds", "is there and should not be"),
        (
            Bug::ScanIsLive,
            "scan-snapshot",
            "a scan showed a later write (replace)",
        ),
        (Bug::DeleteNotLogged, "reopening", "is there and should not be"),
        (Bug::DeleteNotLogged, "random-model", "after reopening"),
        (Bug::WritesBuffered, "reopening", "is missing"),
        (
            Bug::LongKeyPanics,
            "key-sizes",
            "panicked: a key's length has 16 bits",
        ),
        (Bug::LongKeyPanics, "batch-refused", "panicked"),
    ] {
        assert_caught(&toy(bug), check, saying);
    }
    let hanging = toy(Bug::ScanBlocksWrites).time_limit(Duration::from_millis(300));
    assert_caught(&hanging, "scan-snapshot", "hangs");
}

/// Which instants a scan meets is up to the scheduler: on a busy machine one run of the check may meet none inside of a
/// batch, but not so many.
#[test]
fn batches_that_are_seen_in_pieces_are_caught_by_threads() {
    const RUNS: usize = 30;
    for bug in [Bug::BatchVisibleInPieces, Bug::BatchInPieces] {
        let run = || toy(bug).check_those(|check| check == "concurrent-use");
        let caught = (0..RUNS)
            .map(|_| run())
            .find(|report| report.failed().next().is_some());
        let report = caught.unwrap_or_else(|| panic!("{bug:?} is not caught in {RUNS} runs"));
        let reason = reason_of(&report.checks[0]);
        assert!(reason.contains("a state of thread"), "{report}");
    }
}

#[test]
fn each_bug_that_a_simulated_disk_shows_is_caught() {
    for (bug, check, saying) in [
        (
            Bug::FlushDoesNothing,
            "power-loss",
            "is lost: it was acknowledged and flushed",
        ),
        (
            Bug::FlushDoesNothing,
            "disk-failures",
            "is lost: it was acknowledged and flushed",
        ),
        (
            Bug::DirectoryNotSynced,
            "power-loss",
            "is lost: it was acknowledged and flushed",
        ),
        (Bug::BatchInPieces, "power-loss", "half there"),
        (Bug::NoChecksum, "power-loss", "half there"),
        (Bug::BadRecordsSkipped, "power-loss", "there is a hole"),
        (
            Bug::TailNotCut,
            "writes-after-recovery",
            "did not survive another one",
        ),
        (Bug::WritesBuffered, "power-loss", "is lost: it was acknowledged"),
        (
            Bug::DeleteNotLogged,
            "power-loss",
            "\"temporary\" is there and should not be",
        ),
        (
            Bug::RecoveryRewrites,
            "recovery-interrupted",
            "changed what is found",
        ),
        (Bug::GoesOnAfterFailure, "disk-failures", "had failed"),
        (Bug::ForgivesOneFailure, "disk-failures", "had failed"),
        (Bug::SyncRetried, "disk-failures", "SyncLoses"),
        (
            Bug::FailureSwallowed,
            "disk-failures",
            "is lost: it was acknowledged",
        ),
    ] {
        assert_caught(&toy(bug), check, saying);
    }
}

#[test]
fn writes_that_are_only_buffered_are_caught_by_every_kind_of_kill() {
    for check in &KILLS[..3] {
        assert_caught(&toy(Bug::WritesBuffered), check, "is lost: it was acknowledged");
    }
}

#[track_caller]
fn assert_caught_on_a_full_disk(bug: Bug, saying: &str) {
    if super::super::disk_full::is_possible() {
        assert_caught(&toy(bug), DISK_FULL[0], saying);
    }
}

#[test]
fn batches_in_pieces_are_caught_on_a_real_disk_that_is_full_in_the_middle_of_one() {
    assert_caught_on_a_full_disk(Bug::BatchInPieces, "half there");
}

#[test]
fn successes_after_a_failed_batch_that_are_lost_are_caught_on_a_real_disk() {
    assert_caught_on_a_full_disk(Bug::GoesOnAfterFailure, "had failed");
}

#[test]
fn successes_are_caught_that_are_lost_after_a_failed_batch_only_if_no_other_call_fails() {
    assert_caught_on_a_full_disk(Bug::ForgivesOneFailure, "caller Waits");
}

#[test]
fn a_swallowed_failure_is_caught_on_a_real_disk() {
    assert_caught_on_a_full_disk(Bug::FailureSwallowed, "is lost: it was acknowledged");
}

/// Used by the other tests of verdicts.
pub(super) fn reason_of(check: &Check) -> &str {
    match &check.outcome {
        Outcome::Failed { reason } => reason,
        other => panic!("{} did not fail: {other:?}", check.name),
    }
}
