//! The format of the checkpoint record. It is stored in the same batch as the state that it describes.
//!
//! Little-endian, under the storage key of tag 0x03:
//!
//! | size | field | content |
//! |---|---|---|
//! | 2 | version | 3 |
//! | 8 | covered | the state contains every frame up to this sequence number, at most 2^63 - 1, and no later frame |
//! | 8 | synced | a promise: at the checkpoint every frame of the log up to this sequence number was synced |
//! | 8 | history | of the log up to the covered frame, see [`history`](crate::wal::history) |
//!
//! The first record contains zeros. It is written after the first segment exists: from then on an open without a log
//! fails.

use std::path::PathBuf;

use crate::Error;
use crate::codec::{Reader, Write};
use crate::wal::history::History;
use crate::wal::recovery::CheckpointRecord;
use crate::wal::segment::SEQUENCE_MAX;

pub(super) const VERSION: u16 = 3;

pub(crate) fn encode(covered: u64, synced: u64, history: History) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u16(VERSION);
    bytes.put_u64(covered);
    bytes.put_u64(synced);
    bytes.put_u64(history.0);
    bytes
}

/// Decodes the bytes that [`encode`] made. `key` is their storage key, for errors.
///
/// # Errors
/// `UnsupportedVersion` for another version; `CorruptValue` for other damage.
pub(crate) fn decode(bytes: &[u8], key: &[u8]) -> Result<CheckpointRecord, Error> {
    let corrupt = |what| Error::CorruptValue {
        key: key.to_vec(),
        what,
    };
    let wrong_length = || corrupt("the checkpoint record has the wrong length");
    let mut reader = Reader::new(bytes);
    let found = reader.u16().ok_or_else(wrong_length)?;
    if found != VERSION {
        return Err(Error::UnsupportedVersion {
            path: PathBuf::from("the checkpoint record in storage"),
            found: found.into(),
            supported: VERSION.into(),
        });
    }
    let mut read = || {
        Some(CheckpointRecord {
            sequence: reader.u64()?,
            synced: reader.u64()?,
            history: History(reader.u64()?),
            log_exists: true,
        })
    };
    let checkpoint = read().ok_or_else(wrong_length)?;
    if !reader.is_empty() {
        return Err(wrong_length());
    }
    if checkpoint.sequence > SEQUENCE_MAX {
        return Err(corrupt("the checkpoint record has an impossible sequence number"));
    }
    Ok(checkpoint)
}
