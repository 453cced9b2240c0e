//! Engines with a planted bug. The check for each bug finds it, and the engine without a bug passes all checks.

use std::time::Duration;

use super::super::{Check, CheckOutcome, Conformance};
use super::bugs::Bug;
use super::{DISK_FULL, KILLS};

fn toy(bug: Bug) -> Conformance {
    let name = format!("toy with {bug:?}");
    let mut conformance = Conformance::over_file_access(&name, move |files, dir| bug.open(files, dir))
        .time_limit(Duration::from_secs(60));
    conformance.keeps_files_of_failures = false;
    conformance
}

#[track_caller]
fn assert_caught(conformance: &Conformance, name: &str, text: &str) {
    let report = conformance.check_only(|check| check == name);
    let outcome = report.checks.first().map(|check| &check.outcome);
    let is_caught = matches!(outcome, Some(CheckOutcome::Failed { reason }) if reason.contains(text));
    assert!(is_caught, "{name} did not fail with {text:?}:\n{report}");
    println!("{report}");
}

#[test]
fn a_close_that_damages_existing_content_is_caught_after_a_kill() {
    assert_caught(&toy(Bug::CloseDamages), "killed-after-closing", "is lost");
}

/// The bugs that are visible in one process or on a simulated disk: the bug, the check that catches it, and a part of
/// the reason.
const CAUGHT: &str = r#"
DeleteIgnored       basic-operations          after a delete, key "key" gave
EmptyValueDeletes   basic-operations          gave nothing, not ""
EmptyValueDeletes   value-sizes               putting 0 bytes
PutLate             basic-operations          after a put
FirstOfBatchWins    batch-order               has value
BatchInPieces       batch-refused             failed and had a part of its effect
OrderIsSigned       scan-order                not in ascending order
OrderIsSigned       random-model              not in ascending order
ScanEndOverflows    scan-bounds               is missing
ScanReturnsMore     scan-bounds               is present and must not be
ScanIsLive          scan-snapshot             a scan showed a later write (replace)
DeleteNotLogged     reopening                 is present and must not be
DeleteNotLogged     random-model              after reopening
WritesBuffered      reopening                 is missing
LongKeyPanics       key-sizes                 panicked: a key's length has 16 bits
LongKeyPanics       batch-refused             panicked
FlushDoesNothing    power-loss                is lost: it was acknowledged and flushed
FlushDoesNothing    disk-failures             is lost: it was acknowledged and flushed
DirectoryNotSynced  power-loss                is lost: it was acknowledged and flushed
BatchInPieces       power-loss                partly present
NoChecksum          power-loss                partly present
BadRecordsSkipped   power-loss                have a gap
TailNotTruncated    writes-after-recovery     did not survive a second power loss
WritesBuffered      power-loss                is lost: it was acknowledged
DeleteNotLogged     power-loss                "temporary" is present and must not be
RecoveryRewrites    recovery-interrupted      changed the recovered content
WritesAfterFailure  disk-failures             had failed
IgnoresOneFailure   disk-failures             had failed
SyncRetried         disk-failures             a failed sync that loses data
FailureNotReported  disk-failures             is lost: it was acknowledged
CloseDoesNothing    power-loss-after-closing  is lost
CloseDamages        closing                   is missing
CloseEndsReads      closing                   after closing with 3 writes
"#;

#[test]
fn each_bug_that_is_visible_in_one_process_or_on_a_simulated_disk_is_caught() {
    for row in CAUGHT.trim().lines() {
        let (name, rest) = row.split_once(' ').expect("a bug");
        let (check, text) = rest.trim().split_once(' ').expect("a check");
        let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name).expect(row);
        assert_caught(&toy(*bug), check, text.trim());
    }
}

#[test]
fn a_scan_that_blocks_writes_is_caught_as_a_hang() {
    let hanging = toy(Bug::ScanBlocksWrites).time_limit(Duration::from_millis(300));
    assert_caught(&hanging, "scan-snapshot", "hangs");
}

/// The scheduler decides if a scan runs inside a batch. On a busy machine one run of the check may have no such scan,
/// but some of many runs have one.
#[test]
fn batches_that_are_visible_in_pieces_are_caught_by_concurrent_scans() {
    const RUNS: usize = 30;
    for bug in [Bug::BatchVisibleInPieces, Bug::BatchInPieces] {
        let run = || toy(bug).check_only(|check| check == "concurrent-use");
        let caught = (0..RUNS)
            .map(|_| run())
            .find(|report| report.failed().next().is_some());
        let report = caught.unwrap_or_else(|| panic!("{bug:?} is not caught in {RUNS} runs"));
        let reason = reason_of(&report.checks[0]);
        assert!(reason.contains("a state of thread"), "{report}");
    }
}

#[test]
fn writes_that_are_only_buffered_in_memory_are_caught_by_every_kind_of_kill() {
    for check in &KILLS[..3] {
        assert_caught(&toy(Bug::WritesBuffered), check, "is lost: it was acknowledged");
    }
}

/// Each engine has its own test, because the child process repeats the test.
#[track_caller]
fn assert_caught_on_a_full_disk(bug: Bug, text: &str) {
    if super::super::disk_full::is_possible() {
        assert_caught(&toy(bug), DISK_FULL[0], text);
    }
}

#[test]
fn a_batch_in_pieces_is_caught_on_a_real_disk_that_is_full_in_the_middle_of_a_batch() {
    assert_caught_on_a_full_disk(Bug::BatchInPieces, "partly present");
}

#[test]
fn the_loss_of_writes_acknowledged_after_a_failed_batch_is_caught_on_a_real_disk() {
    assert_caught_on_a_full_disk(Bug::WritesAfterFailure, "had failed");
}

#[test]
fn the_loss_of_writes_acknowledged_after_a_single_failed_batch_is_caught_on_a_real_disk() {
    assert_caught_on_a_full_disk(Bug::IgnoresOneFailure, "the caller waits");
}

#[test]
fn a_failure_that_is_not_reported_is_caught_on_a_real_disk() {
    assert_caught_on_a_full_disk(Bug::FailureNotReported, "is lost: it was acknowledged");
}

/// The reason of a failed check.
pub(super) fn reason_of(check: &Check) -> &str {
    match &check.outcome {
        CheckOutcome::Failed { reason } => reason,
        other => panic!("{} did not fail: {other:?}", check.name),
    }
}

/// Tests that take more than a second. The quick set does not run them.
mod full {
    use super::*;

    #[test]
    fn an_engine_without_a_bug_passes_every_check() {
        let report = toy(Bug::None).check();
        super::super::assert_all_pass_except(&report, &[]);
        let failures = report.check("disk-failures").expect("every check is made");
        assert_eq!(
            failures.notes,
            [
                "each run has one failure; opening, reading and listing files never fail",
                "at most 6 images of the power loss that ends each run; 450692 left out",
                "9 runs ended before an opening, because a failed sync had lost data that can still be read",
                "2 runs in which the failure did not happen",
            ]
        );
    }
}
