//! The bytes of the identity record.

use crate::Error;
use crate::db::identity::*;

#[test]
fn the_record_has_its_golden_bytes_and_reads_back() {
    let bytes = encode(0x0102);
    assert_eq!(bytes, [4, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(decode(&bytes, b"k").unwrap(), 0x0102);
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len], b"k").is_err(), "truncated at {len}");
    }
    for version in [VERSION - 1, VERSION + 1] {
        let error = decode(&version.to_le_bytes(), b"k").unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedVersion { found, .. } if found == version.into()),
            "{error}"
        );
    }
}
