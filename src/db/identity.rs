//! The format of the identity record: which database a storage engine belongs to.
//!
//! Little-endian, under the storage key of tag 0x01, flushed together with the schema before the first segment:
//!
//! | size | field | content |
//! |---|---|---|
//! | 2 | version | 4, of everything the engine keeps in storage |
//! | 16 | database id | also in the header of every segment |

use std::path::PathBuf;

use crate::Error;
use crate::codec::{Reader, Write};

const VERSION: u16 = 4;

pub(crate) fn encode(database_id: u128) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u16(VERSION);
    bytes.put_u128(database_id);
    bytes
}

pub(crate) fn decode(bytes: &[u8], key: &[u8]) -> Result<u128, Error> {
    let mut reader = Reader::new(bytes);
    match reader.u16() {
        Some(VERSION) => {}
        Some(found) => {
            let path = PathBuf::from("the identity record in storage");
            return Err(Error::UnsupportedVersion {
                path,
                found: found.into(),
                supported: VERSION.into(),
            });
        }
        None => {
            return Err(Error::CorruptValue {
                key: key.to_vec(),
                what: "the identity record ends inside its version",
            });
        }
    }
    match (reader.u128(), reader.is_empty()) {
        (Some(database_id), true) => Ok(database_id),
        _ => Err(Error::CorruptValue {
            key: key.to_vec(),
            what: "the identity record has the wrong length",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_has_its_golden_bytes_and_reads_back() {
        let bytes = encode(0x0102);
        assert_eq!(bytes, [4, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes, b"k").unwrap(), 0x0102);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], b"k").is_err(), "cut at {len}");
        }
        for version in [VERSION - 1, VERSION + 1] {
            let error = decode(&version.to_le_bytes(), b"k").unwrap_err();
            assert!(
                matches!(error, Error::UnsupportedVersion { found, .. } if found == version.into()),
                "{error}"
            );
        }
    }
}
