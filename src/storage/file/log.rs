//! The log: the store's files in order, and where the next record goes.
//!
//! Invariants: file numbers are consecutive; only the last file, the tail, takes records; every other file is
//! durable to its end, since rotation syncs the tail before it makes the next one. After a method failed the
//! caller must not change the log any more: what is on disk is then unknown.
//!
//! | a crash in | leaves |
//! |---|---|
//! | `append` | the record wholly, or a torn tail that open cuts |
//! | `promise` | until its first sync returned: unsynced records as after `append`; then all records durable, and the promise record wholly or as a torn tail |
//! | `rotate` | the old tail, and perhaps a temporary file or an empty new tail |
//! | `remove_oldest` | perhaps a file that open removes: a durable record says it is not needed |

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::data_file::DataFile;
use super::format::{FILE_HEADER_LEN, FileHeader, KeyChange, RecordHeader, encode_record};
use crate::Error;
use crate::fs::FileAccess;

/// Where a log is and how it is written.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) access: Arc<dyn FileAccess>,
    pub(super) dir: PathBuf,
    pub(super) store_id: u128,
    pub(super) segment_bytes_max: u64,
    /// A longer record is written in pieces.
    pub(super) piece_bytes: usize,
}

/// A file, and where it ends.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: Arc<DataFile>,
    pub(super) end: u64,
}

#[derive(Debug)]
pub(super) struct StoreLog {
    setting: Setting,
    /// The files before the tail, ascending.
    sealed: VecDeque<LogFile>,
    tail: LogFile,
    total_bytes: u64,
    last_sequence: u64,
    /// Every record up to this one is durable.
    synced_sequence: u64,
    /// Every record up to this one is promised by a durable record or file header, or is a promise record.
    promised_sequence: u64,
    /// The value over all records.
    history: u64,
}

impl StoreLog {
    /// A log with its first file, for a directory that has none.
    pub(super) fn create(setting: Setting) -> Result<Self, Error> {
        let header = FileHeader {
            store_id: setting.store_id,
            number: 1,
            oldest: 1,
            previous_end: 0,
            first_sequence: 1,
            history: 0,
        };
        let file = DataFile::create(&*setting.access, &setting.dir, &header)?;
        let tail = LogFile {
            file: Arc::new(file),
            end: FILE_HEADER_LEN as u64,
        };
        Ok(Self::resume(setting, VecDeque::new(), tail, 0, 0))
    }

    /// Continues a log of existing files. All files are durable, and the last record is `last_sequence`. The tail ends with a
    /// promise record, or has no record and its header promises the files before.
    pub(super) fn resume(
        setting: Setting,
        sealed: VecDeque<LogFile>,
        tail: LogFile,
        last_sequence: u64,
        history: u64,
    ) -> Self {
        Self {
            setting,
            total_bytes: sealed.iter().map(|file| file.end).sum::<u64>() + tail.end,
            sealed,
            tail,
            last_sequence,
            synced_sequence: last_sequence,
            promised_sequence: last_sequence,
            history,
        }
    }

    /// Appends one record. Gives the file it went to and the offset of its first entry.
    ///
    /// It survives a process crash on return, and a power loss after the next [`sync`](Self::sync). `oldest`
    /// is the number of the oldest file that is needed once the record is there.
    pub(super) fn append(
        &mut self,
        operations: &[KeyChange<'_>],
        oldest: u64,
    ) -> Result<(Arc<DataFile>, u64), Error> {
        if self.tail.end >= self.setting.segment_bytes_max {
            self.rotate()?;
        }
        self.append_to_tail(operations, oldest)
    }

    /// Syncs, then appends a promise record and syncs it. Does nothing if every record is promised. The tail may exceed
    /// `segment_bytes_max` by the promise record.
    pub(super) fn promise(&mut self) -> Result<(), Error> {
        if self.promised_sequence == self.last_sequence {
            return Ok(());
        }
        self.sync()?;
        self.append_to_tail(&[], self.oldest().file.number)?;
        self.sync()?;
        self.promised_sequence = self.last_sequence;
        Ok(())
    }

    fn append_to_tail(
        &mut self,
        operations: &[KeyChange<'_>],
        oldest: u64,
    ) -> Result<(Arc<DataFile>, u64), Error> {
        let payload_len: usize = operations.iter().map(KeyChange::entry_len).sum();
        let header = RecordHeader {
            payload_len: payload_len as u32,
            sequence: self.last_sequence + 1,
            synced: self.synced_sequence,
            oldest,
        };
        let file = Arc::clone(&self.tail.file);
        let offset = self.tail.end;
        let write = |piece: &[u8], at| file.write(piece, at);
        (self.tail.end, self.history) = encode_record(
            header,
            operations,
            file.seed(),
            offset,
            self.history,
            self.setting.piece_bytes,
            write,
        )?;
        self.total_bytes += self.tail.end - offset;
        self.last_sequence += 1;
        Ok((file, RecordHeader::entries_offset(offset)))
    }

    /// Makes every record durable; does nothing if they are.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        if self.synced_sequence < self.last_sequence {
            self.tail.file.sync()?;
            self.synced_sequence = self.last_sequence;
        }
        Ok(())
    }

    /// Seals the tail and makes a new one.
    fn rotate(&mut self) -> Result<(), Error> {
        self.sync()?;
        let header = FileHeader {
            store_id: self.setting.store_id,
            number: self.tail.file.number + 1,
            oldest: self.oldest().file.number,
            previous_end: self.tail.end,
            first_sequence: self.last_sequence + 1,
            history: self.history,
        };
        let file = DataFile::create(&*self.setting.access, &self.setting.dir, &header)?;
        let tail = LogFile {
            file: Arc::new(file),
            end: FILE_HEADER_LEN as u64,
        };
        // The file's header promises the one before.
        self.promised_sequence = self.last_sequence;
        self.total_bytes += tail.end;
        self.sealed.push_back(std::mem::replace(&mut self.tail, tail));
        Ok(())
    }

    /// Removes the oldest file, which must not be the tail. A durable record must say that it is not needed.
    ///
    /// The directory is not synced: a removal that a power loss takes back is done again by open, which knows
    /// from that record.
    pub(super) fn remove_oldest(&mut self) -> Result<(), Error> {
        if let Some(oldest) = self.sealed.pop_front() {
            let path = oldest.file.path();
            self.setting
                .access
                .remove(path)
                .map_err(|source| Error::io("remove", path, source))?;
            self.total_bytes -= oldest.end;
        }
        Ok(())
    }

    /// The oldest file: the tail if it is the only one.
    pub(super) fn oldest(&self) -> &LogFile {
        self.sealed.front().unwrap_or(&self.tail)
    }

    pub(super) fn files_len(&self) -> usize {
        self.sealed.len() + 1
    }

    /// The length of all files.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub(super) fn segment_bytes_max(&self) -> u64 {
        self.setting.segment_bytes_max
    }
}
