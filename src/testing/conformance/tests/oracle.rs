//! Tests of the oracle with constructed contents.

use super::super::write_history::{Promise, WriteHistory, WriteStatus};
use super::super::writes::{KeyValues, MarkedWrite, Presence, WriteShape};

/// Small writes with these status values. The first `flushed_len` writes are flushed.
fn history(statuses: &[WriteStatus], flushed_len: usize) -> WriteHistory {
    let mut history = WriteHistory::default();
    for (index, status) in statuses.iter().enumerate() {
        history.add(MarkedWrite::small(index), *status);
    }
    history.flushed_len = flushed_len;
    history
}

/// The content after these small writes.
fn content(indices: &[usize]) -> KeyValues {
    let mut pairs = KeyValues::new();
    for index in indices {
        MarkedWrite::small(*index).apply(&mut pairs);
    }
    pairs
}

const ACKNOWLEDGED: WriteStatus = WriteStatus::Acknowledged;
const FAILED: WriteStatus = WriteStatus::Failed;
const IN_FLIGHT: WriteStatus = WriteStatus::InFlight;
const ALL: Promise = Promise::Acknowledged;
const FLUSHED: Promise = Promise::Flushed;

#[test]
fn small_writes_have_all_small_shapes() {
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
}

#[test]
fn each_small_write_changes_the_content_of_the_writes_before_it() {
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
fn the_oracle_finds_each_present_and_each_missing_write_in_a_content() {
    let history = history(&[IN_FLIGHT; 8], 0);
    for missing in 0..8 {
        let present: Vec<_> = (0..8).filter(|index| *index != missing).collect();
        let presences = history.check(&content(&present), ALL);
        let presences = presences.unwrap_or_else(|text| panic!("without {missing}: {text}"));
        for (index, presence) in presences.into_iter().enumerate() {
            let expected = match index {
                _ if index == missing => Presence::Missing,
                // A delete of a key that the missing batch before it puts.
                3 | 7 if missing + 1 == index => Presence::NoEffect,
                _ => Presence::Present,
            };
            assert_eq!(presence, expected, "write {index} without {missing}");
        }
    }
}

#[test]
fn acknowledged_writes_must_be_present_and_after_a_power_loss_only_flushed_ones() {
    let history = history(&[ACKNOWLEDGED; 5], 3);
    for len in 0..=5 {
        let found = content(&(0..len).collect::<Vec<_>>());
        assert_eq!(history.check(&found, ALL).is_ok(), len == 5, "{len} writes");
        assert_eq!(history.check(&found, FLUSHED).is_ok(), len >= 3, "{len} writes");
    }
    let text = history.check(&content(&[0, 1]), FLUSHED).unwrap_err();
    assert_eq!(text, "write 2 (batch) is lost: it was acknowledged and flushed");
}

#[test]
fn a_failed_write_and_a_write_in_flight_may_be_present_and_a_later_acknowledged_write_must() {
    let history = history(&[ACKNOWLEDGED, FAILED, ACKNOWLEDGED, IN_FLIGHT], 0);
    for legal in [&[0, 2][..], &[0, 1, 2], &[0, 2, 3], &[0, 1, 2, 3]] {
        assert!(history.check(&content(legal), ALL).is_ok(), "{legal:?}");
    }
    let text = history.check(&content(&[0, 1]), ALL).unwrap_err();
    assert_eq!(
        text,
        "write 2 (batch) is lost: it was acknowledged, after write 1 (put) had failed"
    );
}

#[test]
fn a_gap_between_writes_is_a_failure_even_if_no_write_is_promised() {
    let history = history(&[ACKNOWLEDGED; 3], 0);
    let text = history.check(&content(&[0, 2]), FLUSHED).unwrap_err();
    assert_eq!(
        text,
        "the writes have a gap: write 1 (put) is missing, and the later write 2 (batch) is present"
    );
}

#[test]
fn each_missing_wrong_or_extra_pair_is_a_failure() {
    let history = history(&[ACKNOWLEDGED; 6], 0);
    let whole = content(&[0, 1, 2, 3, 4, 5]);
    history.check(&whole, ALL).unwrap();
    for key in whole.keys() {
        let mut without = whole.clone();
        without.remove(key);
        history.check(&without, ALL).unwrap_err();
        let mut wrong = whole.clone();
        wrong.get_mut(key).unwrap().push(0);
        history.check(&wrong, ALL).unwrap_err();
    }
    for key in ["temporary", "own/000000/0", "mark/000006", "foreign"] {
        let mut more = whole.clone();
        more.insert(key.into(), Vec::new());
        history.check(&more, ALL).unwrap_err();
    }
}

#[test]
fn writes_that_were_recovered_or_missing_once_must_stay_so_after_the_next_opening() {
    let mut history = history(&[ACKNOWLEDGED, IN_FLIGHT], 0);
    history.check_reopened(&content(&[0]), ALL).unwrap();
    let text = history.check(&content(&[0, 1]), FLUSHED).unwrap_err();
    assert_eq!(
        text,
        "write 1 (put) was missing after an earlier opening and is present now"
    );
    let text = history.check(&content(&[]), FLUSHED).unwrap_err();
    assert_eq!(
        text,
        "write 0 (batch) was present after an earlier opening and is lost"
    );
}
