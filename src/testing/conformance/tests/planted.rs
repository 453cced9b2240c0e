//! Engines with a planted bug. Each is caught, by the check that is there for it, and the engine without a bug passes.

use std::time::Duration;

use super::super::{Check, CheckOutcome, Conformance};
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
    let is_caught = matches!(outcome, Some(CheckOutcome::Failed { reason }) if reason.contains(saying));
    assert!(is_caught, "not caught by {name}, saying {saying:?}:\n{report}");
    println!("{report}");
}

#[test]
fn a_close_that_damages_what_is_there_is_caught_after_a_kill() {
    assert_caught(&toy(Bug::CloseDamages), "killed-after-closing", "is lost");
}

/// Bugs that one process or a simulated disk shows: the check that catches each, and a part of its reason.
const CAUGHT: &str = r#"
DeleteIgnored       basic-operations          after it was deleted, key "key" gave
EmptyValueDeletes   basic-operations          gave nothing, not ""
EmptyValueDeletes   value-sizes               putting 0 bytes
PutLate             basic-operations          after it was put
FirstOfBatchWins    batch-order               has value
BatchInPieces       batch-refused             failed and was half done
OrderIsSigned       scan-order                not in ascending order
OrderIsSigned       random-model              not in ascending order
ScanEndOverflows    scan-bounds               is missing
ScanSeesMore        scan-bounds               is there and should not be
ScanIsLive          scan-snapshot             a scan showed a later write (replace)
DeleteNotLogged     reopening                 is there and should not be
DeleteNotLogged     random-model              after reopening
WritesBuffered      reopening                 is missing
LongKeyPanics       key-sizes                 panicked: a key's length has 16 bits
LongKeyPanics       batch-refused             panicked
FlushDoesNothing    power-loss                is lost: it was acknowledged and flushed
FlushDoesNothing    disk-failures             is lost: it was acknowledged and flushed
DirectoryNotSynced  power-loss                is lost: it was acknowledged and flushed
BatchInPieces       power-loss                half there
NoChecksum          power-loss                half there
BadRecordsSkipped   power-loss                there is a hole
TailNotCut          writes-after-recovery     did not survive another one
WritesBuffered      power-loss                is lost: it was acknowledged
DeleteNotLogged     power-loss                "temporary" is there and should not be
RecoveryRewrites    recovery-interrupted      changed what is found
GoesOnAfterFailure  disk-failures             had failed
ForgivesOneFailure  disk-failures             had failed
SyncRetried         disk-failures             SyncLoses
FailureSwallowed    disk-failures             is lost: it was acknowledged
CloseDoesNothing    power-loss-after-closing  is lost
CloseDamages        closing                   is missing
CloseEndsReads      closing                   after closing with 3 writes
"#;

#[test]
fn each_bug_that_one_process_or_a_simulated_disk_shows_is_caught() {
    for row in CAUGHT.trim().lines() {
        let (name, rest) = row.split_once(' ').expect("a bug");
        let (check, saying) = rest.trim().split_once(' ').expect("a check");
        let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name).expect(row);
        assert_caught(&toy(*bug), check, saying.trim());
    }
}

#[test]
fn a_scan_that_blocks_writes_is_caught_as_a_hang() {
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
fn writes_that_are_only_buffered_are_caught_by_every_kind_of_kill() {
    for check in &KILLS[..3] {
        assert_caught(&toy(Bug::WritesBuffered), check, "is lost: it was acknowledged");
    }
}

/// Each engine has a test of its own, which its child repeats.
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
        CheckOutcome::Failed { reason } => reason,
        other => panic!("{} did not fail: {other:?}", check.name),
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn an_engine_without_a_bug_passes_every_check() {
        let report = toy(Bug::None).check();
        super::super::assert_all_but(&report, &[]);
        let failures = report.check("disk-failures").expect("every check is made");
        assert_eq!(
            failures.notes,
            [
                "one thing goes wrong in each run; opening, reading and listing files never fail",
                "at most 6 images of the power loss that ends each run; 450692 left out",
                "9 runs ended where the engine would have been opened after a sync had lost what it covered",
                "2 runs in which no call met what was to go wrong",
            ]
        );
    }
}
