//! The oracle against states that are legal and states that are not.

mod concurrent;
mod engine;
mod times;

use std::sync::Arc;

use super::{Death, Guarantee, OpId, Oracle, Timeline, Verdict};
use crate::testing::model::{DifferenceKind, EventId, Model, Structure};
use crate::testing::workload::{Event, Operation, Workload, standard_schema};
use crate::{CohortId, EntityId, Error, Export, SignalId, UserId};

const OPERATIONS_LEN: usize = 60;

/// The calls of a standard workload that a database must not refuse.
fn accepted(seed: u64) -> Vec<Operation> {
    let mut operations = Workload::standard(seed, OPERATIONS_LEN).operations;
    operations.retain(|operation| !operation.must_be_refused());
    operations
}

/// A call with as many events as `len`, distinct by `seed`.
fn record(seed: u32, len: usize) -> Operation {
    let event = |index: usize| Event {
        entity: EntityId((u64::from(seed) + index as u64) % 5),
        signal: SignalId(1),
        weight: 1.0 + f64::from(seed) / 64.0 + index as f64 / 1024.0,
        at_ms: 1000 + i64::from(seed) * 100 + index as i64,
        user: Some(UserId(u64::from(seed) % 2)),
        cohorts: vec![CohortId(u64::from(seed) % 2)],
    };
    Operation::record((0..len).map(event).collect())
}

fn state(operations: &[Operation]) -> Export {
    let mut model = Model::new(&standard_schema());
    for operation in operations {
        model.apply(operation);
    }
    model.export()
}

/// An oracle that was told that all of `operations` were acknowledged, frames with numbers that leave gaps for markers.
fn acknowledged(operations: &[Operation], guarantee: Guarantee) -> Oracle {
    let mut oracle = Oracle::new(&standard_schema(), guarantee);
    acknowledge(&mut oracle, operations, 0);
    oracle
}

fn acknowledge(oracle: &mut Oracle, operations: &[Operation], mut sequence: u64) -> u64 {
    for operation in operations {
        let id = oracle.begin(operation);
        sequence += 1;
        oracle.acknowledged(id, operation.is_frame().then_some(sequence));
    }
    sequence
}

fn after_append(sequence: u64) -> Error {
    Error::Closed.with_unknown_outcome(Some(crate::Receipt::new(1, sequence)))
}

fn assert_ok(verdict: &Verdict) {
    assert!(verdict.is_ok(), "{verdict}");
}

#[test]
fn the_state_of_everything_acknowledged_is_legal_with_and_without_the_last_number() {
    for seed in 0..6 {
        let operations = accepted(seed);
        let found = state(&operations);
        for guarantee in [Guarantee::Acknowledged, Guarantee::Synced] {
            let oracle = acknowledged(&operations, guarantee);
            for death in [Death::ProcessCrash, Death::PowerLoss] {
                for last in [None, Some(operations.len() as u64)] {
                    let verdict = oracle.check_export(death, &found, last);
                    assert_ok(&verdict);
                    assert_eq!(verdict.counts.recovered, verdict.counts.acknowledged);
                }
            }
        }
    }
}

#[test]
fn after_a_process_crash_a_shorter_state_loses_each_event_of_the_rest() {
    let operations = accepted(1);
    let (frames, changes): (Vec<_>, Vec<_>) = operations.iter().cloned().partition(Operation::is_frame);
    for guarantee in [Guarantee::Acknowledged, Guarantee::Synced] {
        let oracle = acknowledged(&operations, guarantee);
        for len in 0..frames.len() {
            let found = state(&[&frames[..len], &changes[..]].concat());
            for last in [None, Some(len as u64)] {
                let verdict = oracle.check_export(Death::ProcessCrash, &found, last);
                if state(&frames[..len]) == state(&frames) {
                    continue;
                }
                assert!(!verdict.is_ok(), "{len}: {verdict}");
                let rest = frames[verdict.prefix.frames..]
                    .iter()
                    .map(super::events_len)
                    .sum();
                assert_eq!(verdict.counts.lost, rest, "{len}: {verdict}");
                assert_eq!(
                    verdict.counts.recovered + rest,
                    verdict.counts.acknowledged,
                    "{len}: {verdict}"
                );
            }
        }
    }
}

#[test]
fn after_a_power_loss_exactly_what_was_synced_must_be_there() {
    type Sync = fn(&mut Oracle, OpId);
    let frames: Vec<Operation> = (1..=6).map(|seed| record(seed, 2)).collect();
    let syncs: [(Operation, Sync); 4] = [
        (Operation::Sync, |oracle, id| oracle.acknowledged(id, None)),
        (Operation::Checkpoint, |oracle, id| oracle.acknowledged(id, None)),
        (Operation::Sync, |oracle, id| {
            oracle.failed(id, &Error::Closed);
            oracle.synced(0);
        }),
        (Operation::Sync, |oracle, id| {
            oracle.failed(id, &Error::Closed);
            oracle.note_durable(3);
        }),
    ];
    for (operation, sync) in syncs {
        let mut oracle = Oracle::new(&standard_schema(), Guarantee::Synced);
        acknowledge(&mut oracle, &frames[..3], 0);
        let id = oracle.begin(&operation);
        sync(&mut oracle, id);
        acknowledge(&mut oracle, &frames[3..], 3);
        for len in 0..=6 {
            let found = state(&frames[..len]);
            for last in [None, Some(len as u64)] {
                let verdict = oracle.check_export(Death::PowerLoss, &found, last);
                assert_eq!(verdict.is_ok(), len >= 3, "{operation} {len}: {verdict}");
                assert_eq!(verdict.prefix.frames, len);
                assert_eq!(verdict.prefix.sequence, len as u64);
                assert_eq!(verdict.counts.lost, 2 * 3_u64.saturating_sub(len as u64));
            }
        }
        assert!(
            !acknowledged(&frames, Guarantee::Acknowledged)
                .check_export(Death::PowerLoss, &state(&frames[..5]), None)
                .is_ok()
        );
    }
}

#[test]
fn what_a_sync_finds_unacknowledged_is_not_promised() {
    let mut oracle = Oracle::new(&standard_schema(), Guarantee::Synced);
    let sync = oracle.begin(&Operation::Sync);
    acknowledge(&mut oracle, &[record(1, 1)], 0);
    oracle.acknowledged(sync, None);
    assert_ok(&oracle.check_export(Death::PowerLoss, &state(&[]), Some(0)));
}

#[test]
fn a_call_in_flight_is_there_wholly_or_not_at_all() {
    let before = [record(1, 2), record(2, 3)];
    let mut oracle = acknowledged(&before, Guarantee::Acknowledged);
    let open = record(3, 3);
    oracle.begin(&open);
    assert_ok(&oracle.check_export(Death::PowerLoss, &state(&before), Some(2)));
    let with = [&before[..], std::slice::from_ref(&open)].concat();
    for last in [None, Some(3), Some(4)] {
        let verdict = oracle.check_export(Death::PowerLoss, &state(&with), last);
        assert_ok(&verdict);
        assert_eq!((verdict.counts.acknowledged, verdict.counts.recovered), (5, 8));
    }
    // Its number would be 3.
    assert!(
        !oracle
            .check_export(Death::PowerLoss, &state(&with), Some(2))
            .is_ok()
    );
    let Operation::Record { mut events, .. } = open else {
        unreachable!()
    };
    events.pop();
    let half = [&before[..], &[Operation::record(events)]].concat();
    for last in [None, Some(2), Some(3)] {
        let verdict = oracle.check_export(Death::PowerLoss, &state(&half), last);
        assert!(!verdict.is_ok());
        assert!(verdict.counts.half > 0, "{verdict}");
        assert_eq!((verdict.counts.lost, verdict.counts.doubled), (0, 0), "{verdict}");
    }
}

#[test]
fn a_call_that_failed_after_its_append_is_there_or_not_and_never_twice() {
    let before = [record(1, 2)];
    let mut oracle = acknowledged(&before, Guarantee::Acknowledged);
    let failed = record(2, 2);
    let id = oracle.begin(&failed);
    oracle.failed(id, &after_append(2));
    let with = [&before[..], std::slice::from_ref(&failed)].concat();
    let twice = [&with[..], &[failed]].concat();
    assert_ok(&oracle.check_export(Death::ProcessCrash, &state(&before), Some(1)));
    assert_ok(&oracle.check_export(Death::ProcessCrash, &state(&with), Some(2)));
    let verdict = oracle.check_export(Death::ProcessCrash, &state(&twice), Some(2));
    assert_eq!(verdict.counts.doubled, 2, "{verdict}");
    let event = verdict.differences[0].event.unwrap();
    assert_eq!(event.sequence, 2, "the number of the error names it");
}

#[test]
fn a_call_that_was_refused_must_not_be_there() {
    let before = [record(1, 2)];
    let mut oracle = acknowledged(&before, Guarantee::Acknowledged);
    let refused = record(2, 2);
    let id = oracle.begin(&refused);
    oracle.failed(id, &Error::Closed);
    assert_ok(&oracle.check_export(Death::ProcessCrash, &state(&before), Some(1)));
    let with = [&before[..], &[refused]].concat();
    let verdict = oracle.check_export(Death::ProcessCrash, &state(&with), Some(2));
    assert!(!verdict.is_ok());
    assert!(verdict.differences.iter().any(|difference| difference.event
        == Some(EventId {
            sequence: 0,
            index: 1
        })));
}

#[test]
fn a_hole_is_named_by_its_events() {
    let frames: Vec<Operation> = (1..=6).map(|seed| record(seed, 2)).collect();
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    let mut hole = frames.clone();
    hole.remove(2);
    let verdict = oracle.check_export(Death::PowerLoss, &state(&hole), Some(6));
    assert_eq!((verdict.counts.lost, verdict.counts.doubled), (2, 0), "{verdict}");
    assert_eq!(verdict.counts.recovered, 10);
    assert!(
        verdict
            .differences
            .iter()
            .all(|difference| difference.event.unwrap().sequence == 3),
        "{verdict}"
    );
}

#[test]
fn replaying_frames_twice_doubles_each_of_their_events() {
    let frames: Vec<Operation> = (1..=6).map(|seed| record(seed, 2)).collect();
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    let twice = [&frames[..], &frames[3..]].concat();
    let verdict = oracle.check_export(Death::PowerLoss, &state(&twice), Some(6));
    assert_eq!((verdict.counts.lost, verdict.counts.doubled), (0, 6), "{verdict}");
}

#[test]
fn a_last_number_that_does_not_fit_the_state_is_a_finding() {
    let frames: Vec<Operation> = (1..=4).map(|seed| record(seed, 1)).collect();
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    let verdict = oracle.check_export(Death::PowerLoss, &state(&frames), Some(3));
    assert_eq!(verdict.differences.len(), 1, "{verdict}");
    assert_eq!(verdict.differences[0].structure, Structure::Log);
    assert_eq!(verdict.counts.lost, 0);
}

#[test]
fn a_number_that_is_given_twice_is_a_finding() {
    let mut oracle = acknowledged(&[record(1, 1), record(2, 1)], Guarantee::Acknowledged);
    let id = oracle.begin(&record(3, 1));
    oracle.acknowledged(id, Some(2));
    let verdict = oracle.check_export(
        Death::PowerLoss,
        &state(&[record(1, 1), record(2, 1), record(3, 1)]),
        None,
    );
    assert!(
        verdict
            .differences
            .iter()
            .any(|difference| difference.structure == Structure::Log),
        "{verdict}"
    );
}

#[test]
fn collections_are_a_beginning_of_their_changes_on_their_own() {
    let add = |entity| Operation::AddToCollection(b"a".to_vec(), EntityId(entity));
    let changes = [
        Operation::CreateCollection(b"a".to_vec()),
        add(1),
        Operation::Sync,
        add(2),
        Operation::Checkpoint,
        Operation::RemoveFromCollection(b"a".to_vec(), EntityId(1)),
    ];
    for guarantee in [Guarantee::Acknowledged, Guarantee::Synced] {
        for death in [Death::ProcessCrash, Death::PowerLoss] {
            let mut oracle = acknowledged(&changes, guarantee);
            oracle.begin(&add(3));
            let weak = (guarantee, death) == (Guarantee::Synced, Death::PowerLoss);
            for len in 0..=changes.len() {
                let verdict = oracle.check_export(death, &state(&changes[..len]), Some(0));
                // A checkpoint promises nothing of collections.
                assert_eq!(
                    verdict.is_ok(),
                    len == 6 || weak && len >= 2,
                    "{guarantee:?} {death:?} {len}: {verdict}"
                );
            }
            assert_ok(&oracle.check_export(death, &state(&[&changes[..], &[add(3)]].concat()), Some(0)));
            let hole = [&changes[..3], &changes[4..], &[add(3)]].concat();
            assert!(!oracle.check_export(death, &state(&hole), Some(0)).is_ok());
            let lost = oracle.check_export(death, &state(&[]), Some(0));
            assert_eq!(lost.differences[0].kind, DifferenceKind::Lost);
        }
    }
}

#[test]
fn a_change_that_was_refused_must_not_be_there_and_one_of_unknown_outcome_may_be() {
    let add = |entity| Operation::AddToCollection(b"a".to_vec(), EntityId(entity));
    let poisoned = || Error::Poisoned {
        cause: Arc::new(Error::Closed),
    };
    let before = [Operation::CreateCollection(b"a".to_vec())];
    let mut oracle = acknowledged(&before, Guarantee::Acknowledged);
    for (entity, error) in [(1, poisoned().with_unknown_outcome(None)), (2, poisoned())] {
        let id = oracle.begin(&add(entity));
        oracle.failed(id, &error);
    }
    let check = |entities: &[u64]| {
        let adds: Vec<_> = entities.iter().map(|&entity| add(entity)).collect();
        oracle
            .check_export(
                Death::ProcessCrash,
                &state(&[&before[..], &adds].concat()),
                Some(0),
            )
            .is_ok()
    };
    assert!(check(&[]) && check(&[1]));
    assert!(!check(&[2]) && !check(&[1, 2]));
}

#[test]
fn after_reopening_what_was_found_is_settled_and_what_was_not_is_gone() {
    let frames: Vec<Operation> = (1..=9).map(|seed| record(seed, 2)).collect();
    let mut oracle = Oracle::new(&standard_schema(), Guarantee::Synced);
    acknowledge(&mut oracle, &frames[..5], 0);
    oracle.begin(&frames[5]);
    // A power loss leaves three of them.
    let verdict = oracle.check_export(Death::PowerLoss, &state(&frames[..3]), Some(3));
    assert_ok(&verdict);
    oracle.reopened(&verdict);
    let after = [&frames[..3], &frames[6..8]].concat();
    acknowledge(&mut oracle, &frames[6..8], 3);
    oracle.begin(&frames[8]);
    for (operations, last, legal) in [
        (&after[..], 5, true),
        (&after[..4], 4, true),
        (&after[..3], 3, true),
        (&after[..2], 2, false),
        (&frames[..4], 4, false),
    ] {
        let verdict = oracle.check_export(Death::PowerLoss, &state(operations), Some(last));
        assert_eq!(verdict.is_ok(), legal, "{last}: {verdict}");
    }
    let lost = oracle.check_export(Death::PowerLoss, &state(&after[..2]), Some(2));
    assert_eq!(lost.counts.lost, 2, "{lost}");
    assert_eq!(lost.prefix.frames, 2);
    // What was in flight and is found belongs to the past from then on.
    let with = [&after[..], &frames[8..]].concat();
    let verdict = oracle.check_export(Death::PowerLoss, &state(&with), Some(6));
    assert_ok(&verdict);
    oracle.reopened(&verdict);
    assert_ok(&oracle.check_export(Death::PowerLoss, &state(&with), Some(6)));
    assert!(
        !oracle
            .check_export(Death::PowerLoss, &state(&after), Some(5))
            .is_ok()
    );
    // Its number must not be given again.
    let id = oracle.begin(&frames[0]);
    oracle.acknowledged(id, Some(6));
    assert!(
        !oracle
            .check_export(Death::PowerLoss, &state(&with), Some(6))
            .is_ok()
    );
}

#[test]
fn an_oracle_that_follows_a_timeline_says_the_same_as_one_that_does_not() {
    for seed in 0..3 {
        let operations = accepted(seed);
        let timeline = Timeline::new(&standard_schema(), &operations);
        for len in (0..operations.len()).step_by(7) {
            let mut oracles = [
                Oracle::new(&standard_schema(), Guarantee::Synced),
                Oracle::following(&timeline, Guarantee::Synced),
            ];
            // The second half of the runs leaves the timeline.
            let mut done = operations[..len].to_vec();
            if len > operations.len() / 2 {
                done.remove(len / 2);
            }
            for oracle in &mut oracles {
                acknowledge(oracle, &done, 0);
                oracle.begin(&operations[len]);
            }
            for cut in [done.len(), done.len().saturating_sub(5)] {
                let found = state(&done[..cut]);
                let [plain, following] = oracles
                    .each_ref()
                    .map(|oracle| oracle.check_export(Death::PowerLoss, &found, None));
                assert_eq!(plain, following);
            }
        }
    }
}
