//! The storage keys of the engine, and the checksum around every value.
//!
//! A key is a tag byte, then components of fixed width, big-endian, so that byte order is numeric order. A name, the
//! only component whose width varies, follows its length in one byte, so that no name is a prefix of another one.
//!
//! | tag | rest of the key | value |
//! |---|---|---|
//! | 0x01 | | identity of the database, see [`identity`](crate::db::identity) |
//! | 0x02 | | schema, see [`schema`](crate::schema) |
//! | 0x03 | | checkpoint record, see [`record`](crate::signals::checkpoint::record) |
//! | 0x04 | | opening record, see [`opening_record`](crate::db::opening_record) |
//! | 0x10 | signal, shard, page | a page of states |
//! | 0x20 | signal, shard, page | a page of cohort states |
//! | 0x30 to 0x33 | id, or nothing | co-engagement |
//! | 0x40 | name | a collection, see [`index`](crate::db::collections::index) |
//! | 0x41 | number of the collection, lower bound of the ids | a block of its members, see [`block`](crate::db::collections::block) |
//!
//! Every value ends with the CRC32C of its key and the bytes before, so that a value under another key is corrupt.

use crate::Error;
use crate::codec::crc32c::{crc32c, extend};

pub(crate) const IDENTITY: &[u8] = &[0x01];
pub(crate) const SCHEMA: &[u8] = &[0x02];
pub(crate) const CHECKPOINT: &[u8] = &[0x03];
pub(crate) const OPENING: &[u8] = &[0x04];
pub(crate) const STATES: &[u8] = &[0x10];
pub(crate) const COHORT_STATES: &[u8] = &[0x20];
/// The tags of co-engagement, in the order in which an open reads them: counters, tombstones, items, users.
pub(crate) const CO_ENGAGEMENT: [&[u8]; 4] = [&[0x32], &[0x33], &[0x30], &[0x31]];
pub(crate) const COLLECTIONS: &[u8] = &[0x40];
pub(crate) const COLLECTION_BLOCKS: &[u8] = &[0x41];

const CHECKSUM_BYTES: usize = 4;

/// `value` with its checksum under `key`.
pub(crate) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let checksum = extend(crc32c(key), &value);
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

/// The value inside what [`seal`] made.
pub(crate) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], Error> {
    let corrupt = |what| Error::CorruptValue {
        key: key.to_vec(),
        what,
    };
    let (value, checksum) = sealed
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or_else(|| corrupt("it is shorter than its checksum"))?;
    if extend(crc32c(key), value) != u32::from_le_bytes(*checksum) {
        return Err(corrupt("its checksum does not match"));
    }
    Ok(value)
}

/// The key of the collection `name`, which has 1 to 255 bytes.
pub(crate) fn collection(name: &[u8]) -> Vec<u8> {
    debug_assert!(
        u8::try_from(name.len()).is_ok(),
        "names are checked before they get here"
    );
    [COLLECTIONS, &[name.len() as u8], name].concat()
}

/// The key of a block with the lower bound `lower`, of the collection with this number.
pub(crate) fn block(number: u64, lower: u64) -> Vec<u8> {
    [COLLECTION_BLOCKS, &number.to_be_bytes(), &lower.to_be_bytes()].concat()
}

/// The name in the key of a collection.
pub(crate) fn parse_collection(key: &[u8]) -> Option<&[u8]> {
    let (&len, name) = key.strip_prefix(COLLECTIONS)?.split_first()?;
    (len > 0 && name.len() == usize::from(len)).then_some(name)
}

/// The number of the collection and the lower bound in the key of a block.
pub(crate) fn parse_block(key: &[u8]) -> Option<(u64, u64)> {
    let (number, lower) = key.strip_prefix(COLLECTION_BLOCKS)?.split_first_chunk()?;
    Some((
        u64::from_be_bytes(*number),
        u64::from_be_bytes(lower.try_into().ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_under_its_own_key_only_and_no_flipped_bit_passes() {
        let sealed = seal(b"key", b"value".to_vec());
        assert_eq!(unseal(b"key", &sealed).unwrap(), b"value");
        assert!(unseal(b"kez", &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(b"key", &flipped).is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(unseal(b"key", &sealed[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn the_key_of_a_name_is_no_prefix_of_another_and_parses_back() {
        let names: [&[u8]; 5] = [b"a", b"ab", b"a\0", b"\xff", &[7; 255]];
        for name in names {
            let key = collection(name);
            assert_eq!(parse_collection(&key), Some(name));
            for other in names.into_iter().filter(|other| *other != name) {
                assert!(!key.starts_with(&collection(other)), "{name:?} under {other:?}");
            }
        }
    }

    #[test]
    fn a_key_that_is_not_whole_is_refused() {
        let keys = [collection(b"name"), block(1, 2)];
        for key in &keys {
            for len in 0..key.len() {
                assert_eq!(parse_collection(&key[..len]), None, "cut at {len}");
                assert_eq!(parse_block(&key[..len]), None, "cut at {len}");
            }
        }
        for longer in keys.map(|key| [&key[..], &[0]].concat()) {
            assert_eq!((parse_collection(&longer), parse_block(&longer)), (None, None));
        }
        assert_eq!(parse_collection(&[0x40, 0]), None);
    }

    #[test]
    fn the_keys_of_blocks_are_in_the_order_of_numbers_and_bounds_and_parse_back() {
        let values = [0, 1, 255, 256, 1 << 32, u64::MAX - 1, u64::MAX];
        let pairs = values
            .iter()
            .flat_map(|number| values.map(|lower| (*number, lower)));
        let pairs: Vec<_> = pairs.collect();
        assert!(pairs.is_sorted_by_key(|(number, lower)| block(*number, *lower)));
        for (number, lower) in pairs {
            assert_eq!(parse_block(&block(number, lower)), Some((number, lower)));
        }
    }
}
