//! The format of a segment: its file name and its header.
//!
//! The name of a segment is its first sequence number in 20 digits and `.wal`. Until its header is durable, the name
//! ends with `.wal.tmp`. Header, little-endian:
//!
//! | offset | size | field | content |
//! |---|---|---|---|
//! | 0 | 8 | magic | `TIDALWAL` |
//! | 8 | 4 | version | 2 |
//! | 12 | 4 | reserved | 0 |
//! | 16 | 16 | database id | of the database it belongs to |
//! | 32 | 8 | first sequence | of the frame that follows the header, 1 to 2^63 - 1 |
//! | 40 | 8 | previous first sequence | of the previous segment, 0 if none exists |
//! | 48 | 8 | previous end | the offset in bytes at which the frames of the previous segment end: a promise that they are synced |
//! | 56 | 8 | opening | the id of the opening that made the segment |
//! | 64 | 8 | history | of the log up to the frame before the first sequence number, see [`history`](super::history) |
//! | 72 | 4 | reserved | 0 |
//! | 76 | 4 | checksum | CRC32C of the bytes before it; it seeds the header checksums of the frames |
//!
//! Frames follow at multiples of 8 (see [`frame`](super::frame)), then zeros.
//!
//! A segment is created under its temporary name, synced and renamed, and its directory is synced, before the first
//! frame is written. A crash before the rename is durable leaves a temporary file, which open removes, or no file. A
//! crash after it leaves a whole header. So a segment under its final name without a valid header is never torn: it is
//! corrupt.

use std::path::Path;

use super::history::History;
use crate::Error;
use crate::codec::crc32c::crc32c;
use crate::codec::{Reader, Write};
use crate::fs::{numbered_name, parse_numbered_name};

const MAGIC: [u8; 8] = *b"TIDALWAL";
pub(super) const VERSION: u32 = 2;
pub(super) const VERSION_OFFSET: usize = MAGIC.len();
const DATABASE_ID_OFFSET: usize = VERSION_OFFSET + 8;
pub(super) const FIRST_SEQUENCE_OFFSET: usize = DATABASE_ID_OFFSET + 16;
pub(super) const PREVIOUS_FIRST_OFFSET: usize = FIRST_SEQUENCE_OFFSET + 8;
pub(super) const PREVIOUS_END_OFFSET: usize = PREVIOUS_FIRST_OFFSET + 8;
pub(super) const OPENING_OFFSET: usize = PREVIOUS_END_OFFSET + 8;
pub(super) const HISTORY_OFFSET: usize = OPENING_OFFSET + 8;
const CHECKSUM_OFFSET: usize = HISTORY_OFFSET + 12;
/// The length of a segment's header; the offset of its first frame.
pub(crate) const SEGMENT_HEADER_BYTES: usize = CHECKSUM_OFFSET + 4;
const _: () = assert!(SEGMENT_HEADER_BYTES == 80 && SEGMENT_HEADER_BYTES.is_multiple_of(8));

/// The largest sequence number of a segment's first frame. A larger number on disk is refused, so that sums cannot
/// overflow.
pub(crate) const SEQUENCE_MAX: u64 = u64::MAX / 2;

const EXTENSION: &str = ".wal";
const TEMPORARY_EXTENSION: &str = ".wal.tmp";

/// The meaning of a name in the directory of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentName {
    /// A segment, by its first sequence number.
    Segment(u64),
    /// A segment whose creation did not finish.
    Temporary,
    /// Not a file of the log.
    Foreign,
}

/// The file name of the segment that begins with `first_sequence`.
pub(crate) fn segment_name(first_sequence: u64) -> String {
    numbered_name(first_sequence, EXTENSION)
}

/// The name of that segment until its header is durable.
pub(crate) fn temporary_name(first_sequence: u64) -> String {
    numbered_name(first_sequence, TEMPORARY_EXTENSION)
}

/// The meaning of `name`: the inverse of [`segment_name`] and [`temporary_name`].
pub(crate) fn parse_name(name: &str) -> SegmentName {
    match parse_numbered_name(name) {
        Some((first_sequence, EXTENSION)) => SegmentName::Segment(first_sequence),
        Some((_, TEMPORARY_EXTENSION)) => SegmentName::Temporary,
        _ => SegmentName::Foreign,
    }
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) database_id: u128,
    pub(crate) first_sequence: u64,
    /// The first sequence number of the previous segment, 0 if none exists.
    pub(crate) previous_first: u64,
    /// The offset at which the frames of the previous segment end.
    pub(crate) previous_end: u64,
    /// The id of the opening that made the segment.
    pub(crate) opening: u64,
    /// The history of the log before the first frame.
    pub(crate) history: History,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.put_u32(VERSION);
        bytes.put_u32(0);
        bytes.put_u128(self.database_id);
        bytes.put_u64(self.first_sequence);
        bytes.put_u64(self.previous_first);
        bytes.put_u64(self.previous_end);
        bytes.put_u64(self.opening);
        bytes.put_u64(self.history.0);
        bytes.put_u32(0);
        let checksum = crc32c(&bytes);
        bytes.put_u32(checksum);
        bytes
    }

    /// Decodes the header at the front of `bytes`, the content of the file at `path`. Also returns the seed for its
    /// frames.
    ///
    /// # Errors
    /// `BadMagic`, `UnsupportedVersion` or `Corrupt`; `ForeignDatabase` if the header does not have `database_id`.
    pub(crate) fn decode(bytes: &[u8], path: &Path, database_id: u128) -> Result<(Self, u32), Error> {
        let short = || {
            Error::corrupt(
                path,
                bytes.len() as u64,
                None,
                "the segment ends inside its header",
            )
        };
        if bytes.get(..VERSION_OFFSET).ok_or_else(short)? != MAGIC {
            return Err(Error::BadMagic {
                path: path.to_path_buf(),
            });
        }
        let found = Reader::new(&bytes[VERSION_OFFSET..]).u32().ok_or_else(short)?;
        if found != VERSION {
            return Err(Error::UnsupportedVersion {
                path: path.to_path_buf(),
                found,
                supported: VERSION,
            });
        }
        let header = bytes.get(..SEGMENT_HEADER_BYTES).ok_or_else(short)?;
        let checksum = Reader::new(&header[CHECKSUM_OFFSET..]).u32().ok_or_else(short)?;
        if crc32c(&header[..CHECKSUM_OFFSET]) != checksum {
            return Err(Error::corrupt(
                path,
                0,
                None,
                "the segment header's checksum does not match",
            ));
        }
        let mut reader = Reader::new(&header[DATABASE_ID_OFFSET..]);
        let mut read = || {
            Some(Self {
                database_id: reader.u128()?,
                first_sequence: reader.u64()?,
                previous_first: reader.u64()?,
                previous_end: reader.u64()?,
                opening: reader.u64()?,
                history: History(reader.u64()?),
            })
        };
        let decoded = read().ok_or_else(short)?;
        if !(1..=SEQUENCE_MAX).contains(&decoded.first_sequence) {
            let (first, what) = (
                decoded.first_sequence,
                "the segment's first sequence number is out of range",
            );
            return Err(Error::corrupt(
                path,
                FIRST_SEQUENCE_OFFSET as u64,
                Some(first),
                what,
            ));
        }
        if decoded.database_id != database_id {
            return Err(Error::ForeignDatabase {
                path: path.to_path_buf(),
                found: decoded.database_id,
                expected: database_id,
            });
        }
        Ok((decoded, checksum))
    }
}
