//! Access to files below one root directory. Each directory is opened at its first use and kept open, so that a rename, a
//! replaced directory or a `chdir` does not lead the handle to other files.
//!
//! Invariant: a file is created, renamed or removed only in a directory that this handle opened. A directory that can be
//! reached only by its name is compared before and after the call; a rename between comparison and call is not noticed.
//!
//! [`RootedFiles`] holds its state in memory only, so a crash leaves nothing of it. [`make_dir`] says what a crash in it leaves.

use std::io;
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::names::join;
use super::{File, FileAccess, FileLock, OpenDir, OpenMode};
use crate::Error;
use crate::lock::{read, write};

/// The absolute form of `path`, so that it names the same directory after a `chdir`. A handle uses it until it is dropped.
///
/// # Errors
/// `InvalidInput` for an empty path; `Io` if the path is relative and there is no working directory.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    if path.as_os_str().is_empty() {
        return Err(Error::invalid("path", "empty", "it must name a directory"));
    }
    path::absolute(path).map_err(|error| Error::io("resolve", path, error))
}

/// The name of a directory, if the directory exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirName {
    /// An earlier open made the name durable.
    Durable,
    /// A crash may have ended the open that made the directory before it made the name durable.
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

/// Makes the directory `dir` unless it exists. Then makes its name durable, unless `name` is and the directory existed.
///
/// A crash leaves no directory, or one whose name a power loss may still remove.
///
/// # Errors
/// `Io`.
pub(crate) fn make_dir(files: &dyn FileAccess, dir: &Path, name: DirName) -> Result<(), Error> {
    let is_there = files.list(dir).is_ok();
    if !is_there {
        files
            .create_dir(dir)
            .map_err(|error| Error::io("create directory", dir, error))?;
    }
    let Some(parent) = dir.parent() else { return Ok(()) };
    if is_there && name == DirName::Durable {
        return Ok(());
    }
    match files.sync_dir(parent) {
        // No permission to sync the parent, so no earlier open of this user created the directory.
        Err(error) if is_there && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
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

    /// The directory at `path`, opened if it is not open yet; `None` outside the root.
    fn dir_at(&self, path: &Path) -> io::Result<Option<Arc<dyn OpenDir>>> {
        let find = |open: &[(PathBuf, Arc<dyn OpenDir>)]| {
            let mut open = open.iter();
            // A comparison of paths, part by part, costs many times more. A path of other bytes is looked up once.
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
        // Another thread may have opened it meanwhile. Its directory is used.
        if let Some(dir) = find(&open) {
            return Ok(Some(dir));
        }
        open.push((path.to_path_buf(), Arc::clone(&opened)));
        Ok(Some(opened))
    }

    /// The path of a name in an open directory. Paths of the root itself and outside it are unchanged.
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
    /// That of [`OpenDir::check`].
    pub(crate) fn check(&self) -> io::Result<()> {
        read(&self.open).iter().try_for_each(|(_, dir)| dir.check())
    }

    /// Changes the directory that `path` lies in. `change` gets the path to use.
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
        debug_assert_eq!(from.parent(), to.parent(), "one directory is checked");
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
