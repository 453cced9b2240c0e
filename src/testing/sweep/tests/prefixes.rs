//! Crashes on real files that start with a saved prefix of a longer workload.

use super::*;
use crate::testing::lab::event_file::{schema_for, workload_from_events};
use crate::testing::workload::{Event, tiny_options};

const EVENTS_LEN: u64 = 400;
const NEXT_LEN: usize = 14;

fn operations() -> Vec<Operation> {
    let event = |number: u64| Event {
        entity: EntityId(number * 7 % 23),
        signal: SignalId((number % 2) as u16),
        weight: 1.0 + number as f64 / 1024.0,
        at_ms: 1_700_000_000_000 + number as i64 * 500,
        user: Some(UserId(number % 5)),
        cohorts: vec![CohortId(number % 3)],
    };
    workload_from_events((0..EVENTS_LEN).map(event).collect(), &[1, 3, 1, 8, 2]).operations
}

fn options() -> Options {
    tiny_options(schema_for(&["view", "like"]))
}

fn run_of(operations: &[Operation], positions: &[usize]) -> PrefixRun {
    PrefixRun::of(operations, &options, positions, NEXT_LEN, |_| true).unwrap()
}

fn crash_at(prefix: &Arc<SavedPrefix>, point: CrashPoint) -> Result<CrashedOnFiles, Box<Finding>> {
    let sweep = CrashSweep::from_prefix("events", prefix).options(options);
    let child = ChildProgram::this_program([""; 0]);
    let whole = sweep.crash_on_files(&sweep.plan().crash(Site::End, CrashMode::Kill), &child)?;
    let crossing = whole.by_open.count(point) + whole.by_work.count(point) / 2;
    let site = Site::Point { point, crossing };
    sweep.crash_on_files(&sweep.plan().crash(site, CrashMode::Panic), &child)
}

#[test]
fn a_database_survives_a_crash_after_a_saved_prefix() {
    let operations = operations();
    let last = operations.len() - NEXT_LEN;
    let run = run_of(&operations, &[0, last / 2, last]);
    assert!(run.is_complete);
    assert_eq!((run.saved.len(), run.operations_len), (3, operations.len()));
    for (index, prefix) in &run.saved {
        assert_eq!(prefix.next.operations, operations[*index..][..NEXT_LEN]);
        for point in [
            CrashPoint::WalPreAggregate,
            CrashPoint::CohortLedgerUpdate,
            CrashPoint::CoEngagementUpdate,
        ] {
            let crashed = crash_at(prefix, point).unwrap();
            assert!(crashed.counts.recovered > 0, "{crashed:?}");
        }
    }
    assert!(run.saved[2].1.events_before > run.saved[1].1.events_before);
}

#[test]
fn a_run_that_ends_early_saves_no_later_position_and_is_not_complete() {
    let operations = operations();
    let run = PrefixRun::of(&operations, &options, &[5, 50], NEXT_LEN, |done| done < 20).unwrap();
    assert_eq!(
        (run.saved.len(), run.operations_len, run.is_complete),
        (1, 20, false)
    );
}

#[test]
fn a_case_that_starts_with_the_database_of_another_position_is_a_finding() {
    let operations = operations();
    let last = operations.len() - NEXT_LEN;
    let run = run_of(&operations, &[last - 3, last]);
    let [(_, earlier), (_, later)] = &run.saved[..] else {
        panic!("two positions");
    };
    // The database of the earlier position lacks the calls between the two positions.
    later.dir.remove();
    crate::testing::temp_dir::copy_dir(earlier.dir(), later.dir()).unwrap();
    let finding = crash_at(later, CrashPoint::WalPostAggregate).unwrap_err();
    remove_image(&finding);
    let kinds = [FailureKind::Lost, FailureKind::Wrong];
    assert!(kinds.contains(&finding.failure.kind), "{finding}");
}
