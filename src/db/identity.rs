//! The format of the identity record: the id of the database to which the data in storage belongs.
//!
//! Little-endian, under the storage key of tag 0x01, flushed together with the schema before the first segment:
//!
//! | size | field | content |
//! |---|---|---|
//! | 2 | version | 4, of all records of the engine in storage |
//! | 16 | database id | also in the header of every segment |

use std::path::PathBuf;

use crate::Error;
use crate::codec::{Reader, Write};

pub(super) const VERSION: u16 = 4;

pub(crate) fn encode(database_id: u128) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u16(VERSION);
    bytes.put_u128(database_id);
    bytes
}

/// Decodes the bytes that [`encode`] made. `key` is their storage key, for errors.
///
/// # Errors
/// `UnsupportedVersion` for another version; `CorruptValue` for other damage.
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
