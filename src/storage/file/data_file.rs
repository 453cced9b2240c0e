//! One store file: its identity, how it is made, and reading from it.
//!
//! A file is made under a temporary name, gets its header, is synced and renamed, and the directory is synced, before anything
//! relies on it. A crash on the way leaves one of these: a temporary file, which open removes; a new last file without records; a
//! compacted file beside the files that it replaces; a copy of the last file beside the original. So a file that has its final
//! name has a whole header, and its name is durable when the first record after the header is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{FILE_HEADER_LEN, FileHeader, KeyChange};
use super::names::Name;
use super::open_files::OpenFiles;
use super::options::StoreSettings;
use crate::Error;
use crate::fs::{File, FileAccess, OpenMode, join, read_full_at, read_whole, write_all_at};

/// The limit of numbers, places and sequence numbers. Sums above it do not overflow.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// Shared by the log, by a compaction and by every index entry that points into the file. A replaced file is removed when only
/// the log refers to it.
#[derive(Debug)]
pub(super) struct DataFile {
    pub(super) number: u64,
    seed: u32,
    path: PathBuf,
    open_files: Arc<OpenFiles>,
    /// The length of the entries in this file that the index points at. Changed under the lock of the index.
    needed_bytes: AtomicU64,
}

impl DataFile {
    /// The file with this header, which need not exist yet.
    pub(super) fn new(setting: &StoreSettings, header: &FileHeader) -> Self {
        Self {
            number: header.number,
            seed: header.seed(),
            path: join(&setting.dir, Name::Data(header.number).build()),
            open_files: Arc::clone(&setting.open_files),
            needed_bytes: AtomicU64::new(0),
        }
    }

    /// Reads the header of file `number`.
    pub(super) fn read_header(setting: &StoreSettings, number: u64) -> Result<FileHeader, Error> {
        let path = join(&setting.dir, Name::Data(number).build());
        let file = open(&*setting.access, &path)?;
        let mut bytes = vec![0; FILE_HEADER_LEN];
        let read = read_full_at(&*file, &mut bytes, 0).map_err(|source| Error::io("read", &path, source))?;
        let header = FileHeader::decode(&bytes[..read], &path)?;
        if header.number != number {
            return Err(Error::corrupt(
                &path,
                0,
                None,
                "the file's name and header give different numbers",
            ));
        }
        let is_first = header.first_place == 1;
        let is_possible = number <= NUMBER_MAX
            && header.first_place >= 1
            && header.first_place <= header.last_place()
            && header.last_place() <= NUMBER_MAX
            && (1..NUMBER_MAX).contains(&header.before.sequence)
            && (is_first == (header.before.end == 0))
            && header.compaction.is_none_or(|part| {
                (header.before.sequence..NUMBER_MAX).contains(&part.after.sequence)
                    && (part.after.sequence - 1..NUMBER_MAX).contains(&part.relied_sequence)
            });
        if !is_possible {
            return Err(Error::corrupt(
                &path,
                0,
                None,
                "the file header contradicts itself",
            ));
        }
        Ok(header)
    }

    /// Reads all of the file. Memory is bounded by its length.
    pub(super) fn read_all(&self, setting: &StoreSettings) -> Result<Vec<u8>, Error> {
        let file = open(&*setting.access, &self.path)?;
        read_whole(&*file).map_err(|source| Error::io("read", &self.path, source))
    }

    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the handle be closed like those of other files.
    pub(super) fn release(&self) {
        self.open_files.release(self.number);
    }

    /// Closes the handle.
    pub(super) fn close(&self) {
        self.open_files.close(self.number);
    }

    /// Reads up to `len` bytes at `offset`; fewer if the file ends.
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let file = self
            .open_files
            .get(self.number, &self.path)
            .map_err(|source| Error::io("open", &self.path, source))?;
        let mut bytes = vec![0; len];
        let read = read_full_at(&*file, &mut bytes, offset)
            .map_err(|source| Error::io("read", &self.path, source))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Reads the value of `key` from the entry of `len` bytes at `offset`, where the index has it.
    pub(super) fn read_value(&self, key: &[u8], offset: u64, len: u32) -> Result<Vec<u8>, Error> {
        let mut entry = self.read(offset, len as usize)?;
        let value = KeyChange::decode_alone(&entry, self.seed, offset)
            .filter(|operation| operation.key == key)
            .and_then(|operation| operation.value);
        let Some(value_len) = value.map(<[u8]>::len) else {
            return Err(Error::corrupt(
                &self.path,
                offset,
                None,
                "the entry's checksum is wrong",
            ));
        };
        let value_offset = KeyChange::value_offset(key);
        entry.truncate(value_offset + value_len);
        entry.drain(..value_offset);
        Ok(entry)
    }

    pub(super) fn needed_bytes(&self) -> u64 {
        self.needed_bytes.load(Ordering::Relaxed)
    }

    /// Counts an entry that the index points at now.
    pub(super) fn add_needed(&self, len: u32) {
        self.needed_bytes.fetch_add(u64::from(len), Ordering::Relaxed);
    }

    /// Counts an entry that the index points at no more.
    pub(super) fn subtract_needed(&self, len: u32) {
        let before = self.needed_bytes.fetch_sub(u64::from(len), Ordering::Relaxed);
        debug_assert!(
            before >= u64::from(len),
            "file {} needs less than nothing",
            self.number
        );
    }
}

/// Makes file `number`; `content` is all of it, the header too. Content and name are durable on return. Returns the handle, which
/// is kept open.
pub(super) fn create(setting: &StoreSettings, number: u64, content: &[u8]) -> Result<Arc<dyn File>, Error> {
    let temporary = join(&setting.dir, Name::Temporary(number).build());
    let path = join(&setting.dir, Name::Data(number).build());
    let handle = create_temporary(setting, &temporary)?;
    write_all_at(&*handle, content, 0).map_err(|source| Error::io("write", &temporary, source))?;
    handle
        .sync()
        .map_err(|source| Error::io("sync", &temporary, source))?;
    rename(setting, &temporary, &path)?;
    setting.open_files.keep(number, Arc::clone(&handle));
    Ok(handle)
}

fn open(access: &dyn FileAccess, path: &Path) -> Result<Arc<dyn File>, Error> {
    access
        .open(path, OpenMode::Read)
        .map_err(|source| Error::io("open", path, source))
}

/// Makes an empty file under a temporary name.
pub(super) fn create_temporary(setting: &StoreSettings, temporary: &Path) -> Result<Arc<dyn File>, Error> {
    setting
        .access
        .open(temporary, OpenMode::Create)
        .map_err(|source| Error::io("create", temporary, source))
}

/// Gives a synced file its final name, durable on return.
pub(super) fn rename(setting: &StoreSettings, temporary: &Path, path: &Path) -> Result<(), Error> {
    setting
        .access
        .rename(temporary, path)
        .map_err(|source| Error::io("rename", temporary, source))?;
    sync_names(setting)
}

/// Makes the names of files durable.
pub(super) fn sync_names(setting: &StoreSettings) -> Result<(), Error> {
    setting
        .access
        .sync_dir(&setting.dir)
        .map_err(|source| Error::io("sync", &setting.dir, source))
}
