//! A file access whose calls go through a function, which may wait before or after the call, leave it out, or fail in its place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{File, FileAccess, FileLock, OpenDir, OpenMode};
use crate::testing::sim_disk::DiskOperationKind as Kind;

/// A call that makes itself when it is called.
pub type FileCall<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// Is given the kind of a call, the path and the call.
type Intercept = dyn Fn(Kind, &Path, FileCall<'_>) -> io::Result<()> + Send + Sync;

/// A file access with a function around each opening, creation, write, sync, rename and removal. Reads, lengths, lists, locks
/// and new directories pass.
///
/// The function is given the kind of the call, the path (of a file the one by which it was opened) and the call itself. It
/// may leave out a sync, a rename or a removal; an opening or a write that it leaves out fails.
///
/// # Examples
/// ```
/// use tidaldb::fs::RealFiles;
/// use tidaldb::testing::lab::InterceptedFiles;
/// use tidaldb::testing::sim_disk::DiskOperationKind;
///
/// let unsynced = InterceptedFiles::new(RealFiles, |kind, _, call| match kind {
///     DiskOperationKind::Sync | DiskOperationKind::SyncDir => Ok(()),
///     _ => call(),
/// });
/// # drop(unsynced);
/// ```
#[derive(Clone)]
pub struct InterceptedFiles {
    files: Arc<dyn FileAccess>,
    intercept: Arc<Intercept>,
}

impl InterceptedFiles {
    /// `files` with `intercept` around its calls.
    pub fn new(
        files: impl FileAccess + 'static,
        intercept: impl Fn(Kind, &Path, FileCall<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            files: Arc::new(files),
            intercept: Arc::new(intercept),
        }
    }
}

impl fmt::Debug for InterceptedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptedFiles")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Makes a call with a value through `intercept`.
fn value_of<T>(
    intercept: &Intercept,
    kind: Kind,
    path: &Path,
    call: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    let mut value = None;
    intercept(kind, path, &mut || {
        value = Some(call()?);
        Ok(())
    })?;
    value.ok_or_else(|| io::Error::other("the call was left out"))
}

impl FileAccess for InterceptedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let kind = match mode {
            OpenMode::Read | OpenMode::Write => Kind::Open,
            OpenMode::Create => Kind::Create,
        };
        let file = value_of(&*self.intercept, kind, path, || self.files.open(path, mode))?;
        Ok(Arc::new(InterceptedFile {
            file,
            path: path.to_path_buf(),
            intercept: Arc::clone(&self.intercept),
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.files.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.files.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.intercept)(Kind::Rename, from, &mut || self.files.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.intercept)(Kind::Remove, path, &mut || self.files.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        (self.intercept)(Kind::SyncDir, path, &mut || self.files.sync_dir(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.files.lock(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        self.files.open_dir(path)
    }
}

struct InterceptedFile {
    file: Arc<dyn File>,
    path: PathBuf,
    intercept: Arc<Intercept>,
}

impl fmt::Debug for InterceptedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl File for InterceptedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let write = || self.file.write_at(bytes, offset);
        value_of(&*self.intercept, Kind::Write, &self.path, write)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync(&self) -> io::Result<()> {
        (self.intercept)(Kind::Sync, &self.path, &mut || self.file.sync())
    }
}
