//! The oracle alone, on contents made by hand.

use super::super::account::{Promise, WriteAccount, WriteFate};
use super::super::steps::{KeyValues, MarkedWrite, Presence, WriteShape};

/// An account of small writes with these fates; the first `flushed_len` are flushed.
fn account(fates: &[WriteFate], flushed_len: usize) -> WriteAccount {
    let mut account = WriteAccount::default();
    for (index, fate) in fates.iter().enumerate() {
        account.add(MarkedWrite::small(index), *fate);
    }
    account.flushed_len = flushed_len;
    account
}

/// What these small writes make.
fn content(indices: &[usize]) -> KeyValues {
    let mut pairs = KeyValues::new();
    for index in indices {
        MarkedWrite::small(*index).apply(&mut pairs);
    }
    pairs
}

const ACKNOWLEDGED: WriteFate = WriteFate::Acknowledged;
const FAILED: WriteFate = WriteFate::Failed;
const IN_FLIGHT: WriteFate = WriteFate::InFlight;
const ALL: Promise = Promise::Acknowledged;
const FLUSHED: Promise = Promise::Flushed;

#[test]
fn small_writes_are_of_all_small_shapes_and_each_changes_a_content_it_is_not_in() {
    let shapes: Vec<_> = (0..4).map(|index| MarkedWrite::small(index).shape).collect();
    assert_eq!(
        shapes,
        [
            WriteShape::Batch,
            WriteShape::Put,
            WriteShape::Batch,
            WriteShape::Delete
        ]
    );
    for index in 0..12 {
        let before: Vec<_> = (0..index).collect();
        assert_ne!(
            content(&before),
            content(&[&before[..], &[index]].concat()),
            "write {index}"
        );
    }
}

#[test]
fn every_write_is_recognised_in_a_content_and_missed_in_another() {
    let account = account(&[IN_FLIGHT; 8], 0);
    for missing in 0..8 {
        let there: Vec<_> = (0..8).filter(|index| *index != missing).collect();
        let presences = account.judge(&content(&there), ALL);
        let presences = presences.unwrap_or_else(|text| panic!("without {missing}: {text}"));
        for (index, presence) in presences.into_iter().enumerate() {
            let expected = match index {
                _ if index == missing => Presence::Missing,
                // A delete of what the batch before it would have made.
                3 | 7 if missing + 1 == index => Presence::Unknowable,
                _ => Presence::There,
            };
            assert_eq!(presence, expected, "write {index} without {missing}");
        }
    }
}

#[test]
fn what_was_acknowledged_must_be_there_and_after_a_power_loss_what_was_flushed() {
    let account = account(&[ACKNOWLEDGED; 5], 3);
    for kept in 0..=5 {
        let found = content(&(0..kept).collect::<Vec<_>>());
        assert_eq!(account.judge(&found, ALL).is_ok(), kept == 5, "{kept} writes");
        assert_eq!(account.judge(&found, FLUSHED).is_ok(), kept >= 3, "{kept} writes");
    }
    let text = account.judge(&content(&[0, 1]), FLUSHED).unwrap_err();
    assert_eq!(text, "write 2 (batch) is lost: it was acknowledged and flushed");
}

#[test]
fn a_write_that_failed_or_was_under_way_may_be_there_and_a_later_success_must() {
    let account = account(&[ACKNOWLEDGED, FAILED, ACKNOWLEDGED, IN_FLIGHT], 0);
    for legal in [&[0, 2][..], &[0, 1, 2], &[0, 2, 3], &[0, 1, 2, 3]] {
        assert!(account.judge(&content(legal), ALL).is_ok(), "{legal:?}");
    }
    let text = account.judge(&content(&[0, 1]), ALL).unwrap_err();
    assert_eq!(
        text,
        "write 2 (batch) is lost: it was acknowledged, after write 1 (put) had failed"
    );
}

#[test]
fn a_hole_is_found_where_nothing_is_promised() {
    let account = account(&[ACKNOWLEDGED; 3], 0);
    let text = account.judge(&content(&[0, 2]), FLUSHED).unwrap_err();
    assert_eq!(
        text,
        "there is a hole: write 1 (put) is missing, and the later write 2 (batch) is there"
    );
}

#[test]
fn each_part_of_a_batch_that_is_missing_or_wrong_or_too_much_is_found() {
    let account = account(&[ACKNOWLEDGED; 6], 0);
    let whole = content(&[0, 1, 2, 3, 4, 5]);
    account.judge(&whole, ALL).unwrap();
    for key in whole.keys() {
        let mut without = whole.clone();
        without.remove(key);
        account.judge(&without, ALL).unwrap_err();
        let mut wrong = whole.clone();
        wrong.get_mut(key).unwrap().push(0);
        account.judge(&wrong, ALL).unwrap_err();
    }
    for key in ["temporary", "own/000000/0", "mark/000006", "foreign"] {
        let mut more = whole.clone();
        more.insert(key.into(), Vec::new());
        account.judge(&more, ALL).unwrap_err();
    }
}

#[test]
fn what_was_seen_after_one_opening_stays_after_the_next() {
    let mut account = account(&[ACKNOWLEDGED, IN_FLIGHT], 0);
    account.settle(&content(&[0]), ALL).unwrap();
    let text = account.judge(&content(&[0, 1]), FLUSHED).unwrap_err();
    assert_eq!(
        text,
        "write 1 (put) was not there after an earlier opening and now is"
    );
    let text = account.judge(&content(&[]), FLUSHED).unwrap_err();
    assert_eq!(
        text,
        "write 0 (batch) was there after an earlier opening and is lost"
    );
}
