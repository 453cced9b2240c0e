//! Recovery: reads and validates the files in the directory, and repairs the store after a crash.
//!
//! The first part validates all files and changes nothing. It begins with the headers, which give the places of each
//! file. If another file with a higher number covers the places of a file, that file is a replaced one. All
//! other files are needed, from place 1 on without a gap. Every file before the last one was synced before the last one
//! was created, or before it got its final name. So any damage in it is corruption. In the last file a bad record is
//! corruption if a promise covers it: a valid record header after it, or the header of a compacted file. Otherwise the
//! tail from this record on is torn.
//!
//! The last record has the sum of the digests of the compacted files. So an older file with the places of a compacted
//! file, or a compacted file of a copy of the store, is refused. At most one compaction came after that record: if the
//! last record has an older sum, a compaction appends a record before it renames its file. The file of that compaction
//! has the sum of the digests that it replaced, and the history at a record of the last file.
//!
//! The second part is the repair. It runs with the first write, flush or close, so that the caller can validate other
//! files first. A crash may end any step; the next open runs all of them again:
//!
//! | step | a crash leaves |
//! |---|---|
//! | 0. sync the directory, if a compaction came after the last record: the next record relies on it | the unchanged files |
//! | 1. copy the last file, without torn tail and with a promise record, under a new number and a temporary name; sync; rename; sync the directory | the original, perhaps with a temporary file; or the original and the copy, which have the same place |
//! | 2. remove temporary and replaced files | some of them |
//! | 3. remove the original of the copy | the original, or no such file |
//! | 4. compact if the files are over the limit; append a promise record | see the docs of `running_compaction` and `log` |
//!
//! Step 1 writes a copy because a sync of the original proves nothing: after a failed sync a file system may still read
//! back lost bytes and sync them without an error. The copy has different checksums. So bytes of the original that a
//! power loss leaves after the end of the copy are not valid records. The repair appends a promise record unless the
//! file has the present sum of the digests, and ends with a promise record or has no record. With another
//! sum the record is necessary, because the copy has another history than the last compaction names.
//!
//! If the directory has no data file, the repair removes temporary files and creates the first data file.
//!
//! In addition to the index and the headers, memory holds at most the last file twice, or the last file and the largest
//! other file. No file stays open.

use std::cmp::Reverse;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use super::data_file::{DataFile, create, sync_names};
use super::format::{
    FILE_HEADER_LEN, FileHeader, KeyChange, LogPoint, Record, RecordHeader, compacted_entries, encode_record,
    is_promised,
};
use super::index::{KeyIndex, Location};
use super::log::{LogFile, StoreLog, sum_of_digests};
use super::names::{Listing, StoreFileName};
use super::open_files::OpenFiles;
use super::options::{FileStoreOptions, StoreSettings};
use super::report::FileStoreRecovery;
use crate::Error;
use crate::codec::mix::mix;
use crate::fs::{DirName, FileAccess, make_dir};
use crate::ids::random_u128;
use crate::intact::Intact;
use crate::limits::Limits;
use crate::sync::{self, RwLock};
use crate::torn_tail::TornTail;

/// A store that was read, and its repair.
#[derive(Debug)]
pub(super) struct RecoveredStore {
    pub(super) settings: Arc<StoreSettings>,
    pub(super) index: KeyIndex,
    pub(super) report: FileStoreRecovery,
    pub(super) total_bytes: u64,
    pub(super) files_len: usize,
    pub(super) pending: PendingRepair,
}

/// The repair of a store that was read. It must run before the first write.
#[derive(Debug)]
pub(super) struct PendingRepair {
    /// The numbers of the temporary files.
    temporary: Vec<u64>,
    /// `None` if the directory has no data file.
    found: Option<FoundStore>,
}

/// Returns true if the directory holds a data file; a missing directory holds none.
pub(super) fn has_files(access: &dyn FileAccess, dir: &Path) -> Result<bool, Error> {
    Ok(!Listing::read(access, dir)?.data.is_empty())
}

/// Reads and validates the store in `dir`. Changes nothing.
///
/// # Errors
/// - `Corrupt`, `BadMagic`, `UnsupportedVersion`, `SegmentMissing`, `ForeignDatabase` or `ForeignHistory` if the files
///   are not those of one whole store.
/// - `Io` if the directory cannot be listed or a file cannot be read.
pub(super) fn recover(
    access: Arc<dyn FileAccess>,
    dir: &Path,
    options: &FileStoreOptions,
    limits: Limits,
) -> Result<RecoveredStore, Error> {
    let listing = Listing::read(&*access, dir)?;
    let mut settings = StoreSettings {
        open_files: Arc::new(OpenFiles::new(
            Arc::clone(&access),
            limits.store_open_files_len_max,
        )),
        access,
        dir: dir.to_path_buf(),
        store_id: 0,
        opening: 0,
        segment_bytes_max: options.segment_bytes_max,
        limits,
    };
    let mut index = KeyIndex::default();
    let mut report = FileStoreRecovery::default();
    let (mut total_bytes, mut files_len) = (0, 0);
    let found = if listing.data.is_empty() {
        None
    } else {
        let found = FoundStore::read(&settings, &listing, &mut index)?;
        report = FileStoreRecovery {
            files_found: listing.data.len(),
            records_replayed: found.records_len,
            torn_tail: found.tail.torn_tail(),
            leftovers_removed: found.replaced.len(),
        };
        total_bytes = found.sealed.iter().map(|file| file.end).sum::<u64>() + found.tail.after.end;
        files_len = found.sealed.len() + 1;
        Some(found)
    };
    settings.store_id = match (&found, options.store_id) {
        (Some(found), _) => found.tail.header.store_id,
        (None, Some(chosen)) => chosen,
        (None, None) => random_u128(),
    };
    settings.opening = found.as_ref().map_or(0, |found| found.tail.next_opening());
    report.leftovers_removed += listing.temporary.len();
    Ok(RecoveredStore {
        settings: Arc::new(settings),
        index,
        report,
        total_bytes,
        files_len,
        pending: PendingRepair {
            temporary: listing.temporary,
            found,
        },
    })
}

impl PendingRepair {
    /// Fails if the store exists and has another id. The error names the last file.
    pub(super) fn check_store_id(&self, expected: u128) -> Result<(), Error> {
        match &self.found {
            Some(found) => check_store_id(&found.tail.header, found.tail.file.path(), expected),
            None => Ok(()),
        }
    }

    /// Runs steps 0 to 2. Returns the files as a [`StoreLog`], which removes the file of step 3 later.
    pub(super) fn repair(
        self,
        settings: &Arc<StoreSettings>,
        index: &RwLock<Intact<KeyIndex>>,
    ) -> Result<StoreLog, Error> {
        let Some(mut found) = self.found else {
            // An earlier open may have made the directory and ended before its name was durable.
            make_dir(&*settings.access, &settings.dir, DirName::MayBeLost)?;
            remove(settings, &self.temporary, StoreFileName::Temporary)?;
            let header = FileHeader {
                store_id: settings.store_id,
                number: 1,
                first_place: 1,
                before: LogPoint::FIRST,
                digest_sum: 0,
                opening: settings.opening,
                compaction: None,
            };
            let handle = create(settings, header.number, &header.encode())?;
            let tail = LogFile::new(Arc::new(DataFile::new(settings, &header)), &header);
            return Ok(StoreLog::resume(Arc::clone(settings), Vec::new(), (tail, handle)));
        };
        let tail = &mut found.tail;
        let digest_sum = sum_of_digests(&found.sealed);
        if tail.digest_sum != digest_sum {
            sync_names(settings)?;
        }
        let original = tail.log_file();
        let number = found.last_number + 1;
        tail.rewrite_as_copy(settings, number, digest_sum);
        let handle = create(settings, number, &tail.bytes)?;
        sync::write(index).change(|index| {
            tail.point_index_here(index, original.file.number);
            Ok(())
        })?;
        // The copy has overwritten a temporary file with its number, and its rename has removed that name.
        let is_other = |temporary: &u64| *temporary != number;
        let temporary: Vec<_> = self.temporary.into_iter().filter(is_other).collect();
        remove(settings, &temporary, StoreFileName::Temporary)?;
        remove(settings, &found.replaced, StoreFileName::Data)?;
        let tail = (found.tail.log_file(), handle);
        let mut log = StoreLog::resume(Arc::clone(settings), found.sealed, tail);
        log.add_replaced(original);
        Ok(log)
    }
}

/// The content of a valid store before its repair.
#[derive(Debug)]
struct FoundStore {
    /// The numbers of the replaced files.
    replaced: Vec<u64>,
    /// The needed files before the last.
    sealed: Vec<LogFile>,
    /// The last file.
    tail: LoadedFile,
    /// The highest number of all data files.
    last_number: u64,
    /// The number of records with entries, and of compacted files with entries.
    records_len: u64,
}

impl FoundStore {
    /// Reads and validates the store, which has at least one file, and applies its files to `index`.
    fn read(settings: &StoreSettings, listing: &Listing, index: &mut KeyIndex) -> Result<Self, Error> {
        let StoreLayout { mut needed, replaced } = StoreLayout::read(settings, listing)?;
        let missing = |sequence| Error::SegmentMissing {
            path: settings.dir.clone(),
            sequence,
        };
        let last = needed.pop().ok_or_else(|| missing(1))?;
        if let Some(part) = last.compaction {
            return Err(missing(part.after.sequence));
        }
        let tail = LoadedFile::read(settings, last)?;
        tail.check_torn(&needed)?;
        let mut found = Self {
            replaced,
            sealed: Vec::new(),
            tail,
            last_number: listing.data.last().copied().unwrap_or_default(),
            records_len: 0,
        };
        for header in &needed {
            let loaded = LoadedFile::read(settings, *header)?;
            let after = found.sealed.len() + 1;
            let next = needed.get(after).unwrap_or(&found.tail.header);
            loaded.check_followed_by(next, settings)?;
            found.records_len += loaded.apply_to(index);
            found.sealed.push(loaded.log_file());
        }
        found
            .tail
            .check_digest_sum(&needed, sum_of_digests(&found.sealed))?;
        found.records_len += found.tail.apply_to(index);
        Ok(found)
    }
}

/// The files of a store by their places.
struct StoreLayout {
    /// The headers of the needed files, in the order of their places.
    needed: Vec<FileHeader>,
    /// The numbers of the replaced files, ascending.
    replaced: Vec<u64>,
}

impl StoreLayout {
    fn read(settings: &StoreSettings, listing: &Listing) -> Result<Self, Error> {
        let mut headers: Vec<FileHeader> = Vec::with_capacity(listing.data.len());
        for &number in &listing.data {
            let header = DataFile::read_header(settings, number)?;
            // The repair removes files. A file of another store may have been copied here by mistake.
            if let Some(first) = headers.first() {
                let path = settings.dir.join(StoreFileName::Data(number).build());
                check_store_id(&header, &path, first.store_id)?;
            }
            headers.push(header);
        }
        headers.sort_unstable_by_key(|header| (header.first_place, Reverse(header.number)));
        let mut layout = Self {
            needed: Vec::new(),
            replaced: Vec::new(),
        };
        for header in headers {
            let next_place = layout.needed.last().map_or(1, |last| last.last_place() + 1);
            if header.first_place > next_place {
                return Err(Error::SegmentMissing {
                    path: settings.dir.clone(),
                    // The headers give only the last of the missing records.
                    sequence: header.before.sequence - 1,
                });
            }
            let is_replaced = header.first_place < next_place;
            if is_replaced && header.last_place() >= next_place {
                let path = settings.dir.join(StoreFileName::Data(header.number).build());
                return Err(Error::corrupt(
                    &path,
                    0,
                    None,
                    "the file overlaps another file of the store",
                ));
            }
            if is_replaced {
                layout.replaced.push(header.number);
            } else {
                layout.needed.push(header);
            }
        }
        layout.replaced.sort_unstable();
        Ok(layout)
    }
}

fn check_store_id(header: &FileHeader, path: &Path, expected: u128) -> Result<(), Error> {
    if header.store_id != expected {
        return Err(Error::ForeignDatabase {
            path: path.to_path_buf(),
            found: header.store_id,
            expected,
        });
    }
    Ok(())
}

/// Removes files. The directory is not synced: if a power loss restores a file, the next open removes it again.
fn remove(settings: &StoreSettings, numbers: &[u64], name: fn(u64) -> StoreFileName) -> Result<(), Error> {
    for &number in numbers {
        let path = settings.dir.join(name(number).build());
        settings
            .access
            .remove(&path)
            .map_err(|source| Error::io("remove", &path, source))?;
    }
    Ok(())
}

/// A file in memory. Its bytes are valid up to `after.end`.
#[derive(Debug)]
struct LoadedFile {
    file: Arc<DataFile>,
    header: FileHeader,
    bytes: Vec<u8>,
    /// The position after the last valid record; in a compacted file the position after its places.
    after: LogPoint,
    /// The sum of the digests of the compacted files, from the last valid record or from the header if the file has no
    /// record.
    digest_sum: u64,
    /// True if the last valid record is a promise record, or if the file has no record.
    ends_with_promise: bool,
}

impl LoadedFile {
    fn read(settings: &StoreSettings, header: FileHeader) -> Result<Self, Error> {
        let file = Arc::new(DataFile::new(settings, &header));
        let bytes = file.read_all(settings)?;
        if bytes.len() < FILE_HEADER_LEN {
            let what = "the file ends inside its header";
            return Err(Error::corrupt(file.path(), bytes.len() as u64, None, what));
        }
        let mut loaded = Self {
            file,
            header,
            bytes,
            after: LogPoint {
                end: FILE_HEADER_LEN as u64,
                ..header.before
            },
            digest_sum: header.digest_sum,
            ends_with_promise: true,
        };
        match &header.compaction {
            None => loaded.find_end(),
            Some(part) if compacted_entries(&header, &loaded.bytes).is_some() => loaded.after = part.after,
            Some(_) => {
                let what = "the entries do not match the file header";
                return Err(Error::corrupt(
                    loaded.file.path(),
                    FILE_HEADER_LEN as u64,
                    None,
                    what,
                ));
            }
        }
        Ok(loaded)
    }

    /// Moves `after` to the first bad record, or to the end of the file.
    fn find_end(&mut self) {
        while let Some(record) =
            Record::decode_checked(&self.bytes, self.file.seed(), self.after.end as usize)
            && record.header.sequence == self.after.sequence
        {
            self.after = LogPoint {
                end: record.end as u64,
                sequence: self.after.sequence + 1,
                history: record.history_after(self.after.history),
            };
            self.digest_sum = record.header.digest_sum;
            self.ends_with_promise = record.header.is_promise();
        }
    }

    /// The history after the valid record with this number, or after the last record before the file.
    fn history_at(&self, sequence: u64) -> Option<u64> {
        let mut next = self.header.before;
        let mut offset = FILE_HEADER_LEN;
        while next.sequence <= sequence {
            let record = Record::decode_unchecked(self.valid_bytes(), offset)?;
            next.history = record.history_after(next.history);
            next.sequence += 1;
            offset = record.end;
        }
        (next.sequence == sequence + 1).then_some(next.history)
    }

    /// The value of an opening that found this file as the last one.
    fn next_opening(&self) -> u64 {
        mix(self.header.opening, self.after.history)
    }

    /// Makes the bytes those of the copy: truncates the torn tail, and sets the number and the checksums of this
    /// opening. Appends a promise record if the copy needs one.
    fn rewrite_as_copy(&mut self, settings: &StoreSettings, number: u64, digest_sum: u64) {
        self.header.number = number;
        self.header.opening = settings.opening;
        self.file = Arc::new(DataFile::new(settings, &self.header));
        let mut old = std::mem::replace(&mut self.bytes, self.header.encode());
        old.truncate(self.after.end as usize);
        self.after = LogPoint {
            end: FILE_HEADER_LEN as u64,
            ..self.header.before
        };
        while let Some(record) = Record::decode_unchecked(&old, self.after.end as usize) {
            let changes: Vec<_> = record.changes().collect();
            self.append(settings, record.header, &changes);
        }
        if !self.ends_with_promise || self.digest_sum != digest_sum {
            let header = RecordHeader {
                payload_len: 0,
                sequence: self.after.sequence,
                synced: self.after.sequence - 1,
                digest_sum,
            };
            self.append(settings, header, &[]);
        }
    }

    /// Appends a record to the bytes.
    fn append(&mut self, settings: &StoreSettings, header: RecordHeader, changes: &[KeyChange<'_>]) {
        let bytes = &mut self.bytes;
        let write = |encoded: &[u8], _| {
            bytes.extend_from_slice(encoded);
            Ok::<_, Infallible>(())
        };
        let LogPoint { end, history, .. } = self.after;
        let Ok((end, history)) = encode_record(
            header,
            changes,
            self.file.seed(),
            end,
            history,
            settings.limits.store_write_bytes,
            write,
        );
        self.after = LogPoint {
            end,
            sequence: header.sequence + 1,
            history,
        };
        self.digest_sum = header.digest_sum;
        self.ends_with_promise = header.is_promise();
    }

    /// Fails if a promise covers the first bad record, so that the bytes after `after` are no torn tail. `files` are
    /// the headers of the files before this one.
    fn check_torn(&self, files: &[FileHeader]) -> Result<(), Error> {
        let (end, next_sequence) = (self.after.end as usize, self.after.sequence);
        if is_promised(&self.bytes, self.file.seed(), end, next_sequence) {
            return Err(self.corrupt_at_end("a later record promises that this bad record was synced"));
        }
        let mut parts = files.iter().filter_map(|header| header.compaction);
        if parts.any(|part| part.relied_sequence >= next_sequence) {
            return Err(
                self.corrupt_at_end("a compacted file promises that this bad or missing record was synced")
            );
        }
        Ok(())
    }

    /// Fails unless the file was written when the store had the files with these headers. `sum` is the sum of their
    /// digests.
    fn check_digest_sum(&self, files: &[FileHeader], sum: u64) -> Result<(), Error> {
        let is_last_compaction = |header: &FileHeader| {
            header.compaction.is_some_and(|part| {
                let sum_before = sum.wrapping_sub(part.digest).wrapping_add(header.digest_sum);
                sum_before == self.digest_sum
                    && self.history_at(part.relied_sequence) == Some(part.relied_history)
            })
        };
        if sum == self.digest_sum || files.iter().any(is_last_compaction) {
            return Ok(());
        }
        Err(Error::ForeignHistory {
            path: self.file.path().to_path_buf(),
            what: "the store had other compacted files when it was written",
        })
    }

    /// Fails unless the header of `next` describes this file.
    fn check_followed_by(&self, next: &FileHeader, settings: &StoreSettings) -> Result<(), Error> {
        let is_truncated = self.after.end < self.bytes.len() as u64 || self.after.end < next.before.end;
        if self.header.compaction.is_none() && is_truncated {
            return Err(self.corrupt_at_end("the next file promises that this bad record was synced"));
        }
        let what = if self.after.end != next.before.end {
            "its header has another length for the file before it"
        } else if self.after != next.before {
            "the file before it holds other records"
        } else {
            return Ok(());
        };
        Err(Error::ForeignHistory {
            path: settings.dir.join(StoreFileName::Data(next.number).build()),
            what,
        })
    }

    fn corrupt_at_end(&self, what: &'static str) -> Error {
        Error::corrupt(self.file.path(), self.after.end, Some(self.after.sequence), what)
    }

    /// Points the index at the entries of this file instead of those of its original, the file with `original_number`.
    fn point_index_here(&self, index: &mut KeyIndex, original_number: u64) {
        let mut offset = FILE_HEADER_LEN;
        while let Some(record) = Record::decode_unchecked(self.valid_bytes(), offset) {
            let mut entry_offset = record.entries_offset as u64;
            for change in record.changes() {
                let copy = Location::new(&self.file, entry_offset, change.entry_len() as u32);
                index.apply_copy(change.key, original_number, entry_offset, copy);
                entry_offset += change.entry_len() as u64;
            }
            offset = record.end;
        }
    }

    /// Applies the entries. Returns the number of records with entries; a compacted file counts as one.
    fn apply_to(&self, index: &mut KeyIndex) -> u64 {
        if let Some(part) = &self.header.compaction {
            let Some(entries) = compacted_entries(&self.header, &self.bytes) else {
                return 0;
            };
            index.apply(entries, &self.file, FILE_HEADER_LEN as u64);
            return u64::from(part.len > FILE_HEADER_LEN as u64);
        }
        let (mut offset, mut records_len) = (FILE_HEADER_LEN, 0);
        while let Some(record) = Record::decode_unchecked(self.valid_bytes(), offset) {
            records_len += u64::from(record.header.payload_len > 0);
            index.apply(record.changes(), &self.file, record.entries_offset as u64);
            offset = record.end;
        }
        debug_assert_eq!(offset as u64, self.after.end);
        records_len
    }

    /// The header and the valid records.
    fn valid_bytes(&self) -> &[u8] {
        &self.bytes[..self.after.end as usize]
    }

    fn torn_tail(&self) -> Option<TornTail> {
        let tail = &self.bytes[self.after.end as usize..];
        (!tail.is_empty()).then(|| TornTail::new(self.file.path(), self.after.end, tail))
    }

    fn log_file(&self) -> LogFile {
        let file = LogFile::new(Arc::clone(&self.file), &self.header);
        match self.header.compaction {
            Some(_) => file,
            None => LogFile {
                after: self.after,
                end: self.after.end,
                ..file
            },
        }
    }
}
