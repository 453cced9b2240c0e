//! Tests of the bytes of the checkpoint record.

use crate::Error;
use crate::signals::checkpoint::record::*;
use crate::wal::history::History;
use crate::wal::recovery::CheckpointRecord;

#[test]
fn the_record_has_its_golden_bytes_and_reads_back() {
    let bytes = encode(0x0102, 7, History(0x0304));
    let mut golden = vec![3, 0, 2, 1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    golden.extend_from_slice(&[4, 3, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes, golden);
    assert_eq!(
        decode(&bytes, b"k").unwrap(),
        CheckpointRecord {
            sequence: 0x0102,
            synced: 7,
            history: History(0x0304),
            log_exists: true
        }
    );
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len], b"k").is_err(), "truncated at {len}");
    }
    assert!(decode(&[&bytes[..], &[0]].concat(), b"k").is_err());
    for version in [VERSION - 1, VERSION + 1] {
        let error = decode(&version.to_le_bytes(), b"k").unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedVersion { found, .. } if found == version.into()),
            "{error}"
        );
    }
}
