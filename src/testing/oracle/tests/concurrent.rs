//! Several callers at a time: numbers give the order, and frames in flight fit into the gaps.

use super::{assert_ok, record, state};
use crate::testing::oracle::{Death, Guarantee, Oracle};
use crate::testing::workload::{Event, Operation, standard_schema};
use crate::{EntityId, SignalId, UserId};

#[test]
fn receipts_give_the_order_whatever_the_order_of_the_calls_was() {
    let frames: Vec<Operation> = (1..=4).map(|seed| record(seed, 2)).collect();
    let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
    let ids: Vec<_> = frames.iter().map(|frame| oracle.begin(frame)).collect();
    for (index, sequence) in [(2, 1), (0, 4), (3, 2), (1, 3)] {
        oracle.acknowledged(ids[index], Some(sequence));
    }
    let in_order = [2, 3, 1, 0].map(|index| frames[index].clone());
    assert_ok(&oracle.check_export(Death::ProcessCrash, &state(&in_order), Some(4)));
    // Co-engagement tells the order.
    assert!(
        !oracle
            .check_export(Death::ProcessCrash, &state(&frames), Some(4))
            .is_ok()
    );
}

#[test]
fn frames_in_flight_are_found_in_whatever_gap_they_are() {
    let frames: Vec<Operation> = (1..=6).map(|seed| record(seed, 2)).collect();
    let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
    let ids: Vec<_> = frames.iter().map(|frame| oracle.begin(frame)).collect();
    // Number 2 is a marker; 0 and 5 never answer.
    for (index, sequence) in [(1, 1), (2, 4), (3, 5), (4, 7)] {
        oracle.acknowledged(ids[index], Some(sequence));
    }
    let legal: [&[usize]; 6] = [
        &[1, 2, 3, 4],
        &[1, 0, 2, 3, 4],
        &[1, 2, 3, 5, 4],
        &[1, 5, 0, 2, 3, 4],
        &[1, 0, 2, 3, 5, 4],
        &[1, 2, 3, 4, 0, 5],
    ];
    for order in legal {
        let found = state(
            &order
                .iter()
                .map(|&index| frames[index].clone())
                .collect::<Vec<_>>(),
        );
        let last = if order.ends_with(&[5]) { 9 } else { 7 };
        for last in [Some(last), None] {
            let verdict = oracle.check_export(Death::ProcessCrash, &found, last);
            assert_ok(&verdict);
            assert_eq!(verdict.prefix.frames, order.len());
        }
    }
    let without_one = state(&[1, 2, 4, 0].map(|index: usize| frames[index].clone()));
    assert!(
        !oracle
            .check_export(Death::ProcessCrash, &without_one, Some(7))
            .is_ok()
    );
}

#[test]
fn a_frame_in_flight_is_not_before_what_was_acknowledged_when_it_began() {
    // All by one user, so that co-engagement tells their order.
    let frames = [1, 3, 5].map(|seed| record(seed, 2));
    let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
    let first = oracle.begin(&frames[0]);
    oracle.acknowledged(first, Some(2));
    oracle.begin(&frames[2]);
    let second = oracle.begin(&frames[1]);
    oracle.acknowledged(second, Some(4));
    let of = |order: [usize; 3]| state(&order.map(|index| frames[index].clone()));
    assert_ok(&oracle.check_export(Death::ProcessCrash, &of([0, 2, 1]), Some(4)));
    assert!(
        !oracle
            .check_export(Death::ProcessCrash, &of([2, 0, 1]), Some(4))
            .is_ok()
    );
    assert!(
        !oracle
            .check_export(Death::ProcessCrash, &of([0, 1, 2]), Some(4))
            .is_ok()
    );
}

#[test]
fn eight_frames_in_flight_are_found_in_time() {
    let frames: Vec<Operation> = (1..=12).map(|seed| record(seed, 1)).collect();
    let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
    for (index, frame) in frames[..4].iter().enumerate() {
        let id = oracle.begin(frame);
        oracle.acknowledged(id, Some(index as u64 + 1));
    }
    frames[4..].iter().for_each(|frame| {
        oracle.begin(frame);
    });
    let order = [0, 1, 2, 3, 9, 6, 11];
    let found = state(&order.map(|index: usize| frames[index].clone()));
    let verdict = oracle.check_export(Death::ProcessCrash, &found, Some(7));
    assert_ok(&verdict);
    assert_eq!(verdict.prefix.frames, 7);
}

/// The oracle took two orders of frames in flight for the same that differ in nothing but which user goes first at the
/// limit of users, went on from the wrong one, and found fault with what followed.
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
    let later: Vec<_> = (2..=limit)
        .map(|user| like(user, 1))
        .chain([like(0, 2), like(1, 2)])
        .collect();
    for order in [[0, 1], [1, 0]] {
        let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
        for frame in &frames {
            oracle.begin(frame);
        }
        let mut all = order.map(|index: usize| frames[index].clone()).to_vec();
        let verdict = oracle.check_export(Death::ProcessCrash, &state(&all), Some(2));
        assert_ok(&verdict);
        oracle.reopened(&verdict);
        super::acknowledge(&mut oracle, &later, 2);
        all.extend_from_slice(&later);
        let last = all.len() as u64;
        assert_ok(&oracle.check_export(Death::ProcessCrash, &state(&all), Some(last)));
    }
}
