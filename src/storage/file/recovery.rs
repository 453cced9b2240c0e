//! Recovery: makes a log and an index of what is in the directory.
//!
//! Everything is read and validated before anything is changed. The last file comes first: its records say
//! which file is the oldest needed, and older ones are leftovers of compaction: only their headers are looked
//! at. All files before the last were synced before it was made, so any defect in them is corruption. In the
//! last one a bad record is corruption if a valid record header after it promises it as synced; else the file
//! is cut there: a torn tail.
//!
//! The changes, in order; each may be cut short by a crash and is done again by the next open:
//!
//! 1. the last file is written anew, without its torn tail, in the place of the one that was read: after a
//!    process crash a power loss may still take what it holds, and from here on it counts as durable. Syncing
//!    what was read would not make it so: after a sync that failed, a file system may still read back what it
//!    has lost, and sync it without an error;
//! 2. temporary files and files older than the oldest needed are removed;
//! 3. compaction, which a crash or a cut may have left to do.
//!
//! Memory is bounded by the last file and the largest other one, beside the index.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::data_file::DataFile;
use super::format::{FILE_HEADER_LEN, FileHeader, Record, is_promised};
use super::index::Index;
use super::log::{Log, LogFile, Setting};
use super::names::Name;
use super::{FileStoreOptions, FileStoreRecovery};
use crate::Error;
use crate::fs::FileAccess;

#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) log: Log,
    pub(super) index: Index,
    pub(super) report: FileStoreRecovery,
}

pub(super) fn recover(
    access: Arc<dyn FileAccess>,
    dir: &Path,
    options: &FileStoreOptions,
) -> Result<Recovered, Error> {
    let listing = Listing::read(&*access, dir)?;
    let setting = |access, store_id| Setting {
        access,
        dir: dir.to_path_buf(),
        store_id,
        segment_bytes_max: options.segment_bytes_max,
    };
    let Some(&last) = listing.data.last() else {
        prepare_dir(&*access, dir)?;
        remove(&*access, dir, &listing.temporary, Name::Temporary)?;
        let log = Log::create(setting(access, options.store_id.unwrap_or_else(random_id)))?;
        return Ok(Recovered {
            log,
            index: Index::default(),
            report: FileStoreRecovery::default(),
        });
    };

    let mut found = Found::read(&*access, dir, &listing, last)?;
    found.settle(&*access, dir, &listing.temporary)?;
    let (tail, records_len) = (found.tail, found.records_len);
    Ok(Recovered {
        log: Log::resume(
            setting(access, tail.header.store_id),
            found.sealed,
            tail.log_file(),
            tail.next_sequence - 1,
        ),
        index: found.index,
        report: FileStoreRecovery {
            records_len,
            cut_bytes: tail.cut_bytes(),
        },
    })
}

/// A valid store, before anything was changed; the index does not have the last file's records yet.
#[derive(Debug)]
struct Found<'a> {
    obsolete: &'a [u64],
    sealed: VecDeque<LogFile>,
    tail: Loaded,
    index: Index,
    records_len: u64,
}

impl<'a> Found<'a> {
    /// Reads and validates the store whose last file is `last`.
    fn read(access: &dyn FileAccess, dir: &Path, listing: &'a Listing, last: u64) -> Result<Self, Error> {
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
            obsolete,
            sealed: VecDeque::new(),
            tail,
            index: Index::default(),
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
            found.records_len += loaded.apply_to(&mut found.index);
            found.sealed.push_back(loaded.log_file());
            before = Some(loaded);
        }
        if let Some(before) = &before {
            before.check_followed_by(&found.tail)?;
        }
        Ok(found)
    }

    /// Makes the directory what was found: the changes of the module's documentation but the last. Then the
    /// index has the last file's records too.
    fn settle(&mut self, access: &dyn FileAccess, dir: &Path, temporary: &[u64]) -> Result<(), Error> {
        let tail = &mut self.tail;
        let content = &tail.bytes[..tail.end];
        tail.file = Arc::new(DataFile::create_with(access, dir, &tail.header, content)?);
        self.records_len += tail.apply_to(&mut self.index);
        // The last file's copy has taken the name of what an earlier attempt may have left.
        let (before, after) = (
            temporary.partition_point(|&number| number < tail.header.number),
            temporary.partition_point(|&number| number <= tail.header.number),
        );
        remove(access, dir, &temporary[..before], Name::Temporary)?;
        remove(access, dir, &temporary[after..], Name::Temporary)?;
        remove(access, dir, self.obsolete, Name::Data)
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
        let names = match access.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::io("list", dir, source)),
        };
        let mut listing = Self::default();
        for name in names {
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

/// Makes the directory unless it is there, durably: an earlier open may have made it and died before the
/// sync.
fn prepare_dir(access: &dyn FileAccess, dir: &Path) -> Result<(), Error> {
    access
        .create_dir(dir)
        .map_err(|source| Error::io("create", dir, source))?;
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    access
        .sync_dir(parent)
        .map_err(|source| Error::io("sync", parent, source))
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

/// 128 bits from the seeds that the standard library draws from the operating system for its hash maps.
fn random_id() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
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
    /// Empty once they were applied.
    bytes: Vec<u8>,
    len: usize,
    end: usize,
    /// The sequence number after the last valid record.
    next_sequence: u64,
    /// The oldest file needed, as the last valid record says.
    oldest: u64,
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
        }
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
        if self.end as u64 != next.header.previous_end || self.next_sequence != next.header.first_sequence {
            return Err(self.corrupt_at_end("the next file says that this one ends elsewhere"));
        }
        Ok(())
    }

    fn corrupt_at_end(&self, what: &'static str) -> Error {
        Error::corrupt(self.file.path(), self.end as u64, Some(self.next_sequence), what)
    }

    /// Applies the valid records, gives how many there are, and lets go of the bytes.
    fn apply_to(&mut self, index: &mut Index) -> u64 {
        let bytes = std::mem::take(&mut self.bytes);
        let mut offset = FILE_HEADER_LEN;
        while let Some(record) = Record::decode_trusted(&bytes[..self.end], offset) {
            index.apply(record.operations(), &self.file, record.entries_offset as u64);
            offset = record.end;
        }
        debug_assert_eq!(offset, self.end);
        self.next_sequence - self.header.first_sequence
    }

    /// How much there is after the end.
    fn cut_bytes(&self) -> u64 {
        (self.len - self.end) as u64
    }

    fn log_file(&self) -> LogFile {
        LogFile {
            file: Arc::clone(&self.file),
            end: self.end as u64,
        }
    }
}
