//! The storage keys of the engine, and the checksum around every value.
//!
//! A key is a tag byte, then components of fixed width, big-endian, so that byte order is numeric order. Only a name
//! has a variable width. Its length in one byte comes before it, so that no key of a name is a prefix of another.
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
//! Every value ends with the CRC32C of its key and of the bytes before it, so that a value under another key is
//! corrupt.
//!
//! Pure functions: a crash leaves nothing of them.

use crate::Error;
use crate::codec::crc32c::{crc32c, extend};

pub(crate) const IDENTITY: &[u8] = &[0x01];
pub(crate) const SCHEMA: &[u8] = &[0x02];
pub(crate) const CHECKPOINT: &[u8] = &[0x03];
pub(crate) const OPENING: &[u8] = &[0x04];
pub(crate) const STATES: &[u8] = &[0x10];
pub(crate) const COHORT_STATES: &[u8] = &[0x20];
/// The tags of co-engagement, in the order of the reads at open: counters, tombstones, items, users.
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

/// The inverse of [`seal`]: checks the checksum and returns the value.
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
        "the caller checks the length of the name"
    );
    [COLLECTIONS, &[name.len() as u8], name].concat()
}

/// The key of the block with the lower bound `lower`, of the collection with this number.
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
