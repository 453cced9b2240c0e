//! Reads the entries of a file that takes no more records in chunks, and checks them. Changes nothing on disk, so a
//! crash leaves nothing of it.

use std::ops::Range;
use std::sync::Arc;

use super::data_file::DataFile;
use super::format::{
    ALIGNMENT, ENTRY_HEADER_LEN, FILE_HEADER_LEN, KeyChange, RECORD_HEADER_LEN, RecordHeader,
};
use super::log::LogFile;
use crate::Error;

/// The position in a file that is read.
#[derive(Debug)]
pub(super) struct EntryReader {
    file: Arc<DataFile>,
    end: u64,
    /// The next byte to read: the beginning of an entry, or of a record if it is `entries_end`.
    position: u64,
    /// The end of the entries of the record; in a compacted file the end of the file.
    entries_end: u64,
}

/// A chunk of a file: whole entries, perhaps with headers of records between them.
#[derive(Debug)]
pub(super) struct EntryChunk {
    pub(super) number: u64,
    offset: u64,
    bytes: Vec<u8>,
    entries: Vec<Range<usize>>,
    /// The length of the chunk in the file.
    pub(super) len: u64,
}

impl EntryChunk {
    /// The entries and their offsets.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, KeyChange<'_>)> {
        self.entries.iter().filter_map(|range| {
            let entry = KeyChange::decode_unchecked(&self.bytes[range.clone()])?;
            Some((self.offset + range.start as u64, entry))
        })
    }
}

impl EntryReader {
    pub(super) fn new(file: &LogFile) -> Self {
        let begin = FILE_HEADER_LEN as u64;
        Self {
            file: Arc::clone(&file.file),
            end: file.end,
            position: begin,
            entries_end: if file.is_compacted { file.end } else { begin },
        }
    }

    /// The next chunk, of about `bytes_max` bytes but at least one entry; `None` at the end of the file.
    ///
    /// # Errors
    /// `Io`; `Corrupt` if a checksum is wrong or the file is shorter than it was.
    pub(super) fn next(&mut self, bytes_max: usize) -> Result<Option<EntryChunk>, Error> {
        let offset = self.position;
        let mut len = bytes_max.max(RECORD_HEADER_LEN) as u64;
        while offset < self.end {
            let expected_len = len.min(self.end - offset) as usize;
            let bytes = self.file.read(offset, expected_len)?;
            let mut entries = Vec::new();
            let missing_len = self.take_whole_entries(&bytes, offset, &mut entries)?;
            if self.position > offset {
                return Ok(Some(EntryChunk {
                    number: self.file.number,
                    offset,
                    bytes,
                    entries,
                    len: self.position - offset,
                }));
            }
            if bytes.len() < expected_len || missing_len > self.end - offset {
                return Err(self.corrupt("the file was truncated after the store was opened"));
            }
            len = missing_len;
        }
        Ok(None)
    }

    /// Moves the position to the end of the whole entries and headers in `bytes`, which begin at `offset`. Returns the
    /// length of the entry or header that is truncated; 0 at the end of the file.
    fn take_whole_entries(
        &mut self,
        bytes: &[u8],
        offset: u64,
        entries: &mut Vec<Range<usize>>,
    ) -> Result<u64, Error> {
        while self.position < self.end {
            let start = (self.position - offset) as usize;
            let rest = bytes.get(start..).unwrap_or_default();
            if self.position == self.entries_end {
                if rest.len() < RECORD_HEADER_LEN {
                    return Ok(RECORD_HEADER_LEN as u64);
                }
                self.begin_record(rest)?;
                continue;
            }
            let Some(len) = KeyChange::entry_len_at(rest) else {
                return Ok(ENTRY_HEADER_LEN as u64);
            };
            if len > self.entries_end - self.position {
                return Err(self.corrupt("the entry was damaged after the store was opened"));
            }
            let Some(entry) = rest.get(..len as usize) else {
                return Ok(len);
            };
            if KeyChange::decode_checked(entry, self.file.seed(), self.position).is_none() {
                return Err(self.corrupt("the entry was damaged after the store was opened"));
            }
            entries.push(start..start + len as usize);
            self.position += len;
            self.end_record();
        }
        Ok(0)
    }

    /// Moves the position to the end of the record header at the front of `bytes`.
    fn begin_record(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let header = RecordHeader::decode_checked(bytes, self.file.seed(), self.position);
        let entries_offset = RecordHeader::entries_offset(self.position);
        let entries_end = header.map(|header| entries_offset + u64::from(header.payload_len));
        let Some(entries_end) = entries_end.filter(|entries_end| *entries_end <= self.end) else {
            return Err(self.corrupt("the record was damaged after the store was opened"));
        };
        (self.position, self.entries_end) = (entries_offset, entries_end);
        self.end_record();
        Ok(())
    }

    /// Moves the position from the end of a record to the beginning of the next one.
    fn end_record(&mut self) {
        if self.position == self.entries_end && self.position < self.end {
            self.position = self.position.next_multiple_of(ALIGNMENT as u64);
            self.entries_end = self.position;
        }
    }

    fn corrupt(&self, what: &'static str) -> Error {
        Error::corrupt(self.file.path(), self.position, None, what)
    }
}
