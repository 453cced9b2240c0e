//! File access: the only way of the engine to files and directories.
//!
//! The engine and the embedded store use files only through [`FileAccess`]. [`RealFiles`] is the operating system's
//! file system; the simulated disk of the test kit is the other implementation. The traits promise no more than POSIX,
//! so an engine that is correct with these promises is correct on a real disk:
//!
//! - Content that was written to a file is durable once a later [`File::sync`] of that file has returned.
//! - The creation, the rename and the removal of a file are durable once a later [`FileAccess::sync_dir`] of its
//!   directory has returned.
//! - Without such a sync, each of these may or may not survive a power loss, in any combination.
//!
//! A process crash loses no effect of a call that has returned.

mod names;
pub(crate) mod real;
mod rooted;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use names::{join, numbered_name, parse_numbered_name};
pub use real::RealFiles;
pub(crate) use rooted::{DirName, RootedFiles, make_dir, resolve};

use crate::Error;

/// The mode of [`FileAccess::open`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new, empty file for reading and writing; an existing file of that name is truncated.
    Create,
}

/// A file system: opens files and changes directories.
///
/// # Errors
/// Every method fails with the [`io::Error`] of the operating system, or with an error that a fault-injecting
/// implementation chose. After a failed call the file or directory may have its old or its new state.
pub trait FileAccess: Send + Sync + Debug {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// See the trait; [`io::ErrorKind::NotFound`] if the file is missing and `mode` is not [`OpenMode::Create`].
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// The names in the directory at `path`, in no particular order. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// See the trait; [`io::ErrorKind::NotFound`] if the directory is missing.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Makes the directory at `path` unless it exists. Its parent must exist.
    ///
    /// # Errors
    /// See the trait.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames the file at `from` to `to`. It atomically replaces a file at `to`.
    ///
    /// # Errors
    /// See the trait.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file at `path`.
    ///
    /// # Errors
    /// See the trait.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes every earlier creation, rename and removal in the directory at `path` durable.
    ///
    /// # Errors
    /// See the trait.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of the file at `path`, and of its directory if the file system can lock a directory.
    /// Creates the file if it is missing. Returns `None` if another holder has one of the locks.
    ///
    /// The lock ends when every process that holds a copy of the returned value has dropped it, executed another
    /// program or ended. A child that was forked while the lock was held holds a copy. [`RealFiles`] waits up to about
    /// 2 seconds for a child that was forked and has not executed its program yet.
    ///
    /// # Errors
    /// See the trait.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>>;

    /// Opens the directory at `path`. It stays open, so that the engine still uses it after its name has changed. Later
    /// calls get paths that begin with [`OpenDir::path`]: a wrapper that forwards this call to [`RealFiles`] does not
    /// get the names of directories any more. If only the engine changes the names, an implementation returns a
    /// [`NamedDir`].
    ///
    /// # Errors
    /// See the trait; [`io::ErrorKind::NotFound`] if the directory is missing.
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>>;
}

/// A directory that stays open.
pub trait OpenDir: Send + Sync + Debug {
    /// The path through which the [`FileAccess`] reaches the directory. It may differ from the path of
    /// [`FileAccess::open_dir`].
    fn path(&self) -> &Path;

    /// Checks that [`path`](Self::path) leads to the directory and that the directory was not removed. The engine calls
    /// it before and after it creates, renames or removes a file there, and before each sync, rotation and checkpoint.
    ///
    /// # Errors
    /// An [`io::Error`] if the path leads to another directory, if the directory was removed, or if the check itself
    /// fails.
    fn check(&self) -> io::Result<()>;
}

/// An [`OpenDir`] that is reached by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDir(pub PathBuf);

impl OpenDir for NamedDir {
    fn path(&self) -> &Path {
        &self.0
    }

    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An open file. Offsets and lengths are in bytes.
///
/// # Errors
/// Every method fails with the [`io::Error`] of the operating system, or with an error that a fault-injecting
/// implementation chose.
pub trait File: Send + Sync + Debug {
    /// Reads at `offset` into `buffer`. Returns the number of bytes that were read, 0 at the end of the file.
    ///
    /// # Errors
    /// See the trait.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the beginning of `bytes` at `offset`, and makes the file longer if necessary. Returns the number of bytes
    /// that were written.
    ///
    /// # Errors
    /// See the trait; any part of `bytes` may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// The file's length.
    ///
    /// # Errors
    /// See the trait.
    fn len(&self) -> io::Result<u64>;

    /// Returns true if the file's length is 0.
    ///
    /// # Errors
    /// See the trait.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the content and the length of the file durable. Its name is durable after [`FileAccess::sync_dir`].
    ///
    /// # Errors
    /// See the trait; content that was not durable before may be lost, also if a later sync succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// An exclusive lock that is held. A drop closes it, and does not affect a copy in a forked child.
pub trait FileLock: Send + Sync + Debug {
    /// Checks that no other process can have taken the lock. The engine calls it before each sync, rotation and
    /// checkpoint.
    ///
    /// # Errors
    /// An [`io::Error`] if the lock file was removed or replaced and the directory itself is not locked, or if the
    /// check itself fails.
    fn check(&self) -> io::Result<()>;
}

/// The names in the directory `dir`; none if it does not exist.
///
/// # Errors
/// `Io`.
pub(crate) fn list_if_present(files: &dyn FileAccess, dir: &Path) -> Result<Vec<String>, Error> {
    match files.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| Error::io("list", dir, error)),
    }
}

/// Writes all of `bytes` at `offset`. Continues after short and interrupted writes.
///
/// # Errors
/// The first error of [`File::write_at`]; [`io::ErrorKind::WriteZero`] if a write accepts nothing.
pub(crate) fn write_all_at(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads at `offset` until `buffer` is full or the file ends. Returns the number of bytes that were read.
///
/// # Errors
/// The first error of [`File::read_at`] except [`io::ErrorKind::Interrupted`].
pub(crate) fn read_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The whole content of `file`. Memory is bounded by the file's length.
///
/// # Errors
/// The errors of [`File::len`] and [`File::read_at`]; [`io::ErrorKind::OutOfMemory`] if the memory for the content is
/// missing.
pub(crate) fn read_whole(file: &dyn File) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.resize(len, 0);
    let read = read_full_at(file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
