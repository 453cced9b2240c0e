//! What the bytes of a database's files say, read by the tables in the formats' documentation and by nothing of the
//! engine but the checksum: a second reading, to hold the engine's own against.
//!
//! It knows what survives damage: a promise counts as long as the header that carries it is valid.

use std::path::Path;

use crate::codec::crc32c::{crc32c, extend};
use crate::testing::faults::FileRole;

const PART_BYTES: usize = 32;
const ALIGN: usize = 8;
const FRAME_KIND_EVENTS: u32 = 1;
const FRAME_KIND_CHECKPOINT: u32 = 3;
const FRAME_PAYLOAD_BYTES_MAX: u32 = 16 << 20;
const ENTRY_OVERHEAD_BYTES: usize = 10;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Segment,
    StoreFile,
}

impl Kind {
    /// The version of the format.
    fn version(self) -> u32 {
        match self {
            Self::Segment | Self::StoreFile => 2,
        }
    }

    /// The length of the header, whose last 4 bytes are its checksum.
    pub(super) fn header_bytes(self) -> usize {
        match self {
            Self::Segment => 80,
            Self::StoreFile => 72,
        }
    }

    /// By the file's name; `None` for every other path.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match FileRole::of(path) {
            FileRole::Segment => Some(Self::Segment),
            FileRole::StoreFile => Some(Self::StoreFile),
            _ => None,
        }
    }
}

/// A position that a file promises: opening must show everything up to it, or refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PromisedPosition {
    /// Every frame up to this sequence number was synced.
    Frames(u64),
    /// Every record of the store up to this one was synced.
    Records(u64),
    /// A checkpoint that covers this sequence number was flushed.
    Checkpoint(u64),
}

/// A length in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) offset: usize,
    /// How many bytes the field has.
    pub(super) width: usize,
    seal: Seal,
}

/// The checksums that cover a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seal {
    /// The checksum of the file header.
    FileHeader,
    /// The header checksum of the frame or record at this offset.
    Part(usize),
    /// The payload checksum of the frame at this offset, and its header checksum, which covers that one.
    Payload(usize),
    /// An entry's checksum, whose place depends on the length. It stays as it is.
    Open,
}

/// A record of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) first_key: Vec<u8>,
}

/// The promises, lengths and records in a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Anatomy {
    pub(super) promises: Vec<PromisedPosition>,
    pub(super) lengths: Vec<Length>,
    /// Of a store file: the records before the first bad one.
    pub(super) records: Vec<Record>,
}

impl Anatomy {
    /// Reads the content of a file of the database with this id, which its store has too. Nothing for what is no file of
    /// this database.
    pub(super) fn of(kind: Kind, bytes: &[u8], id: u128) -> Self {
        let anatomy = match kind {
            Kind::Segment => segment(bytes, id),
            Kind::StoreFile => store_file(bytes, id),
        };
        anatomy.unwrap_or_default()
    }
}

/// The seed of the checksums of frames or records.
fn seed(kind: Kind, bytes: &[u8]) -> Option<u32> {
    Some(match kind {
        Kind::Segment => u32_at(bytes, kind.header_bytes() - 4)?,
        Kind::StoreFile => extend(crc32c(bytes.get(12..28)?), bytes.get(28..36)?),
    })
}

/// The checksum of the header of the frame or record at `offset`.
fn part_checksum(kind: Kind, bytes: &[u8], seed: u32, offset: usize) -> Option<u32> {
    let summed = bytes.get(offset..offset + PART_BYTES - 4)?;
    Some(match kind {
        Kind::Segment => extend(seed, summed),
        Kind::StoreFile => extend(place_seed(seed, offset, 1), summed),
    })
}

/// Whether there is a header whose checksum holds.
fn is_header(kind: Kind, bytes: &[u8], seed: u32, at: usize) -> bool {
    let checksum = part_checksum(kind, bytes, seed, at);
    checksum.is_some() && checksum == u32_at(bytes, at + 28)
}

fn place_seed(seed: u32, offset: usize, part: u8) -> u32 {
    extend(extend(seed, &(offset as u64).to_le_bytes()), &[part])
}

fn has_header(kind: Kind, bytes: &[u8], magic: &[u8], id: u128, id_offset: usize) -> Option<()> {
    let checksum_offset = kind.header_bytes() - 4;
    let is_whole = bytes.get(..8)? == magic
        && u32_at(bytes, 8)? == kind.version()
        && u32_at(bytes, checksum_offset)? == crc32c(bytes.get(..checksum_offset)?)
        && bytes.get(id_offset..id_offset + 16)? == id.to_le_bytes();
    is_whole.then_some(())
}

fn segment(bytes: &[u8], id: u128) -> Option<Anatomy> {
    has_header(Kind::Segment, bytes, b"TIDALWAL", id, 16)?;
    let first_sequence = u64_at(bytes, 32)?;
    let seed = seed(Kind::Segment, bytes)?;
    let mut anatomy = Anatomy {
        // It was made when all before it was synced.
        promises: vec![PromisedPosition::Frames(first_sequence.saturating_sub(1))],
        lengths: vec![Length {
            offset: 48,
            width: 8,
            seal: Seal::FileHeader,
        }],
        records: Vec::new(),
    };
    for at in (Kind::Segment.header_bytes()..bytes.len()).step_by(ALIGN) {
        let len = u32_at(bytes, at).unwrap_or(0);
        let is_length = len != 0 && len <= FRAME_PAYLOAD_BYTES_MAX && len.is_multiple_of(8);
        if is_length && is_header(Kind::Segment, bytes, seed, at) {
            anatomy
                .promises
                .push(PromisedPosition::Frames(u64_at(bytes, at + 16)?));
        }
    }
    let (mut at, mut sequence) = (Kind::Segment.header_bytes(), first_sequence);
    while let Some(payload) = frame_payload(bytes, seed, at, sequence) {
        anatomy.lengths.push(Length {
            offset: at,
            width: 4,
            seal: Seal::Part(at),
        });
        match u32_at(bytes, at + 4)? {
            FRAME_KIND_EVENTS => anatomy.lengths.push(Length {
                offset: at + PART_BYTES,
                width: 4,
                seal: Seal::Payload(at),
            }),
            FRAME_KIND_CHECKPOINT => anatomy
                .promises
                .push(PromisedPosition::Checkpoint(u64_at(payload, 0)?)),
            _ => {}
        }
        at += PART_BYTES + payload.len();
        sequence += 1;
    }
    Some(anatomy)
}

fn frame_payload(bytes: &[u8], seed: u32, at: usize, sequence: u64) -> Option<&[u8]> {
    let is_next = is_header(Kind::Segment, bytes, seed, at) && u64_at(bytes, at + 8)? == sequence;
    let len = u32_at(bytes, at)? as usize;
    let payload = bytes.get(at + PART_BYTES..)?.get(..len)?;
    (is_next && crc32c(payload) == u32_at(bytes, at + 24)?).then_some(payload)
}

fn store_file(bytes: &[u8], id: u128) -> Option<Anatomy> {
    has_header(Kind::StoreFile, bytes, b"tidlstor", id, 12)?;
    let first_sequence = u64_at(bytes, 52)?;
    let seed = seed(Kind::StoreFile, bytes)?;
    let mut anatomy = Anatomy {
        promises: vec![PromisedPosition::Records(first_sequence.saturating_sub(1))],
        lengths: vec![Length {
            offset: 44,
            width: 8,
            seal: Seal::FileHeader,
        }],
        records: Vec::new(),
    };
    for at in (Kind::StoreFile.header_bytes()..bytes.len()).step_by(ALIGN) {
        // Almost every place fails at the first look.
        if u32_at(bytes, at + 28) != Some(0) && is_header(Kind::StoreFile, bytes, seed, at) {
            anatomy
                .promises
                .push(PromisedPosition::Records(u64_at(bytes, at + 12)?));
        }
    }
    let (mut at, mut sequence) = (Kind::StoreFile.header_bytes(), first_sequence);
    while let Some(entries) = record_entries(bytes, seed, at, sequence) {
        anatomy.lengths.push(Length {
            offset: at,
            width: 4,
            seal: Seal::Part(at),
        });
        for &(offset, _) in &entries {
            for (offset, width) in [(offset, 2), (offset + 2, 4)] {
                anatomy.lengths.push(Length {
                    offset,
                    width,
                    seal: Seal::Open,
                });
            }
        }
        let first_key = entries.first().map_or(&[][..], |&(_, key)| key).to_vec();
        anatomy.records.push(Record { sequence, first_key });
        let len = u32_at(bytes, at)? as usize;
        at += (PART_BYTES + len).next_multiple_of(ALIGN);
        sequence += 1;
    }
    Some(anatomy)
}

/// Where the entries of a whole and valid record are, and their keys.
fn record_entries(bytes: &[u8], seed: u32, at: usize, sequence: u64) -> Option<Vec<(usize, &[u8])>> {
    if !is_header(Kind::StoreFile, bytes, seed, at) || u64_at(bytes, at + 4)? != sequence {
        return None;
    }
    let end = at + PART_BYTES + u32_at(bytes, at)? as usize;
    let (mut entry, mut entries) = (at + PART_BYTES, Vec::new());
    while entry < end {
        let key_len = usize::from(u16::from_le_bytes(*bytes.get(entry..)?.first_chunk()?));
        let value_len = match u32_at(bytes, entry + 2)? {
            u32::MAX => 0,
            len => len as usize,
        };
        let len = ENTRY_OVERHEAD_BYTES + key_len + value_len;
        let (summed, checksum) = bytes.get(entry..entry + len)?.split_at(len - 4);
        if extend(place_seed(seed, entry, 2), summed) != u32_at(checksum, 0)? {
            return None;
        }
        entries.push((entry, &summed[6..6 + key_len]));
        entry += len;
    }
    (entry == end).then_some(entries)
}

impl Length {
    /// Whether the length of a store's record as a whole: one of 0 is a valid record, of nothing.
    pub(super) fn is_of_record(self, kind: Kind) -> bool {
        kind == Kind::StoreFile && matches!(self.seal, Seal::Part(_))
    }
}

/// The bytes with another length, under checksums that hold where that can be.
pub(super) fn forge(kind: Kind, bytes: &[u8], length: Length, value: u64) -> Option<Vec<u8>> {
    let mut forged = bytes.to_vec();
    let field = forged.get_mut(length.offset..length.offset + length.width)?;
    field.copy_from_slice(&value.to_le_bytes()[..length.width]);
    let part = match length.seal {
        Seal::Open => None,
        Seal::FileHeader => {
            let end = kind.header_bytes();
            let checksum = crc32c(forged.get(..end - 4)?);
            forged
                .get_mut(end - 4..end)?
                .copy_from_slice(&checksum.to_le_bytes());
            None
        }
        Seal::Part(at) => Some(at),
        Seal::Payload(at) => {
            let len = u32_at(&forged, at)? as usize;
            let checksum = crc32c(forged.get(at + PART_BYTES..)?.get(..len)?);
            forged
                .get_mut(at + 24..at + 28)?
                .copy_from_slice(&checksum.to_le_bytes());
            Some(at)
        }
    };
    if let Some(at) = part {
        let checksum = part_checksum(kind, &forged, seed(kind, &forged)?, at)?;
        forged
            .get_mut(at + 28..at + 32)?
            .copy_from_slice(&checksum.to_le_bytes());
    }
    Some(forged)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}
