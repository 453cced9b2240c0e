//! The oracle against states that are legal and states that are not.

mod concurrent;
mod engine;
mod sessions;
mod times;

use std::sync::Arc;

use super::{CrashKind, Guarantee, OpId, Oracle, Verdict};
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

/// So many calls with as many events as `events_len` each.
fn records(calls_len: u32, events_len: usize) -> Vec<Operation> {
    (1..=calls_len).map(|seed| record(seed, events_len)).collect()
}

/// A change of one collection.
fn add(entity: u64) -> Operation {
    Operation::AddToCollection(b"a".to_vec(), EntityId(entity))
}

fn state(operations: &[Operation]) -> Export {
    let mut model = Model::new(&standard_schema());
    for operation in operations {
        model.apply(operation);
    }
    model.export()
}

fn new(guarantee: Guarantee) -> Oracle {
    Oracle::new(&standard_schema(), guarantee)
}

/// An oracle that was told that all of `operations` were acknowledged, frames with numbers that leave gaps for markers.
fn acknowledged(operations: &[Operation], guarantee: Guarantee) -> Oracle {
    let mut oracle = new(guarantee);
    acknowledge(&mut oracle, operations, 0);
    oracle
}

fn acknowledge(oracle: &mut Oracle, operations: &[Operation], sequence: u64) {
    for (operation, sequence) in operations.iter().zip(sequence + 1..) {
        let id = oracle.begin(operation);
        oracle.acknowledged(id, operation.is_frame().then_some(sequence));
    }
}

/// The verdict on the state after `found` and a process crash.
fn judged(oracle: &Oracle, found: &[Operation], last: u64) -> Verdict {
    oracle.check_export(CrashKind::ProcessCrash, &state(found), last)
}

/// Likewise after a power loss.
fn judged_durable(oracle: &Oracle, found: &[Operation], last: u64) -> Verdict {
    oracle.check_export(CrashKind::PowerLoss, &state(found), last)
}

fn after_append(sequence: u64) -> Error {
    Error::Closed.with_unknown_outcome(Some(crate::Receipt::new(1, sequence)))
}

#[track_caller]
fn assert_ok(verdict: &Verdict) {
    assert!(verdict.is_ok(), "{verdict}");
}

#[track_caller]
fn assert_wrong(verdict: &Verdict) {
    assert!(!verdict.is_ok(), "{verdict}");
}

#[test]
fn the_state_of_everything_acknowledged_is_legal() {
    for seed in 0..6 {
        let operations = accepted(seed);
        for guarantee in [Guarantee::Acknowledged, Guarantee::Synced] {
            let oracle = acknowledged(&operations, guarantee);
            for judged in [judged, judged_durable] {
                let verdict = judged(&oracle, &operations, operations.len() as u64);
                assert_ok(&verdict);
                assert_eq!(verdict.counts.recovered, verdict.counts.acknowledged);
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
            if state(&frames[..len]) == state(&frames) {
                continue;
            }
            let verdict = judged(&oracle, &[&frames[..len], &changes[..]].concat(), len as u64);
            assert_wrong(&verdict);
            let rest = frames[verdict.prefix.frames..].iter();
            let rest = rest.map(super::events_len).sum();
            let counts = verdict.counts;
            assert_eq!(counts.lost, rest, "{len}: {verdict}");
            assert_eq!(counts.recovered + rest, counts.acknowledged, "{len}: {verdict}");
        }
    }
}

#[test]
fn after_a_power_loss_exactly_what_was_synced_must_be_there() {
    type Sync = fn(&mut Oracle, OpId);
    let frames = records(6, 2);
    let syncs: [(Operation, Sync); 4] = [
        (Operation::Sync, |oracle, id| oracle.acknowledged(id, None)),
        (Operation::Checkpoint, |oracle, id| oracle.acknowledged(id, None)),
        (Operation::Sync, |oracle, _| oracle.synced(0)),
        (Operation::Sync, |oracle, _| oracle.note_durable(3)),
    ];
    for (operation, sync) in syncs {
        let mut oracle = new(Guarantee::Synced);
        acknowledge(&mut oracle, &frames[..3], 0);
        let id = oracle.begin(&operation);
        sync(&mut oracle, id);
        acknowledge(&mut oracle, &frames[3..], 3);
        for len in 0..=6 {
            let verdict = judged_durable(&oracle, &frames[..len], len as u64);
            assert_eq!(verdict.is_ok(), len >= 3, "{operation} {len}: {verdict}");
            assert_eq!(verdict.prefix.frames, len);
            assert_eq!(verdict.prefix.sequence, len as u64);
            assert_eq!(verdict.counts.lost, 2 * 3_u64.saturating_sub(len as u64));
        }
    }
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    assert_wrong(&judged_durable(&oracle, &frames[..5], 5));
}

#[test]
fn what_a_sync_finds_unacknowledged_is_not_promised() {
    let mut oracle = new(Guarantee::Synced);
    let sync = oracle.begin(&Operation::Sync);
    acknowledge(&mut oracle, &[record(1, 1)], 0);
    oracle.acknowledged(sync, None);
    assert_ok(&judged_durable(&oracle, &[], 0));
}

#[test]
fn a_call_in_flight_is_there_wholly_or_not_at_all() {
    let before = [record(1, 2), record(2, 3)];
    let mut oracle = acknowledged(&before, Guarantee::Acknowledged);
    let open = record(3, 3);
    oracle.begin(&open);
    assert_ok(&judged_durable(&oracle, &before, 2));
    let with = [&before[..], std::slice::from_ref(&open)].concat();
    for last in [3, 4] {
        let verdict = judged_durable(&oracle, &with, last);
        assert_ok(&verdict);
        assert_eq!((verdict.counts.acknowledged, verdict.counts.recovered), (5, 8));
    }
    // Its number would be 3.
    assert_wrong(&judged_durable(&oracle, &with, 2));
    let Operation::Record { mut events, .. } = open else {
        unreachable!()
    };
    events.pop();
    let half = [&before[..], &[Operation::record(events)]].concat();
    for last in [2, 3] {
        let verdict = judged_durable(&oracle, &half, last);
        assert_wrong(&verdict);
        assert!(verdict.counts.half > 0, "{verdict}");
        assert_eq!((verdict.counts.lost, verdict.counts.doubled), (0, 0), "{verdict}");
    }
}

#[test]
fn a_call_that_failed_after_its_append_is_there_or_not_and_never_twice() {
    let calls = records(2, 2);
    let mut oracle = acknowledged(&calls[..1], Guarantee::Acknowledged);
    let id = oracle.begin(&calls[1]);
    oracle.failed(id, &after_append(2));
    assert_ok(&judged(&oracle, &calls[..1], 1));
    assert_ok(&judged(&oracle, &calls, 2));
    let verdict = judged(&oracle, &[&calls[..], &calls[1..]].concat(), 2);
    assert_eq!(verdict.counts.doubled, 2, "{verdict}");
    let event = verdict.differences[0].event.unwrap();
    assert_eq!(event.sequence, 2, "the number of the error names it");
}

#[test]
fn a_call_that_was_refused_must_not_be_there() {
    let calls = records(2, 2);
    let mut oracle = acknowledged(&calls[..1], Guarantee::Acknowledged);
    let id = oracle.begin(&calls[1]);
    oracle.failed(id, &Error::Closed);
    assert_ok(&judged(&oracle, &calls[..1], 1));
    let verdict = judged(&oracle, &calls, 2);
    assert_wrong(&verdict);
    let second = EventId {
        sequence: 0,
        index: 1,
    };
    assert!(verdict.differences.iter().any(|it| it.event == Some(second)));
}

#[test]
fn holes_and_frames_that_come_again_are_named_by_their_events() {
    let frames = records(6, 2);
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    let verdict = judged_durable(&oracle, &[&frames[..2], &frames[3..]].concat(), 6);
    assert_eq!((verdict.counts.lost, verdict.counts.doubled), (2, 0), "{verdict}");
    assert_eq!(verdict.counts.recovered, 10);
    let mut events = verdict.differences.iter().map(|it| it.event.unwrap());
    assert!(events.all(|event| event.sequence == 3), "{verdict}");
    let verdict = judged_durable(&oracle, &[&frames[..], &frames[3..]].concat(), 6);
    assert_eq!((verdict.counts.lost, verdict.counts.doubled), (0, 6), "{verdict}");
}

#[test]
fn a_last_number_that_does_not_fit_the_state_is_a_finding() {
    let frames = records(4, 1);
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    let verdict = judged_durable(&oracle, &frames, 3);
    assert_eq!(verdict.differences.len(), 1, "{verdict}");
    assert_eq!(verdict.differences[0].structure, Structure::Log);
    assert_eq!(verdict.counts.lost, 0);
}

#[test]
fn a_number_that_is_given_twice_is_a_finding() {
    let calls = records(3, 1);
    let mut oracle = acknowledged(&calls[..2], Guarantee::Acknowledged);
    let id = oracle.begin(&calls[2]);
    oracle.acknowledged(id, Some(2));
    let verdict = judged_durable(&oracle, &calls, 2);
    let mut differences = verdict.differences.iter();
    assert!(
        differences.any(|it| it.expected == "a sequence number after 2"),
        "{verdict}"
    );
}

#[test]
fn collections_are_a_beginning_of_their_changes_on_their_own() {
    let changes = [
        Operation::CreateCollection(b"a".to_vec()),
        add(1),
        Operation::Sync,
        add(2),
        Operation::Checkpoint,
        Operation::RemoveFromCollection(b"a".to_vec(), EntityId(1)),
    ];
    for guarantee in [Guarantee::Acknowledged, Guarantee::Synced] {
        for death in [CrashKind::ProcessCrash, CrashKind::PowerLoss] {
            let mut oracle = acknowledged(&changes, guarantee);
            oracle.begin(&add(3));
            let check = |found: &[&[Operation]]| oracle.check_export(death, &state(&found.concat()), 0);
            let weak = (guarantee, death) == (Guarantee::Synced, CrashKind::PowerLoss);
            for len in 0..=changes.len() {
                let verdict = check(&[&changes[..len]]);
                // A checkpoint promises nothing of collections.
                let is_legal = len == 6 || weak && len >= 2;
                assert_eq!(
                    verdict.is_ok(),
                    is_legal,
                    "{guarantee:?} {death:?} {len}: {verdict}"
                );
            }
            assert_ok(&check(&[&changes, &[add(3)]]));
            assert_wrong(&check(&[&changes[..3], &changes[4..], &[add(3)]]));
            assert_eq!(check(&[]).differences[0].kind, DifferenceKind::Lost);
        }
    }
}

#[test]
fn a_change_that_was_refused_must_not_be_there_and_one_of_unknown_outcome_may_be() {
    let poisoned = || Error::Poisoned {
        cause: Arc::new(Error::Closed),
    };
    let before = [Operation::CreateCollection(b"a".to_vec())];
    let mut oracle = acknowledged(&before, Guarantee::Acknowledged);
    for (entity, error) in [(1, poisoned().with_unknown_outcome(None)), (2, poisoned())] {
        let id = oracle.begin(&add(entity));
        oracle.failed(id, &error);
    }
    for (adds, is_legal) in [
        (&[][..], true),
        (&[add(1)], true),
        (&[add(2)], false),
        (&[add(1), add(2)], false),
    ] {
        let verdict = judged(&oracle, &[&before, adds].concat(), 0);
        assert_eq!(verdict.is_ok(), is_legal, "{adds:?}: {verdict}");
    }
}

#[test]
fn after_reopening_what_was_found_is_settled_and_what_was_not_is_gone() {
    let frames = records(9, 2);
    let mut oracle = new(Guarantee::Synced);
    acknowledge(&mut oracle, &frames[..5], 0);
    oracle.begin(&frames[5]);
    // A power loss leaves three of them.
    let verdict = judged_durable(&oracle, &frames[..3], 3);
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
        let verdict = judged_durable(&oracle, operations, last);
        assert_eq!(verdict.is_ok(), legal, "{last}: {verdict}");
    }
    let lost = judged_durable(&oracle, &after[..2], 2);
    assert_eq!(lost.counts.lost, 2, "{lost}");
    assert_eq!(lost.prefix.frames, 2);
    // What was in flight and is found belongs to the past from then on.
    let with = [&after[..], &frames[8..]].concat();
    let verdict = judged_durable(&oracle, &with, 6);
    assert_ok(&verdict);
    oracle.reopened(&verdict);
    assert_ok(&judged_durable(&oracle, &with, 6));
    for found in [&after, &with] {
        assert_wrong(&judged_durable(&oracle, found, 5));
    }
    // Its number must not be given again.
    let id = oracle.begin(&frames[0]);
    oracle.acknowledged(id, Some(6));
    assert_wrong(&judged_durable(&oracle, &with, 6));
}
