//! The format of the checkpoint record, which travels in the same batch as the state it speaks of.
//!
//! Little-endian, under the storage key of tag 0x03:
//!
//! | size | field | content |
//! |---|---|---|
//! | 2 | version | 1 |
//! | 8 | covered | the state holds every frame up to this sequence number, at most 2^63 - 1, and nothing of later ones |
//! | 8 | synced | every frame of the log up to this one was synced when the checkpoint was made: a promise |
//!
//! The first record, with 0 and 0, is written once the first segment exists: from then on there must be a log.

use crate::codec::{Reader, Write};
use crate::wal::recovery::Covered;
use crate::wal::segment::SEQUENCE_MAX;

const VERSION: u16 = 1;

pub(crate) fn encode(covered: u64, synced: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u16(VERSION);
    bytes.put_u64(covered);
    bytes.put_u64(synced);
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Covered, &'static str> {
    let mut reader = Reader::new(bytes);
    if reader.u16() != Some(VERSION) {
        return Err("the version of the checkpoint record is unknown");
    }
    match (reader.u64(), reader.u64(), reader.is_empty()) {
        (Some(sequence), Some(_), true) if sequence > SEQUENCE_MAX => {
            Err("the checkpoint record has an impossible sequence number")
        }
        (Some(sequence), Some(synced), true) => Ok(Covered {
            sequence,
            synced,
            log_exists: true,
        }),
        _ => Err("the checkpoint record has the wrong length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_has_its_golden_bytes_and_reads_back() {
        let bytes = encode(0x0102, 7);
        assert_eq!(bytes, [1, 0, 2, 1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            decode(&bytes),
            Ok(Covered {
                sequence: 0x0102,
                synced: 7,
                log_exists: true
            })
        );
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}
