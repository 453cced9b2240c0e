//! Access to files below one root directory. Each directory is opened at its first use and stays open, so that after a
//! rename, a replacement of the directory or a `chdir` the handle still uses the same files.
//!
//! Invariant: a file is created, renamed or removed only in a directory that this handle opened. A directory that can
//! be reached only by its name is compared before and after the call; a rename between comparison and call is not
//! noticed.
//!
//! [`RootedFiles`] holds its state in memory only, so a crash leaves nothing of it. The docs of [`make_dir`] list the
//! states after a crash in it.

use std::io;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use super::names::join;
use super::{File, FileAccess, FileLock, OpenDir, OpenMode};
use crate::Error;
use crate::sync::{RwLock, read, write};

/// The absolute form of `path`, which names the same directory after a `chdir`. A handle uses it until it is dropped.
///
/// # Errors
/// `InvalidInput` for an empty path; `Io` if the path is relative and the process has no working directory.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    if path.as_os_str().is_empty() {
        return Err(Error::invalid("path", "empty", "it must name a directory"));
    }
    path::absolute(path).map_err(|error| Error::io("resolve", path, error))
}

/// The durability of the name of an existing directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirName {
    /// An earlier open made the name durable.
    Durable,
    /// The open that made the directory may have ended before it made the name durable.
    MayBeLost,
}

impl DirName {
    pub(crate) fn durable_if(is_durable: bool) -> Self {
        if is_durable {
            Self::Durable
        } else {
            Self::MayBeLost
        }
    }
}

/// Makes the directory `dir` unless it exists. Then makes its name durable, unless the directory existed and its `name`
/// is durable.
///
/// A crash leaves no directory, or one whose name a power loss may still remove.
///
/// # Errors
/// `Io`.
pub(crate) fn make_dir(files: &dyn FileAccess, dir: &Path, name: DirName) -> Result<(), Error> {
    let existed = files.list(dir).is_ok();
    if !existed {
        files
            .create_dir(dir)
            .map_err(|error| Error::io("create directory", dir, error))?;
    }
    let Some(parent) = dir.parent() else { return Ok(()) };
    if existed && name == DirName::Durable {
        return Ok(());
    }
    match files.sync_dir(parent) {
        // This user cannot sync the parent, so no earlier open of this user created the directory.
        Err(error) if existed && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(|error| Error::io("sync directory", parent, error)),
    }
}

/// See the module's documentation. Paths outside `root` are reached by their names.
#[derive(Debug)]
pub(crate) struct RootedFiles {
    files: Arc<dyn FileAccess>,
    root: PathBuf,
    open: RwLock<Vec<(PathBuf, Arc<dyn OpenDir>)>>,
}

impl RootedFiles {
    /// Access to `root`, an absolute path.
    pub(crate) fn new(files: Arc<dyn FileAccess>, root: PathBuf) -> Self {
        Self {
            files,
            root,
            open: RwLock::default(),
        }
    }

    /// The directory at `path`. Opens it if it is not open yet. `None` outside the root.
    fn dir_at(&self, path: &Path) -> io::Result<Option<Arc<dyn OpenDir>>> {
        let find = |open: &[(PathBuf, Arc<dyn OpenDir>)]| {
            let mut open = open.iter();
            // A comparison of paths by their parts costs many times more than one of their bytes.
            open.find(|(named, _)| named.as_os_str() == path.as_os_str())
                .map(|(_, dir)| Arc::clone(dir))
        };
        if let Some(dir) = find(&read(&self.open)) {
            return Ok(Some(dir));
        }
        if !path.starts_with(&self.root) {
            return Ok(None);
        }
        let opened = self.files.open_dir(&self.path_through_dir(path)?)?;
        let mut open = write(&self.open);
        // Another thread may have opened the directory meanwhile. Then its handle is used.
        if let Some(dir) = find(&open) {
            return Ok(Some(dir));
        }
        open.push((path.to_path_buf(), Arc::clone(&opened)));
        Ok(Some(opened))
    }

    /// The path of a file through its open directory. The root itself and paths outside the root are unchanged.
    fn path_through_dir(&self, path: &Path) -> io::Result<PathBuf> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(path.to_path_buf());
        };
        let dir = self.dir_at(parent)?;
        Ok(dir.map_or_else(|| path.to_path_buf(), |dir| join(dir.path(), name)))
    }

    /// The path of an open directory.
    fn path_of_dir(&self, path: &Path) -> io::Result<PathBuf> {
        let dir = self.dir_at(path)?;
        Ok(dir.map_or_else(|| path.to_path_buf(), |dir| dir.path().to_path_buf()))
    }

    /// Checks every open directory.
    ///
    /// # Errors
    /// The error of [`OpenDir::check`].
    pub(crate) fn check(&self) -> io::Result<()> {
        read(&self.open).iter().try_for_each(|(_, dir)| dir.check())
    }

    /// Calls `change`, which changes the parent directory of `path`, with the path through the open directory. Checks
    /// that directory before and after the call.
    fn change<T>(&self, path: &Path, change: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return change(path);
        };
        let Some(dir) = self.dir_at(parent)? else {
            return change(path);
        };
        dir.check()?;
        let result = change(&join(dir.path(), name));
        dir.check()?;
        result
    }
}

impl FileAccess for RootedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        match mode {
            OpenMode::Read | OpenMode::Write => self.files.open(&self.path_through_dir(path)?, mode),
            OpenMode::Create => self.change(path, |path| self.files.open(path, mode)),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.files.list(&self.path_of_dir(path)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(path, |path| self.files.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        debug_assert_eq!(from.parent(), to.parent(), "a rename stays in its directory");
        let to = self.path_through_dir(to)?;
        self.change(from, |from| self.files.rename(from, &to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(path, |path| self.files.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let Some(dir) = self.dir_at(path)? else {
            return self.files.sync_dir(path);
        };
        self.files.sync_dir(dir.path())?;
        dir.check()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.change(path, |path| self.files.lock(path))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        self.files.open_dir(&self.path_through_dir(path)?)
    }
}
