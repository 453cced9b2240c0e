//! Puts right what a fuzzer cannot guess: magic bytes, checksums and the numbers that follow from a place. All else stays
//! what it was, so that the decoders see it.

use super::database::{ID, OPENING};
use crate::codec::crc32c::{crc32c, extend};
use crate::storage::keys;
use crate::wal::segment::SEGMENT_HEADER_BYTES;

const STORE_HEADER_BYTES: usize = 72;
const PART_BYTES: usize = 32;
/// Longer payloads are shortened: a fuzzer's inputs are short.
const PAYLOAD_BYTES_MAX: u32 = 0xff8;
/// In the highest byte of a frame's kind, or of a record's length: the frame or record and all after it stay as they are.
const AS_IT_IS: u8 = 0x80;

/// The key tags that the first byte of a pair chooses from.
const TAGS: [&[u8]; 10] = [
    keys::STATES,
    keys::COHORT_STATES,
    keys::CO_ENGAGEMENT[0],
    keys::CO_ENGAGEMENT[1],
    keys::CO_ENGAGEMENT[2],
    keys::COLLECTIONS,
    keys::COLLECTION_MEMBERS,
    keys::CHECKPOINT,
    keys::SCHEMA,
    keys::IDENTITY,
];

fn put(bytes: &mut [u8], offset: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + field.len()) {
        place.copy_from_slice(field);
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let field = bytes.get(offset..).and_then(|bytes| bytes.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let field = bytes.get(offset..).and_then(|bytes| bytes.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

/// The header of a segment of the database with [`ID`].
pub(super) fn segment_header(bytes: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    put(&mut mended, 0, b"TIDALWAL");
    put(&mut mended, 8, &2_u32.to_le_bytes());
    put(&mut mended, 16, &ID.to_le_bytes());
    if let Some(summed) = mended.get(..76) {
        let checksum = crc32c(summed);
        put(&mut mended, 76, &checksum.to_le_bytes());
    }
    mended
}

/// A frame with its checksums; its kind becomes a known one, its length one that is there.
pub(super) fn frame(bytes: &[u8], seed: u32) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    frame_at(&mut mended, 0, seed, None);
    mended
}

/// Mends the frame at `at`, with this sequence number if there is one, and gives where it ends; nothing if it stays as it
/// is.
fn frame_at(bytes: &mut [u8], at: usize, seed: u32, sequence: Option<u64>) -> Option<usize> {
    if at + PART_BYTES + 8 > bytes.len() || bytes[at + 7] & AS_IT_IS != 0 {
        return None;
    }
    let room = (bytes.len() - at - PART_BYTES) as u32 & !7;
    let len = (u32_at(bytes, at) & PAYLOAD_BYTES_MAX).clamp(8, room);
    put(bytes, at, &len.to_le_bytes());
    // A known one stays.
    let kind = u32_at(bytes, at + 4).wrapping_sub(1) % 4 + 1;
    put(bytes, at + 4, &kind.to_le_bytes());
    if let Some(sequence) = sequence {
        put(bytes, at + 8, &sequence.to_le_bytes());
        let synced = u64_at(bytes, at + 16) % (sequence + 1);
        put(bytes, at + 16, &synced.to_le_bytes());
    }
    let end = at + PART_BYTES + len as usize;
    let payload = crc32c(&bytes[at + PART_BYTES..end]);
    put(bytes, at + 24, &payload.to_le_bytes());
    let header = extend(seed, &bytes[at..at + 28]);
    put(bytes, at + 28, &header.to_le_bytes());
    Some(end)
}

/// The first segment of the first opening.
pub(super) fn segment(bytes: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    for (offset, number) in [(32, 1), (56, OPENING), (64, 0)] {
        put(&mut mended, offset, &number.to_le_bytes());
    }
    let mut mended = segment_header(&mended);
    let seed = u32_at(&mended, 76);
    let (mut at, mut sequence) = (SEGMENT_HEADER_BYTES, 1);
    while let Some(end) = frame_at(&mut mended, at, seed, Some(sequence)) {
        (at, sequence) = (end, sequence + 1);
    }
    mended
}

/// The only file of the store with [`ID`].
pub(super) fn store_file(bytes: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    put(&mut mended, 0, b"tidlstor");
    put(&mut mended, 8, &2_u32.to_le_bytes());
    put(&mut mended, 12, &ID.to_le_bytes());
    for (offset, number) in [(28, 1_u64), (36, 1), (44, 0), (52, 1)] {
        put(&mut mended, offset, &number.to_le_bytes());
    }
    if let Some(summed) = mended.get(..68) {
        let checksum = crc32c(summed);
        put(&mut mended, 68, &checksum.to_le_bytes());
    }
    let seed = extend(crc32c(&ID.to_le_bytes()), &1_u64.to_le_bytes());
    let (mut at, mut sequence) = (STORE_HEADER_BYTES, 1);
    while let Some(end) = record_at(&mut mended, at, seed, sequence) {
        (at, sequence) = (end, sequence + 1);
    }
    mended
}

fn sum(seed: u32, at: usize, part: u8, bytes: &[u8]) -> u32 {
    let placed = extend(extend(seed, &(at as u64).to_le_bytes()), &[part]);
    extend(placed, bytes)
}

/// Mends the record at `at` and gives where it ends; nothing if it stays as it is.
fn record_at(bytes: &mut [u8], at: usize, seed: u32, sequence: u64) -> Option<usize> {
    if at + PART_BYTES > bytes.len() || bytes[at + 3] & AS_IT_IS != 0 {
        return None;
    }
    let wanted = at + PART_BYTES + (u32_at(bytes, at) & PAYLOAD_BYTES_MAX) as usize;
    let mut entry = at + PART_BYTES;
    while let Some(end) = entry_at(bytes, entry, wanted.min(bytes.len()), seed) {
        entry = end;
    }
    let len = (entry - at - PART_BYTES) as u32;
    put(bytes, at, &len.to_le_bytes());
    put(bytes, at + 4, &sequence.to_le_bytes());
    let synced = u64_at(bytes, at + 12) % (sequence + 1);
    put(bytes, at + 12, &synced.to_le_bytes());
    put(bytes, at + 20, &1_u64.to_le_bytes());
    let header = sum(seed, at, 1, &bytes[at..at + 28]);
    put(bytes, at + 28, &header.to_le_bytes());
    Some((at + PART_BYTES + len as usize).next_multiple_of(8))
}

/// Mends the entry at `at` if it has room up to `limit`, and gives where it ends.
fn entry_at(bytes: &mut [u8], at: usize, limit: usize, seed: u32) -> Option<usize> {
    let header = bytes.get(at..at + 6)?;
    let key_len = usize::from(header[0] % 32).max(1);
    let value_len = if header[5] == u8::MAX {
        0
    } else {
        usize::from(header[2])
    };
    let end = at + 6 + key_len + value_len + 4;
    if end > limit {
        return None;
    }
    let is_removal = header[5] == u8::MAX;
    put(bytes, at, &(key_len as u16).to_le_bytes());
    let value_field = if is_removal { u32::MAX } else { value_len as u32 };
    put(bytes, at + 2, &value_field.to_le_bytes());
    let checksum = sum(seed, at, 2, &bytes[at..end - 4]);
    put(bytes, end - 4, &checksum.to_le_bytes());
    Some(end)
}

/// Keys and values: the first byte chooses a key's tag, one more gives the length of the rest of the key, two that of the
/// value. What is cut short is left out.
pub(super) fn pairs(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut pairs, mut rest) = (Vec::new(), bytes);
    while let Some((&[tag, key_len, low, high], after)) = rest.split_first_chunk() {
        let value_len = usize::from(u16::from_le_bytes([low, high]));
        let Some((key, after)) = after.split_at_checked(usize::from(key_len)) else {
            break;
        };
        let Some((value, after)) = after.split_at_checked(value_len) else {
            break;
        };
        let tag = TAGS[usize::from(tag) % TAGS.len()];
        pairs.push(([tag, key].concat(), value.to_vec()));
        rest = after;
    }
    pairs
}

/// The bytes that [`pairs`] reads these from.
pub(super) fn from_pairs(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in pairs {
        let Some(tag) = TAGS.iter().position(|tag| key.starts_with(tag)) else {
            continue;
        };
        let rest = &key[TAGS[tag].len()..];
        bytes.push(tag as u8);
        bytes.push(rest.len() as u8);
        bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(value);
    }
    bytes
}
