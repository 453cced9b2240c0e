//! Recovery: reads and validates the files in the directory, and repairs what a crash left.
//!
//! Reading validates everything and changes nothing. It starts with the last file: its records name the oldest file that is
//! needed. Older files are leftovers of compaction, and only their headers are read. All files before the last were synced
//! before the last was made, so any defect in them is corruption. In the last file a bad record is corruption if a valid record
//! header after it promises it as synced; otherwise the tail from there is torn.
//!
//! The repair runs with the first write, flush or close, so that the caller can validate other files first. A crash may stop
//! any step; the next open runs all of them again:
//!
//! | step | a crash leaves |
//! |---|---|
//! | 1. write the last file again, without torn tail and with a promise record, under its temporary name; sync; rename; sync the directory | the file as it was read, perhaps with a temporary file; or the new one |
//! | 2. remove temporary files and files older than the oldest needed | some of them |
//! | 3. compact if over the bound; append a promise record | as `compaction` and `log` say |
//!
//! Step 1 writes a copy because a sync of the read file proves nothing: after a failed sync a file system may still read back
//! lost bytes and sync them without an error. The last file needs no promise record if it ends with one or has no record.
//!
//! A directory without a data file gets its first one, after the removal of temporary files.
//!
//! Memory is bounded by the last file and the largest other one, beside the index.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::data_file::DataFile;
use super::format::{FILE_HEADER_LEN, FileHeader, Record, RecordHeader, encode_record, is_promised};
use super::index::KeyIndex;
use super::log::{LogFile, Setting, StoreLog};
use super::names::Name;
use super::{FileStoreOptions, FileStoreRecovery, compaction};
use crate::Error;
use crate::fs::{DirName, FileAccess, list_if_present, make_dir};
use crate::ids::random_u128;
use crate::limits::Limits;
use crate::lock::{self, Whole};
use crate::torn_tail::TornTail;

/// A store that was read, and the repair that it needs.
#[derive(Debug)]
pub(super) struct RecoveredStore {
    pub(super) index: KeyIndex,
    pub(super) report: FileStoreRecovery,
    pub(super) total_bytes: u64,
    pub(super) files_len: usize,
    pub(super) pending: PendingRepair,
}

/// The repair of a store that was read. It must run before the first write.
#[derive(Debug)]
pub(super) struct PendingRepair {
    access: Arc<dyn FileAccess>,
    dir: PathBuf,
    segment_bytes_max: u64,
    piece_bytes: usize,
    store_id: u128,
    /// The numbers of the temporary files.
    temporary: Vec<u64>,
    /// `None` if the directory has no data file.
    found: Option<ReadStore>,
}

/// Returns true if the directory holds a data file; a missing directory holds none.
pub(super) fn has_files(access: &dyn FileAccess, dir: &Path) -> Result<bool, Error> {
    Ok(!Listing::read(access, dir)?.data.is_empty())
}

/// Reads and validates the store in `dir`. Changes nothing.
///
/// # Errors
/// - `Corrupt`, `BadMagic`, `UnsupportedVersion`, `SegmentMissing`, `ForeignDatabase` or `ForeignHistory` if the files are not
///   those of one whole store.
/// - `Io` if the directory cannot be listed or a file cannot be read.
pub(super) fn recover(
    access: Arc<dyn FileAccess>,
    dir: &Path,
    options: &FileStoreOptions,
    limits: Limits,
) -> Result<RecoveredStore, Error> {
    let listing = Listing::read(&*access, dir)?;
    let mut index = KeyIndex::default();
    let mut report = FileStoreRecovery::default();
    let (mut total_bytes, mut files_len) = (0, 0);
    let found = match listing.data.last() {
        None => None,
        Some(&last) => {
            let found = ReadStore::read(&*access, dir, &listing, last, &mut index)?;
            report = FileStoreRecovery {
                files_found: listing.data.len(),
                records_replayed: found.records_len + found.tail.apply_to(&mut index),
                torn_tail: found.tail.torn_tail(),
                leftovers_removed: found.obsolete.len(),
            };
            total_bytes = found.sealed.iter().map(|file| file.end).sum::<u64>() + found.tail.end as u64;
            files_len = found.sealed.len() + 1;
            Some(found)
        }
    };
    let store_id = match (&found, options.store_id) {
        (Some(found), _) => found.tail.header.store_id,
        (None, Some(chosen)) => chosen,
        (None, None) => random_u128(),
    };
    report.leftovers_removed += listing.temporary.len();
    Ok(RecoveredStore {
        index,
        report,
        total_bytes,
        files_len,
        pending: PendingRepair {
            access,
            dir: dir.to_path_buf(),
            segment_bytes_max: options.segment_bytes_max,
            piece_bytes: limits.store_piece_bytes,
            store_id,
            temporary: listing.temporary,
            found,
        },
    })
}

impl PendingRepair {
    /// The id of the store; a new store gets it with the repair.
    pub(super) fn store_id(&self) -> u128 {
        self.store_id
    }

    /// Fails if the store exists and has another id. The error names the last file.
    pub(super) fn check_store_id(&self, expected: u128) -> Result<(), Error> {
        match &self.found {
            Some(found) => found.tail.check_store_id(expected),
            None => Ok(()),
        }
    }

    /// Runs the repair and returns the log. `index` points to the files of the log afterwards.
    pub(super) fn repair(self, index: &RwLock<Whole<KeyIndex>>) -> Result<StoreLog, Error> {
        let mut log = self.repair_files(index)?;
        if compaction::is_due(&log, index)? {
            compaction::compact(&mut log, index)?;
            log.promise()?;
        }
        Ok(log)
    }

    /// Runs steps 1 and 2.
    fn repair_files(self, index: &RwLock<Whole<KeyIndex>>) -> Result<StoreLog, Error> {
        let (access, dir) = (self.access, self.dir);
        let setting = |access, dir| Setting {
            access,
            dir,
            store_id: self.store_id,
            segment_bytes_max: self.segment_bytes_max,
            piece_bytes: self.piece_bytes,
        };
        let Some(mut found) = self.found else {
            // An earlier open may have made it and died before its name was durable.
            make_dir(&*access, &dir, DirName::MayBeLost)?;
            remove(&*access, &dir, &self.temporary, Name::Temporary)?;
            return StoreLog::create(setting(access, dir));
        };
        found.repair_files(&*access, &dir, &self.temporary)?;
        let tail = found.tail;
        // Entries that pointed to the last file point to its copy now.
        lock::write(index).change(|index| Ok(tail.apply_to(index)))?;
        Ok(StoreLog::resume(
            setting(access, dir),
            found.sealed,
            tail.log_file(),
            tail.next_sequence - 1,
            tail.history,
        ))
    }
}

/// A valid store as it was read.
#[derive(Debug)]
struct ReadStore {
    /// The numbers of the files older than the oldest needed.
    obsolete: Vec<u64>,
    /// The needed files before the last.
    sealed: VecDeque<LogFile>,
    /// The last file.
    tail: Loaded,
    /// The number of records with entries in `sealed`.
    records_len: u64,
}

impl ReadStore {
    /// Reads and validates the store whose last file is `last`, and applies the files before it to `index`.
    fn read(
        access: &dyn FileAccess,
        dir: &Path,
        listing: &Listing,
        last: u64,
        index: &mut KeyIndex,
    ) -> Result<Self, Error> {
        let tail = Loaded::read(access, dir, last)?;
        tail.check_torn()?;
        let obsolete_len = listing.data.partition_point(|&number| number < tail.oldest);
        let obsolete = &listing.data[..obsolete_len];
        for &number in obsolete {
            // The repair removes the file, so it must belong to this store: the last file may have come here by mistake.
            let (_, header, _) = DataFile::load(access, dir, number)?;
            tail.check_store_id(header.store_id)?;
        }
        let mut found = Self {
            obsolete: obsolete.to_vec(),
            sealed: VecDeque::new(),
            tail,
            records_len: 0,
        };
        let mut before: Option<Loaded> = None;
        for number in found.tail.oldest..last {
            if listing.data.binary_search(&number).is_err() {
                return Err(missing(access, dir, listing, number, before.as_ref()));
            }
            let mut loaded = Loaded::read(access, dir, number)?;
            if let Some(before) = &before {
                before.check_followed_by(&loaded)?;
            }
            found.records_len += loaded.apply_to(index);
            loaded.bytes = Vec::new();
            found.sealed.push_back(loaded.log_file());
            before = Some(loaded);
        }
        if let Some(before) = &before {
            before.check_followed_by(&found.tail)?;
        }
        Ok(found)
    }

    /// Runs steps 1 and 2 on the disk.
    fn repair_files(&mut self, access: &dyn FileAccess, dir: &Path, temporary: &[u64]) -> Result<(), Error> {
        let tail = &mut self.tail;
        tail.cut_and_promise();
        tail.file = Arc::new(DataFile::create_with(access, dir, &tail.header, &tail.bytes)?);
        // The copy of the last file had the temporary name with its number: no such file is left.
        let (before, after) = (
            temporary.partition_point(|&number| number < tail.header.number),
            temporary.partition_point(|&number| number <= tail.header.number),
        );
        remove(access, dir, &temporary[..before], Name::Temporary)?;
        remove(access, dir, &temporary[after..], Name::Temporary)?;
        remove(access, dir, &self.obsolete, Name::Data)
    }
}

/// The numbers of the store's files in the directory, ascending.
#[derive(Debug, Default)]
struct Listing {
    data: Vec<u64>,
    temporary: Vec<u64>,
}

impl Listing {
    /// Empty if there is no such directory.
    fn read(access: &dyn FileAccess, dir: &Path) -> Result<Self, Error> {
        let mut listing = Self::default();
        for name in list_if_present(access, dir)? {
            match Name::parse(&name) {
                Some(Name::Data(number)) => listing.data.push(number),
                Some(Name::Temporary(number)) => listing.temporary.push(number),
                None => {}
            }
        }
        listing.data.sort_unstable();
        listing.temporary.sort_unstable();
        Ok(listing)
    }
}

/// Removes files. The directory is not synced: a power loss may bring a file back, and the next open removes it again.
fn remove(access: &dyn FileAccess, dir: &Path, numbers: &[u64], name: fn(u64) -> Name) -> Result<(), Error> {
    for &number in numbers {
        let path = dir.join(name(number).build());
        access
            .remove(&path)
            .map_err(|source| Error::io("remove", &path, source))?;
    }
    Ok(())
}

/// The error for the needed file `number`, which is missing.
fn missing(
    access: &dyn FileAccess,
    dir: &Path,
    listing: &Listing,
    number: u64,
    before: Option<&Loaded>,
) -> Error {
    let next = listing.data.iter().find(|&&present| present > number);
    let sequence = match (before, next) {
        (Some(before), _) => Ok(before.next_sequence),
        // Only the last of the missing records is known.
        (None, Some(&next)) => {
            DataFile::load(access, dir, next).map(|(_, header, _)| header.first_sequence.saturating_sub(1))
        }
        (None, None) => Ok(0),
    };
    match sequence {
        Ok(sequence) => Error::SegmentMissing {
            path: dir.to_path_buf(),
            sequence,
        },
        Err(error) => error,
    }
}

/// A file in memory, valid from its beginning to `end`.
#[derive(Debug)]
struct Loaded {
    file: Arc<DataFile>,
    header: FileHeader,
    /// The content; emptied in a sealed file after its records were applied.
    bytes: Vec<u8>,
    /// The length of the file.
    len: usize,
    /// The end of the last valid record.
    end: usize,
    /// The sequence number after the last valid record.
    next_sequence: u64,
    /// The number of the oldest needed file, from the last valid record.
    oldest: u64,
    /// The history value after the last valid record.
    history: u64,
    /// True if the last valid record is a promise record, or if there is no record.
    ends_with_promise: bool,
}

impl Loaded {
    fn read(access: &dyn FileAccess, dir: &Path, number: u64) -> Result<Self, Error> {
        let (file, header, bytes) = DataFile::load(access, dir, number)?;
        let mut loaded = Self {
            file: Arc::new(file),
            header,
            len: bytes.len(),
            bytes,
            end: FILE_HEADER_LEN,
            next_sequence: header.first_sequence,
            oldest: header.oldest,
            history: header.history,
            ends_with_promise: true,
        };
        loaded.find_end();
        Ok(loaded)
    }

    /// Moves the end to the first bad record.
    fn find_end(&mut self) {
        while let Some(record) = Record::decode(&self.bytes, self.file.seed(), self.end) {
            let header = record.header;
            if header.sequence != self.next_sequence
                || header.oldest < self.oldest
                || header.oldest > self.header.number
            {
                break;
            }
            self.end = record.end;
            self.next_sequence += 1;
            self.oldest = header.oldest;
            self.history = record.history_after(self.history);
            self.ends_with_promise = header.is_promise();
        }
    }

    /// Cuts the torn tail, and appends a promise record unless the file needs none.
    fn cut_and_promise(&mut self) {
        self.bytes.truncate(self.end);
        if self.ends_with_promise {
            return;
        }
        let header = RecordHeader {
            payload_len: 0,
            sequence: self.next_sequence,
            synced: self.next_sequence - 1,
            oldest: self.oldest,
        };
        let (offset, bytes) = (self.end as u64, &mut self.bytes);
        let write = |piece: &[u8], _| {
            bytes.extend_from_slice(piece);
            Ok::<_, Infallible>(())
        };
        let Ok((end, history)) = encode_record(
            header,
            &[],
            self.file.seed(),
            offset,
            self.history,
            usize::MAX,
            write,
        );
        (self.end, self.history) = (end as usize, history);
        self.next_sequence += 1;
        self.ends_with_promise = true;
    }

    /// Fails if the bytes after the end are not a torn tail.
    fn check_torn(&self) -> Result<(), Error> {
        if is_promised(&self.bytes, self.file.seed(), self.end, self.next_sequence) {
            return Err(self.corrupt_at_end("a later record promises that this bad one was synced"));
        }
        Ok(())
    }

    fn check_store_id(&self, expected: u128) -> Result<(), Error> {
        let found = self.header.store_id;
        if found != expected {
            let path = self.file.path().to_path_buf();
            return Err(Error::ForeignDatabase {
                path,
                found,
                expected,
            });
        }
        Ok(())
    }

    /// Fails unless the header of `next` describes this file.
    fn check_followed_by(&self, next: &Self) -> Result<(), Error> {
        next.check_store_id(self.header.store_id)?;
        if self.end < self.len || (self.end as u64) < next.header.previous_end {
            return Err(self.corrupt_at_end("the next file promises that this bad record was synced"));
        }
        let what = if self.end as u64 != next.header.previous_end {
            "its header gives another length of the file before it"
        } else if self.next_sequence != next.header.first_sequence || self.history != next.header.history {
            "the file before it holds other records"
        } else {
            return Ok(());
        };
        let path = next.file.path().to_path_buf();
        Err(Error::ForeignHistory { path, what })
    }

    fn corrupt_at_end(&self, what: &'static str) -> Error {
        Error::corrupt(self.file.path(), self.end as u64, Some(self.next_sequence), what)
    }

    /// Applies the valid records. Returns the number of those with entries.
    fn apply_to(&self, index: &mut KeyIndex) -> u64 {
        let (mut offset, mut records_len) = (FILE_HEADER_LEN, 0);
        while let Some(record) = Record::decode_trusted(&self.bytes[..self.end], offset) {
            records_len += u64::from(record.header.payload_len > 0);
            index.apply(record.operations(), &self.file, record.entries_offset as u64);
            offset = record.end;
        }
        debug_assert_eq!(offset, self.end);
        records_len
    }

    fn torn_tail(&self) -> Option<TornTail> {
        let tail = &self.bytes[self.end..];
        (!tail.is_empty()).then(|| TornTail::new(self.file.path(), self.end as u64, tail))
    }

    fn log_file(&self) -> LogFile {
        LogFile {
            file: Arc::clone(&self.file),
            end: self.end as u64,
        }
    }
}
