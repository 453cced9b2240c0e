//! The stored form of a page of states.
//!
//! Storage key, 9 bytes, so that the pages of a table sort by signal, shard and page:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | tag of the table: `0x10` global, `0x20` by cohort |
//! | 1 | 2 | signal, big-endian |
//! | 3 | 2 | shard, big-endian |
//! | 5 | 4 | page, big-endian |
//!
//! Value; a varint is LEB128, a signed one zigzag-coded first, everything else little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format version, 1 |
//! | 4 | which slots are occupied, one bit each, the lowest first |
//!
//! and for each occupied slot, in order:
//!
//! | bytes | field |
//! |---|---|
//! | varints | the key: entity; or cohort, then entity |
//! | signed varint | newest event time in milliseconds, less that of the slot before it (0 for the first), wrapping |
//! | 8 each | the stored scores, IEEE 754 double precision, in the order of the half-lives |
//! | | then for each ring: |
//! | signed varint | number of the newest bucket, less that of the newest event time, wrapping |
//! | varint | how many of the retained buckets, which are one more than declared, are not empty |
//! | varints | for each of them, the newest first: how many empty ones come before it, and its count |
//!
//! A page without an occupied slot has a record too, of 5 bytes. Pages are numbered without gaps, so a missing page is
//! an error, and a number on disk never makes the reader allocate memory for pages that are missing. The checkpoint
//! adds a checksum around the value.
//!
//! Invariant: decoding an encoded page returns the same page to the bit. Decoding other bytes returns an error, or a
//! page that satisfies the invariants of the tiers. The memory that decoding takes is bounded by the shape of one page.
//!
//! This module encodes and decodes. The checkpoint writes the records.

use super::copies::{PageCopies, PageSlices};
use super::key::{SHARDS, StateKey, shard_of};
use super::shape::Shape;
use super::signal_states::SignalStates;
use crate::cells::PAGE_SLOTS;
use crate::codec::{Reader, Write};
use crate::signals::hot;
use crate::signals::warm::{self, RingShape};
use crate::storage::KeyValue;
use crate::{SignalId, limits};

const VERSION: u8 = 1;

const KEY_TAG: usize = 0;
const KEY_SIGNAL: usize = KEY_TAG + 1;
const KEY_SHARD: usize = KEY_SIGNAL + 2;
const KEY_PAGE: usize = KEY_SHARD + 2;
const KEY_BYTES: usize = KEY_PAGE + 4;

const _: () = assert!(KEY_BYTES == 9 && SHARDS <= 1 << 16 && PAGE_SLOTS == 32);

/// No score is larger: 2^64 events of the largest weight, each grown to under twice that.
const SCORE_ABS_MAX: f64 = limits::WEIGHT_ABS_MAX * 2.0 * (1_u128 << 64) as f64;

/// The identity of a page in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PagePlace {
    pub(super) signal: SignalId,
    pub(super) shard: u16,
    pub(super) page: u32,
}

impl PagePlace {
    pub(super) fn encode<K: StateKey>(self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        key[KEY_TAG] = K::TAG;
        key[KEY_SIGNAL..KEY_SHARD].copy_from_slice(&self.signal.0.to_be_bytes());
        key[KEY_SHARD..KEY_PAGE].copy_from_slice(&self.shard.to_be_bytes());
        key[KEY_PAGE..].copy_from_slice(&self.page.to_be_bytes());
        key
    }

    pub(super) fn decode<K: StateKey>(key: &[u8]) -> Result<Self, &'static str> {
        let &[tag, s0, s1, h0, h1, p0, p1, p2, p3] = key else {
            return Err("a page's key is not 9 bytes long");
        };
        if tag != K::TAG {
            return Err("a page's key has another table's tag");
        }
        Ok(Self {
            signal: SignalId(u16::from_be_bytes([s0, s1])),
            shard: u16::from_be_bytes([h0, h1]),
            page: u32::from_be_bytes([p0, p1, p2, p3]),
        })
    }
}

impl<K: StateKey> PageCopies<K> {
    /// The pages as records for the storage, in ascending order of their keys. `shard` is the shard of the pages.
    pub(crate) fn records(&self, shard: usize) -> impl Iterator<Item = KeyValue> {
        self.pages().map(move |(shape, signal, page, slices)| {
            let place = PagePlace {
                signal,
                shard: shard as u16,
                page,
            };
            (place.encode::<K>().to_vec(), encode(shape, &slices))
        })
    }
}

/// The value of a page.
pub(super) fn encode<K: StateKey>(shape: &Shape, slices: &PageSlices<'_, K>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * slices.occupied.count_ones() as usize + 8);
    out.put_u8(VERSION);
    out.put_u32(slices.occupied);
    let mut time_before_ms = 0_i64;
    for (slot, key) in slices.occupied_keys() {
        let hot = &slices.hot[slot * shape.hot_cells_len..][..shape.hot_cells_len];
        let warm = &slices.warm[slot * shape.warm_cells_len..][..shape.warm_cells_len];
        let (time_ms, decay_scores) = hot::read_cells(hot);
        key.encode(&mut out);
        out.put_varint_signed(time_ms.wrapping_sub(time_before_ms));
        time_before_ms = time_ms;
        decay_scores.for_each(|score| out.put_f64(score));
        for ring in &*shape.rings {
            let (newest, counts) = ring.read(warm);
            encode_ring(&mut out, ring, time_ms, newest, counts);
        }
    }
    out
}

fn encode_ring(out: &mut Vec<u8>, ring: &RingShape, time_ms: i64, newest: i64, counts: &[u32]) {
    out.put_varint_signed(newest.wrapping_sub(ring.bucket(time_ms)));
    out.put_varint(counts.iter().filter(|&&count| count != 0).count() as u64);
    // From the position of the newest bucket back to the beginning, then from the end.
    let (newest_and_before, after) = counts.split_at(ring.position(newest) + 1);
    let mut empty_len = 0;
    for &count in newest_and_before.iter().rev().chain(after.iter().rev()) {
        if count == 0 {
            empty_len += 1;
        } else {
            out.put_varint(empty_len);
            out.put_varint(count.into());
            empty_len = 0;
        }
    }
}

/// Adds the page that `value` holds to `states`. It must be the page after their last one. Returns the newest event
/// time in it, or [`TIME_NONE`](hot::TIME_NONE) without a slot.
///
/// # Errors
/// The fault of `value`. `states` cannot be used then.
pub(super) fn decode<K: StateKey>(
    shape: &Shape,
    place: PagePlace,
    value: &[u8],
    states: &mut SignalStates<K>,
) -> Result<i64, &'static str> {
    const SHORT: &str = "a page ends too early";
    let mut reader = Reader::new(value);
    if reader.u8().ok_or(SHORT)? != VERSION {
        return Err("a page has an unknown version");
    }
    let occupied = reader.u32().ok_or(SHORT)?;
    states.begin_page(place.page, occupied)?;
    let mut time_before_ms = 0_i64;
    let mut newest_ms = hot::TIME_NONE;
    let mut filled_len = 0;
    let mut left = occupied;
    while left != 0 {
        let slot = left.trailing_zeros() as usize;
        left &= left - 1;
        let key = K::decode(&mut reader).ok_or(SHORT)?;
        if shard_of(key.entity()) != usize::from(place.shard) {
            return Err("a page holds a key of another shard");
        }
        let (hot, warm) = states.restore_slot(slot, key)?;
        let since_ms = reader.varint_signed().ok_or(SHORT)?;
        let time_ms = time_before_ms.wrapping_add(since_ms);
        time_before_ms = time_ms;
        newest_ms = newest_ms.max(time_ms);
        let mut scores = [0.0; limits::HALF_LIVES_MAX];
        let scores = &mut scores[..shape.half_lives.len()];
        for score in &mut *scores {
            *score = reader.f64().ok_or(SHORT)?;
            // The range does not contain NaN.
            if !(-SCORE_ABS_MAX..=SCORE_ABS_MAX).contains(score) {
                return Err("a page holds an impossible score");
            }
        }
        hot::write_cells(hot, time_ms, scores);
        for ring in &*shape.rings {
            filled_len += decode_ring(&mut reader, ring, time_ms, warm)?;
        }
    }
    states.end_page(filled_len);
    if reader.is_empty() {
        Ok(newest_ms)
    } else {
        Err("a page has bytes after its end")
    }
}

/// Fills the cells of a ring without events. Returns the number of its buckets that are not empty.
fn decode_ring(
    reader: &mut Reader<'_>,
    ring: &RingShape,
    time_ms: i64,
    cells: &mut [u32],
) -> Result<u64, &'static str> {
    const BAD: &str = "a page holds an impossible window";
    let ahead = reader.varint_signed().ok_or(BAD)?;
    let newest = ring.bucket(time_ms).wrapping_add(ahead);
    let earliest = ring.bucket(i64::MIN);
    if !(earliest..=ring.bucket(i64::MAX)).contains(&newest) {
        return Err(BAD);
    }
    let (newest_cells, counts) = ring.read_mut(cells);
    warm::set_newest(newest_cells, newest);
    let buckets_len = reader.varint().ok_or(BAD)?;
    // Not older than the retained buckets, and not older than the earliest bucket.
    let held_len = newest
        .abs_diff(earliest)
        .saturating_add(1)
        .min(counts.len() as u64);
    let mut age = 0;
    for _ in 0..buckets_len {
        let empty_len = reader.varint().ok_or(BAD)?;
        age = empty_len
            .checked_add(age)
            .filter(|age| *age < held_len)
            .ok_or(BAD)?;
        let count = reader.varint().and_then(|count| u32::try_from(count).ok());
        let count = count.filter(|count| *count != 0).ok_or(BAD)?;
        counts[ring.position(newest - age as i64)] = count;
        age += 1;
    }
    Ok(buckets_len)
}
