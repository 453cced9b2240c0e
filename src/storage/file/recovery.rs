//! Recovery: reads and validates the files in the directory, and repairs what a crash left.
//!
//! Reading validates everything and changes nothing. It begins with the headers of all files: they give each file its place in
//! the log. A file whose places another file with a higher number covers is a replaced one. All other files are needed, from
//! place 1 on without a gap. All files before the last were synced before the last was made, or before they got their name, so
//! any defect in them is corruption. In the last file a bad record is corruption if a valid record header after it, or the header
//! of a compacted file, promises it as synced; otherwise the tail from there is torn.
//!
//! The last record gives the sum of the digests of the compacted files, so that an older file in the place of a compacted one, or
//! a compacted file of a copy of the store, is refused. At most one compaction came after that record, because a compaction
//! appends a record before it renames its file if the last record has an older sum. Its file has the sum of the digests that it
//! replaced, and the history at a record of the last file.
//!
//! The repair runs with the first write, flush or close, so that the caller can validate other files first. A crash may stop
//! any step; the next open runs all of them again:
//!
//! | step | a crash leaves |
//! |---|---|
//! | 0. sync the directory, if a compaction came after the last record: the next record relies on it | the files as they were read |
//! | 1. write the last file again, without torn tail and with a promise record, under a new number and a temporary name; sync; rename; sync the directory | the file as it was read, perhaps with a temporary file; or the new one beside it, at the same place |
//! | 2. remove temporary and replaced files | some of them |
//! | 3. remove the file that was written again | it or not |
//! | 4. compact if over the bound; append a promise record | as `run` and `log` say |
//!
//! Step 1 writes a copy because a sync of the read file proves nothing: after a failed sync a file system may still read back
//! lost bytes and sync them without an error. The copy has checksums of its own, so that no bytes of the original that a power
//! loss leaves behind the copy pass for records. The repair appends a promise record unless the file already ends with one, or
//! has no record, and has the present sum of the digests: the copy has another history than the last compaction names.
//!
//! A directory without a data file gets its first one, after the removal of temporary files.
//!
//! Memory is bounded by twice the last file, or by it and the largest other one, beside the index and the headers. No file is kept open.

use std::cmp::Reverse;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, RwLock};

use super::data_file::{DataFile, create, sync_names};
use super::format::{
    FILE_HEADER_LEN, FileHeader, KeyChange, LogPoint, Record, RecordHeader, compacted_entries, encode_record,
    is_promised,
};
use super::index::{KeyIndex, Location};
use super::log::{LogFile, StoreLog, sum_of_digests};
use super::names::Name;
use super::open_files::OpenFiles;
use super::options::{FileStoreOptions, StoreSettings};
use super::report::FileStoreRecovery;
use crate::Error;
use crate::codec::mix::mix;
use crate::fs::{DirName, FileAccess, list_if_present, make_dir};
use crate::ids::random_u128;
use crate::limits::Limits;
use crate::lock::{self, Intact};
use crate::torn_tail::TornTail;

/// A store that was read, and the repair that it needs.
#[derive(Debug)]
pub(super) struct RecoveredStore {
    pub(super) setting: Arc<StoreSettings>,
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
    let mut setting = StoreSettings {
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
        let found = ReadStore::read(&setting, &listing, &mut index)?;
        report = FileStoreRecovery {
            files_found: listing.data.len(),
            records_replayed: found.records_len,
            torn_tail: found.tail.torn_tail(),
            leftovers_removed: found.covered.len(),
        };
        total_bytes = found.sealed.iter().map(|file| file.end).sum::<u64>() + found.tail.after.end;
        files_len = found.sealed.len() + 1;
        Some(found)
    };
    setting.store_id = match (&found, options.store_id) {
        (Some(found), _) => found.tail.header.store_id,
        (None, Some(chosen)) => chosen,
        (None, None) => random_u128(),
    };
    setting.opening = found.as_ref().map_or(0, |found| found.tail.next_opening());
    report.leftovers_removed += listing.temporary.len();
    Ok(RecoveredStore {
        setting: Arc::new(setting),
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

    /// Runs steps 0 to 2. Returns the log, which removes the file of step 3 later.
    pub(super) fn repair(
        self,
        setting: &Arc<StoreSettings>,
        index: &RwLock<Intact<KeyIndex>>,
    ) -> Result<StoreLog, Error> {
        let Some(mut found) = self.found else {
            // An earlier open may have made it and ended before its name was durable.
            make_dir(&*setting.access, &setting.dir, DirName::MayBeLost)?;
            remove(setting, &self.temporary, Name::Temporary)?;
            let header = FileHeader {
                store_id: setting.store_id,
                number: 1,
                first_place: 1,
                before: LogPoint::FIRST,
                digest_sum: 0,
                opening: setting.opening,
                compaction: None,
            };
            let handle = create(setting, header.number, &header.encode())?;
            let tail = LogFile::new(Arc::new(DataFile::new(setting, &header)), &header);
            return Ok(StoreLog::resume(Arc::clone(setting), Vec::new(), (tail, handle)));
        };
        let tail = &mut found.tail;
        let digest_sum = sum_of_digests(&found.sealed);
        if tail.digest_sum != digest_sum {
            sync_names(setting)?;
        }
        let original = tail.log_file();
        let number = found.last_number + 1;
        tail.renew(setting, number, digest_sum);
        let handle = create(setting, number, &tail.bytes)?;
        lock::write(index).change(|index| {
            tail.take_over(index, original.file.number);
            Ok(())
        })?;
        // The copy of the last file had the temporary name with its number: no such file is left.
        let is_other = |temporary: &u64| *temporary != number;
        let temporary: Vec<_> = self.temporary.into_iter().filter(is_other).collect();
        remove(setting, &temporary, Name::Temporary)?;
        remove(setting, &found.covered, Name::Data)?;
        let tail = (found.tail.log_file(), handle);
        let mut log = StoreLog::resume(Arc::clone(setting), found.sealed, tail);
        log.add_replaced(original);
        Ok(log)
    }
}

/// A valid store as it was read.
#[derive(Debug)]
struct ReadStore {
    /// The numbers of the replaced files.
    covered: Vec<u64>,
    /// The needed files before the last.
    sealed: Vec<LogFile>,
    /// The last file.
    tail: Loaded,
    /// The highest number of a file.
    last_number: u64,
    /// The number of records with entries, and of compacted files with entries.
    records_len: u64,
}

impl ReadStore {
    /// Reads and validates the store, which has at least one file, and applies its files to `index`.
    fn read(setting: &StoreSettings, listing: &Listing, index: &mut KeyIndex) -> Result<Self, Error> {
        let StoreLayout { mut needed, covered } = StoreLayout::read(setting, listing)?;
        let missing = |sequence| Error::SegmentMissing {
            path: setting.dir.clone(),
            sequence,
        };
        let last = needed.pop().ok_or_else(|| missing(1))?;
        if let Some(part) = last.compaction {
            return Err(missing(part.after.sequence));
        }
        let tail = Loaded::read(setting, last)?;
        tail.check_torn(&needed)?;
        let mut found = Self {
            covered,
            sealed: Vec::new(),
            tail,
            last_number: listing.data.last().copied().unwrap_or_default(),
            records_len: 0,
        };
        for header in &needed {
            let loaded = Loaded::read(setting, *header)?;
            let after = found.sealed.len() + 1;
            let next = needed.get(after).unwrap_or(&found.tail.header);
            loaded.check_followed_by(next, setting)?;
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
    /// The numbers of the others, ascending.
    covered: Vec<u64>,
}

impl StoreLayout {
    fn read(setting: &StoreSettings, listing: &Listing) -> Result<Self, Error> {
        let mut headers: Vec<FileHeader> = Vec::with_capacity(listing.data.len());
        for &number in &listing.data {
            let header = DataFile::read_header(setting, number)?;
            // The repair removes files. A file of another store may have been copied here by mistake.
            if let Some(first) = headers.first() {
                let path = setting.dir.join(Name::Data(number).build());
                check_store_id(&header, &path, first.store_id)?;
            }
            headers.push(header);
        }
        headers.sort_unstable_by_key(|header| (header.first_place, Reverse(header.number)));
        let mut layout = Self {
            needed: Vec::new(),
            covered: Vec::new(),
        };
        for header in headers {
            let next_place = layout.needed.last().map_or(1, |last| last.last_place() + 1);
            if header.first_place > next_place {
                return Err(Error::SegmentMissing {
                    path: setting.dir.clone(),
                    // Only the last of the missing records is known.
                    sequence: header.before.sequence - 1,
                });
            }
            let is_covered = header.first_place < next_place;
            if is_covered && header.last_place() >= next_place {
                let path = setting.dir.join(Name::Data(header.number).build());
                return Err(Error::corrupt(
                    &path,
                    0,
                    None,
                    "the file overlaps another file of the store",
                ));
            }
            if is_covered {
                layout.covered.push(header.number);
            } else {
                layout.needed.push(header);
            }
        }
        layout.covered.sort_unstable();
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
fn remove(setting: &StoreSettings, numbers: &[u64], name: fn(u64) -> Name) -> Result<(), Error> {
    for &number in numbers {
        let path = setting.dir.join(name(number).build());
        setting
            .access
            .remove(&path)
            .map_err(|source| Error::io("remove", &path, source))?;
    }
    Ok(())
}

/// A file in memory, valid from its beginning to the end.
#[derive(Debug)]
struct Loaded {
    file: Arc<DataFile>,
    header: FileHeader,
    bytes: Vec<u8>,
    /// The end of the last valid record, the sequence number and history after it; in a compacted file those of its places.
    after: LogPoint,
    /// The sum of the digests of the compacted files, from the last valid record.
    digest_sum: u64,
    /// True if the last valid record is a promise record, or if there is no record.
    ends_with_promise: bool,
}

impl Loaded {
    fn read(setting: &StoreSettings, header: FileHeader) -> Result<Self, Error> {
        let file = Arc::new(DataFile::new(setting, &header));
        let bytes = file.read_all(setting)?;
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

    /// Moves the end to the first bad record.
    fn find_end(&mut self) {
        while let Some(record) = Record::decode(&self.bytes, self.file.seed(), self.after.end as usize)
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

    /// The history after the valid record with this number, or after the one before the file.
    fn history_at(&self, sequence: u64) -> Option<u64> {
        let mut next = self.header.before;
        let mut offset = FILE_HEADER_LEN;
        while next.sequence <= sequence {
            let record = Record::decode_trusted(self.valid_bytes(), offset)?;
            next.history = record.history_after(next.history);
            next.sequence += 1;
            offset = record.end;
        }
        (next.sequence == sequence + 1).then_some(next.history)
    }

    /// The value of an opening that found this last file.
    fn next_opening(&self) -> u64 {
        mix(self.header.opening, self.after.history)
    }

    /// Cuts the torn tail, gives the file this number and the checksums of this opening, and appends a promise record unless
    /// the file needs none.
    fn renew(&mut self, setting: &StoreSettings, number: u64, digest_sum: u64) {
        self.header.number = number;
        self.header.opening = setting.opening;
        self.file = Arc::new(DataFile::new(setting, &self.header));
        let mut old = std::mem::replace(&mut self.bytes, self.header.encode());
        old.truncate(self.after.end as usize);
        self.after = LogPoint {
            end: FILE_HEADER_LEN as u64,
            ..self.header.before
        };
        while let Some(record) = Record::decode_trusted(&old, self.after.end as usize) {
            let operations: Vec<_> = record.operations().collect();
            self.append(setting, record.header, &operations);
        }
        if !self.ends_with_promise || self.digest_sum != digest_sum {
            let header = RecordHeader {
                payload_len: 0,
                sequence: self.after.sequence,
                synced: self.after.sequence - 1,
                digest_sum,
            };
            self.append(setting, header, &[]);
        }
    }

    /// Appends a record to the bytes.
    fn append(&mut self, setting: &StoreSettings, header: RecordHeader, operations: &[KeyChange<'_>]) {
        let bytes = &mut self.bytes;
        let write = |piece: &[u8], _| {
            bytes.extend_from_slice(piece);
            Ok::<_, Infallible>(())
        };
        let LogPoint { end, history, .. } = self.after;
        let Ok((end, history)) = encode_record(
            header,
            operations,
            self.file.seed(),
            end,
            history,
            setting.limits.store_piece_bytes,
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

    /// Fails if the bytes after the end are not a torn tail. `files` are the headers of the files before.
    fn check_torn(&self, files: &[FileHeader]) -> Result<(), Error> {
        let (end, next_sequence) = (self.after.end as usize, self.after.sequence);
        if is_promised(&self.bytes, self.file.seed(), end, next_sequence) {
            return Err(self.corrupt_at_end("a later record promises that this damaged one was synced"));
        }
        let mut parts = files.iter().filter_map(|header| header.compaction);
        if parts.any(|part| part.relied_sequence >= next_sequence) {
            return Err(self.corrupt_at_end("a compacted file promises that a record here was synced"));
        }
        Ok(())
    }

    /// Fails unless the file was written beside files with these headers, whose values have this sum.
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
            what: "it was written beside other compacted files",
        })
    }

    /// Fails unless the header of `next` describes this file.
    fn check_followed_by(&self, next: &FileHeader, setting: &StoreSettings) -> Result<(), Error> {
        let is_cut = self.after.end < self.bytes.len() as u64 || self.after.end < next.before.end;
        if self.header.compaction.is_none() && is_cut {
            return Err(self.corrupt_at_end("the next file promises that this bad record was synced"));
        }
        let what = if self.after.end != next.before.end {
            "its header gives another length of the file before it"
        } else if self.after != next.before {
            "the file before it holds other records"
        } else {
            return Ok(());
        };
        Err(Error::ForeignHistory {
            path: setting.dir.join(Name::Data(next.number).build()),
            what,
        })
    }

    fn corrupt_at_end(&self, what: &'static str) -> Error {
        Error::corrupt(self.file.path(), self.after.end, Some(self.after.sequence), what)
    }

    /// Points the index at the entries of this file in the place of those of file `number`, which it is a copy of.
    fn take_over(&self, index: &mut KeyIndex, number: u64) {
        let mut offset = FILE_HEADER_LEN;
        while let Some(record) = Record::decode_trusted(self.valid_bytes(), offset) {
            let mut entry_offset = record.entries_offset as u64;
            for change in record.operations() {
                let copy = Location::new(&self.file, entry_offset, change.entry_len() as u32);
                index.apply_copy(change.key, number, entry_offset, copy);
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
        while let Some(record) = Record::decode_trusted(self.valid_bytes(), offset) {
            records_len += u64::from(record.header.payload_len > 0);
            index.apply(record.operations(), &self.file, record.entries_offset as u64);
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
