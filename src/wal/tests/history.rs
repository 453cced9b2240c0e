//! The history value, and the openings that may have made the last segment.

use crate::wal::frame::FRAME_HEADER_BYTES;
use crate::wal::history::*;

#[test]
fn a_history_has_its_golden_value_and_every_bit_of_the_opening_and_the_checksums_changes_it() {
    let header: [u8; FRAME_HEADER_BYTES] = std::array::from_fn(|at| at as u8);
    let history = History::NONE.after_frame(7, &header);
    assert_eq!(history, History(0x7e2c_a0ce_e1b8_1154));
    assert_eq!(
        History::NONE.after_frame(7, &[&header[..], b"payload"].concat()),
        history
    );
    assert_ne!(history.after_frame(7, &header), history);
    for bit in 0..64 {
        assert_ne!(History::NONE.after_frame(7 ^ 1 << bit, &header), history);
        assert_ne!(History(1 << bit).after_frame(7, &header), history);
    }
    for bit in header.len() * 8 - 64..header.len() * 8 {
        let mut other = header;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(History::NONE.after_frame(7, &other), history);
    }
}

const OPENINGS: StoredOpenings = StoredOpenings {
    last: 5,
    before: Some(PreviousOpening {
        opening: 4,
        last_sequence: 100,
    }),
};

#[test]
fn only_the_last_two_openings_may_have_made_the_last_segment() {
    assert!(OPENINGS.allows(5, 0) && OPENINGS.allows(4, 0));
    assert!(!OPENINGS.allows(3, 0) && !OPENINGS.allows(6, 0));
    let first = StoredOpenings {
        before: None,
        ..OPENINGS
    };
    assert!(first.allows(5, 1) && !first.allows(4, 0));
}

#[test]
fn a_log_of_the_last_opening_but_one_ends_no_later_than_the_last_opening_found() {
    assert!(OPENINGS.allows(4, 99) && OPENINGS.allows(4, 100) && !OPENINGS.allows(4, 101));
    assert!(OPENINGS.allows(5, u64::MAX));
}
