//! The bytes of a store file: a file header, then records at multiples of 8, or the entries of a compacted file. All
//! integers are little-endian.
//!
//! The store's files have the places 1, 2, 3 ... A new file of records takes the next place. A compacted file takes the
//! places of the adjacent files that it replaced. The digest sum is the wrapping sum of the digests of all compacted
//! files.
//!
//! File header, 152 bytes; bytes 84 to 147 are zero unless the file is a compacted one:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `tidlstor` |
//! | 8 | 4 | format version, 3 |
//! | 12 | 16 | store id |
//! | 28 | 8 | number of this file, as in its name; no two files of one opening have the same number |
//! | 36 | 8 | first place of this file |
//! | 44 | 8 | end offset of the file before this place, 0 at place 1 |
//! | 52 | 8 | sequence number of the first record at this place |
//! | 60 | 8 | history: a value over all records before this place, 0 at place 1 |
//! | 68 | 8 | digest sum when the file was made; in a compacted file, the sum of the digests of the files that it replaced |
//! | 76 | 8 | opening: a value of the opening of the store that made the file, 0 for the first |
//! | 84 | 8 | last place of a compacted file |
//! | 92 | 8 | end offset of the replaced file of the last place |
//! | 100 | 8 | sequence number after the last record of the last place |
//! | 108 | 8 | history after the last record of the last place |
//! | 116 | 8 | length of the compacted file |
//! | 124 | 8 | digest of the compacted file: [`mix`] of bytes 60 and 108, then of its entries as in the history |
//! | 132 | 8 | relied sequence: the last record that the compaction relied on; synced before the file got its name |
//! | 140 | 8 | history after that record |
//! | 148 | 4 | CRC32C of bytes 0 to 147 |
//!
//! A compacted file holds only entries, one directly after another.
//!
//! Record: 32 bytes and its payload, then bytes without a meaning up to the next multiple of 8:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | payload length |
//! | 4 | 8 | sequence number: one more than that of the previous record, also across files |
//! | 12 | 8 | sequence number of the last record that was synced when this record was written: the promise |
//! | 20 | 8 | digest sum when the record was written |
//! | 28 | 4 | CRC32C of bytes 0 to 27, seeded |
//! | 32 | | payload: the entries of one atomic batch, in order, without gaps |
//!
//! A promise record has no entries and promises every record before it. A close and a recovery write one. Any other
//! record without entries only stores the digest sum.
//!
//! Entry:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | key length k, at least 1 |
//! | 2 | 4 | value length v; `u32::MAX` for a removal, which has no value |
//! | 6 | k | key |
//! | 6 + k | v | value |
//! | 6 + k + v | 4 | CRC32C of the bytes of the entry before it, seeded |
//!
//! The history value covers all records; diverged copies of a store have different values. [`mix`] takes one word for
//! each record, its header checksum, and one word for each entry: its checksum (upper half) and the last 4 bytes of its
//! value (lower half; zeros if the value is shorter or removed). The entry checksum alone is not enough: the engine's
//! values end with a CRC32C of key and value, and then every entry of one length has the same checksum. The last 4
//! bytes are that CRC32C, which differs.
//!
//! A seeded checksum begins with the store id, the file's number, `opening`, the offset of the record or entry in its
//! file (8 bytes) and one byte, 1 for a record header and 2 for an entry. So bytes of another file, offset or kind are
//! never valid as a record or entry of this file, also if a power loss leaves them in it.
//!
//! Each opening writes the last file again before any other file, with a new number and its own `opening`: [`mix`] of
//! the `opening` and the history that it found. A crash may free that number for a later opening, whose `opening`
//! differs unless it found the same records.
//!
//! A record is valid if the checksums of its header and of all its entries are right and the entries fill the payload.
//! So a checksum covers each byte of the payload once, and one entry can be read and checked without the rest of its
//! record.
//!
//! A decoder named `checked` checks the checksums; its doc names them. A decoder named `unchecked` is for bytes that
//! were checked before.

use std::path::Path;

use crate::Error;
use crate::codec::mix::mix;
use crate::codec::{Reader, Write, crc32c};
use crate::limits::STORAGE_KEY_BYTES_MAX;

const MAGIC: [u8; 8] = *b"tidlstor";
/// The version this build reads and writes.
const VERSION: u32 = 3;

const CRC_LEN: usize = size_of::<u32>();
const FILE_HEADER_SUMMED_LEN: usize =
    MAGIC.len() + size_of::<u32>() + size_of::<u128>() + 15 * size_of::<u64>();
const RECORD_HEADER_SUMMED_LEN: usize = size_of::<u32>() + 3 * size_of::<u64>();
pub(super) const ENTRY_HEADER_LEN: usize = size_of::<u16>() + size_of::<u32>();
const SYNCED_OFFSET: usize = size_of::<u32>() + size_of::<u64>();

/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
pub(super) const FILE_HEADER_LEN: usize = FILE_HEADER_SUMMED_LEN + CRC_LEN;
pub(super) const RECORD_HEADER_LEN: usize = RECORD_HEADER_SUMMED_LEN + CRC_LEN;
/// The bytes of an entry without its key and value.
pub(super) const ENTRY_OVERHEAD_LEN: usize = ENTRY_HEADER_LEN + CRC_LEN;
const REMOVAL: u32 = u32::MAX;

const _: () = assert!(FILE_HEADER_LEN == 152 && FILE_HEADER_LEN.is_multiple_of(ALIGNMENT));
const _: () = assert!(RECORD_HEADER_LEN == 32 && RECORD_HEADER_LEN.is_multiple_of(ALIGNMENT));
const _: () = assert!(STORAGE_KEY_BYTES_MAX <= u16::MAX as usize);

/// A position between two records of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LogPoint {
    /// The end offset of the previous record in its file; 0 before the first record.
    pub(super) end: u64,
    /// The sequence number of the next record.
    pub(super) sequence: u64,
    /// The history value over all earlier records.
    pub(super) history: u64,
}

impl LogPoint {
    /// The position before the first record.
    pub(super) const FIRST: Self = Self {
        end: 0,
        sequence: 1,
        history: 0,
    };

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_u64(self.end);
        bytes.put_u64(self.sequence);
        bytes.put_u64(self.history);
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            end: reader.u64()?,
            sequence: reader.u64()?,
            history: reader.u64()?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) store_id: u128,
    pub(super) number: u64,
    pub(super) first_place: u64,
    pub(super) before: LogPoint,
    /// The digest sum when the file was made; in a compacted file, the sum of the digests of the files that it
    /// replaced.
    pub(super) digest_sum: u64,
    /// The value of the opening of the store that made the file.
    pub(super) opening: u64,
    /// `None` in a file of records.
    pub(super) compaction: Option<CompactedPart>,
}

/// The fields that only a compacted file has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CompactedPart {
    pub(super) last_place: u64,
    pub(super) after: LogPoint,
    pub(super) len: u64,
    pub(super) digest: u64,
    /// The sequence number of the last record that the compaction relied on. That record was synced before the file got
    /// its name.
    pub(super) relied_sequence: u64,
    /// The history after that record.
    pub(super) relied_history: u64,
}

impl CompactedPart {
    /// The digest of a compacted file without entries.
    pub(super) fn digest_without_entries(before: &LogPoint, after: &LogPoint) -> u64 {
        mix(before.history, after.history)
    }
}

impl FileHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.put_u32(VERSION);
        bytes.put_u128(self.store_id);
        bytes.put_u64(self.number);
        bytes.put_u64(self.first_place);
        self.before.encode(&mut bytes);
        bytes.put_u64(self.digest_sum);
        bytes.put_u64(self.opening);
        let part = self.compaction.unwrap_or_default();
        bytes.put_u64(part.last_place);
        part.after.encode(&mut bytes);
        for field in [part.len, part.digest, part.relied_sequence, part.relied_history] {
            bytes.put_u64(field);
        }
        bytes.put_u32(crc32c::crc32c(&bytes));
        debug_assert_eq!(bytes.len(), FILE_HEADER_LEN);
        bytes
    }

    /// Decodes the header at the front of `bytes`, the beginning of the file at `path`. A file gets its final name only
    /// after its header is durable, so a crash never leaves a bad header.
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
        let header = Self::decode_fields(&mut reader).ok_or_else(short)?;
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

    fn decode_fields(reader: &mut Reader<'_>) -> Option<Self> {
        let header = Self {
            store_id: reader.u128()?,
            number: reader.u64()?,
            first_place: reader.u64()?,
            before: LogPoint::decode(reader)?,
            digest_sum: reader.u64()?,
            opening: reader.u64()?,
            compaction: None,
        };
        let part = CompactedPart {
            last_place: reader.u64()?,
            after: LogPoint::decode(reader)?,
            len: reader.u64()?,
            digest: reader.u64()?,
            relied_sequence: reader.u64()?,
            relied_history: reader.u64()?,
        };
        let compaction = (part != CompactedPart::default()).then_some(part);
        Some(Self { compaction, ..header })
    }

    /// The last place of the file.
    pub(super) fn last_place(&self) -> u64 {
        self.compaction.map_or(self.first_place, |part| part.last_place)
    }

    /// The checksum of the bytes that every seeded checksum of this file begins with.
    pub(super) fn seed(&self) -> u32 {
        let crc = crc32c::crc32c(&self.store_id.to_le_bytes());
        let crc = crc32c::extend(crc, &self.number.to_le_bytes());
        crc32c::extend(crc, &self.opening.to_le_bytes())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) payload_len: u32,
    pub(super) sequence: u64,
    pub(super) synced: u64,
    pub(super) digest_sum: u64,
}

impl RecordHeader {
    /// The offset of the first entry of the record at `offset`.
    pub(super) fn entries_offset(offset: u64) -> u64 {
        offset + RECORD_HEADER_LEN as u64
    }

    /// Returns true for a promise record.
    pub(super) fn is_promise(&self) -> bool {
        self.payload_len == 0 && self.synced + 1 == self.sequence
    }

    /// Appends the header. Returns its checksum.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>, seed: u32, offset: u64) -> u32 {
        let start = bytes.len();
        bytes.put_u32(self.payload_len);
        bytes.put_u64(self.sequence);
        bytes.put_u64(self.synced);
        bytes.put_u64(self.digest_sum);
        let crc = ChecksumKind::RecordHeader.sum(seed, offset, &bytes[start..]);
        bytes.put_u32(crc);
        debug_assert_eq!(bytes.len() - start, RECORD_HEADER_LEN);
        crc
    }

    /// The header at the front of `bytes`, which were read from `offset` of its file, if its checksum is right.
    pub(super) fn decode_checked(bytes: &[u8], seed: u32, offset: u64) -> Option<Self> {
        let header = Self::decode_unchecked(bytes)?;
        let (bytes, crc) = bytes[..RECORD_HEADER_LEN].split_at(RECORD_HEADER_SUMMED_LEN);
        (Reader::new(crc).u32()? == ChecksumKind::RecordHeader.sum(seed, offset, bytes)).then_some(header)
    }

    /// The header at the front of `bytes`.
    fn decode_unchecked(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes.get(..RECORD_HEADER_LEN)?);
        Some(Self {
            payload_len: reader.u32()?,
            sequence: reader.u64()?,
            synced: reader.u64()?,
            digest_sum: reader.u64()?,
        })
    }
}

/// One change of one key: a new value, or the removal of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyChange<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> KeyChange<'a> {
    /// The length of the entry of this change.
    pub(super) fn entry_len(&self) -> usize {
        ENTRY_OVERHEAD_LEN + self.key.len() + self.value.map_or(0, <[u8]>::len)
    }

    /// The offset of the value in the entry of `key`.
    pub(super) fn value_offset(key: &[u8]) -> usize {
        ENTRY_HEADER_LEN + key.len()
    }

    /// Appends the entry. Returns its checksum.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>, seed: u32, offset: u64) -> u32 {
        let start = bytes.len();
        bytes.put_u16(self.key.len() as u16);
        bytes.put_u32(self.value.map_or(REMOVAL, |value| value.len() as u32));
        bytes.extend_from_slice(self.key);
        bytes.extend_from_slice(self.value.unwrap_or_default());
        let crc = ChecksumKind::Entry.sum(seed, offset, &bytes[start..]);
        bytes.put_u32(crc);
        crc
    }

    /// The history after the entry with the checksum `crc`.
    pub(super) fn history_after(&self, history: u64, crc: u32) -> u64 {
        let last = self.value.and_then(|value| value.last_chunk());
        let last = last.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        mix(history, u64::from(crc) << 32 | u64::from(last))
    }

    /// Takes an entry from `reader`. Does not check its checksum, and returns it too.
    fn take_unchecked(reader: &mut Reader<'a>) -> Option<(Self, u32)> {
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

    /// The changes of the entries in `reader`.
    fn decode_all_unchecked(mut reader: Reader<'a>) -> impl Iterator<Item = Self> + use<'a> {
        std::iter::from_fn(move || Self::take_unchecked(&mut reader).map(|(change, _)| change))
    }

    /// The length of the entry at the front of `bytes`, from the two lengths in its first bytes; `None` if these bytes
    /// are truncated.
    pub(super) fn entry_len_at(bytes: &[u8]) -> Option<u64> {
        let mut reader = Reader::new(bytes);
        let (key_len, value_len) = (reader.u16()?, reader.u32()?);
        let value_len = if value_len == REMOVAL { 0 } else { value_len };
        Some(ENTRY_OVERHEAD_LEN as u64 + u64::from(key_len) + u64::from(value_len))
    }

    /// The change of `entry`.
    pub(super) fn decode_unchecked(entry: &'a [u8]) -> Option<Self> {
        Self::take_unchecked(&mut Reader::new(entry)).map(|(change, _)| change)
    }

    /// The change of `entry`, which was read from `offset` of its file, if its checksum is right and no bytes follow
    /// it.
    pub(super) fn decode_checked(entry: &'a [u8], seed: u32, offset: u64) -> Option<Self> {
        let mut reader = Reader::new(entry);
        let (change, crc) = Self::take_unchecked(&mut reader)?;
        let summed_part = &entry[..entry.len() - CRC_LEN];
        (reader.is_empty() && crc == ChecksumKind::Entry.sum(seed, offset, summed_part)).then_some(change)
    }
}

/// The entries of a compacted file with this header and content, if their checksums are right and they have the digest
/// and the length of the header.
pub(super) fn compacted_entries<'a>(
    header: &FileHeader,
    file: &'a [u8],
) -> Option<impl Iterator<Item = KeyChange<'a>> + use<'a>> {
    let part = header.compaction?;
    let entries = Reader::new(file.get(FILE_HEADER_LEN..)?);
    let mut digest = CompactedPart::digest_without_entries(&header.before, &part.after);
    let mut offset = FILE_HEADER_LEN;
    let mut reader = entries.clone();
    while !reader.is_empty() {
        let (entry, crc) = KeyChange::take_unchecked(&mut reader)?;
        let end = file.len() - reader.remaining_len();
        if crc != ChecksumKind::Entry.sum(header.seed(), offset as u64, &file[offset..end - CRC_LEN]) {
            return None;
        }
        digest = entry.history_after(digest, crc);
        offset = end;
    }
    let is_whole = offset as u64 == part.len && digest == part.digest;
    is_whole.then(|| KeyChange::decode_all_unchecked(entries))
}

/// The kind of bytes that a seeded checksum covers.
#[derive(Debug, Clone, Copy)]
enum ChecksumKind {
    RecordHeader = 1,
    Entry = 2,
}

impl ChecksumKind {
    /// The checksum of `bytes` of this kind at `offset` of the file with `seed`.
    fn sum(self, seed: u32, offset: u64, bytes: &[u8]) -> u32 {
        let mut place = [0; size_of::<u64>() + 1];
        place[..size_of::<u64>()].copy_from_slice(&offset.to_le_bytes());
        place[size_of::<u64>()] = self as u8;
        crc32c::extend(crc32c::extend(seed, &place), bytes)
    }
}

/// The length in its file of a record with `payload_len` bytes of entries.
pub(super) fn record_len(payload_len: u64) -> u64 {
    (RECORD_HEADER_LEN as u64 + payload_len).next_multiple_of(ALIGNMENT as u64)
}

/// Encodes the record at `offset`. Returns its end and the history value after it; `history` is the value before it.
///
/// `write` gets bytes of the record and their offset. Its calls follow each other in the file. Each call gets at least
/// `write_bytes_min` bytes, except the last. So a large batch is not in memory twice, and its bytes are still in the
/// processor's cache when they are written. The record is valid only if the bytes of all calls are on disk, in any
/// order.
pub(super) fn encode_record<E>(
    header: RecordHeader,
    changes: &[KeyChange<'_>],
    seed: u32,
    offset: u64,
    mut history: u64,
    write_bytes_min: usize,
    mut write: impl FnMut(&[u8], u64) -> Result<(), E>,
) -> Result<(u64, u64), E> {
    let end = offset + record_len(u64::from(header.payload_len));
    let mut bytes = Vec::with_capacity(write_bytes_min.min((end - offset) as usize));
    let mut position = offset;
    history = mix(history, header.encode(&mut bytes, seed, offset).into());
    for change in changes {
        if bytes.len() >= write_bytes_min {
            write(&bytes, position)?;
            position += bytes.len() as u64;
            bytes.clear();
        }
        let entry_offset = position + bytes.len() as u64;
        let crc = change.encode(&mut bytes, seed, entry_offset);
        history = change.history_after(history, crc);
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
    /// The offset of its first entry.
    pub(super) entries_offset: usize,
    /// The offset of the next record.
    pub(super) end: usize,
    /// The checksum of its header.
    crc: u32,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at `offset` of `file`, if it is whole and the checksums of its header and of all its entries are
    /// right.
    pub(super) fn decode_checked(file: &'a [u8], seed: u32, offset: usize) -> Option<Self> {
        let header = RecordHeader::decode_checked(file.get(offset..)?, seed, offset as u64)?;
        let record = Self::with_header(header, file, offset)?;
        let mut reader = Reader::new(record.payload);
        while !reader.is_empty() {
            let position = record.entries_offset + record.payload.len() - reader.remaining_len();
            let (_, crc) = KeyChange::take_unchecked(&mut reader)?;
            let entry_end = record.entries_offset + record.payload.len() - reader.remaining_len();
            if crc != ChecksumKind::Entry.sum(seed, position as u64, &file[position..entry_end - CRC_LEN]) {
                return None;
            }
        }
        Some(record)
    }

    /// The record at `offset` of `file`.
    pub(super) fn decode_unchecked(file: &'a [u8], offset: usize) -> Option<Self> {
        let header = RecordHeader::decode_unchecked(file.get(offset..)?)?;
        Self::with_header(header, file, offset)
    }

    /// The record with `header` at `offset` of `file`, if it is whole.
    fn with_header(header: RecordHeader, file: &'a [u8], offset: usize) -> Option<Self> {
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

    /// The history after this record; `history` is the value before it.
    pub(super) fn history_after(&self, history: u64) -> u64 {
        let mut history = mix(history, self.crc.into());
        let mut reader = Reader::new(self.payload);
        while let Some((change, crc)) = KeyChange::take_unchecked(&mut reader) {
            history = change.history_after(history, crc);
        }
        history
    }

    /// The changes of its entries, in order.
    pub(super) fn changes(&self) -> impl Iterator<Item = KeyChange<'a>> + use<'a> {
        KeyChange::decode_all_unchecked(Reader::new(self.payload))
    }
}

/// Returns true if a valid record header at `offset` of `file`, or at a later multiple of 8, promises that the record
/// with `sequence` was synced.
pub(super) fn is_promised(file: &[u8], seed: u32, offset: usize, sequence: u64) -> bool {
    (offset..file.len()).step_by(ALIGNMENT).any(|offset| {
        // The checksum comes last, because almost every offset fails the cheap check of the promise.
        let promise = file
            .get(offset + SYNCED_OFFSET..)
            .and_then(|bytes| Reader::new(bytes).u64());
        promise.is_some_and(|promise| promise >= sequence)
            && RecordHeader::decode_checked(&file[offset..], seed, offset as u64).is_some()
    })
}
