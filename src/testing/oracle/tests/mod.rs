//! Tests of the oracle with legal and illegal states.

mod changes;
mod concurrent;
mod engine;
mod frames;
mod results;
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

/// A call with `len` events. Calls with different seeds have different events.
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

/// `calls_len` calls with `events_len` events each.
fn records(calls_len: u32, events_len: usize) -> Vec<Operation> {
    (1..=calls_len).map(|seed| record(seed, events_len)).collect()
}

/// A call that adds an entity to a collection.
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

fn new_oracle(guarantee: Guarantee) -> Oracle {
    Oracle::new(&standard_schema(), guarantee)
}

/// An oracle after the acknowledgement of all `operations`. The sequence numbers of frames leave gaps for markers.
fn acknowledged(operations: &[Operation], guarantee: Guarantee) -> Oracle {
    let mut oracle = new_oracle(guarantee);
    acknowledge(&mut oracle, operations, 0);
    oracle
}

fn acknowledge(oracle: &mut Oracle, operations: &[Operation], sequence: u64) {
    for (operation, sequence) in operations.iter().zip(sequence + 1..) {
        let id = oracle.begin(operation);
        oracle.acknowledged(id, operation.is_frame().then_some(sequence));
    }
}

/// The verdict on the state after the operations `found` and a process crash.
fn verdict_after_process_crash(oracle: &Oracle, found: &[Operation], last: u64) -> Verdict {
    oracle.check_export(CrashKind::ProcessCrash, &state(found), last)
}

/// The verdict on the state after the operations `found` and a power loss.
fn verdict_after_power_loss(oracle: &Oracle, found: &[Operation], last: u64) -> Verdict {
    oracle.check_export(CrashKind::PowerLoss, &state(found), last)
}

fn error_after_append(sequence: u64) -> Error {
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
fn the_state_after_all_acknowledged_calls_is_legal() {
    for seed in 0..6 {
        let operations = accepted(seed);
        for guarantee in [Guarantee::Acknowledged, Guarantee::Synced] {
            let oracle = acknowledged(&operations, guarantee);
            for verdict_after in [verdict_after_process_crash, verdict_after_power_loss] {
                let verdict = verdict_after(&oracle, &operations, operations.len() as u64);
                assert_ok(&verdict);
                assert_eq!(verdict.counts.recovered, verdict.counts.acknowledged);
            }
        }
    }
}

#[test]
fn a_state_without_the_last_acknowledged_calls_after_a_process_crash_loses_their_events() {
    let operations = accepted(1);
    let (frames, changes): (Vec<_>, Vec<_>) = operations.iter().cloned().partition(Operation::is_frame);
    for guarantee in [Guarantee::Acknowledged, Guarantee::Synced] {
        let oracle = acknowledged(&operations, guarantee);
        for len in 0..frames.len() {
            if state(&frames[..len]) == state(&frames) {
                continue;
            }
            let verdict =
                verdict_after_process_crash(&oracle, &[&frames[..len], &changes[..]].concat(), len as u64);
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
fn after_a_power_loss_the_synced_calls_must_be_recovered_and_later_calls_need_not() {
    type Sync = fn(&mut Oracle, OpId);
    let frames = records(6, 2);
    let syncs: [(Operation, Sync); 4] = [
        (Operation::Sync, |oracle, id| oracle.acknowledged(id, None)),
        (Operation::Checkpoint, |oracle, id| oracle.acknowledged(id, None)),
        (Operation::Sync, |oracle, _| oracle.synced(0)),
        (Operation::Sync, |oracle, _| oracle.note_durable(3)),
    ];
    for (operation, sync) in syncs {
        let mut oracle = new_oracle(Guarantee::Synced);
        acknowledge(&mut oracle, &frames[..3], 0);
        let id = oracle.begin(&operation);
        sync(&mut oracle, id);
        acknowledge(&mut oracle, &frames[3..], 3);
        for len in 0..=6 {
            let verdict = verdict_after_power_loss(&oracle, &frames[..len], len as u64);
            assert_eq!(verdict.is_ok(), len >= 3, "{operation} {len}: {verdict}");
            assert_eq!(verdict.prefix.frames, len);
            assert_eq!(verdict.prefix.sequence, len as u64);
            assert_eq!(verdict.counts.lost, 2 * 3_u64.saturating_sub(len as u64));
        }
    }
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    assert_wrong(&verdict_after_power_loss(&oracle, &frames[..5], 5));
}

#[test]
fn a_sync_guarantees_no_call_that_was_unacknowledged_when_it_began() {
    let mut oracle = new_oracle(Guarantee::Synced);
    let sync = oracle.begin(&Operation::Sync);
    acknowledge(&mut oracle, &[record(1, 1)], 0);
    oracle.acknowledged(sync, None);
    assert_ok(&verdict_after_power_loss(&oracle, &[], 0));
}

#[test]
fn a_call_in_flight_is_recovered_as_a_whole_or_is_missing_as_a_whole() {
    let before = [record(1, 2), record(2, 3)];
    let mut oracle = acknowledged(&before, Guarantee::Acknowledged);
    let in_flight = record(3, 3);
    oracle.begin(&in_flight);
    assert_ok(&verdict_after_power_loss(&oracle, &before, 2));
    let with = [&before[..], std::slice::from_ref(&in_flight)].concat();
    for last in [3, 4] {
        let verdict = verdict_after_power_loss(&oracle, &with, last);
        assert_ok(&verdict);
        assert_eq!((verdict.counts.acknowledged, verdict.counts.recovered), (5, 8));
    }
    // Its number would be 3.
    assert_wrong(&verdict_after_power_loss(&oracle, &with, 2));
    let Operation::Record { mut events, .. } = in_flight else {
        unreachable!()
    };
    events.pop();
    let half = [&before[..], &[Operation::record(events)]].concat();
    for last in [2, 3] {
        let verdict = verdict_after_power_loss(&oracle, &half, last);
        assert_wrong(&verdict);
        assert!(verdict.counts.half > 0, "{verdict}");
        assert_eq!((verdict.counts.lost, verdict.counts.doubled), (0, 0), "{verdict}");
    }
}

#[test]
fn a_call_that_failed_after_its_append_is_recovered_once_or_is_missing() {
    let calls = records(2, 2);
    let mut oracle = acknowledged(&calls[..1], Guarantee::Acknowledged);
    let id = oracle.begin(&calls[1]);
    oracle.failed(id, &error_after_append(2));
    assert_ok(&verdict_after_process_crash(&oracle, &calls[..1], 1));
    assert_ok(&verdict_after_process_crash(&oracle, &calls, 2));
    let verdict = verdict_after_process_crash(&oracle, &[&calls[..], &calls[1..]].concat(), 2);
    assert_eq!(verdict.counts.doubled, 2, "{verdict}");
    let event = verdict.differences[0].event.unwrap();
    assert_eq!(event.sequence, 2, "the error names the sequence number");
}

#[test]
fn a_refused_call_must_not_be_recovered() {
    let calls = records(2, 2);
    let mut oracle = acknowledged(&calls[..1], Guarantee::Acknowledged);
    let id = oracle.begin(&calls[1]);
    oracle.failed(id, &Error::Closed);
    assert_ok(&verdict_after_process_crash(&oracle, &calls[..1], 1));
    let verdict = verdict_after_process_crash(&oracle, &calls, 2);
    assert_wrong(&verdict);
    let second = EventId {
        sequence: 0,
        index: 1,
    };
    assert!(verdict.differences.iter().any(|it| it.event == Some(second)));
}

#[test]
fn the_differences_name_the_events_of_missing_and_of_doubled_frames() {
    let frames = records(6, 2);
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    let verdict = verdict_after_power_loss(&oracle, &[&frames[..2], &frames[3..]].concat(), 6);
    assert_eq!((verdict.counts.lost, verdict.counts.doubled), (2, 0), "{verdict}");
    assert_eq!(verdict.counts.recovered, 10);
    let mut events = verdict.differences.iter().map(|it| it.event.unwrap());
    assert!(events.all(|event| event.sequence == 3), "{verdict}");
    let verdict = verdict_after_power_loss(&oracle, &[&frames[..], &frames[3..]].concat(), 6);
    assert_eq!((verdict.counts.lost, verdict.counts.doubled), (0, 6), "{verdict}");
}

#[test]
fn a_last_sequence_number_that_does_not_fit_the_state_is_a_finding() {
    let frames = records(4, 1);
    let oracle = acknowledged(&frames, Guarantee::Acknowledged);
    let verdict = verdict_after_power_loss(&oracle, &frames, 3);
    assert_eq!(verdict.differences.len(), 1, "{verdict}");
    assert_eq!(verdict.differences[0].structure, Structure::Log);
    assert_eq!(verdict.counts.lost, 0);
}

#[test]
fn a_sequence_number_that_is_returned_twice_is_a_finding() {
    let calls = records(3, 1);
    let mut oracle = acknowledged(&calls[..2], Guarantee::Acknowledged);
    let id = oracle.begin(&calls[2]);
    oracle.acknowledged(id, Some(2));
    let verdict = verdict_after_power_loss(&oracle, &calls, 2);
    let mut differences = verdict.differences.iter();
    assert!(
        differences.any(|it| it.expected == "a sequence number after 2"),
        "{verdict}"
    );
}

#[test]
fn a_recovered_state_has_a_prefix_of_the_changes_of_collections_independent_of_the_frames() {
    let changes = [
        Operation::CreateCollection(b"a".to_vec()),
        add(1),
        Operation::Sync,
        add(2),
        Operation::Checkpoint,
        Operation::RemoveFromCollection(b"a".to_vec(), EntityId(1)),
    ];
    for guarantee in [Guarantee::Acknowledged, Guarantee::Synced] {
        for crash in [CrashKind::ProcessCrash, CrashKind::PowerLoss] {
            let mut oracle = acknowledged(&changes, guarantee);
            oracle.begin(&add(3));
            let check = |found: &[&[Operation]]| oracle.check_export(crash, &state(&found.concat()), 0);
            let may_lose = (guarantee, crash) == (Guarantee::Synced, CrashKind::PowerLoss);
            for len in 0..=changes.len() {
                let verdict = check(&[&changes[..len]]);
                // A checkpoint guarantees no change of a collection.
                let is_legal = len == 6 || may_lose && len >= 2;
                assert_eq!(
                    verdict.is_ok(),
                    is_legal,
                    "{guarantee:?} {crash:?} {len}: {verdict}"
                );
            }
            assert_ok(&check(&[&changes, &[add(3)]]));
            assert_wrong(&check(&[&changes[..3], &changes[4..], &[add(3)]]));
            assert_eq!(check(&[]).differences[0].kind, DifferenceKind::Lost);
        }
    }
}

#[test]
fn a_refused_change_must_not_be_recovered_and_a_change_with_an_unknown_outcome_may_be() {
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
        let verdict = verdict_after_process_crash(&oracle, &[&before, adds].concat(), 0);
        assert_eq!(verdict.is_ok(), is_legal, "{adds:?}: {verdict}");
    }
}

#[test]
fn after_a_reopening_recovered_calls_must_stay_and_lost_calls_must_not_come_back() {
    let frames = records(9, 2);
    let mut oracle = new_oracle(Guarantee::Synced);
    acknowledge(&mut oracle, &frames[..5], 0);
    oracle.begin(&frames[5]);
    // A power loss leaves three of the frames.
    let verdict = verdict_after_power_loss(&oracle, &frames[..3], 3);
    assert_ok(&verdict);
    oracle.reopened(&verdict);
    let after = [&frames[..3], &frames[6..8]].concat();
    acknowledge(&mut oracle, &frames[6..8], 3);
    oracle.begin(&frames[8]);
    for (operations, last, is_legal) in [
        (&after[..], 5, true),
        (&after[..4], 4, true),
        (&after[..3], 3, true),
        (&after[..2], 2, false),
        (&frames[..4], 4, false),
    ] {
        let verdict = verdict_after_power_loss(&oracle, operations, last);
        assert_eq!(verdict.is_ok(), is_legal, "{last}: {verdict}");
    }
    let lost = verdict_after_power_loss(&oracle, &after[..2], 2);
    assert_eq!(lost.counts.lost, 2, "{lost}");
    assert_eq!(lost.prefix.frames, 2);
    // A recovered call that was in flight must stay after the next reopening.
    let with = [&after[..], &frames[8..]].concat();
    let verdict = verdict_after_power_loss(&oracle, &with, 6);
    assert_ok(&verdict);
    oracle.reopened(&verdict);
    assert_ok(&verdict_after_power_loss(&oracle, &with, 6));
    for found in [&after, &with] {
        assert_wrong(&verdict_after_power_loss(&oracle, found, 5));
    }
    // The database must not assign its sequence number again.
    let id = oracle.begin(&frames[0]);
    oracle.acknowledged(id, Some(6));
    assert_wrong(&verdict_after_power_loss(&oracle, &with, 6));
}
