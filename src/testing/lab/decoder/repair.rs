//! Repairs the bytes that a fuzzer cannot guess: magic bytes, checksums, and numbers that follow from a position. All
//! other bytes stay unchanged, so that the fuzzer still decides them.

use crate::storage::keys;
use crate::testing::lab::file_format::{
    ALIGN, FileKind, PART_BYTES, entry_checksum, put, seal_payload, u32_at, u64_at,
};

/// The id of the database and of its store.
pub(super) const ID: u128 = 0x6675_7a7a;
/// The id of the first opening.
pub(super) const OPENING: u64 = 1;
/// The checksum seed of a single frame.
pub(super) const FRAME_SEED: u32 = 0xfeed;
/// Longer payloads are shortened, because the inputs of a fuzzer are short.
const PAYLOAD_BYTES_MAX: u32 = 0xff8;
/// A bit in the highest byte of a frame's kind or of a record's length. If it is set, repair stops before this frame or
/// record.
const UNREPAIRED: u8 = 0x80;

/// The key tags that the first byte of a pair chooses from.
const TAGS: [&[u8]; 11] = [
    keys::STATES,
    keys::COHORT_STATES,
    keys::CO_ENGAGEMENT[0],
    keys::CO_ENGAGEMENT[1],
    keys::CO_ENGAGEMENT[2],
    keys::CO_ENGAGEMENT[3],
    keys::COLLECTIONS,
    keys::COLLECTION_BLOCKS,
    keys::CHECKPOINT,
    keys::SCHEMA,
    keys::IDENTITY,
];

/// Repairs the header of a segment of the database with [`ID`].
pub(super) fn segment_header(bytes: &[u8]) -> Vec<u8> {
    let mut repaired = bytes.to_vec();
    FileKind::Segment.write_header(&mut repaired, ID);
    repaired
}

/// Repairs the checksums of a frame with [`FRAME_SEED`]. Also makes its kind valid and its length fit into `bytes`.
pub(super) fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut repaired = bytes.to_vec();
    frame_at(&mut repaired, 0, FRAME_SEED, None);
    repaired
}

/// Repairs the frame at `at`, and sets its sequence number if one is given. Returns the end of the frame, or `None` if
/// the frame is not repaired.
fn frame_at(bytes: &mut [u8], at: usize, seed: u32, sequence: Option<u64>) -> Option<usize> {
    if at + PART_BYTES + 8 > bytes.len() || bytes[at + 7] & UNREPAIRED != 0 {
        return None;
    }
    let room = (bytes.len() - at - PART_BYTES) as u32 & !7;
    let len = (u32_at(bytes, at)? & PAYLOAD_BYTES_MAX).clamp(8, room);
    put(bytes, at, &len.to_le_bytes());
    // A valid kind stays unchanged.
    let kind = u32_at(bytes, at + 4)?.wrapping_sub(1) % 4 + 1;
    put(bytes, at + 4, &kind.to_le_bytes());
    if let Some(sequence) = sequence {
        put_sequence(FileKind::Segment, bytes, at, sequence)?;
    }
    seal_payload(bytes, at)?;
    FileKind::Segment.seal_part(bytes, seed, at);
    Some(at + PART_BYTES + len as usize)
}

/// Sets the sequence number of the part at `at`, and limits its synced sequence number to `sequence`.
fn put_sequence(kind: FileKind, bytes: &mut [u8], at: usize, sequence: u64) -> Option<()> {
    let layout = kind.layout();
    put(bytes, at + layout.sequence, &sequence.to_le_bytes());
    let synced = u64_at(bytes, at + layout.synced)? % (sequence + 1);
    put(bytes, at + layout.synced, &synced.to_le_bytes());
    Some(())
}

/// Repairs the file's header, sets these numbers at their offsets, and repairs the parts up to the first that `part_at`
/// leaves unrepaired.
fn file(
    kind: FileKind,
    bytes: &[u8],
    numbers: &[(usize, u64)],
    part_at: impl Fn(&mut [u8], usize, u32, u64) -> Option<usize>,
) -> Vec<u8> {
    let mut repaired = bytes.to_vec();
    for (offset, number) in numbers {
        put(&mut repaired, *offset, &number.to_le_bytes());
    }
    kind.write_header(&mut repaired, ID);
    let seed = kind.seed(&repaired).unwrap_or(0);
    let (mut at, mut sequence) = (kind.layout().header_bytes, 1);
    while let Some(end) = part_at(&mut repaired, at, seed, sequence) {
        (at, sequence) = (end, sequence + 1);
    }
    repaired
}

/// Repairs the first segment of the first opening.
pub(super) fn segment(bytes: &[u8]) -> Vec<u8> {
    let numbers = [(32, 1), (56, OPENING), (64, 0)];
    file(FileKind::Segment, bytes, &numbers, |bytes, at, seed, sequence| {
        frame_at(bytes, at, seed, Some(sequence))
    })
}

/// Repairs the only file of the store with [`ID`].
pub(super) fn store_file(bytes: &[u8]) -> Vec<u8> {
    let numbers = [(28, 1), (36, 1), (44, 0), (52, 1), (68, 0)]
        .into_iter()
        .chain((76..148).step_by(8).map(|at| (at, 0)))
        .collect::<Vec<_>>();
    file(FileKind::StoreFile, bytes, &numbers, record_at)
}

/// Repairs the record at `at`. Returns its end, or `None` if the record is not repaired.
fn record_at(bytes: &mut [u8], at: usize, seed: u32, sequence: u64) -> Option<usize> {
    if at + PART_BYTES > bytes.len() || bytes[at + 3] & UNREPAIRED != 0 {
        return None;
    }
    let limit = at + PART_BYTES + (u32_at(bytes, at)? & PAYLOAD_BYTES_MAX) as usize;
    let mut entry = at + PART_BYTES;
    while let Some(end) = entry_at(bytes, entry, limit.min(bytes.len()), seed) {
        entry = end;
    }
    let len = (entry - at - PART_BYTES) as u32;
    put(bytes, at, &len.to_le_bytes());
    put_sequence(FileKind::StoreFile, bytes, at, sequence)?;
    put(bytes, at + 20, &0_u64.to_le_bytes());
    FileKind::StoreFile.seal_part(bytes, seed, at);
    Some((at + PART_BYTES + len as usize).next_multiple_of(ALIGN))
}

/// Repairs the entry at `at` if it fits before `limit`. Returns its end.
fn entry_at(bytes: &mut [u8], at: usize, limit: usize, seed: u32) -> Option<usize> {
    let header = bytes.get(at..at + 6)?;
    let key_len = usize::from(header[0] % 32).max(1);
    let is_removal = header[5] == u8::MAX;
    let value_len = if is_removal { 0 } else { usize::from(header[2]) };
    let end = at + 6 + key_len + value_len + 4;
    if end > limit {
        return None;
    }
    put(bytes, at, &(key_len as u16).to_le_bytes());
    let value_field = if is_removal { u32::MAX } else { value_len as u32 };
    put(bytes, at + 2, &value_field.to_le_bytes());
    let checksum = entry_checksum(seed, at, &bytes[at..end - 4]);
    put(bytes, end - 4, &checksum.to_le_bytes());
    Some(end)
}

/// Reads keys and values. The first byte of a pair chooses the key's tag, the next byte is the length of the rest of
/// the key, and the next two bytes are the length of the value. An incomplete pair at the end is left out.
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

/// The inverse of [`pairs`].
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
