//! The operating system's files, with a record of what of them is synced.
//!
//! A killed process keeps its page cache, so no kill shows a missing sync. This does: it follows, for each file, which
//! written bytes no sync has covered, and, for each directory, which entries no sync of it has covered, and holds the
//! log to its order while it is being written. Files are known by their names; what was there before is taken as synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tidaldb::fs::{File, FileAccess, FileLock, NamedDir, OpenDir, OpenMode, RealFiles};

use crate::harness::lock;

/// What is not durable, and what was done in the wrong order.
#[derive(Debug, Default)]
struct Record {
    /// The bytes of a file that were written since its last sync, by the identity of the file.
    unsynced: BTreeMap<u64, u64>,
    /// Which file has a name.
    names: BTreeMap<PathBuf, u64>,
    /// Names that were given since the last sync of their directory.
    unsynced_names: BTreeSet<PathBuf>,
    /// Names that were taken away since then.
    unsynced_removals: BTreeSet<PathBuf>,
    next_identity: u64,
    /// Writes of frames, that is, of anything but zeros, to named segments.
    frames_written: u64,
    segments_made: u64,
    segments_removed: u64,
    wrong: Vec<String>,
}

/// A part of the database's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Log,
    Store,
    Whole,
}

impl Part {
    fn holds(self, path: &Path) -> bool {
        let is_in = |name: &str| path.parent().is_some_and(|parent| parent.ends_with(name));
        match self {
            Self::Log => is_in("log"),
            Self::Store => is_in("store"),
            Self::Whole => true,
        }
    }
}

/// See the module's doc.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrackedFiles {
    record: Arc<Mutex<Record>>,
}

#[derive(Debug)]
struct TrackedFile {
    file: Arc<dyn File>,
    identity: u64,
    record: Arc<Mutex<Record>>,
}

impl TrackedFiles {
    /// What of `part` a power loss could take, in words. Empty: nothing.
    pub(crate) fn unsynced(&self, part: Part) -> Vec<String> {
        lock(&self.record).unsynced(part)
    }

    /// The trimmed segments that a power loss could bring back.
    pub(crate) fn unsynced_trims(&self) -> Vec<PathBuf> {
        lock(&self.record).unsynced_trims().cloned().collect()
    }

    /// What was done in the wrong order so far, in words.
    pub(crate) fn wrong(&self) -> Vec<String> {
        lock(&self.record).wrong.clone()
    }

    /// How many frames were written.
    pub(crate) fn frames_written(&self) -> u64 {
        lock(&self.record).frames_written
    }

    /// How many segments of the log were made, and how many removed.
    pub(crate) fn segments(&self) -> (u64, u64) {
        let record = lock(&self.record);
        (record.segments_made, record.segments_removed)
    }
}

impl Record {
    fn unsynced(&self, part: Part) -> Vec<String> {
        let bytes = self
            .names
            .iter()
            .filter(|(path, _)| part.holds(path))
            .filter_map(|(path, identity)| {
                let bytes = self.unsynced.get(identity).copied().filter(|bytes| *bytes > 0)?;
                Some(format!("{bytes} bytes of {}", path.display()))
            });
        let names = self
            .unsynced_names
            .iter()
            .filter(|path| part.holds(path))
            .map(|path| format!("the name {}", path.display()));
        bytes.chain(names).collect()
    }

    /// The removed segments that a power loss could bring back.
    fn unsynced_trims(&self) -> impl Iterator<Item = &PathBuf> {
        self.unsynced_removals.iter().filter(|path| is_segment(path))
    }

    fn identify(&mut self, path: &Path) -> u64 {
        if let Some(identity) = self.names.get(path) {
            return *identity;
        }
        let identity = self.next_identity;
        self.next_identity += 1;
        self.names.insert(path.to_path_buf(), identity);
        identity
    }

    fn path_of(&self, identity: u64) -> Option<PathBuf> {
        let named = self.names.iter().find(|(_, of)| **of == identity);
        named.map(|(path, _)| path.clone())
    }

    fn written(&mut self, identity: u64, bytes: &[u8]) {
        *self.unsynced.entry(identity).or_default() += bytes.len() as u64;
        let Some(path) = self.path_of(identity).filter(|path| is_segment(path)) else {
            return;
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return;
        }
        self.frames_written += 1;
        if self.unsynced_names.contains(&path) {
            self.wrong.push(format!(
                "a frame in {} before its directory is synced",
                path.display()
            ));
        }
        let older = self
            .names
            .range(..path.clone())
            .filter(|(older, _)| is_segment(older));
        for (older, identity) in older {
            if self.unsynced.get(identity).is_some_and(|bytes| *bytes > 0) {
                self.wrong.push(format!(
                    "a frame in {} before {} is synced",
                    path.display(),
                    older.display()
                ));
            }
        }
    }

    fn renamed(&mut self, from: &Path, to: &Path) {
        if is_segment(to) {
            self.segments_made += 1;
            let log = self.unsynced(Part::Log);
            let unsynced: Vec<_> = log.iter().filter(|what| !what.starts_with("the name")).collect();
            if !unsynced.is_empty() {
                self.wrong.push(format!(
                    "{} got its name with {unsynced:?} not synced",
                    to.display()
                ));
            }
        }
        if let Some(identity) = self.names.remove(from) {
            self.names.insert(to.to_path_buf(), identity);
        }
        self.unsynced_names.remove(from);
        self.unsynced_names.insert(to.to_path_buf());
    }

    fn removed(&mut self, path: &Path) {
        if is_segment(path) {
            self.segments_removed += 1;
            let unsynced = self.unsynced(Part::Store);
            if !unsynced.is_empty() {
                self.wrong.push(format!(
                    "{} was trimmed with {unsynced:?} of the store not synced",
                    path.display()
                ));
            }
        }
        self.names.remove(path);
        self.unsynced_names.remove(path);
        self.unsynced_removals.insert(path.to_path_buf());
    }
}

/// Whether it is a segment of the log under its final name.
fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal") && Part::Log.holds(path)
}

impl FileAccess for TrackedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = RealFiles.open(path, mode)?;
        let mut record = lock(&self.record);
        if mode == OpenMode::Create {
            record.names.remove(path);
            record.unsynced_names.insert(path.to_path_buf());
        }
        let identity = record.identify(path);
        Ok(Arc::new(TrackedFile {
            file,
            identity,
            record: Arc::clone(&self.record),
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.create_dir(path)?;
        lock(&self.record).unsynced_names.insert(path.to_path_buf());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut record = lock(&self.record);
        RealFiles.rename(from, to)?;
        record.renamed(from, to);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut record = lock(&self.record);
        RealFiles.remove(path)?;
        record.removed(path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.sync_dir(path)?;
        let mut record = lock(&self.record);
        record.unsynced_names.retain(|name| name.parent() != Some(path));
        record
            .unsynced_removals
            .retain(|name| name.parent() != Some(path));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        RealFiles.lock(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        // The record needs the names, and only the engine changes them here.
        Ok(Arc::new(NamedDir(path.to_path_buf())))
    }
}

impl File for TrackedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // Noted first: what a failed write left is not durable either.
        lock(&self.record).written(self.identity, bytes);
        self.file.write_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync(&self) -> io::Result<()> {
        // What is written while the sync runs is not covered by it.
        let covered = lock(&self.record).unsynced.get(&self.identity).copied();
        self.file.sync()?;
        if let Some(left) = lock(&self.record).unsynced.get_mut(&self.identity) {
            *left -= covered.unwrap_or(0).min(*left);
        }
        Ok(())
    }
}
