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

#[test]
fn the_last_opening_or_the_one_before_made_the_last_segment_and_an_older_segment_ends_no_later_than_was_found()
 {
    let openings = StoredOpenings {
        last: 5,
        before: Some(PreviousOpening {
            opening: 4,
            last_sequence: 100,
        }),
    };
    assert!(openings.allows(5, 0) && openings.allows(5, u64::MAX));
    assert!(openings.allows(4, 99) && openings.allows(4, 100) && !openings.allows(4, 101));
    assert!(!openings.allows(3, 0) && !openings.allows(6, 0));
    let first = StoredOpenings {
        before: None,
        ..openings
    };
    assert!(first.allows(5, 1) && !first.allows(4, 0));
}
