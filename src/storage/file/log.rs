//! The store's files in order, and the position of the next record.
//!
//! Invariants:
//! - The files cover the places 1, 2, 3 ... without a gap.
//! - Only the last file, the tail, takes records.
//! - Every other file is durable to its end, because the tail is synced before the next file is created.
//! - `digest_sum` is the sum of the digests of the compacted files.
//!
//! After a method failed, the caller must not change the files any more: the content on disk is then unknown.
//!
//! This is the state behind the writer's lock. No method of [`StoreLog`] syncs. A caller holds the lock for one write,
//! except in the repair and in `sync_rest`.
//!
//! | a crash in | leaves |
//! |---|---|
//! | `append` | the whole record, or a torn tail that open truncates |
//! | `append_promise`, whose caller synced all earlier records | the whole promise record, or a torn tail |
//! | `record_digest_sum` | the whole record, or a torn tail |

use std::collections::VecDeque;
use std::sync::Arc;

use super::data_file::DataFile;
use super::format::{
    CompactedPart, FILE_HEADER_LEN, FileHeader, KeyChange, LogPoint, RecordHeader, encode_record,
};
use super::options::StoreSettings;
use crate::Error;
use crate::fs::{File, write_all_at};

/// One of the store's files, with its places.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    pub(super) file: Arc<DataFile>,
    pub(super) first_place: u64,
    pub(super) last_place: u64,
    /// The position before the first record of its places.
    pub(super) before: LogPoint,
    /// The position after the last record of its places; in the tail, the position of the next record.
    pub(super) after: LogPoint,
    /// The length of the file.
    pub(super) end: u64,
    /// The digest of a compacted file; 0 for a file of records.
    pub(super) digest: u64,
    pub(super) is_compacted: bool,
}

impl LogFile {
    /// The file with this header, before it has a record.
    pub(super) fn new(file: Arc<DataFile>, header: &FileHeader) -> Self {
        let part = header.compaction.unwrap_or(CompactedPart {
            last_place: header.first_place,
            after: LogPoint {
                end: FILE_HEADER_LEN as u64,
                ..header.before
            },
            len: FILE_HEADER_LEN as u64,
            ..CompactedPart::default()
        });
        Self {
            file,
            first_place: header.first_place,
            last_place: part.last_place,
            before: header.before,
            after: part.after,
            end: part.len,
            digest: part.digest,
            is_compacted: header.compaction.is_some(),
        }
    }
}

/// The tail at one point in time.
#[derive(Debug, Clone)]
pub(super) struct TailState {
    pub(super) handle: Arc<dyn File>,
    pub(super) file: Arc<DataFile>,
    pub(super) is_synced: bool,
    pub(super) last_sequence: u64,
    pub(super) history: u64,
}

impl TailState {
    /// Syncs the tail: makes the records up to `last_sequence` durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.handle
            .sync()
            .map_err(|source| Error::io("sync", self.file.path(), source))
    }
}

/// The store's files, and the state of the compaction and the promises.
#[derive(Debug)]
pub(super) struct StoreLog {
    settings: Arc<StoreSettings>,
    /// The files before the tail, in order. The choice of a compaction shares the list and reads it without a lock.
    sealed: Arc<Vec<LogFile>>,
    tail: LogFile,
    handle: Arc<dyn File>,
    /// True while the next tail is created.
    is_sealed: bool,
    /// Files that another file replaced, and that are not removed yet.
    replaced: VecDeque<LogFile>,
    next_number: u64,
    total_bytes: u64,
    /// The length of the replaced files.
    replaced_bytes: u64,
    /// The length of the file that a compaction writes.
    temporary_bytes: u64,
    /// Every record up to this number is durable.
    synced_sequence: u64,
    /// For every record up to this number: a durable record or file header promises it, or it is a promise record.
    promised_sequence: u64,
    /// The sum of the digests of the compacted files.
    digest_sum: u64,
    /// The digest sum in the last record, or in the tail's header if the tail has no record.
    recorded_digest_sum: u64,
    /// The shares of the compaction that writes left to later writes, in bytes to read.
    share_bytes: u64,
}

impl StoreLog {
    /// Continues existing, durable files. The tail has the highest number. It ends with a promise record, or
    /// it has no record and its header promises the files before it. It has the present digest sum.
    pub(super) fn resume(
        settings: Arc<StoreSettings>,
        sealed: Vec<LogFile>,
        (tail, handle): (LogFile, Arc<dyn File>),
    ) -> Self {
        let digest_sum = sum_of_digests(&sealed);
        let last_sequence = tail.after.sequence - 1;
        Self {
            settings,
            total_bytes: sealed.iter().map(|file| file.end).sum::<u64>() + tail.end,
            digest_sum,
            sealed: Arc::new(sealed),
            next_number: tail.file.number + 1,
            tail,
            handle,
            is_sealed: false,
            replaced: VecDeque::new(),
            replaced_bytes: 0,
            temporary_bytes: 0,
            synced_sequence: last_sequence,
            promised_sequence: last_sequence,
            recorded_digest_sum: digest_sum,
            share_bytes: 0,
        }
    }

    /// Seals the tail. Returns the header of the next file, with a new number.
    pub(super) fn seal(&mut self) -> FileHeader {
        self.is_sealed = true;
        FileHeader {
            store_id: self.settings.store_id,
            number: self.take_number(),
            first_place: self.tail.last_place + 1,
            before: self.tail.after,
            digest_sum: self.digest_sum,
            opening: self.settings.opening,
            compaction: None,
        }
    }

    /// Returns true if the next record must go to another file.
    pub(super) fn is_full(&self, file_bytes_max: u64) -> bool {
        self.is_sealed || self.tail.end >= file_bytes_max
    }

    /// Returns true if the tail is half full and a quarter of it is garbage, so that a compaction of it reclaims
    /// enough.
    pub(super) fn is_worth_sealing(&self, file_bytes_max: u64) -> bool {
        let compacted_bytes = FILE_HEADER_LEN as u64 + self.tail.file.needed_bytes();
        let garbage_bytes = self.tail.end.saturating_sub(compacted_bytes);
        2 * self.tail.end >= file_bytes_max && 4 * garbage_bytes >= self.tail.end
    }

    /// Returns true if the tail has no record.
    pub(super) fn is_empty_tail(&self) -> bool {
        self.tail.end == FILE_HEADER_LEN as u64
    }

    /// Appends one record. Returns its file, the offset of its first entry and the length of the record.
    ///
    /// On return the record survives a process crash. After the next sync it survives a power loss.
    pub(super) fn append(&mut self, changes: &[KeyChange<'_>]) -> Result<(Arc<DataFile>, u64, u64), Error> {
        let payload_len: usize = changes.iter().map(KeyChange::entry_len).sum();
        let header = RecordHeader {
            payload_len: payload_len as u32,
            sequence: self.tail.after.sequence,
            synced: self.synced_sequence,
            digest_sum: self.digest_sum,
        };
        let file = Arc::clone(&self.tail.file);
        let offset = self.tail.end;
        let write = |bytes: &[u8], at| {
            write_all_at(&*self.handle, bytes, at).map_err(|source| Error::io("write", file.path(), source))
        };
        let (end, history) = encode_record(
            header,
            changes,
            file.seed(),
            offset,
            self.tail.after.history,
            self.settings.limits.store_write_bytes,
            write,
        )?;
        self.tail.end = end;
        self.tail.after = LogPoint {
            end,
            sequence: header.sequence + 1,
            history,
        };
        self.total_bytes += end - offset;
        self.recorded_digest_sum = self.digest_sum;
        Ok((file, RecordHeader::entries_offset(offset), end - offset))
    }

    /// Returns true if every record is promised.
    pub(super) fn all_promised(&self) -> bool {
        self.promised_sequence == self.last_sequence()
    }

    /// Appends a promise record. Every record must be synced. The tail may exceed `segment_bytes_max` by it.
    pub(super) fn append_promise(&mut self) -> Result<(), Error> {
        debug_assert!(self.tail_state().is_synced, "the promised records are not synced");
        self.append(&[])?;
        Ok(())
    }

    /// Appends a record without entries, unless the last one has the present digest sum.
    pub(super) fn record_digest_sum(&mut self) -> Result<(), Error> {
        if self.recorded_digest_sum != self.digest_sum {
            self.append(&[])?;
        }
        Ok(())
    }

    pub(super) fn tail_state(&self) -> TailState {
        TailState {
            handle: Arc::clone(&self.handle),
            file: Arc::clone(&self.tail.file),
            is_synced: self.synced_sequence == self.last_sequence(),
            last_sequence: self.last_sequence(),
            history: self.tail.after.history,
        }
    }

    /// Notes that a sync of the tail has returned that began after this record was written.
    pub(super) fn set_synced(&mut self, sequence: u64) {
        self.synced_sequence = self.synced_sequence.max(sequence);
    }

    /// Notes that the promise record with this number is synced.
    pub(super) fn set_promised(&mut self, sequence: u64) {
        self.promised_sequence = self.promised_sequence.max(sequence);
    }

    /// Continues in the file with this header, the result of [`seal`](Self::seal). The sealed tail must be synced.
    pub(super) fn continue_in(&mut self, header: &FileHeader, handle: Arc<dyn File>) {
        let file = DataFile::new(&self.settings, header);
        let tail = LogFile::new(Arc::new(file), header);
        self.is_sealed = false;
        // The header of the new file promises the records of the sealed one.
        self.promised_sequence = self.last_sequence();
        self.recorded_digest_sum = header.digest_sum;
        self.total_bytes += tail.end;
        self.tail.file.unpin();
        let sealed = std::mem::replace(&mut self.tail, tail);
        Arc::make_mut(&mut self.sealed).push(sealed);
        self.handle = handle;
    }

    /// Returns a number for a new file.
    pub(super) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// Notes the present length of the file that a compaction writes.
    pub(super) fn set_temporary_bytes(&mut self, bytes: u64) {
        self.total_bytes += bytes;
        self.total_bytes -= self.temporary_bytes;
        self.temporary_bytes = bytes;
    }

    /// Replaces the files whose places `compacted` covers by it. It was the temporary file.
    pub(super) fn replace(&mut self, compacted: LogFile) {
        let first = self
            .sealed
            .partition_point(|file| file.last_place < compacted.first_place);
        let after = self
            .sealed
            .partition_point(|file| file.last_place <= compacted.last_place);
        self.temporary_bytes = 0;
        self.digest_sum = self.digest_sum.wrapping_add(compacted.digest);
        let replaced: Vec<_> = Arc::make_mut(&mut self.sealed)
            .splice(first..after, [compacted])
            .collect();
        self.digest_sum = self.digest_sum.wrapping_sub(sum_of_digests(&replaced));
        self.replaced_bytes += replaced.iter().map(|file| file.end).sum::<u64>();
        self.replaced.extend(replaced);
    }

    /// Adds a file that another file replaced.
    pub(super) fn add_replaced(&mut self, file: LogFile) {
        self.total_bytes += file.end;
        self.replaced_bytes += file.end;
        self.replaced.push_back(file);
    }

    /// Takes the next replaced file and counts it as removed, if only this list refers to it. Otherwise moves it to
    /// the end of the list.
    pub(super) fn take_removable(&mut self) -> Option<LogFile> {
        let file = self.replaced.pop_front()?;
        if Arc::strong_count(&file.file) > 1 {
            self.replaced.push_back(file);
            return None;
        }
        self.total_bytes -= file.end;
        self.replaced_bytes -= file.end;
        Some(file)
    }

    /// Returns true if a compaction is in progress, or if replaced files are left.
    pub(super) fn has_compaction_work(&self) -> bool {
        self.temporary_bytes > 0 || !self.replaced.is_empty()
    }

    pub(super) fn add_share(&mut self, bytes: u64) {
        self.share_bytes = self.share_bytes.saturating_add(bytes);
    }

    /// Takes the shares that are left to do, at most `bytes_max`.
    pub(super) fn take_share(&mut self, bytes_max: u64) -> u64 {
        let share_bytes = self.share_bytes.min(bytes_max);
        self.share_bytes -= share_bytes;
        share_bytes
    }

    /// The present files before the tail, in order.
    pub(super) fn sealed(&self) -> Arc<Vec<LogFile>> {
        Arc::clone(&self.sealed)
    }

    pub(super) fn replaced_len(&self) -> usize {
        self.replaced.len()
    }

    pub(super) fn files_len(&self) -> usize {
        self.sealed.len() + self.replaced.len() + 1 + usize::from(self.temporary_bytes > 0)
    }

    /// The length of all files.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The length of all files except the replaced ones.
    pub(super) fn needed_bytes(&self) -> u64 {
        self.total_bytes - self.replaced_bytes
    }

    pub(super) fn last_sequence(&self) -> u64 {
        self.tail.after.sequence - 1
    }
}

pub(super) fn sum_of_digests(files: &[LogFile]) -> u64 {
    files.iter().fold(0, |sum, file| sum.wrapping_add(file.digest))
}
