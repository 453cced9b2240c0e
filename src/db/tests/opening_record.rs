//! The opening record: its bytes, and the ids of openings.

use crate::Error;
use crate::db::opening_record::*;
use crate::db::report::EarlierOpening;
use crate::limits::EARLIER_OPENINGS_LEN_MAX;

fn earlier(opening: u64, survived_sequence: u64) -> EarlierOpening {
    EarlierOpening {
        opening,
        survived_sequence,
    }
}

#[test]
fn the_record_has_its_golden_bytes_and_every_truncation_is_refused() {
    let record = OpeningRecord {
        opening: 0x0102,
        earlier: vec![earlier(3, 4)],
    };
    let bytes = record.encode();
    let mut golden = vec![1, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1];
    golden.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes, golden);
    assert_eq!(OpeningRecord::decode(&bytes, b"k").unwrap(), record);
    for len in 0..bytes.len() {
        assert!(
            OpeningRecord::decode(&bytes[..len], b"k").is_err(),
            "truncated at {len}"
        );
    }
    assert!(OpeningRecord::decode(&[&bytes[..], &[0]].concat(), b"k").is_err());
    for version in [VERSION - 1, VERSION + 1] {
        let other = [&version.to_le_bytes(), &bytes[2..]].concat();
        let error = OpeningRecord::decode(&other, b"k").unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedVersion { found, .. } if found == version.into()),
            "{error}"
        );
    }
    let too_many = OpeningRecord {
        opening: 1,
        earlier: vec![earlier(3, 4); EARLIER_OPENINGS_LEN_MAX + 1],
    };
    assert!(OpeningRecord::decode(&too_many.encode(), b"k").is_err());
}

#[test]
fn opening_ids_are_never_used_twice_and_the_record_holds_the_latest_ones() {
    for step in [None, Some(0), Some(1 << 63), Some(u64::MAX)] {
        let mut record = OpeningRecord::first(step);
        let mut used = vec![record.opening];
        for sequence in 1..100 {
            record = record.after(Some(record.opening), sequence, step, EARLIER_OPENINGS_LEN_MAX);
            assert!(!used.contains(&record.opening), "{step:?}");
            used.push(record.opening);
        }
        let remembered = record.earlier.iter().map(|earlier| earlier.opening);
        let expected = used.iter().rev().skip(1).take(EARLIER_OPENINGS_LEN_MAX).copied();
        assert!(remembered.eq(expected));
        assert_eq!(record.earlier[0].survived_sequence, 99);
    }
}

#[test]
fn an_opening_without_a_segment_is_left_out_and_its_id_is_not_used_again() {
    let first = OpeningRecord::first(Some(5));
    assert_eq!((first.opening, first.earlier.len()), (5, 0));
    let mut record = first.after(Some(5), 100, Some(5), EARLIER_OPENINGS_LEN_MAX);
    for (opening, survived_sequence) in [(10, 100), (15, 90), (20, 80)] {
        assert_eq!(record.opening, opening);
        let openings = record.stored_openings();
        assert!(openings.allows(opening, u64::MAX) && openings.allows(5, survived_sequence));
        assert!(!openings.allows(5, survived_sequence + 1));
        assert!(
            opening == 10 || !openings.allows(opening - 5, 0),
            "the one before made no segment either"
        );
        record = record.after(Some(5), survived_sequence - 10, Some(5), EARLIER_OPENINGS_LEN_MAX);
    }
    assert_eq!(record.earlier, [earlier(5, 70)]);
    record = record.after(Some(25), 71, Some(5), EARLIER_OPENINGS_LEN_MAX);
    assert_eq!(record.earlier, [earlier(25, 71), earlier(5, 70)]);
    // A new database whose first openings made no segment.
    let record = first.after(None, 0, Some(5), EARLIER_OPENINGS_LEN_MAX).after(
        None,
        0,
        Some(5),
        EARLIER_OPENINGS_LEN_MAX,
    );
    assert_eq!((record.opening, record.earlier.len()), (15, 0));
}

#[test]
fn copies_that_are_opened_with_different_steps_get_different_ids() {
    let record = OpeningRecord::first(Some(1)).after(Some(1), 9, Some(1), EARLIER_OPENINGS_LEN_MAX);
    let ids = [2, 3].map(|step| {
        record
            .after(Some(2), 9, Some(step), EARLIER_OPENINGS_LEN_MAX)
            .opening
    });
    assert_eq!(ids, [4, 5]);
}
