//! A compaction in progress: one new file replaces adjacent sealed files, the originals.
//!
//! The new file is written under its temporary name, in steps. A step reads a chunk of an original, copies the needed
//! entries, and points the index at the copies. Reads use the copies at once: a crash ends the index, and the next open
//! does not use the temporary file. When all originals were read, [`RunningCompaction::seal`] writes the header and
//! syncs the file. The caller then syncs the tail: the new file lacks entries that later records outdated, so these
//! records must be durable. Then the caller renames the file and syncs the directory.
//!
//! A crash before the rename is durable leaves a temporary file. A crash after it leaves the new file, perhaps with
//! some of the originals. Open removes the temporary file and the originals.

use std::path::PathBuf;
use std::sync::Arc;

use super::data_file::{DataFile, create_temporary, rename};
use super::entry_reader::{EntryChunk, EntryReader};
use super::format::{CompactedPart, FILE_HEADER_LEN, FileHeader};
use super::index::{KeyIndex, Location};
use super::log::{LogFile, sum_of_digests};
use super::names::StoreFileName;
use super::options::StoreSettings;
use crate::Error;
use crate::fs::{File, join, write_all_at};
use crate::intact::Intact;
use crate::sync::{self, RwLock};

/// A compaction that has begun: the files that it replaces, and the new file so far.
#[derive(Debug)]
pub(super) struct RunningCompaction {
    settings: Arc<StoreSettings>,
    originals: Vec<LogFile>,
    /// The fields of the new file's header that only a compacted file has. Its length and digest grow with each step.
    part: CompactedPart,
    /// The new file.
    file: Arc<DataFile>,
    handle: Arc<dyn File>,
    temporary: PathBuf,
    /// The number of originals whose reading has begun.
    begun_len: usize,
    /// The position in the original that is read; `None` between two originals.
    reader: Option<EntryReader>,
    unsynced_bytes: u64,
}

impl RunningCompaction {
    /// Makes the temporary file, with this number, of a compaction of `originals`.
    pub(super) fn begin(
        settings: &Arc<StoreSettings>,
        number: u64,
        originals: Vec<LogFile>,
    ) -> Result<Self, Error> {
        let (first, last) = (&originals[0], &originals[originals.len() - 1]);
        let part = CompactedPart {
            last_place: last.last_place,
            after: last.after,
            len: FILE_HEADER_LEN as u64,
            digest: CompactedPart::digest_without_entries(&first.before, &last.after),
            ..CompactedPart::default()
        };
        let temporary = join(&settings.dir, StoreFileName::Temporary(number).build());
        let handle = create_temporary(settings, &temporary)?;
        let header = header_of(settings, number, &originals, part);
        let file = Arc::new(DataFile::new(settings, &header));
        settings.open_files.pin(number, Arc::clone(&handle));
        let compaction = Self {
            settings: Arc::clone(settings),
            originals,
            part,
            file,
            handle,
            temporary,
            begun_len: 0,
            reader: None,
            unsynced_bytes: 0,
        };
        compaction.write_header()?;
        Ok(compaction)
    }

    /// The present length of the new file.
    pub(super) fn end(&self) -> u64 {
        self.part.len
    }

    /// Returns true if all originals were read and copied.
    pub(super) fn is_copied(&self) -> bool {
        self.reader.is_none() && self.begun_len >= self.originals.len()
    }

    /// Reads one chunk of an original and copies its needed entries. Returns the length of the chunk; 0 at the
    /// beginning and at the end of an original.
    pub(super) fn step(&mut self, index: &RwLock<Intact<KeyIndex>>) -> Result<u64, Error> {
        let Some(reader) = &mut self.reader else {
            self.reader = self.originals.get(self.begun_len).map(EntryReader::new);
            self.begun_len += 1;
            return Ok(0);
        };
        let Some(chunk) = reader.next(self.settings.limits.store_step_bytes)? else {
            self.reader = None;
            return Ok(0);
        };
        self.copy(&chunk, index)?;
        if self.unsynced_bytes >= self.settings.limits.store_unsynced_bytes_max {
            self.sync()?;
        }
        Ok(chunk.len)
    }

    fn copy(&mut self, chunk: &EntryChunk, index: &RwLock<Intact<KeyIndex>>) -> Result<(), Error> {
        // This may make a removal garbage, because the compaction discards the last older value of its key. The removal
        // is needed until the compaction ends and replaces the files with that value. No other compaction, which could
        // discard the removal earlier, runs meanwhile.
        let needed: Vec<_> = sync::write(index).change(|index| {
            let entries = chunk.entries();
            Ok(entries
                .filter(|(offset, entry)| index.select_for_compaction(entry, chunk.number, *offset))
                .collect())
        })?;
        if needed.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let begin = self.part.len;
        for (_, entry) in &needed {
            let offset = begin + bytes.len() as u64;
            let crc = entry.encode(&mut bytes, self.file.seed(), offset);
            self.part.digest = entry.history_after(self.part.digest, crc);
        }
        self.write(&bytes, begin)?;
        self.part.len += bytes.len() as u64;
        self.unsynced_bytes += bytes.len() as u64;
        sync::write(index).change(|index| {
            let mut copy_offset = begin;
            for (offset, entry) in &needed {
                let copy = Location::new(&self.file, copy_offset, entry.entry_len() as u32);
                copy_offset += u64::from(copy.len);
                index.apply_copy(entry.key, chunk.number, *offset, copy);
            }
            Ok(())
        })
    }

    /// Writes the header and syncs the file. The new file must lack no entry because of a record after
    /// `relied_sequence`.
    pub(super) fn seal(&mut self, relied_sequence: u64, relied_history: u64) -> Result<(), Error> {
        debug_assert!(self.is_copied(), "an unfinished file is sealed");
        (self.part.relied_sequence, self.part.relied_history) = (relied_sequence, relied_history);
        self.write_header()?;
        self.sync()
    }

    /// Gives the sealed file its final name, durable on return. Every record up to the relied one must be synced.
    pub(super) fn rename(&self) -> Result<LogFile, Error> {
        rename(&self.settings, &self.temporary, self.file.path())?;
        self.file.unpin();
        Ok(LogFile::new(Arc::clone(&self.file), &self.header()))
    }

    fn header(&self) -> FileHeader {
        header_of(&self.settings, self.file.number, &self.originals, self.part)
    }

    fn write_header(&self) -> Result<(), Error> {
        self.write(&self.header().encode(), 0)
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

/// The header of the file with this number that replaces `originals`.
fn header_of(
    settings: &StoreSettings,
    number: u64,
    originals: &[LogFile],
    part: CompactedPart,
) -> FileHeader {
    let first = &originals[0];
    FileHeader {
        store_id: settings.store_id,
        number,
        first_place: first.first_place,
        before: first.before,
        digest_sum: sum_of_digests(originals),
        opening: settings.opening,
        compaction: Some(part),
    }
}
