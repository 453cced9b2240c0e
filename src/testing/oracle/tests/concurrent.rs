//! Concurrent callers: sequence numbers give the order of frames, and frames in flight are in the gaps between the
//! numbers.

use super::{acknowledge, assert_ok, assert_wrong, new_oracle, record, records, verdict_after_process_crash};
use crate::testing::oracle::{Guarantee, OpId, Oracle};
use crate::testing::workload::{Event, Operation, standard_schema};
use crate::{EntityId, SignalId, UserId};

/// An oracle of calls that all began before the first one ended. `numbers` holds the sequence numbers of the
/// acknowledged calls.
fn overlapping(frames: &[Operation], numbers: &[(usize, u64)]) -> Oracle {
    let mut oracle = new_oracle(Guarantee::Acknowledged);
    let ids: Vec<OpId> = frames.iter().map(|frame| oracle.begin(frame)).collect();
    for &(index, sequence) in numbers {
        oracle.acknowledged(ids[index], Some(sequence));
    }
    oracle
}

fn pick(frames: &[Operation], order: &[usize]) -> Vec<Operation> {
    order.iter().map(|&index| frames[index].clone()).collect()
}

#[test]
fn the_sequence_numbers_in_receipts_give_the_order_and_not_the_order_of_the_calls() {
    let frames = records(4, 2);
    let oracle = overlapping(&frames, &[(2, 1), (0, 4), (3, 2), (1, 3)]);
    assert_ok(&verdict_after_process_crash(
        &oracle,
        &pick(&frames, &[2, 3, 1, 0]),
        4,
    ));
    // Co-engagement depends on the order.
    assert_wrong(&verdict_after_process_crash(&oracle, &frames, 4));
}

#[test]
fn frames_in_flight_are_found_in_every_gap_between_the_sequence_numbers() {
    let frames = records(6, 2);
    // Sequence number 2 is a marker. Frames 0 and 5 stay in flight.
    let oracle = overlapping(&frames, &[(1, 1), (2, 4), (3, 5), (4, 7)]);
    let legal: [&[usize]; 6] = [
        &[1, 2, 3, 4],
        &[1, 0, 2, 3, 4],
        &[1, 2, 3, 5, 4],
        &[1, 5, 0, 2, 3, 4],
        &[1, 0, 2, 3, 5, 4],
        &[1, 2, 3, 4, 0, 5],
    ];
    for order in legal {
        let last = if order.ends_with(&[5]) { 9 } else { 7 };
        let verdict = verdict_after_process_crash(&oracle, &pick(&frames, order), last);
        assert_ok(&verdict);
        assert_eq!(verdict.prefix.frames, order.len());
    }
    assert_wrong(&verdict_after_process_crash(
        &oracle,
        &pick(&frames, &[1, 2, 4, 0]),
        7,
    ));
    // The gap between sequence numbers 5 and 7 has room for one frame only.
    assert_wrong(&verdict_after_process_crash(
        &oracle,
        &pick(&frames, &[1, 2, 3, 0, 5, 4]),
        7,
    ));
}

#[test]
fn a_frame_in_flight_comes_after_every_frame_that_was_acknowledged_before_it_began() {
    // All events are of one user, so that co-engagement depends on their order.
    let frames = [1, 3, 5].map(|seed| record(seed, 2));
    let mut oracle = new_oracle(Guarantee::Acknowledged);
    acknowledge(&mut oracle, &frames[..1], 1);
    oracle.begin(&frames[2]);
    acknowledge(&mut oracle, &frames[1..2], 3);
    for (order, is_legal) in [([0, 2, 1], true), ([2, 0, 1], false), ([0, 1, 2], false)] {
        let verdict = verdict_after_process_crash(&oracle, &pick(&frames, &order), 4);
        assert_eq!(verdict.is_ok(), is_legal, "{order:?}: {verdict}");
    }
}

#[test]
fn the_search_places_eight_frames_in_flight_in_a_short_time() {
    let frames = records(12, 1);
    let oracle = overlapping(&frames, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    let verdict = verdict_after_process_crash(&oracle, &pick(&frames, &[0, 1, 2, 3, 9, 6, 11]), 7);
    assert_ok(&verdict);
    assert_eq!(verdict.prefix.frames, 7);
}

/// Two orders of frames in flight differed only in the user that the limit drops first. The oracle took them for the
/// same order, continued from the wrong one, and reported a finding in a correct later state.
#[test]
fn orders_of_frames_in_flight_that_differ_only_in_recency_are_distinguished() {
    let like = |user, item| {
        Operation::record(vec![Event {
            entity: EntityId(item),
            signal: SignalId(1),
            weight: 1.0,
            at_ms: 1000,
            user: Some(UserId(user)),
            cohorts: Vec::new(),
        }])
    };
    let limit = standard_schema().co_engagement_config().users_max;
    let frames = [like(0, 1), like(1, 1)];
    // Each event has its own user. At the limit one of the first two users is dropped and then returns with an empty
    // ring.
    let of_others = (2..=limit).map(|user| like(user, 1));
    let later: Vec<_> = of_others.chain([like(0, 2), like(1, 2)]).collect();
    for order in [[0, 1], [1, 0]] {
        let mut oracle = overlapping(&frames, &[]);
        let mut all = pick(&frames, &order);
        let verdict = verdict_after_process_crash(&oracle, &all, 2);
        assert_ok(&verdict);
        oracle.reopened(&verdict);
        acknowledge(&mut oracle, &later, 2);
        all.extend_from_slice(&later);
        assert_ok(&verdict_after_process_crash(&oracle, &all, all.len() as u64));
    }
}
