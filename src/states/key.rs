//! The keys of a state table, and their hash.
//!
//! The hash is part of the on-disk format: the record of a page holds the shard of its keys.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::EntityId;
use crate::codec::{Reader, Write};

/// The key of a state within its signal.
pub(crate) trait StateKey: Copy + Ord + Hash + Default + Debug + Send + 'static {
    /// The first byte of the storage keys of this table's pages.
    const TAG: u8;

    /// The entity. The shard depends on it alone, so a forget of an entity changes one shard.
    fn entity(&self) -> EntityId;

    /// The only possible key of `entity`; `None` if an entity can have several keys.
    fn only_key_of(entity: EntityId) -> Option<Self>;

    fn encode(&self, out: &mut Vec<u8>);

    fn decode(reader: &mut Reader<'_>) -> Option<Self>;
}

/// The key of the state of an entity, from the events of all users.
impl StateKey for EntityId {
    const TAG: u8 = 0x10;

    fn entity(&self) -> EntityId {
        *self
    }

    #[inline]
    fn only_key_of(entity: EntityId) -> Option<Self> {
        Some(entity)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        reader.varint().map(Self)
    }
}

/// The number of shards, a power of two. Part of the on-disk format.
pub(crate) const SHARDS: usize = 16;

const _: () = assert!(SHARDS.is_power_of_two());

/// The shard of an entity.
///
/// It is taken from the middle bits of the hash. An index uses the lowest bits, which must differ among the keys of one
/// shard.
#[inline]
pub(crate) fn shard_of(entity: EntityId) -> usize {
    (mix(entity.0) >> 32) as usize % SHARDS
}

/// A multiplication to 128 bits, whose halves are combined. Every bit of the result depends on every bit of `value`.
/// Before that, the upper half of `value` is combined with the lower half, for ids that differ only in their highest
/// bits.
#[inline]
fn mix(value: u64) -> u64 {
    let spread = value ^ (value >> 32) ^ 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(spread) * 0xd6e8_feb8_6659_fd93_u128;
    product as u64 ^ (product >> 64) as u64
}

/// Builds [`KeyHasher`]s.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyHash;

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    #[inline]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(0)
    }
}

/// A hasher for keys of one or two integers. It takes a few cycles, and gives the same hash in every process.
///
/// It has no secret. An attacker that chooses entity ids can choose ids that collide. This makes lookups slow, never
/// wrong. An application that takes ids from untrusted clients should map them to its own ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0.rotate_left(23) ^ value);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
