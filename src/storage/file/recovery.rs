//! Recovery: makes a log and an index of what is in the directory.
//!
//! Everything is read and validated before anything is changed. The last file comes first: its records say
//! which file is the oldest needed, and older ones are leftovers of compaction: only their headers are looked
//! at. All files before the last were synced before it was made, so any defect in them is corruption. In the
//! last one a bad record is corruption if a valid record header after it promises it as synced; else the file
//! is cut there: a torn tail.
//!
//! Reading ends there: until the store is written or flushed for the first time nothing is changed, so that whoever
//! opens a database can look at everything it consists of before anything of it is changed.
//!
//! The changes, in order; each may be cut short by a crash and is done again by the next open:
//!
//! 1. the last file is written anew, without its torn tail, in the place of the one that was read: after a
//!    process crash a power loss may still take what it holds, and from here on it counts as durable. Syncing
//!    what was read would not make it so: after a sync that failed, a file system may still read back what it
//!    has lost, and sync it without an error. Unless nothing in it needs a promise, it ends with one. A promise
//!    covers only bytes that it is synced with, before the file gets its name, and those of the files before;
//! 2. temporary files and files older than the oldest needed are removed;
//! 3. compaction, which a crash or a cut may have left to do, and a promise of what it has written.
//!
//! Memory is bounded by the last file and the largest other one, beside the index.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::data_file::DataFile;
use super::format::{FILE_HEADER_LEN, FileHeader, Record, RecordHeader, encode_record, is_promised};
use super::index::Index;
use super::log::{Log, LogFile, Setting};
use super::names::Name;
use super::{FileStoreOptions, FileStoreRecovery};
use crate::Error;
use crate::fs::{DirName, FileAccess, list_if_present, make_dir};
use crate::ids::random_u128;
use crate::lock::{self, Whole};
use crate::torn_tail::TornTail;

/// A store that was read, before anything is changed.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) report: FileStoreRecovery,
    pub(super) total_bytes: u64,
    pub(super) files_len: usize,
    pub(super) unsettled: Unsettled,
}

/// What there is to do before the first change.
#[derive(Debug)]
pub(super) struct Unsettled {
    access: Arc<dyn FileAccess>,
    dir: PathBuf,
    segment_bytes_max: u64,
    store_id: u128,
    temporary: Vec<u64>,
    /// Nothing for a store that is not there yet.
    found: Option<Found>,
}

/// Returns true if there is any file of a store in the directory; a missing directory holds none.
pub(super) fn has_files(access: &dyn FileAccess, dir: &Path) -> Result<bool, Error> {
    Ok(!Listing::read(access, dir)?.data.is_empty())
}

pub(super) fn recover(
    access: Arc<dyn FileAccess>,
    dir: &Path,
    options: &FileStoreOptions,
) -> Result<Recovered, Error> {
    let listing = Listing::read(&*access, dir)?;
    let mut index = Index::default();
    let mut report = FileStoreRecovery::default();
    let (mut total_bytes, mut files_len) = (0, 0);
    let found = match listing.data.last() {
        None => None,
        Some(&last) => {
            let found = Found::read(&*access, dir, &listing, last, &mut index)?;
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
    Ok(Recovered {
        index,
        report,
        total_bytes,
        files_len,
        unsettled: Unsettled {
            access,
            dir: dir.to_path_buf(),
            segment_bytes_max: options.segment_bytes_max,
            store_id,
            temporary: listing.temporary,
            found,
        },
    })
}

impl Unsettled {
    /// The id that the store has, or gets.
    pub(super) fn store_id(&self) -> u128 {
        self.store_id
    }

    /// Fails with the last file if the store is there and has another id.
    pub(super) fn check_store_id(&self, expected: u128) -> Result<(), Error> {
        match &self.found {
            Some(found) => found.tail.check_store_id(expected),
            None => Ok(()),
        }
    }

    /// Makes the directory what was found: the changes of the module's documentation but the last. Gives the log to go
    /// on with, to whose files `index` points from then on.
    pub(super) fn settle(self, index: &RwLock<Whole<Index>>) -> Result<Log, Error> {
        let (access, dir) = (self.access, self.dir);
        let setting = |access, dir| Setting {
            access,
            dir,
            store_id: self.store_id,
            segment_bytes_max: self.segment_bytes_max,
        };
        let Some(mut found) = self.found else {
            // An earlier open may have made it and died before its name was durable.
            make_dir(&*access, &dir, DirName::MayBeLost)?;
            remove(&*access, &dir, &self.temporary, Name::Temporary)?;
            return Log::create(setting(access, dir));
        };
        found.settle(&*access, &dir, &self.temporary)?;
        let tail = found.tail;
        // What pointed into the file that was read points into its copy now.
        lock::write(index).change(|index| Ok(tail.apply_to(index)))?;
        Ok(Log::resume(
            setting(access, dir),
            found.sealed,
            tail.log_file(),
            tail.next_sequence - 1,
            tail.history,
        ))
    }
}

/// A valid store, before anything was changed.
#[derive(Debug)]
struct Found {
    obsolete: Vec<u64>,
    sealed: VecDeque<LogFile>,
    tail: Loaded,
    /// How many records with entries the files before the last one have.
    records_len: u64,
}

impl Found {
    /// Reads and validates the store whose last file is `last`, and applies the files before it to `index`.
    fn read(
        access: &dyn FileAccess,
        dir: &Path,
        listing: &Listing,
        last: u64,
        index: &mut Index,
    ) -> Result<Self, Error> {
        let tail = Loaded::read(access, dir, last)?;
        tail.check_torn()?;
        let obsolete_len = listing.data.partition_point(|&number| number < tail.oldest);
        let obsolete = &listing.data[..obsolete_len];
        for &number in obsolete {
            // It will be removed, so it must be this store's, and not that of one into whose directory a last
            // file came by mistake.
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

    /// The changes but for what concerns the index.
    fn settle(&mut self, access: &dyn FileAccess, dir: &Path, temporary: &[u64]) -> Result<(), Error> {
        let tail = &mut self.tail;
        tail.cut_and_promise();
        tail.file = Arc::new(DataFile::create_with(access, dir, &tail.header, &tail.bytes)?);
        // The last file's copy has taken the name of what an earlier attempt may have left.
        let (before, after) = (
            temporary.partition_point(|&number| number < tail.header.number),
            temporary.partition_point(|&number| number <= tail.header.number),
        );
        remove(access, dir, &temporary[..before], Name::Temporary)?;
        remove(access, dir, &temporary[after..], Name::Temporary)?;
        remove(access, dir, &self.obsolete, Name::Data)
    }
}

/// The numbers of what is the store's in the directory, ascending.
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

/// Removes files. The directory is not synced: what a power loss brings back is removed again by the next
/// open.
fn remove(access: &dyn FileAccess, dir: &Path, numbers: &[u64], name: fn(u64) -> Name) -> Result<(), Error> {
    for &number in numbers {
        let path = dir.join(name(number).build());
        access
            .remove(&path)
            .map_err(|source| Error::io("remove", &path, source))?;
    }
    Ok(())
}

/// The error for file `number` that is needed and not there.
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
        // Only the last record that is missing is known.
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
    /// Empty once those of a file before the last one were applied.
    bytes: Vec<u8>,
    len: usize,
    end: usize,
    /// The sequence number after the last valid record.
    next_sequence: u64,
    /// The oldest file needed, as the last valid record says.
    oldest: u64,
    /// The value over all records, these included.
    history: u64,
    /// Whether the last valid record promises those before, or there is none.
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

    /// Takes away what follows the end, and lets the records end with a promise of all of them.
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
        let Ok((end, history)) = encode_record(header, &[], self.file.seed(), offset, self.history, write);
        (self.end, self.history) = (end as usize, history);
        self.next_sequence += 1;
        self.ends_with_promise = true;
    }

    /// Fails if what follows the end is more than the torn tail of a crash.
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

    /// Fails unless this file is what the header of the `next` one says of it.
    fn check_followed_by(&self, next: &Self) -> Result<(), Error> {
        next.check_store_id(self.header.store_id)?;
        if self.end < self.len || (self.end as u64) < next.header.previous_end {
            return Err(self.corrupt_at_end("the next file promises that this bad record was synced"));
        }
        let what = if self.end as u64 != next.header.previous_end
            || self.next_sequence != next.header.first_sequence
        {
            "it follows a file that ends elsewhere"
        } else if self.history != next.header.history {
            "it follows other records"
        } else {
            return Ok(());
        };
        let path = next.file.path().to_path_buf();
        Err(Error::ForeignHistory { path, what })
    }

    fn corrupt_at_end(&self, what: &'static str) -> Error {
        Error::corrupt(self.file.path(), self.end as u64, Some(self.next_sequence), what)
    }

    /// Applies the valid records and gives how many there are, but for those without entries.
    fn apply_to(&self, index: &mut Index) -> u64 {
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
