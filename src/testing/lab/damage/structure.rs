//! The promises, lengths and records in the bytes of a database's files.
//!
//! Also reads damaged files. Invariant: each promise comes from a header with a valid checksum.

use crate::testing::lab::file_format::{
    ALIGN, FileKind, PART_BYTES, entry_checksum, frame_payload, put, seal_payload, u32_at, u64_at,
};

const FRAME_KIND_EVENTS: u32 = 1;
const FRAME_KIND_CHECKPOINT: u32 = 3;
const FRAME_PAYLOAD_BYTES_MAX: u32 = 16 << 20;
const ENTRY_OVERHEAD_BYTES: usize = 10;

/// A position that a file promises: open must recover everything up to it, or return an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PromisedPosition {
    /// Every frame up to this sequence number was synced.
    Frames(u64),
    /// Every record of the store up to this sequence number was synced.
    Records(u64),
    /// A checkpoint that covers this sequence number was flushed.
    Checkpoint(u64),
}

/// A length in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LengthField {
    pub(super) offset: usize,
    /// The size of the field in bytes.
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
    /// The payload checksum of the frame at this offset, and its header checksum, which covers the payload checksum.
    Payload(usize),
    /// The checksum of an entry. Its position depends on the length, so a forged length leaves it unchanged.
    Entry,
}

/// A record of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreRecord {
    pub(super) sequence: u64,
    pub(super) first_key: Vec<u8>,
}

/// The promises, lengths and records in a file.
#[derive(Debug, Clone, Default)]
pub(super) struct FileStructure {
    pub(super) promises: Vec<PromisedPosition>,
    pub(super) lengths: Vec<LengthField>,
    /// The records of a store file before the first invalid record.
    pub(super) records: Vec<StoreRecord>,
}

impl FileStructure {
    /// Reads a file of the database and store with this id. Any other file has an empty structure.
    pub(super) fn of(kind: FileKind, bytes: &[u8], id: u128) -> Self {
        if !kind.has_header(bytes, id) {
            return Self::default();
        }
        let mut structure = Self::default();
        // If the end of the file is damaged, the parts before it count.
        structure.read(kind, bytes).unwrap_or_default();
        structure
    }

    fn read(&mut self, kind: FileKind, bytes: &[u8]) -> Option<()> {
        let (seed, first) = (kind.seed(bytes)?, u64_at(bytes, kind.layout().first_sequence)?);
        // The engine creates a file only after everything before it is synced.
        self.promises.push(promise(kind, first.saturating_sub(1)));
        self.add_length(kind.layout().previous_end, 8, Seal::FileHeader);
        let synced_offset = kind.layout().synced;
        for at in (kind.layout().header_bytes..bytes.len()).step_by(ALIGN) {
            if may_be_part(kind, bytes, at) && kind.is_part(bytes, seed, at) {
                self.promises
                    .push(promise(kind, u64_at(bytes, at + synced_offset)?));
            }
        }
        let mut at = kind.layout().header_bytes;
        for sequence in first.. {
            let sequence_offset = kind.layout().sequence;
            if !kind.is_part(bytes, seed, at) || u64_at(bytes, at + sequence_offset)? != sequence {
                break;
            }
            at = match kind {
                FileKind::Segment => self.add_frame(bytes, at)?,
                FileKind::StoreFile => self.add_record(bytes, seed, at, sequence)?,
            };
        }
        Some(())
    }

    fn add_length(&mut self, offset: usize, width: usize, seal: Seal) {
        self.lengths.push(LengthField { offset, width, seal });
    }

    /// Reads the frame at `at`, if it is complete and valid. Returns its end.
    fn add_frame(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let payload = frame_payload(bytes, at)?;
        self.add_length(at, 4, Seal::Part(at));
        match u32_at(bytes, at + 4)? {
            FRAME_KIND_EVENTS => self.add_length(at + PART_BYTES, 4, Seal::Payload(at)),
            FRAME_KIND_CHECKPOINT => self
                .promises
                .push(PromisedPosition::Checkpoint(u64_at(payload, 0)?)),
            _ => {}
        }
        Some(at + PART_BYTES + payload.len())
    }

    /// Reads the record at `at`, if it is complete and valid. Returns the beginning of the next record.
    fn add_record(&mut self, bytes: &[u8], seed: u32, at: usize, sequence: u64) -> Option<usize> {
        let entries = record_entries(bytes, seed, at)?;
        self.add_length(at, 4, Seal::Part(at));
        for &(offset, _) in &entries {
            self.add_length(offset, 2, Seal::Entry);
            self.add_length(offset + 2, 4, Seal::Entry);
        }
        let first_key = entries.first().map_or(&[][..], |&(_, key)| key).to_vec();
        self.records.push(StoreRecord { sequence, first_key });
        let len = u32_at(bytes, at)? as usize;
        Some(at + (PART_BYTES + len).next_multiple_of(ALIGN))
    }
}

fn promise(kind: FileKind, synced: u64) -> PromisedPosition {
    match kind {
        FileKind::Segment => PromisedPosition::Frames(synced),
        FileKind::StoreFile => PromisedPosition::Records(synced),
    }
}

/// Returns false if the engine finds no part at `at` for any checksum. This fast check rejects almost every offset.
fn may_be_part(kind: FileKind, bytes: &[u8], at: usize) -> bool {
    match kind {
        FileKind::Segment => {
            let len = u32_at(bytes, at).unwrap_or(0);
            len != 0 && len <= FRAME_PAYLOAD_BYTES_MAX && len.is_multiple_of(8)
        }
        FileKind::StoreFile => u32_at(bytes, at + PART_BYTES - 4) != Some(0),
    }
}

/// The offsets and keys of the entries of a record; `None` if the record is incomplete or invalid.
fn record_entries(bytes: &[u8], seed: u32, at: usize) -> Option<Vec<(usize, &[u8])>> {
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
        if entry_checksum(seed, entry, summed) != u32_at(checksum, 0)? {
            return None;
        }
        entries.push((entry, &summed[6..6 + key_len]));
        entry += len;
    }
    (entry == end).then_some(entries)
}

impl LengthField {
    /// Returns true for the length of a whole store record. A record of length 0 is valid and has no entry.
    pub(super) fn is_of_record(self, kind: FileKind) -> bool {
        kind == FileKind::StoreFile && matches!(self.seal, Seal::Part(_))
    }
}

/// The bytes with another value of a length. The checksums that cover it are valid, except that of an entry.
pub(super) fn forge(kind: FileKind, bytes: &[u8], length: LengthField, value: u64) -> Option<Vec<u8>> {
    let mut forged = bytes.to_vec();
    forged.get(length.offset..length.offset + length.width)?;
    put(&mut forged, length.offset, &value.to_le_bytes()[..length.width]);
    match length.seal {
        Seal::Entry => {}
        Seal::FileHeader => kind.seal_header(&mut forged),
        Seal::Part(at) => {
            let seed = kind.seed(&forged)?;
            kind.seal_part(&mut forged, seed, at);
        }
        Seal::Payload(at) => {
            seal_payload(&mut forged, at)?;
            let seed = kind.seed(&forged)?;
            kind.seal_part(&mut forged, seed, at);
        }
    }
    Some(forged)
}
