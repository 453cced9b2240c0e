//! Bugs of the file access: a wrapper that stands between the database and the disk and breaks one promise of
//! [`FileAccess`], or of those who use it.
//!
//! Each bug is a type of its own that does what is asked for but in the calls it breaks. There is a new one for every
//! opening of the database, so what it keeps in memory is lost with the process, as it would be.

mod errors;
mod names;
mod reads;
mod rollback;
mod syncs;
mod writes;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Acts, PlantedBug};
use crate::fs::{File, FileAccess, FileLock, OpenDir, OpenMode};
use crate::testing::CrashSweep;

/// What the engine uses a file for, as its path tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Segment,
    /// A segment under its temporary name.
    NewSegment,
    StoreFile,
    /// A file of the store under its temporary name.
    NewStoreFile,
    Other,
}

impl Role {
    fn of(path: &Path) -> Self {
        let dir = path.parent().and_then(Path::file_name);
        let is_temporary = path.extension().is_some_and(|extension| extension == "tmp");
        match (dir.and_then(|name| name.to_str()), is_temporary) {
            (Some("log"), false) => Self::Segment,
            (Some("log"), true) => Self::NewSegment,
            (Some("store"), false) => Self::StoreFile,
            (Some("store"), true) => Self::NewStoreFile,
            _ => Self::Other,
        }
    }
}

/// An open file, as a bug sees it.
#[derive(Debug)]
struct Target {
    inner: Arc<dyn File>,
    /// Different for each handle.
    id: u64,
    /// The name it has now.
    path: Mutex<PathBuf>,
    mode: OpenMode,
}

impl Target {
    fn role(&self) -> Role {
        Role::of(&self.path.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_called(&self, path: &Path) -> bool {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) == path
    }
}

/// A bug. What it does not break it leaves to the file access behind it.
trait FileBug: Send + Sync + fmt::Debug {
    /// The database is about to be opened.
    fn opening(&self, _files: &dyn FileAccess) {}

    fn open(&self, files: &dyn FileAccess, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        files.open(path, mode)
    }

    fn list(&self, files: &dyn FileAccess, path: &Path) -> io::Result<Vec<String>> {
        files.list(path)
    }

    /// `file` is the open file that is called `from`, if there is one.
    fn rename(
        &self,
        files: &dyn FileAccess,
        from: &Path,
        to: &Path,
        _file: Option<&Target>,
    ) -> io::Result<()> {
        files.rename(from, to)
    }

    fn remove(&self, files: &dyn FileAccess, path: &Path) -> io::Result<()> {
        files.remove(path)
    }

    fn sync_dir(&self, files: &dyn FileAccess, path: &Path) -> io::Result<()> {
        files.sync_dir(path)
    }

    fn lock(&self, files: &dyn FileAccess, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        files.lock(path)
    }

    fn read_at(&self, file: &Target, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.inner.read_at(buffer, offset)
    }

    fn write_at(&self, file: &Target, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.inner.write_at(bytes, offset)
    }

    fn sync(&self, file: &Target) -> io::Result<()> {
        file.inner.sync()
    }

    /// The last handle of the file is about to go.
    fn closing(&self, _file: &Target) {}
}

/// Puts `bug` between the database and the files of `sweep`.
pub(super) fn plant(bug: PlantedBug, sweep: CrashSweep, acts: &Acts) -> CrashSweep {
    let acts = acts.clone();
    let backup = rollback::Backup::default();
    sweep.with_setup(move |setup| {
        let before = setup.files.take();
        setup.files = Some(Arc::new(move |files| {
            let files = match &before {
                Some(wrap) => wrap(files),
                None => files,
            };
            Arc::new(PlantedFiles::new(files, make(bug, &acts, &backup)))
        }));
    })
}

/// The wrapper with no bug in it.
#[cfg(test)]
pub(super) fn with_nothing_wrong(sweep: CrashSweep) -> CrashSweep {
    #[derive(Debug)]
    struct Nothing;
    impl FileBug for Nothing {}
    sweep.files(|files| Arc::new(PlantedFiles::new(files, Arc::new(Nothing))))
}

/// A destructor that writes to the segment it has open, only while a panic unwinds.
#[cfg(test)]
pub(in crate::testing) fn with_a_parting_write(sweep: CrashSweep) -> CrashSweep {
    #[derive(Debug)]
    struct Parting;
    impl FileBug for Parting {
        fn closing(&self, file: &Target) {
            if file.role() == Role::Segment && std::thread::panicking() {
                // A file that is open for reading refuses it.
                file.inner.write_at(b"the end", 900).ok();
            }
        }
    }
    sweep.files(|files| Arc::new(PlantedFiles::new(files, Arc::new(Parting))))
}

fn make(bug: PlantedBug, acts: &Acts, backup: &rollback::Backup) -> Arc<dyn FileBug> {
    let acts = acts.clone();
    let made = syncs::make(bug, &acts)
        .or_else(|| names::make(bug, &acts))
        .or_else(|| writes::make(bug, &acts))
        .or_else(|| errors::make(bug, &acts))
        .or_else(|| reads::make(bug, &acts))
        .or_else(|| rollback::make(bug, &acts, backup));
    match made {
        Some(made) => made,
        None => unreachable!("{bug} is no bug of the file access"),
    }
}

#[derive(Debug)]
struct PlantedFiles {
    inner: Arc<dyn FileAccess>,
    bug: Arc<dyn FileBug>,
    targets: Mutex<Vec<Weak<Target>>>,
    next_id: AtomicU64,
}

impl PlantedFiles {
    fn new(inner: Arc<dyn FileAccess>, bug: Arc<dyn FileBug>) -> Self {
        bug.opening(inner.as_ref());
        Self {
            inner,
            bug,
            targets: Mutex::default(),
            next_id: AtomicU64::new(0),
        }
    }

    fn target(&self, path: &Path) -> Option<Arc<Target>> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.retain(|target| target.strong_count() > 0);
        let mut open = targets.iter().filter_map(Weak::upgrade);
        open.find(|target| target.is_called(path))
    }
}

impl FileAccess for PlantedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.bug.open(self.inner.as_ref(), path, mode)?;
        let target = Arc::new(Target {
            inner,
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            path: Mutex::new(path.to_path_buf()),
            mode,
        });
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.push(Arc::downgrade(&target));
        Ok(Arc::new(PlantedFile {
            target,
            bug: Arc::clone(&self.bug),
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.bug.list(self.inner.as_ref(), path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let target = self.target(from);
        self.bug
            .rename(self.inner.as_ref(), from, to, target.as_deref())?;
        if let Some(target) = target {
            *target.path.lock().unwrap_or_else(PoisonError::into_inner) = to.to_path_buf();
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.bug.remove(self.inner.as_ref(), path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.bug.sync_dir(self.inner.as_ref(), path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.bug.lock(self.inner.as_ref(), path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        self.inner.open_dir(path)
    }
}

#[derive(Debug)]
struct PlantedFile {
    target: Arc<Target>,
    bug: Arc<dyn FileBug>,
}

impl File for PlantedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.bug.read_at(&self.target, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.bug.write_at(&self.target, bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.target.inner.len()
    }

    fn sync(&self) -> io::Result<()> {
        self.bug.sync(&self.target)
    }
}

impl Drop for PlantedFile {
    fn drop(&mut self) {
        self.bug.closing(&self.target);
    }
}

/// Counts to `one_in`, over and over.
#[derive(Debug)]
struct Every {
    one_in: u64,
    seen: AtomicU64,
}

impl Every {
    fn one_in(one_in: u64) -> Self {
        Self {
            one_in,
            seen: AtomicU64::new(0),
        }
    }

    fn is_due(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        seen.is_multiple_of(self.one_in)
    }
}
