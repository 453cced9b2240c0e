//! The bytes of a segment header, headers that are refused, and file names.

use crate::Error;
use crate::codec::crc32c::crc32c;
use crate::wal::history::History;
use crate::wal::segment::*;
use std::path::Path;

const SAMPLE: SegmentHeader = SegmentHeader {
    database_id: 0xd0d1_d2d3,
    first_sequence: 0x31,
    previous_first: 0x21,
    previous_end: 0x1040,
    opening: 0x51,
    history: History(0x6162),
};

#[test]
fn the_header_has_its_golden_bytes() {
    let mut golden = b"TIDALWAL\x02\0\0\0\0\0\0\0".to_vec();
    golden.extend_from_slice(&[0xd3, 0xd2, 0xd1, 0xd0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&[0x31, 0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&[0x40, 0x10, 0, 0, 0, 0, 0, 0, 0x51, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&[0x62, 0x61, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&crc32c(&golden).to_le_bytes());
    let bytes = SAMPLE.encode();
    assert_eq!(bytes, golden);
    assert_eq!(bytes[FIRST_SEQUENCE_OFFSET], 0x31);
    assert_eq!(bytes[PREVIOUS_FIRST_OFFSET], 0x21);
    assert_eq!(bytes[PREVIOUS_END_OFFSET], 0x40);
    assert_eq!(bytes[OPENING_OFFSET], 0x51);
    assert_eq!(bytes[HISTORY_OFFSET], 0x62);
}

#[test]
fn a_header_reads_back_and_every_truncation_and_flipped_bit_is_refused() {
    let bytes = SAMPLE.encode();
    let path = Path::new("log/x.wal");
    let (decoded, _) = SegmentHeader::decode(&bytes, path, SAMPLE.database_id).unwrap();
    assert_eq!(decoded, SAMPLE);
    for len in 0..bytes.len() {
        assert!(
            SegmentHeader::decode(&bytes[..len], path, SAMPLE.database_id).is_err(),
            "truncated at {len}"
        );
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            SegmentHeader::decode(&flipped, path, SAMPLE.database_id).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn each_kind_of_wrong_header_has_its_own_error() {
    let path = Path::new("log/x.wal");
    let error = |bytes: &[u8], id| SegmentHeader::decode(bytes, path, id).unwrap_err();
    assert!(matches!(error(&[b'x'; 64], 1), Error::BadMagic { .. }));
    assert!(matches!(
        error(&SAMPLE.encode(), 1),
        Error::ForeignDatabase { expected: 1, .. }
    ));
    for version in [VERSION - 1, VERSION + 1] {
        let mut other = SAMPLE.encode();
        other[VERSION_OFFSET] = version as u8;
        // Headers of other versions may be shorter.
        let error = error(&other[..64], 1);
        assert!(
            matches!(error, Error::UnsupportedVersion { found, supported: VERSION, .. } if found == version),
            "{error}"
        );
    }
}

#[test]
fn names_of_segments_and_temporary_files_parse_back_and_other_names_are_foreign() {
    for sequence in [1, 42, u64::MAX] {
        assert_eq!(
            parse_name(&segment_name(sequence)),
            SegmentName::Segment(sequence)
        );
        assert_eq!(parse_name(&temporary_name(sequence)), SegmentName::Temporary);
    }
    let over = "99999999999999999999.wal";
    for name in [
        "",
        ".wal",
        "1.wal",
        "0000000000000000000x.wal",
        "+0000000000000000001.wal",
        over,
        "note.txt",
    ] {
        assert_eq!(parse_name(name), SegmentName::Foreign, "{name}");
    }
}
