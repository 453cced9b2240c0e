//! Access to files below one root directory. Each directory is opened at its first use and kept open, so that a rename, a
//! replaced directory or a `chdir` does not lead the handle to other files.
//!
//! Invariant: a file is created, renamed or removed only in a directory that this handle opened. A directory that can be
//! reached only by its name is compared before and after the call; a rename between comparison and call is not noticed.
//!
//! [`HeldFiles`] holds its state in memory only, so a crash leaves nothing of it. [`make_dir`] says what a crash in it leaves.

use std::io;
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::{File, FileAccess, FileLock, HeldDir, OpenMode};
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
pub(crate) struct HeldFiles {
    files: Arc<dyn FileAccess>,
    root: PathBuf,
    held: RwLock<Vec<(PathBuf, Arc<dyn HeldDir>)>>,
}

impl HeldFiles {
    /// Access to `root`, an absolute path.
    pub(crate) fn new(files: Arc<dyn FileAccess>, root: PathBuf) -> Self {
        Self {
            files,
            root,
            held: RwLock::default(),
        }
    }

    /// The directory at `path`, opened if it is not open yet; `None` outside the root.
    fn held(&self, path: &Path) -> io::Result<Option<Arc<dyn HeldDir>>> {
        if !path.starts_with(&self.root) {
            return Ok(None);
        }
        let find = |held: &[(PathBuf, Arc<dyn HeldDir>)]| {
            let mut held = held.iter();
            held.find(|(named, _)| named == path)
                .map(|(_, dir)| Arc::clone(dir))
        };
        if let Some(dir) = find(&read(&self.held)) {
            return Ok(Some(dir));
        }
        let opened = self.files.hold_dir(&self.reached(path)?)?;
        let mut held = write(&self.held);
        // Another thread may have opened it meanwhile. Its directory is used.
        if let Some(dir) = find(&held) {
            return Ok(Some(dir));
        }
        held.push((path.to_path_buf(), Arc::clone(&opened)));
        Ok(Some(opened))
    }

    /// The path of a name in an open directory. Paths of the root itself and outside it are unchanged.
    fn reached(&self, path: &Path) -> io::Result<PathBuf> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(path.to_path_buf());
        };
        let dir = self.held(parent)?;
        Ok(dir.map_or_else(|| path.to_path_buf(), |dir| dir.path().join(name)))
    }

    /// The path of an open directory.
    fn reached_dir(&self, path: &Path) -> io::Result<PathBuf> {
        let dir = self.held(path)?;
        Ok(dir.map_or_else(|| path.to_path_buf(), |dir| dir.path().to_path_buf()))
    }

    /// Checks every open directory.
    ///
    /// # Errors
    /// That of [`HeldDir::check`].
    pub(crate) fn check(&self) -> io::Result<()> {
        read(&self.held).iter().try_for_each(|(_, dir)| dir.check())
    }

    /// Changes the directory that `path` lies in. `change` gets the path to use.
    fn change<T>(&self, path: &Path, change: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return change(path);
        };
        let Some(dir) = self.held(parent)? else {
            return change(path);
        };
        dir.check()?;
        let result = change(&dir.path().join(name));
        dir.check()?;
        result
    }
}

impl FileAccess for HeldFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        match mode {
            OpenMode::Read | OpenMode::Write => self.files.open(&self.reached(path)?, mode),
            OpenMode::Create => self.change(path, |path| self.files.open(path, mode)),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.files.list(&self.reached_dir(path)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(path, |path| self.files.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        debug_assert_eq!(from.parent(), to.parent(), "one directory is checked");
        let to = self.reached(to)?;
        self.change(from, |from| self.files.rename(from, &to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(path, |path| self.files.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let Some(dir) = self.held(path)? else {
            return self.files.sync_dir(path);
        };
        self.files.sync_dir(dir.path())?;
        dir.check()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.change(path, |path| self.files.lock(path))
    }

    fn hold_dir(&self, path: &Path) -> io::Result<Arc<dyn HeldDir>> {
        self.files.hold_dir(&self.reached(path)?)
    }
}
