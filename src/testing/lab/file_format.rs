//! The formats of a database's files: a second implementation, for comparison with the engine's own.
//!
//! It follows the tables in the documentation of the formats, and shares only the checksum function with the engine.
//! The damage campaign forges files with it, and the decoders' fuzzer repairs files with it.
//!
//! A file consists of a header and parts. The parts are frames in a segment of the log, and records in a store file.
//! The last 4 bytes of each header are its checksum.

use std::path::Path;

use crate::codec::crc32c::{crc32c, extend};
use crate::testing::faults::FileRole;

/// The length of the header of a frame or record.
pub(super) const PART_BYTES: usize = 32;
/// Parts begin at multiples of this number of bytes.
pub(super) const ALIGN: usize = 8;
const PART_CHECKSUM_OFFSET: usize = PART_BYTES - 4;
const PAYLOAD_CHECKSUM_OFFSET: usize = 24;

/// The field `last place` of a store file: the last place of a compacted file, and 0 in a file of records.
pub(super) fn last_place(bytes: &[u8]) -> u64 {
    u64_at(bytes, 84).unwrap_or_default()
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment,
    StoreFile,
}

/// Offsets of a file's fields, in bytes.
pub(super) struct FileLayout {
    magic: &'static [u8; 8],
    version: u32,
    pub(super) header_bytes: usize,
    id: usize,
    /// The sequence number of the first part.
    pub(super) first_sequence: usize,
    /// The length of the previous file: 8 bytes of the file's header.
    pub(super) previous_end: usize,
    /// In the header of a part: its sequence number.
    pub(super) sequence: usize,
    /// In the header of a part: the sequence number up to which all parts are synced.
    pub(super) synced: usize,
}

impl FileKind {
    /// The kind of the file with this name; `None` for any other file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match FileRole::of(path) {
            FileRole::Segment => Some(Self::Segment),
            FileRole::StoreFile => Some(Self::StoreFile),
            _ => None,
        }
    }

    pub(super) fn layout(self) -> FileLayout {
        match self {
            Self::Segment => FileLayout {
                magic: b"TIDALWAL",
                version: 2,
                header_bytes: 80,
                id: 16,
                first_sequence: 32,
                previous_end: 48,
                sequence: 8,
                synced: 16,
            },
            Self::StoreFile => FileLayout {
                magic: b"tidlstor",
                version: 3,
                header_bytes: 152,
                id: 12,
                first_sequence: 52,
                previous_end: 44,
                sequence: 4,
                synced: 12,
            },
        }
    }

    /// Returns true if `bytes` begin with the valid header of a file of the database or store with this id.
    pub(super) fn has_header(self, bytes: &[u8], id: u128) -> bool {
        let mut header = bytes
            .get(..self.layout().header_bytes)
            .unwrap_or_default()
            .to_vec();
        self.write_header(&mut header, id);
        !header.is_empty() && bytes.starts_with(&header)
    }

    /// Writes the magic bytes, version, id and checksum of a file's header. Leaves out fields that `bytes` is too short
    /// for.
    pub(super) fn write_header(self, bytes: &mut [u8], id: u128) {
        let layout = self.layout();
        put(bytes, 0, layout.magic);
        put(bytes, 8, &layout.version.to_le_bytes());
        put(bytes, layout.id, &id.to_le_bytes());
        self.seal_header(bytes);
    }

    /// Writes the checksum of a file's header.
    pub(super) fn seal_header(self, bytes: &mut [u8]) {
        let at = self.layout().header_bytes - 4;
        if let Some(summed) = bytes.get(..at) {
            let checksum = crc32c(summed);
            put(bytes, at, &checksum.to_le_bytes());
        }
    }

    /// The seed of the checksums of the parts.
    pub(super) fn seed(self, bytes: &[u8]) -> Option<u32> {
        Some(match self {
            Self::Segment => u32_at(bytes, self.layout().header_bytes - 4)?,
            Self::StoreFile => {
                let number = extend(crc32c(bytes.get(12..28)?), bytes.get(28..36)?);
                extend(number, bytes.get(76..84)?)
            }
        })
    }

    /// The checksum of the header of the part at `at`.
    fn part_checksum(self, bytes: &[u8], seed: u32, at: usize) -> Option<u32> {
        let summed = bytes.get(at..at + PART_CHECKSUM_OFFSET)?;
        Some(match self {
            Self::Segment => extend(seed, summed),
            Self::StoreFile => positioned_checksum(seed, at, 1, summed),
        })
    }

    /// Returns true if `at` has the header of a part with a valid checksum.
    pub(super) fn is_part(self, bytes: &[u8], seed: u32, at: usize) -> bool {
        let checksum = self.part_checksum(bytes, seed, at);
        checksum.is_some() && checksum == u32_at(bytes, at + PART_CHECKSUM_OFFSET)
    }

    /// Writes the checksum of the header of the part at `at`.
    pub(super) fn seal_part(self, bytes: &mut [u8], seed: u32, at: usize) {
        if let Some(checksum) = self.part_checksum(bytes, seed, at) {
            put(bytes, at + PART_CHECKSUM_OFFSET, &checksum.to_le_bytes());
        }
    }
}

/// The payload of the frame at `at`, if its checksum is valid.
pub(super) fn frame_payload(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let len = u32_at(bytes, at)? as usize;
    let payload = bytes.get(at + PART_BYTES..)?.get(..len)?;
    (crc32c(payload) == u32_at(bytes, at + PAYLOAD_CHECKSUM_OFFSET)?).then_some(payload)
}

/// Writes the checksum of the payload of the frame at `at`, if `bytes` contains the whole payload.
pub(super) fn seal_payload(bytes: &mut [u8], at: usize) -> Option<()> {
    let len = u32_at(bytes, at)? as usize;
    let checksum = crc32c(bytes.get(at + PART_BYTES..)?.get(..len)?);
    put(bytes, at + PAYLOAD_CHECKSUM_OFFSET, &checksum.to_le_bytes());
    Some(())
}

/// The checksum of the entry at `at` in a record of a store file.
pub(super) fn entry_checksum(seed: u32, at: usize, summed: &[u8]) -> u32 {
    positioned_checksum(seed, at, 2, summed)
}

fn positioned_checksum(seed: u32, at: usize, part: u8, summed: &[u8]) -> u32 {
    let seed = extend(extend(seed, &(at as u64).to_le_bytes()), &[part]);
    extend(seed, summed)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Writes `field` at `offset`, if `bytes` has room for it.
pub(super) fn put(bytes: &mut [u8], offset: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + field.len()) {
        place.copy_from_slice(field);
    }
}
