//! The format of the records of co-engagement in a checkpoint.
//!
//! A key is a tag byte and a big-endian id, so that a scan returns ascending ids. The key of the counters has no id.
//!
//! | key | value |
//! |---|---|
//! | `0x30`, item id (8 bytes, big-endian) | the edges of an item |
//! | `0x31`, user id (8 bytes, big-endian) | the ring of a user |
//! | `0x32` | the counters |
//! | `0x33`, item id (8 bytes, big-endian) | the tombstone of a forgotten item |
//!
//! Values are little-endian and contain no checksum: the checkpoint adds one around each value.
//!
//! | edges of an item | type | legal |
//! |---|---|---|
//! | last event that touched it | u64 | below the counters' next ordinal |
//! | number of forgets before the last change of its edges | u64 | at most the counters' forgets |
//! | time in milliseconds since the Unix epoch | i64 | any |
//! | to the end: other item's id | u64 | ascending, not the item itself; at most `degree_max` of them |
//! | &nbsp; its weight, relative to the landmark of the time | f64 | finite, normal, positive |
//!
//! | ring of a user | type | legal |
//! |---|---|---|
//! | last event that touched it | u64 | below the counters' next ordinal |
//! | number of forgets before the last change of its items | u64 | at most the counters' forgets |
//! | to the end: item id, oldest first | u64 | distinct; at most `ring_len_max` of them |
//!
//! | counters | type | legal |
//! |---|---|---|
//! | ordinal of the next event | u64 | at most [`ORDINAL_MAX`] |
//! | forgets: the number of the last forget of an item | u64 | at most [`ORDINAL_MAX`] |
//!
//! | tombstone | type | legal |
//! |---|---|---|
//! | number of the item's last forget | u64 | 1 to the counters' forgets |
//!
//! An edge, or an item of a ring, is forgotten if the tombstone of its item has a higher number than the number of
//! forgets in the record. Forgotten entries are no part of the state.

use super::node::{Edge, Node, WEIGHT_MIN};
use super::table::{Entries, Stamped};
use crate::codec::{Reader, Write};
use crate::entities::user_ring::UserRing;
use crate::schema::CoEngagementConfig;

pub(super) const NODE_TAG: u8 = 0x30;
pub(super) const USER_TAG: u8 = 0x31;
pub(super) const META_TAG: u8 = 0x32;

pub(super) const TOMBSTONE_TAG: u8 = 0x33;

const STAMP_BYTES: usize = 2 * size_of::<u64>();
const NODE_HEAD_BYTES: usize = STAMP_BYTES + size_of::<i64>();
const EDGE_BYTES: usize = size_of::<u64>() + size_of::<f64>();
const ITEM_BYTES: usize = size_of::<u64>();

/// The key, and the additions of the checkpoint and of a store.
const AROUND_BYTES_MAX: usize = 64;

impl Entries for Node {
    fn entries_len(&self) -> usize {
        self.edges.len()
    }

    fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.edges.retain(|edge| keep(edge.id));
    }

    fn stored_bytes(entries_len: usize) -> u64 {
        (AROUND_BYTES_MAX + NODE_HEAD_BYTES + EDGE_BYTES * entries_len) as u64
    }
}

impl Entries for UserRing {
    fn entries_len(&self) -> usize {
        self.items().len()
    }

    fn retain(&mut self, keep: impl FnMut(u64) -> bool) {
        self.retain(keep);
    }

    fn stored_bytes(entries_len: usize) -> u64 {
        (AROUND_BYTES_MAX + STAMP_BYTES + ITEM_BYTES * entries_len) as u64
    }
}

/// A tombstone has no entries: its stamp is its content.
impl Entries for () {
    fn entries_len(&self) -> usize {
        0
    }

    fn retain(&mut self, _: impl FnMut(u64) -> bool) {}

    fn stored_bytes(_: usize) -> u64 {
        (AROUND_BYTES_MAX + size_of::<u64>()) as u64
    }
}

/// More than a database can count. A larger counter on disk is refused, so that an addition to a counter cannot
/// overflow.
pub(super) const ORDINAL_MAX: u64 = u64::MAX / 2;

/// The counters of positive events and of forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ordinals {
    /// Positive events: the ordinal of the next one.
    pub(super) ordinal: u64,
    /// Forgotten items: the number of the last forget.
    pub(super) forgets: u64,
}

/// One record of a checkpoint: a copy of the state at its fence. Its encoding needs no lock.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FencedRecord {
    /// The edges of an item; `None` if they were removed.
    Node(u64, Option<Stamped<Node>>),
    /// The ring of a user; `None` if it was removed.
    User(u64, Option<Stamped<UserRing>>),
    Meta(Ordinals),
    /// The number of the last forget of an item; `None` if no record has a forgotten entry of the item any more.
    Tombstone(u64, Option<u64>),
}

impl FencedRecord {
    /// The storage key.
    pub(crate) fn key(&self) -> Vec<u8> {
        let (tag, id) = match self {
            Self::Node(id, _) => (NODE_TAG, Some(id)),
            Self::User(id, _) => (USER_TAG, Some(id)),
            Self::Meta(_) => (META_TAG, None),
            Self::Tombstone(id, _) => (TOMBSTONE_TAG, Some(id)),
        };
        let mut key = vec![tag];
        if let Some(id) = id {
            key.extend_from_slice(&id.to_be_bytes());
        }
        key
    }

    /// The storage value; `None` if the key is to be deleted.
    pub(crate) fn value(&self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        match self {
            Self::Node(_, node) => {
                let Stamped {
                    touched,
                    forgets,
                    record,
                } = node.as_ref()?;
                value.reserve_exact(NODE_HEAD_BYTES + EDGE_BYTES * record.edges.len());
                value.put_u64(*touched);
                value.put_u64(*forgets);
                value.put_i64(record.time_ms);
                for edge in record.sorted_edges() {
                    value.put_u64(edge.id);
                    value.put_f64(edge.weight);
                }
            }
            Self::User(_, ring) => {
                let Stamped {
                    touched,
                    forgets,
                    record,
                } = ring.as_ref()?;
                value.reserve_exact(STAMP_BYTES + ITEM_BYTES * record.items().len());
                value.put_u64(*touched);
                value.put_u64(*forgets);
                for &item in record.items() {
                    value.put_u64(item);
                }
            }
            Self::Meta(Ordinals { ordinal, forgets }) => {
                value.put_u64(*ordinal);
                value.put_u64(*forgets);
            }
            Self::Tombstone(_, forget) => value.put_u64((*forget)?),
        }
        Some(value)
    }

    /// The record of a key and a value read from storage, or the cause of their refusal.
    pub(super) fn decode(
        key: &[u8],
        value: &[u8],
        config: &CoEngagementConfig,
    ) -> Result<Self, &'static str> {
        let (tag, id) = key.split_first().ok_or("empty key")?;
        let id = (!id.is_empty()).then(|| id.try_into().map(u64::from_be_bytes));
        match (*tag, id) {
            (NODE_TAG, Some(Ok(id))) => Ok(Self::Node(
                id,
                Some(decode_node(id, value, config.degree_max as usize)?),
            )),
            (USER_TAG, Some(Ok(id))) => Ok(Self::User(
                id,
                Some(decode_ring(value, config.ring_len_max as usize)?),
            )),
            (META_TAG, None) => decode_meta(value).map(Self::Meta),
            (TOMBSTONE_TAG, Some(Ok(id))) => {
                decode_tombstone(value).map(|forget| Self::Tombstone(id, Some(forget)))
            }
            _ => Err("not a key of co-engagement"),
        }
    }
}

fn decode_node(id: u64, value: &[u8], degree_max: usize) -> Result<Stamped<Node>, &'static str> {
    let mut reader = Reader::new(value);
    let (Some(touched), Some(forgets), Some(time_ms)) = (reader.u64(), reader.u64(), reader.i64()) else {
        return Err("edges truncated");
    };
    let edges_len = entries_len(&reader, EDGE_BYTES, degree_max)?;
    let mut edges: Vec<Edge> = Vec::with_capacity(edges_len);
    while let (Some(other), Some(weight)) = (reader.u64(), reader.f64()) {
        if edges.last().is_some_and(|last| last.id >= other) {
            return Err("edges not in ascending order");
        }
        if other == id {
            return Err("edge from an item to itself");
        }
        if !(WEIGHT_MIN..=f64::MAX).contains(&weight) {
            return Err("weight of an edge not finite, normal and positive");
        }
        edges.push(Edge { id: other, weight });
    }
    Ok(Stamped {
        touched,
        forgets,
        record: Node { time_ms, edges },
    })
}

fn decode_ring(value: &[u8], ring_len_max: usize) -> Result<Stamped<UserRing>, &'static str> {
    let mut reader = Reader::new(value);
    let (Some(touched), Some(forgets)) = (reader.u64(), reader.u64()) else {
        return Err("ring truncated");
    };
    let items_len = entries_len(&reader, ITEM_BYTES, ring_len_max)?;
    let mut items = Vec::with_capacity(items_len);
    while let Some(item) = reader.u64() {
        if items.contains(&item) {
            return Err("item twice in a ring");
        }
        items.push(item);
    }
    Ok(Stamped {
        touched,
        forgets,
        record: UserRing::from_items(items),
    })
}

fn decode_meta(value: &[u8]) -> Result<Ordinals, &'static str> {
    let mut reader = Reader::new(value);
    let (Some(ordinal), Some(forgets), true) = (reader.u64(), reader.u64(), reader.is_empty()) else {
        return Err("counters of the wrong length");
    };
    if ordinal.max(forgets) > ORDINAL_MAX {
        return Err("counter out of range");
    }
    Ok(Ordinals { ordinal, forgets })
}

fn decode_tombstone(value: &[u8]) -> Result<u64, &'static str> {
    let mut reader = Reader::new(value);
    match (reader.u64(), reader.is_empty()) {
        (Some(forget), true) if forget > 0 => Ok(forget),
        (Some(_), true) => Err("tombstone without a forget"),
        _ => Err("tombstone of the wrong length"),
    }
}

/// The number of entries in the rest of a value. The rest must have complete entries only, at most `len_max`.
fn entries_len(rest: &Reader<'_>, entry_bytes: usize, len_max: usize) -> Result<usize, &'static str> {
    let (len, left) = (
        rest.remaining_len() / entry_bytes,
        rest.remaining_len() % entry_bytes,
    );
    match len {
        _ if left != 0 => Err("last entry truncated"),
        _ if len > len_max => Err("more entries than the configured bound"),
        _ => Ok(len),
    }
}
