//! One store file: its identity, its creation, and reads from it.
//!
//! A file is created under a temporary name and gets its header. It is synced and renamed, and the directory is synced,
//! before any other step relies on it. A crash during these steps leaves one of these: a temporary file, which open
//! removes; a new last file without records; a compacted file and the files that it replaces; a copy of the last file
//! and the original.
//!
//! Invariant: a file with its final name has a whole header, and its name is durable before the first record after the
//! header is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::format::{FILE_HEADER_LEN, FileHeader, KeyChange};
use super::names::StoreFileName;
use super::open_files::OpenFiles;
use super::options::StoreSettings;
use crate::Error;
use crate::fs::{File, FileAccess, OpenMode, join, read_full_at, read_whole, write_all_at};
use crate::sync::AtomicU64;

/// The limit of numbers, places and sequence numbers on disk. Sums of legal numbers cannot overflow.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// A store file. `StoreLog`, a compaction and every index entry that points into the file share it. A replaced file is
/// removed when only `StoreLog` refers to it.
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
    pub(super) fn new(settings: &StoreSettings, header: &FileHeader) -> Self {
        Self {
            number: header.number,
            seed: header.seed(),
            path: join(&settings.dir, StoreFileName::Data(header.number).build()),
            open_files: Arc::clone(&settings.open_files),
            needed_bytes: AtomicU64::new(0),
        }
    }

    /// Reads the header of file `number`.
    pub(super) fn read_header(settings: &StoreSettings, number: u64) -> Result<FileHeader, Error> {
        let path = join(&settings.dir, StoreFileName::Data(number).build());
        let file = open(&*settings.access, &path)?;
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

    /// Reads the whole file. Memory is bounded by its length.
    pub(super) fn read_all(&self, settings: &StoreSettings) -> Result<Vec<u8>, Error> {
        let file = open(&*settings.access, &self.path)?;
        read_whole(&*file).map_err(|source| Error::io("read", &self.path, source))
    }

    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// See [`OpenFiles::unpin`].
    pub(super) fn unpin(&self) {
        self.open_files.unpin(self.number);
    }

    /// See [`OpenFiles::close`].
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

    /// Reads the value of `key` from its entry of `len` bytes at `offset`, the location in the index.
    pub(super) fn read_value(&self, key: &[u8], offset: u64, len: u32) -> Result<Vec<u8>, Error> {
        let mut entry = self.read(offset, len as usize)?;
        let value = KeyChange::decode_checked(&entry, self.seed, offset)
            .filter(|change| change.key == key)
            .and_then(|change| change.value);
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

    /// Counts an entry that the index begins to point at.
    pub(super) fn add_needed(&self, len: u32) {
        self.needed_bytes.fetch_add(u64::from(len), Ordering::Relaxed);
    }

    /// Subtracts an entry that the index does not point at any more.
    pub(super) fn subtract_needed(&self, len: u32) {
        let before = self.needed_bytes.fetch_sub(u64::from(len), Ordering::Relaxed);
        debug_assert!(
            before >= u64::from(len),
            "the needed bytes of file {} are negative",
            self.number
        );
    }
}

/// Creates file `number`; `content` is the whole file with its header. Content and name are durable on return. Returns
/// the handle, which is pinned.
pub(super) fn create(settings: &StoreSettings, number: u64, content: &[u8]) -> Result<Arc<dyn File>, Error> {
    let temporary = join(&settings.dir, StoreFileName::Temporary(number).build());
    let path = join(&settings.dir, StoreFileName::Data(number).build());
    let handle = create_temporary(settings, &temporary)?;
    write_all_at(&*handle, content, 0).map_err(|source| Error::io("write", &temporary, source))?;
    handle
        .sync()
        .map_err(|source| Error::io("sync", &temporary, source))?;
    rename(settings, &temporary, &path)?;
    settings.open_files.pin(number, Arc::clone(&handle));
    Ok(handle)
}

fn open(access: &dyn FileAccess, path: &Path) -> Result<Arc<dyn File>, Error> {
    access
        .open(path, OpenMode::Read)
        .map_err(|source| Error::io("open", path, source))
}

/// Creates an empty file under a temporary name.
pub(super) fn create_temporary(settings: &StoreSettings, temporary: &Path) -> Result<Arc<dyn File>, Error> {
    settings
        .access
        .open(temporary, OpenMode::Create)
        .map_err(|source| Error::io("create", temporary, source))
}

/// Gives a synced file its final name, which is durable on return.
pub(super) fn rename(settings: &StoreSettings, temporary: &Path, path: &Path) -> Result<(), Error> {
    settings
        .access
        .rename(temporary, path)
        .map_err(|source| Error::io("rename", temporary, source))?;
    sync_names(settings)
}

/// Makes the names of files durable.
pub(super) fn sync_names(settings: &StoreSettings) -> Result<(), Error> {
    settings
        .access
        .sync_dir(&settings.dir)
        .map_err(|source| Error::io("sync", &settings.dir, source))
}
