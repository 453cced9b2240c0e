//! The real file system with the restrictions of some systems, for tests. A directory is reached only by its name. In
//! one variant it cannot be locked.
//!
//! It holds no state. The invariants and the states after a crash are those of [`RealDir`] and [`RealLock`].

use std::fs::{File as StdFile, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::fs::real::directory::RealDir;
use crate::fs::real::lock::RealLock;
use crate::fs::{File, FileAccess, FileLock, OpenDir, OpenMode, RealFiles};

/// The file access of a system that reaches a directory only by its name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FilesByName {
    /// A directory can be locked, as on a BSD system.
    WithDirLocks,
    /// A directory cannot be locked, as on NFS.
    WithoutDirLocks,
}

fn fail_to_lock_directory(_: &StdFile) -> Result<(), TryLockError> {
    Err(TryLockError::Error(io::ErrorKind::Unsupported.into()))
}

impl FileAccess for FilesByName {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        RealFiles.open(path, mode)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        match self {
            Self::WithDirLocks => RealFiles.lock(path),
            Self::WithoutDirLocks => {
                Ok(RealLock::take(path, fail_to_lock_directory)?.map(|lock| Box::new(lock) as _))
            }
        }
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        Ok(Arc::new(RealDir::open_named(path)?))
    }
}
