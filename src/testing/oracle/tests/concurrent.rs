//! Several callers at a time: numbers give the order, and frames in flight fit into the gaps.

use super::{acknowledge, assert_ok, assert_wrong, judged, new, record, records};
use crate::testing::oracle::{Guarantee, OpId, Oracle};
use crate::testing::workload::{Event, Operation, standard_schema};
use crate::{EntityId, SignalId, UserId};

/// An oracle of calls that all began before any ended, and of the numbers that some of them got.
fn overlapping(frames: &[Operation], numbers: &[(usize, u64)]) -> Oracle {
    let mut oracle = new(Guarantee::Acknowledged);
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
fn receipts_give_the_order_whatever_the_order_of_the_calls_was() {
    let frames = records(4, 2);
    let oracle = overlapping(&frames, &[(2, 1), (0, 4), (3, 2), (1, 3)]);
    assert_ok(&judged(&oracle, &pick(&frames, &[2, 3, 1, 0]), 4));
    // Co-engagement tells the order.
    assert_wrong(&judged(&oracle, &frames, 4));
}

#[test]
fn frames_in_flight_are_found_in_whatever_gap_they_are() {
    let frames = records(6, 2);
    // Number 2 is a marker; 0 and 5 never answer.
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
        let verdict = judged(&oracle, &pick(&frames, order), last);
        assert_ok(&verdict);
        assert_eq!(verdict.prefix.frames, order.len());
    }
    assert_wrong(&judged(&oracle, &pick(&frames, &[1, 2, 4, 0]), 7));
    // Between two numbers there is room for one frame only.
    assert_wrong(&judged(&oracle, &pick(&frames, &[1, 2, 3, 0, 5, 4]), 7));
}

#[test]
fn a_frame_in_flight_is_not_before_what_was_acknowledged_when_it_began() {
    // All by one user, so that co-engagement tells their order.
    let frames = [1, 3, 5].map(|seed| record(seed, 2));
    let mut oracle = new(Guarantee::Acknowledged);
    acknowledge(&mut oracle, &frames[..1], 1);
    oracle.begin(&frames[2]);
    acknowledge(&mut oracle, &frames[1..2], 3);
    for (order, is_legal) in [([0, 2, 1], true), ([2, 0, 1], false), ([0, 1, 2], false)] {
        let verdict = judged(&oracle, &pick(&frames, &order), 4);
        assert_eq!(verdict.is_ok(), is_legal, "{order:?}: {verdict}");
    }
}

#[test]
fn eight_frames_in_flight_are_found_in_time() {
    let frames = records(12, 1);
    let oracle = overlapping(&frames, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    let verdict = judged(&oracle, &pick(&frames, &[0, 1, 2, 3, 9, 6, 11]), 7);
    assert_ok(&verdict);
    assert_eq!(verdict.prefix.frames, 7);
}

/// The oracle took two orders of frames in flight for the same that differ in nothing but which user goes first at the
/// limit of users, continued from the wrong one, and found fault with what followed.
#[test]
fn an_order_of_frames_in_flight_that_only_a_later_drop_tells_is_told_apart() {
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
    // Each of a user of its own: at the limit one of the first two goes, and then comes back with an empty ring.
    let of_others = (2..=limit).map(|user| like(user, 1));
    let later: Vec<_> = of_others.chain([like(0, 2), like(1, 2)]).collect();
    for order in [[0, 1], [1, 0]] {
        let mut oracle = overlapping(&frames, &[]);
        let mut all = pick(&frames, &order);
        let verdict = judged(&oracle, &all, 2);
        assert_ok(&verdict);
        oracle.reopened(&verdict);
        acknowledge(&mut oracle, &later, 2);
        all.extend_from_slice(&later);
        assert_ok(&judged(&oracle, &all, all.len() as u64));
    }
}
