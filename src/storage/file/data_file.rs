//! One open store file: its identity, how it is made, and reading from it.
//!
//! A file is made under a temporary name, gets its header, is synced and renamed, and the directory is
//! synced, before any record goes into it. A crash on the way leaves a temporary file, which open removes, or
//! a file without records. So a file that has its final name has a whole header, and its name is durable when
//! its first record is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{FileHeader, KeyChange};
use super::names::Name;
use crate::Error;
use crate::fs::{File, FileAccess, OpenMode, join, read_full_at, read_whole, write_all_at};

/// Far beyond every file number and sequence number in use, and far enough from the end to count on.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// Shared by the log and by every index entry that points into the file: readers of an old state keep a
/// removed file readable by holding it open.
#[derive(Debug)]
pub(super) struct DataFile {
    pub(super) number: u64,
    seed: u32,
    path: PathBuf,
    file: Arc<dyn File>,
    /// How many bytes of the index's entries are in this file. Changed by the index alone, under its lock.
    live_bytes: AtomicU64,
}

impl DataFile {
    /// Makes the file that `header` describes in `dir`, without records; durable on return, its name too.
    pub(super) fn create(access: &dyn FileAccess, dir: &Path, header: &FileHeader) -> Result<Self, Error> {
        Self::create_with(access, dir, header, &header.encode())
    }

    /// Makes the file that `header` describes in `dir`, or puts it in the place of the one there is; `content` is all of
    /// it, the header too. Durable on return, its name too.
    pub(super) fn create_with(
        access: &dyn FileAccess,
        dir: &Path,
        header: &FileHeader,
        content: &[u8],
    ) -> Result<Self, Error> {
        let temporary = join(dir, Name::Temporary(header.number).build());
        let path = join(dir, Name::Data(header.number).build());
        let file = access
            .open(&temporary, OpenMode::Create)
            .map_err(|source| Error::io("create", &temporary, source))?;
        write_all_at(&*file, content, 0).map_err(|source| Error::io("write", &temporary, source))?;
        file.sync()
            .map_err(|source| Error::io("sync", &temporary, source))?;
        access
            .rename(&temporary, &path)
            .map_err(|source| Error::io("rename", &temporary, source))?;
        access
            .sync_dir(dir)
            .map_err(|source| Error::io("sync", dir, source))?;
        Ok(Self::new(path, file, header))
    }

    /// Opens file `number` of `dir` for reading and reads it whole.
    pub(super) fn load(
        access: &dyn FileAccess,
        dir: &Path,
        number: u64,
    ) -> Result<(Self, FileHeader, Vec<u8>), Error> {
        let path = join(dir, Name::Data(number).build());
        let file = access
            .open(&path, OpenMode::Read)
            .map_err(|source| Error::io("open", &path, source))?;
        let bytes = read_whole(&*file).map_err(|source| Error::io("read", &path, source))?;
        let header = FileHeader::decode(&bytes, &path)?;
        if header.number != number {
            return Err(Error::corrupt(
                &path,
                0,
                None,
                "the file's name and header give different numbers",
            ));
        }
        let sequences = 1..NUMBER_MAX;
        if header.oldest > number || number > NUMBER_MAX || !sequences.contains(&header.first_sequence) {
            return Err(Error::corrupt(
                &path,
                0,
                None,
                "the file header contradicts itself",
            ));
        }
        Ok((Self::new(path, file, &header), header, bytes))
    }

    fn new(path: PathBuf, file: Arc<dyn File>, header: &FileHeader) -> Self {
        Self {
            number: header.number,
            seed: header.seed(),
            path,
            file,
            live_bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        write_all_at(&*self.file, bytes, offset).map_err(|source| Error::io("write", &self.path, source))
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file
            .sync()
            .map_err(|source| Error::io("sync", &self.path, source))
    }

    /// Reads the first `len` bytes; memory is bounded by that.
    pub(super) fn read_front(&self, len: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len as usize];
        let read = read_full_at(&*self.file, &mut bytes, 0)
            .map_err(|source| Error::io("read", &self.path, source))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Reads the value of `key` from the entry of `len` bytes at `offset`, where the index has it.
    pub(super) fn read_value(&self, key: &[u8], offset: u64, len: u32) -> Result<Vec<u8>, Error> {
        let mut entry = vec![0; len as usize];
        let read = read_full_at(&*self.file, &mut entry, offset)
            .map_err(|source| Error::io("read", &self.path, source))?;
        let value = KeyChange::decode_alone(&entry[..read], self.seed, offset)
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

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add_live(&self, len: u32) {
        self.live_bytes.fetch_add(u64::from(len), Ordering::Relaxed);
    }

    pub(super) fn subtract_live(&self, len: u32) {
        let before = self.live_bytes.fetch_sub(u64::from(len), Ordering::Relaxed);
        debug_assert!(
            before >= u64::from(len),
            "file {} has negative live data",
            self.number
        );
    }
}
