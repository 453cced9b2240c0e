//! Corrects the bytes that a fuzzer cannot guess: magic bytes, checksums and the numbers that follow from a place. All other
//! bytes stay unchanged, so that the decoders see them.

use super::database::{ID, OPENING};
use crate::storage::keys;
use crate::testing::lab::file_format::{
    ALIGN, FileKind, PART_BYTES, entry_checksum, put, seal_payload, u32_at, u64_at,
};

/// Longer payloads are shortened: a fuzzer's inputs are short.
const PAYLOAD_BYTES_MAX: u32 = 0xff8;
/// In the highest byte of a frame's kind, or of a record's length: the frame or record and all after it stay as they are.
const AS_IT_IS: u8 = 0x80;

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

/// The header of a segment of the database with [`ID`].
pub(super) fn segment_header(bytes: &[u8]) -> Vec<u8> {
    let mut repaired = bytes.to_vec();
    FileKind::Segment.write_header(&mut repaired, ID);
    repaired
}

/// A frame with its checksums; its kind becomes a known one, its length one that is there.
pub(super) fn frame(bytes: &[u8], seed: u32) -> Vec<u8> {
    let mut repaired = bytes.to_vec();
    frame_at(&mut repaired, 0, seed, None);
    repaired
}

/// Mends the frame at `at`, with this sequence number if there is one, and gives where it ends; nothing if it stays as it
/// is.
fn frame_at(bytes: &mut [u8], at: usize, seed: u32, sequence: Option<u64>) -> Option<usize> {
    if at + PART_BYTES + 8 > bytes.len() || bytes[at + 7] & AS_IT_IS != 0 {
        return None;
    }
    let room = (bytes.len() - at - PART_BYTES) as u32 & !7;
    let len = (u32_at(bytes, at)? & PAYLOAD_BYTES_MAX).clamp(8, room);
    put(bytes, at, &len.to_le_bytes());
    // A known one stays.
    let kind = u32_at(bytes, at + 4)?.wrapping_sub(1) % 4 + 1;
    put(bytes, at + 4, &kind.to_le_bytes());
    if let Some(sequence) = sequence {
        put_sequence(FileKind::Segment, bytes, at, sequence)?;
    }
    seal_payload(bytes, at)?;
    FileKind::Segment.seal_part(bytes, seed, at);
    Some(at + PART_BYTES + len as usize)
}

/// Gives the part at `at` this sequence number, and one that is synced before it.
fn put_sequence(kind: FileKind, bytes: &mut [u8], at: usize, sequence: u64) -> Option<()> {
    let layout = kind.layout();
    put(bytes, at + layout.sequence, &sequence.to_le_bytes());
    let synced = u64_at(bytes, at + layout.synced)? % (sequence + 1);
    put(bytes, at + layout.synced, &synced.to_le_bytes());
    Some(())
}

/// Mends the file's header, with these numbers at their offsets, and its parts up to the first that stays as it is.
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

/// The first segment of the first opening.
pub(super) fn segment(bytes: &[u8]) -> Vec<u8> {
    let numbers = [(32, 1), (56, OPENING), (64, 0)];
    file(FileKind::Segment, bytes, &numbers, |bytes, at, seed, sequence| {
        frame_at(bytes, at, seed, Some(sequence))
    })
}

/// The only file of the store with [`ID`].
pub(super) fn store_file(bytes: &[u8]) -> Vec<u8> {
    let numbers = [(28, 1), (36, 1), (44, 0), (52, 1), (68, 0)]
        .into_iter()
        .chain((76..148).step_by(8).map(|at| (at, 0)))
        .collect::<Vec<_>>();
    file(FileKind::StoreFile, bytes, &numbers, record_at)
}

/// Mends the record at `at` and gives where it ends; nothing if it stays as it is.
fn record_at(bytes: &mut [u8], at: usize, seed: u32, sequence: u64) -> Option<usize> {
    if at + PART_BYTES > bytes.len() || bytes[at + 3] & AS_IT_IS != 0 {
        return None;
    }
    let wanted = at + PART_BYTES + (u32_at(bytes, at)? & PAYLOAD_BYTES_MAX) as usize;
    let mut entry = at + PART_BYTES;
    while let Some(end) = entry_at(bytes, entry, wanted.min(bytes.len()), seed) {
        entry = end;
    }
    let len = (entry - at - PART_BYTES) as u32;
    put(bytes, at, &len.to_le_bytes());
    put_sequence(FileKind::StoreFile, bytes, at, sequence)?;
    put(bytes, at + 20, &0_u64.to_le_bytes());
    FileKind::StoreFile.seal_part(bytes, seed, at);
    Some((at + PART_BYTES + len as usize).next_multiple_of(ALIGN))
}

/// Mends the entry at `at` if it has room up to `limit`, and gives where it ends.
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
