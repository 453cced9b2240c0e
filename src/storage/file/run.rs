//! A compaction in progress: one file takes the place of a run of adjacent sealed files.
//!
//! The new file is written under its temporary name, in steps. A step copies the entries of a piece of the run that are still
//! needed, and points the index at the copies: readers use them at once, whatever becomes of the file after a crash. When all
//! files of the run were read, [`CompactionRun::seal`] writes the header and syncs the file. The caller then syncs the tail: the
//! new file lacks entries that later records outdated, so these must be durable. Then it renames the file and syncs the
//! directory.
//!
//! A crash leaves a temporary file until the rename is durable, and after it the new file, perhaps with files that it
//! replaces. Open removes either.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use super::data_file::{DataFile, create_temporary, rename};
use super::entry_reader::{EntryPiece, EntryReader};
use super::format::{CompactedPart, FILE_HEADER_LEN, FileHeader};
use super::index::{KeyIndex, Location};
use super::log::{LogFile, sum_of_digests};
use super::names::Name;
use super::options::StoreSettings;
use crate::Error;
use crate::fs::{File, join, write_all_at};
use crate::lock::{self, Intact};

#[derive(Debug)]
pub(super) struct CompactionRun {
    setting: Arc<StoreSettings>,
    files: Vec<LogFile>,
    header: FileHeader,
    part: CompactedPart,
    /// The new file.
    file: Arc<DataFile>,
    handle: Arc<dyn File>,
    temporary: PathBuf,
    /// The number of files of the run whose reading has begun.
    read_len: usize,
    reader: Option<EntryReader>,
    unsynced_bytes: u64,
}

impl CompactionRun {
    /// Makes the temporary file, with this number, for a run of `files`.
    pub(super) fn begin(
        setting: &Arc<StoreSettings>,
        number: u64,
        files: Vec<LogFile>,
    ) -> Result<Self, Error> {
        let (first, last) = (&files[0], &files[files.len() - 1]);
        let part = CompactedPart {
            last_place: last.last_place,
            after: last.after,
            len: FILE_HEADER_LEN as u64,
            digest: CompactedPart::digest_without_entries(&first.before, &last.after),
            ..CompactedPart::default()
        };
        let header = FileHeader {
            store_id: setting.store_id,
            number,
            first_place: first.first_place,
            before: first.before,
            digest_sum: sum_of_digests(&files),
            opening: setting.opening,
            compaction: Some(part),
        };
        let temporary = join(&setting.dir, Name::Temporary(number).build());
        let handle = create_temporary(setting, &temporary)?;
        let file = Arc::new(DataFile::new(setting, &header));
        setting.open_files.keep(number, Arc::clone(&handle));
        let run = Self {
            setting: Arc::clone(setting),
            files,
            header,
            part,
            file,
            handle,
            temporary,
            read_len: 0,
            reader: None,
            unsynced_bytes: 0,
        };
        run.write_header()?;
        Ok(run)
    }

    /// The length of the new file up to now.
    pub(super) fn end(&self) -> u64 {
        self.part.len
    }

    /// Returns true if nothing is left to copy.
    pub(super) fn is_copied(&self) -> bool {
        self.reader.is_none() && self.read_len >= self.files.len()
    }

    /// Reads one piece of the run and copies what is needed of it. Returns the length of the piece.
    pub(super) fn step(&mut self, index: &RwLock<Intact<KeyIndex>>) -> Result<u64, Error> {
        let Some(reader) = &mut self.reader else {
            self.reader = self.files.get(self.read_len).map(EntryReader::new);
            self.read_len += 1;
            return Ok(0);
        };
        let Some(piece) = reader.next(self.setting.limits.store_step_bytes)? else {
            self.reader = None;
            return Ok(0);
        };
        self.copy(&piece, index)?;
        if self.unsynced_bytes >= self.setting.limits.store_unsynced_bytes_max {
            self.sync()?;
        }
        Ok(piece.len)
    }

    fn copy(&mut self, piece: &EntryPiece, index: &RwLock<Intact<KeyIndex>>) -> Result<(), Error> {
        // No removal is left out because of older values of this piece before this compaction has ended: there is no other one.
        let kept: Vec<_> = lock::write(index).change(|index| {
            let entries = piece.entries();
            Ok(entries
                .filter(|(offset, entry)| index.sort_out(entry, piece.number, *offset))
                .collect())
        })?;
        if kept.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let begin = self.part.len;
        for (_, entry) in &kept {
            let offset = begin + bytes.len() as u64;
            let crc = entry.encode(&mut bytes, self.file.seed(), offset);
            self.part.digest = entry.history_after(self.part.digest, crc);
        }
        self.write(&bytes, begin)?;
        self.part.len += bytes.len() as u64;
        self.unsynced_bytes += bytes.len() as u64;
        lock::write(index).change(|index| {
            let mut copy_offset = begin;
            for (offset, entry) in &kept {
                let copy = Location::new(&self.file, copy_offset, entry.entry_len() as u32);
                copy_offset += u64::from(copy.len);
                index.apply_copy(entry.key, piece.number, *offset, copy);
            }
            Ok(())
        })
    }

    /// Writes the header and syncs the file. No entry was left out because of a record after `relied_sequence`.
    pub(super) fn seal(&mut self, relied_sequence: u64, relied_history: u64) -> Result<(), Error> {
        debug_assert!(self.is_copied(), "an unfinished file is sealed");
        (self.part.relied_sequence, self.part.relied_history) = (relied_sequence, relied_history);
        self.header.compaction = Some(self.part);
        self.write_header()?;
        self.sync()
    }

    /// Gives the sealed file its name, durable on return. Every record that the compaction relied on must be synced.
    pub(super) fn rename(&self) -> Result<LogFile, Error> {
        rename(&self.setting, &self.temporary, self.file.path())?;
        self.file.release();
        Ok(LogFile::new(Arc::clone(&self.file), &self.header))
    }

    fn write_header(&self) -> Result<(), Error> {
        self.write(&self.header.encode(), 0)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        write_all_at(&*self.handle, bytes, offset)
            .map_err(|source| Error::io("write", &self.temporary, source))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.unsynced_bytes = 0;
        self.handle
            .sync()
            .map_err(|source| Error::io("sync", &self.temporary, source))
    }
}
