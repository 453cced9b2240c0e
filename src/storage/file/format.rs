//! The bytes of a store file: a file header, then records at multiples of 8. All integers are little-endian.
//!
//! File header, 72 bytes:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `tidlstor` |
//! | 8 | 4 | format version, 2 |
//! | 12 | 16 | store id |
//! | 28 | 8 | number of this file, as in its name |
//! | 36 | 8 | number of the oldest file that is needed |
//! | 44 | 8 | where the file before this one ended, 0 in the first file of a store |
//! | 52 | 8 | sequence number of this file's first record |
//! | 60 | 8 | history: a value over all records before this file, 0 in the first file of a store |
//! | 68 | 4 | CRC32C of bytes 0 to 67 |
//!
//! Record, 32 bytes and its payload, then bytes of no meaning up to the next multiple of 8:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | payload length |
//! | 4 | 8 | sequence number: one more than that of the record before, across files |
//! | 12 | 8 | sequence number of the last record that was synced when this one was written: the promise |
//! | 20 | 8 | number of the oldest file that is needed, this record counted |
//! | 28 | 4 | CRC32C of bytes 0 to 27, seeded |
//! | 32 | | payload: the entries of one atomic batch, in order, nothing between or after them; empty in a promise record |
//!
//! A promise record has no entries and promises every record before it. A close and a recovery write one.
//!
//! Entry:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | key length k, at least 1 |
//! | 2 | 4 | value length v; `u32::MAX` for a removal, which has no value |
//! | 6 | k | key |
//! | 6 + k | v | value |
//! | 6 + k + v | 4 | CRC32C of all before, seeded |
//!
//! The history value covers all records; two copies of a store that diverged have different values. [`mix`] takes one word for
//! each record, its header checksum, and one for each entry: its checksum (upper half) and the last 4 bytes of its value (lower
//! half; zeros if shorter or removed). The entry checksum alone is not enough: the engine's values end with a CRC32C of key and
//! value, and then every entry of one length has the same checksum. Their last 4 bytes are that CRC32C, which differs.
//!
//! A seeded checksum begins with the store id, the file's number, the offset of the record or entry in its
//! file (8 bytes) and one byte, 1 for a record header and 2 for an entry. So nothing passes for what it is
//! not: no record copied into a value, no entry that is as long as a record header. A record is valid if its
//! header's and all its entries' checksums hold and the entries fill the payload: its whole payload is summed
//! once, and an entry can be checked when it is read alone.

use std::path::Path;

use crate::Error;
use crate::codec::mix::mix;
use crate::codec::{Reader, Write, crc32c};
use crate::limits::STORAGE_KEY_BYTES_MAX;

const MAGIC: [u8; 8] = *b"tidlstor";
/// The version this build reads and writes.
const VERSION: u32 = 2;

const CRC_LEN: usize = size_of::<u32>();
const FILE_HEADER_SUMMED_LEN: usize =
    MAGIC.len() + size_of::<u32>() + size_of::<u128>() + 5 * size_of::<u64>();
const RECORD_HEADER_SUMMED_LEN: usize = size_of::<u32>() + 3 * size_of::<u64>();
const ENTRY_HEADER_LEN: usize = size_of::<u16>() + size_of::<u32>();
const SYNCED_OFFSET: usize = size_of::<u32>() + size_of::<u64>();

/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
pub(super) const FILE_HEADER_LEN: usize = FILE_HEADER_SUMMED_LEN + CRC_LEN;
pub(super) const RECORD_HEADER_LEN: usize = RECORD_HEADER_SUMMED_LEN + CRC_LEN;
/// What an entry takes beside its key and value.
pub(super) const ENTRY_OVERHEAD_LEN: usize = ENTRY_HEADER_LEN + CRC_LEN;
const REMOVAL: u32 = u32::MAX;

const _: () = assert!(FILE_HEADER_LEN == 72 && FILE_HEADER_LEN.is_multiple_of(ALIGNMENT));
const _: () = assert!(RECORD_HEADER_LEN == 32 && RECORD_HEADER_LEN.is_multiple_of(ALIGNMENT));
const _: () = assert!(STORAGE_KEY_BYTES_MAX <= u16::MAX as usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) store_id: u128,
    pub(super) number: u64,
    pub(super) oldest: u64,
    pub(super) previous_end: u64,
    pub(super) first_sequence: u64,
    pub(super) history: u64,
}

impl FileHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.put_u32(VERSION);
        bytes.put_u128(self.store_id);
        bytes.put_u64(self.number);
        bytes.put_u64(self.oldest);
        bytes.put_u64(self.previous_end);
        bytes.put_u64(self.first_sequence);
        bytes.put_u64(self.history);
        bytes.put_u32(crc32c::crc32c(&bytes));
        debug_assert_eq!(bytes.len(), FILE_HEADER_LEN);
        bytes
    }

    /// Decodes the beginning of the file at `path`. A final name is given to a file only after its header is
    /// durable, so a bad header is never the trace of a crash.
    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let magic_len = MAGIC.len().min(bytes.len());
        if bytes[..magic_len] != MAGIC[..magic_len] {
            return Err(Error::BadMagic {
                path: path.to_path_buf(),
            });
        }
        let mut reader = Reader::new(&bytes[magic_len..]);
        let short = || Error::corrupt(path, bytes.len() as u64, None, "the file ends inside its header");
        let found = reader.u32().ok_or_else(short)?;
        if found != VERSION {
            return Err(Error::UnsupportedVersion {
                path: path.to_path_buf(),
                found,
                supported: VERSION,
            });
        }
        let header = Self {
            store_id: reader.u128().ok_or_else(short)?,
            number: reader.u64().ok_or_else(short)?,
            oldest: reader.u64().ok_or_else(short)?,
            previous_end: reader.u64().ok_or_else(short)?,
            first_sequence: reader.u64().ok_or_else(short)?,
            history: reader.u64().ok_or_else(short)?,
        };
        let crc = reader.u32().ok_or_else(short)?;
        if crc != crc32c::crc32c(&bytes[..FILE_HEADER_SUMMED_LEN]) {
            return Err(Error::corrupt(
                path,
                0,
                None,
                "the file header's checksum is wrong",
            ));
        }
        Ok(header)
    }

    /// What every seeded checksum in this file begins with.
    pub(super) fn seed(&self) -> u32 {
        let crc = crc32c::crc32c(&self.store_id.to_le_bytes());
        crc32c::extend(crc, &self.number.to_le_bytes())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) payload_len: u32,
    pub(super) sequence: u64,
    pub(super) synced: u64,
    pub(super) oldest: u64,
}

impl RecordHeader {
    /// Where the first entry of the record at `offset` begins.
    pub(super) fn entries_offset(offset: u64) -> u64 {
        offset + RECORD_HEADER_LEN as u64
    }

    /// Returns true for a promise record.
    pub(super) fn is_promise(&self) -> bool {
        self.payload_len == 0 && self.synced + 1 == self.sequence
    }

    /// Appends the header. Returns its checksum.
    fn encode(&self, bytes: &mut Vec<u8>, seed: u32, offset: u64) -> u32 {
        let start = bytes.len();
        bytes.put_u32(self.payload_len);
        bytes.put_u64(self.sequence);
        bytes.put_u64(self.synced);
        bytes.put_u64(self.oldest);
        let crc = Part::RecordHeader.sum(seed, offset, &bytes[start..]);
        bytes.put_u32(crc);
        debug_assert_eq!(bytes.len() - start, RECORD_HEADER_LEN);
        crc
    }

    /// The header at `offset` if its checksum holds.
    fn decode(file: &[u8], seed: u32, offset: usize) -> Option<Self> {
        let header = Self::decode_trusted(file, offset)?;
        let (bytes, crc) = file[offset..][..RECORD_HEADER_LEN].split_at(RECORD_HEADER_SUMMED_LEN);
        (Reader::new(crc).u32()? == Part::RecordHeader.sum(seed, offset as u64, bytes)).then_some(header)
    }

    /// The header at `offset` as it is, for bytes whose checksums were looked at before.
    fn decode_trusted(file: &[u8], offset: usize) -> Option<Self> {
        let mut reader = Reader::new(file.get(offset..)?.get(..RECORD_HEADER_LEN)?);
        Some(Self {
            payload_len: reader.u32()?,
            sequence: reader.u64()?,
            synced: reader.u64()?,
            oldest: reader.u64()?,
        })
    }
}

/// One change of one key: a new value, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyChange<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> KeyChange<'a> {
    /// How long the operation is as an entry.
    pub(super) fn entry_len(&self) -> usize {
        ENTRY_OVERHEAD_LEN + self.key.len() + self.value.map_or(0, <[u8]>::len)
    }

    /// Where in its entry the value of `key` begins.
    pub(super) fn value_offset(key: &[u8]) -> usize {
        ENTRY_HEADER_LEN + key.len()
    }

    /// Appends the entry. Returns its checksum.
    fn encode(&self, bytes: &mut Vec<u8>, seed: u32, offset: u64) -> u32 {
        let start = bytes.len();
        bytes.put_u16(self.key.len() as u16);
        bytes.put_u32(self.value.map_or(REMOVAL, |value| value.len() as u32));
        bytes.extend_from_slice(self.key);
        bytes.extend_from_slice(self.value.unwrap_or_default());
        let crc = Part::Entry.sum(seed, offset, &bytes[start..]);
        bytes.put_u32(crc);
        crc
    }

    /// The history after the entry with the checksum `crc`.
    fn history_after(&self, history: u64, crc: u32) -> u64 {
        let last = self.value.and_then(|value| value.last_chunk());
        let last = last.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        mix(history, u64::from(crc) << 32 | u64::from(last))
    }

    /// Takes an entry from `reader` without looking at its checksum, which comes with it.
    fn decode(reader: &mut Reader<'a>) -> Option<(Self, u32)> {
        let key_len = usize::from(reader.u16()?);
        if key_len == 0 || key_len > STORAGE_KEY_BYTES_MAX {
            return None;
        }
        let value_len = reader.u32()?;
        let key = reader.bytes(key_len)?;
        let value = match value_len {
            REMOVAL => None,
            len => Some(reader.bytes(len as usize)?),
        };
        Some((Self { key, value }, reader.u32()?))
    }

    /// The operation that `entry` holds, read alone from `offset` of its file, if its checksum holds.
    pub(super) fn decode_alone(entry: &'a [u8], seed: u32, offset: u64) -> Option<Self> {
        let mut reader = Reader::new(entry);
        let (operation, crc) = Self::decode(&mut reader)?;
        let summed_part = &entry[..entry.len() - CRC_LEN];
        (reader.is_empty() && crc == Part::Entry.sum(seed, offset, summed_part)).then_some(operation)
    }
}

/// What a seeded checksum is of.
#[derive(Debug, Clone, Copy)]
enum Part {
    RecordHeader = 1,
    Entry = 2,
}

impl Part {
    /// The checksum of `bytes` as this part at `offset` of the file with `seed`.
    fn sum(self, seed: u32, offset: u64, bytes: &[u8]) -> u32 {
        let mut place = [0; size_of::<u64>() + 1];
        place[..size_of::<u64>()].copy_from_slice(&offset.to_le_bytes());
        place[size_of::<u64>()] = self as u8;
        crc32c::extend(crc32c::extend(seed, &place), bytes)
    }
}

/// How long a record with `payload_len` bytes of entries is in its file.
pub(super) fn record_len(payload_len: u64) -> u64 {
    (RECORD_HEADER_LEN as u64 + payload_len).next_multiple_of(ALIGNMENT as u64)
}

/// Encodes the record at `offset`. Returns its end and the history value after it; `history` is the value before it.
///
/// `write` gets its bytes and where they go, piece by piece in order: a piece is handed over once it has
/// reached `piece_bytes`, so that a large batch is neither held in memory twice nor out of the processor's
/// cache when it is written. The record is valid only when the last piece is there, in whatever order they
/// reach the disk.
pub(super) fn encode_record<E>(
    header: RecordHeader,
    operations: &[KeyChange<'_>],
    seed: u32,
    offset: u64,
    mut history: u64,
    piece_bytes: usize,
    mut write: impl FnMut(&[u8], u64) -> Result<(), E>,
) -> Result<(u64, u64), E> {
    let end = offset + record_len(u64::from(header.payload_len));
    let mut bytes = Vec::with_capacity(piece_bytes.min((end - offset) as usize));
    let mut position = offset;
    history = mix(history, header.encode(&mut bytes, seed, offset).into());
    for operation in operations {
        if bytes.len() >= piece_bytes {
            write(&bytes, position)?;
            position += bytes.len() as u64;
            bytes.clear();
        }
        let entry_offset = position + bytes.len() as u64;
        let crc = operation.encode(&mut bytes, seed, entry_offset);
        history = operation.history_after(history, crc);
    }
    let payload_end = RecordHeader::entries_offset(offset) + u64::from(header.payload_len);
    debug_assert_eq!(position + bytes.len() as u64, payload_end);
    bytes.resize((end - position) as usize, 0);
    write(&bytes, position)?;
    Ok((end, history))
}

/// A record in the bytes of its file.
#[derive(Debug, Clone)]
pub(super) struct Record<'a> {
    pub(super) header: RecordHeader,
    /// Where its first entry begins.
    pub(super) entries_offset: usize,
    /// Where the next record begins.
    pub(super) end: usize,
    /// The checksum of its header.
    crc: u32,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at `offset` of `file`, if there is a whole and valid one.
    pub(super) fn decode(file: &'a [u8], seed: u32, offset: usize) -> Option<Self> {
        let header = RecordHeader::decode(file, seed, offset)?;
        let record = Self::within(file, header, offset)?;
        let mut reader = Reader::new(record.payload);
        while !reader.is_empty() {
            let position = record.entries_offset + record.payload.len() - reader.remaining_len();
            let (_, crc) = KeyChange::decode(&mut reader)?;
            let entry_end = record.entries_offset + record.payload.len() - reader.remaining_len();
            if crc != Part::Entry.sum(seed, position as u64, &file[position..entry_end - CRC_LEN]) {
                return None;
            }
        }
        Some(record)
    }

    /// The record at `offset` of `file`, for bytes whose checksums were looked at before.
    pub(super) fn decode_trusted(file: &'a [u8], offset: usize) -> Option<Self> {
        Self::within(file, RecordHeader::decode_trusted(file, offset)?, offset)
    }

    fn within(file: &'a [u8], header: RecordHeader, offset: usize) -> Option<Self> {
        let entries_offset = offset + RECORD_HEADER_LEN;
        let end = offset.checked_add(usize::try_from(record_len(u64::from(header.payload_len))).ok()?)?;
        let payload = file
            .get(entries_offset..end)?
            .get(..header.payload_len as usize)?;
        Some(Self {
            header,
            entries_offset,
            end,
            crc: Reader::new(file.get(offset + RECORD_HEADER_SUMMED_LEN..)?).u32()?,
            payload,
        })
    }

    /// The history after this record if that before it is `history`.
    pub(super) fn history_after(&self, history: u64) -> u64 {
        let mut history = mix(history, self.crc.into());
        let mut reader = Reader::new(self.payload);
        while let Some((operation, crc)) = KeyChange::decode(&mut reader) {
            history = operation.history_after(history, crc);
        }
        history
    }

    /// The operations, in order.
    pub(super) fn operations(&self) -> impl Iterator<Item = KeyChange<'a>> + use<'a> {
        let mut reader = Reader::new(self.payload);
        std::iter::from_fn(move || KeyChange::decode(&mut reader).map(|(operation, _)| operation))
    }
}

/// Whether a valid record header at `offset` of `file` or at a later multiple of 8 promises that the record
/// with `sequence` was synced.
pub(super) fn is_promised(file: &[u8], seed: u32, offset: usize, sequence: u64) -> bool {
    (offset..file.len()).step_by(ALIGNMENT).any(|offset| {
        // The checksum comes last: almost every position already fails here.
        let promise = file
            .get(offset + SYNCED_OFFSET..)
            .and_then(|bytes| Reader::new(bytes).u64());
        promise.is_some_and(|promise| promise >= sequence)
            && RecordHeader::decode(file, seed, offset).is_some()
    })
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
