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
//! | 0x30 to 0x32 | id, or nothing | co-engagement |
//! | 0x40 | name | a collection exists |
//! | 0x41 | name, entity | a member of a collection |
//!
//! Every value ends with the CRC32C of its key and the bytes before, so that a value under another key is corrupt.

use crate::codec::crc32c::{crc32c, extend};
use crate::{EntityId, Error};

pub(crate) const IDENTITY: &[u8] = &[0x01];
pub(crate) const SCHEMA: &[u8] = &[0x02];
pub(crate) const CHECKPOINT: &[u8] = &[0x03];
pub(crate) const OPENING: &[u8] = &[0x04];
pub(crate) const STATES: &[u8] = &[0x10];
pub(crate) const COHORT_STATES: &[u8] = &[0x20];
pub(crate) const CO_ENGAGEMENT: [&[u8]; 3] = [&[0x30], &[0x31], &[0x32]];
pub(crate) const COLLECTIONS: &[u8] = &[0x40];
pub(crate) const COLLECTION_MEMBERS: &[u8] = &[0x41];

const CHECKSUM_BYTES: usize = 4;
const ENTITY_BYTES: usize = 8;

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
    named(COLLECTIONS, name)
}

/// The prefix of the members of the collection `name`.
pub(crate) fn members(name: &[u8]) -> Vec<u8> {
    named(COLLECTION_MEMBERS, name)
}

/// The key of a member of the collection `name`.
pub(crate) fn member(name: &[u8], entity: EntityId) -> Vec<u8> {
    let mut key = members(name);
    key.extend_from_slice(&entity.0.to_be_bytes());
    key
}

fn named(tag: &[u8], name: &[u8]) -> Vec<u8> {
    debug_assert!(
        u8::try_from(name.len()).is_ok(),
        "names are checked before they get here"
    );
    let mut key = Vec::with_capacity(tag.len() + 1 + name.len() + ENTITY_BYTES);
    key.extend_from_slice(tag);
    key.push(name.len() as u8);
    key.extend_from_slice(name);
    key
}

/// The name in the key of a collection.
pub(crate) fn parse_collection(key: &[u8]) -> Option<&[u8]> {
    let (name, rest) = parse_named(COLLECTIONS, key)?;
    rest.is_empty().then_some(name)
}

/// The name and the entity in the key of a member.
pub(crate) fn parse_member(key: &[u8]) -> Option<(&[u8], EntityId)> {
    let (name, rest) = parse_named(COLLECTION_MEMBERS, key)?;
    Some((name, EntityId(u64::from_be_bytes(rest.try_into().ok()?))))
}

fn parse_named<'a>(tag: &[u8], key: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (&len, rest) = key.strip_prefix(tag)?.split_first()?;
    if len == 0 {
        return None;
    }
    rest.split_at_checked(usize::from(len))
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
    fn no_name_sees_the_members_of_another_one_that_it_is_a_prefix_of() {
        let names: [&[u8]; 5] = [b"a", b"ab", b"a\0", b"\xff", &[7; 255]];
        for name in names {
            let key = member(name, EntityId(u64::MAX));
            assert_eq!(parse_member(&key), Some((name, EntityId(u64::MAX))));
            assert_eq!(parse_collection(&collection(name)), Some(name));
            for other in names.into_iter().filter(|other| *other != name) {
                assert!(!key.starts_with(&members(other)), "{name:?} under {other:?}");
            }
        }
    }

    #[test]
    fn a_key_that_is_not_whole_is_refused() {
        let key = member(b"name", EntityId(1));
        for len in 0..key.len() {
            assert_eq!(parse_member(&key[..len]), None, "cut at {len}");
        }
        assert_eq!(parse_collection(&[0x40, 0]), None);
    }

    #[test]
    fn the_keys_of_members_are_in_the_order_of_their_ids() {
        let ids = [0, 1, 255, 256, 1 << 32, u64::MAX - 1, u64::MAX];
        assert!(ids.is_sorted_by_key(|id| member(b"name", EntityId(*id))));
    }
}
