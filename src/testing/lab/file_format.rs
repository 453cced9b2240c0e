//! The formats of a database's files, by the tables in the formats' documentation and by nothing of the engine but the
//! checksum: a second reading, to hold the engine's own against. Damage forges files with it, the decoders' fuzzer mends
//! them.
//!
//! A file is a header and parts: frames in a segment of the log, records in a store file. The last 4 bytes of each
//! header are its checksum.

use std::path::Path;

use crate::codec::crc32c::{crc32c, extend};
use crate::testing::faults::FileRole;

/// The length of the header of a frame or record.
pub(super) const PART_BYTES: usize = 32;
/// Parts begin at multiples of this.
pub(super) const ALIGN: usize = 8;
const VERSION: u32 = 2;
const PART_CHECKSUM_OFFSET: usize = PART_BYTES - 4;
const PAYLOAD_CHECKSUM_OFFSET: usize = 24;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Segment,
    StoreFile,
}

impl Kind {
    /// The kind of the file with this name; `None` for any other file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match FileRole::of(path) {
            FileRole::Segment => Some(Self::Segment),
            FileRole::StoreFile => Some(Self::StoreFile),
            _ => None,
        }
    }

    /// The length of the file's header.
    pub(super) fn header_bytes(self) -> usize {
        match self {
            Self::Segment => 80,
            Self::StoreFile => 72,
        }
    }

    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Segment => b"TIDALWAL",
            Self::StoreFile => b"tidlstor",
        }
    }

    fn id_offset(self) -> usize {
        match self {
            Self::Segment => 16,
            Self::StoreFile => 12,
        }
    }

    /// The place of the sequence number of the first part.
    pub(super) fn first_sequence_offset(self) -> usize {
        match self {
            Self::Segment => 32,
            Self::StoreFile => 52,
        }
    }

    /// The place of the length of the file before, 8 bytes of the file's header.
    pub(super) fn previous_end_offset(self) -> usize {
        match self {
            Self::Segment => 48,
            Self::StoreFile => 44,
        }
    }

    /// The places, in the header of a part, of its sequence number and of the one up to which all are synced.
    pub(super) fn sequence_offsets(self) -> (usize, usize) {
        match self {
            Self::Segment => (8, 16),
            Self::StoreFile => (4, 12),
        }
    }

    /// Returns true if `bytes` begin with the valid header of a file of the database, or store, with this id.
    pub(super) fn has_header(self, bytes: &[u8], id: u128) -> bool {
        let mut whole = bytes.get(..self.header_bytes()).unwrap_or_default().to_vec();
        self.write_header(&mut whole, id);
        !whole.is_empty() && bytes.starts_with(&whole)
    }

    /// Writes magic bytes, version, id and checksum of a file's header, as far as `bytes` reach.
    pub(super) fn write_header(self, bytes: &mut [u8], id: u128) {
        put(bytes, 0, self.magic());
        put(bytes, 8, &VERSION.to_le_bytes());
        put(bytes, self.id_offset(), &id.to_le_bytes());
        self.seal_header(bytes);
    }

    /// Writes the checksum of a file's header.
    pub(super) fn seal_header(self, bytes: &mut [u8]) {
        let at = self.header_bytes() - 4;
        if let Some(summed) = bytes.get(..at) {
            let checksum = crc32c(summed);
            put(bytes, at, &checksum.to_le_bytes());
        }
    }

    /// The seed of the checksums of the parts.
    pub(super) fn seed(self, bytes: &[u8]) -> Option<u32> {
        Some(match self {
            Self::Segment => u32_at(bytes, self.header_bytes() - 4)?,
            Self::StoreFile => extend(crc32c(bytes.get(12..28)?), bytes.get(28..36)?),
        })
    }

    /// The checksum of the header of the part at `at`.
    fn part_checksum(self, bytes: &[u8], seed: u32, at: usize) -> Option<u32> {
        let summed = bytes.get(at..at + PART_CHECKSUM_OFFSET)?;
        Some(match self {
            Self::Segment => extend(seed, summed),
            Self::StoreFile => placed_checksum(seed, at, 1, summed),
        })
    }

    /// Returns true if the header of a part at `at` has a checksum that holds.
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

/// The payload of the frame at `at`, if its checksum holds.
pub(super) fn frame_payload(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let len = u32_at(bytes, at)? as usize;
    let payload = bytes.get(at + PART_BYTES..)?.get(..len)?;
    (crc32c(payload) == u32_at(bytes, at + PAYLOAD_CHECKSUM_OFFSET)?).then_some(payload)
}

/// Writes the checksum of the payload of the frame at `at`, if it is all there.
pub(super) fn seal_payload(bytes: &mut [u8], at: usize) -> Option<()> {
    let len = u32_at(bytes, at)? as usize;
    let checksum = crc32c(bytes.get(at + PART_BYTES..)?.get(..len)?);
    put(bytes, at + PAYLOAD_CHECKSUM_OFFSET, &checksum.to_le_bytes());
    Some(())
}

/// The checksum of an entry of a store's record at `at`.
pub(super) fn entry_checksum(seed: u32, at: usize, summed: &[u8]) -> u32 {
    placed_checksum(seed, at, 2, summed)
}

fn placed_checksum(seed: u32, at: usize, part: u8, summed: &[u8]) -> u32 {
    let seed = extend(extend(seed, &(at as u64).to_le_bytes()), &[part]);
    extend(seed, summed)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Writes `field` at `offset`, if there is room for it.
pub(super) fn put(bytes: &mut [u8], offset: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + field.len()) {
        place.copy_from_slice(field);
    }
}
