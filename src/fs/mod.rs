//! File access: the one way the engine reaches files and directories.
//!
//! The engine and the embedded store see files only through [`FileAccess`]; [`RealFiles`] is the operating system's
//! file system, and the test kit's simulated disk is the other implementation. The traits promise as much as POSIX, so that
//! an engine that is correct against them is correct on a real disk:
//!
//! - content that was written to a file is durable once a later [`File::sync`] of that file returned;
//! - that a file exists under its name, was renamed or removed is durable once a later [`FileAccess::sync_dir`] of its
//!   directory returned;
//! - without such a sync, each of these may or may not survive a power loss, in any combination.
//!
//! A process crash loses nothing that a call had returned for.

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

/// How [`FileAccess::open`] opens a file.
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
/// Every method fails with the [`io::Error`] of the operating system, or one that a fault-injecting implementation
/// chose. After a failed call the state of the file or directory concerned may be the old or the new one.
pub trait FileAccess: Send + Sync + Debug {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// As the trait says; [`io::ErrorKind::NotFound`] if there is no such file and `mode` is not [`OpenMode::Create`].
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// The names in the directory at `path`, in no particular order; names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// As the trait says; [`io::ErrorKind::NotFound`] if there is no such directory.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Makes the directory at `path` unless there is one. Its parent must exist.
    ///
    /// # Errors
    /// As the trait says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives the file at `from` the name `to`, atomically replacing a file that has it.
    ///
    /// # Errors
    /// As the trait says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file at `path`.
    ///
    /// # Errors
    /// As the trait says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes every earlier creation, renaming and removal in the directory at `path` durable.
    ///
    /// # Errors
    /// As the trait says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of the file at `path`, which is created if need be, and of its directory where the file
    /// system can lock a directory. Returns `None` if another holder has either.
    ///
    /// The lock ends when every process that holds a copy of the returned value has dropped it, executed another program or
    /// ended. A child that was forked while the lock was held holds a copy. [`RealFiles`] waits up to about 2 seconds for a
    /// child that was forked and has not executed its program yet.
    ///
    /// # Errors
    /// As the trait says.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>>;

    /// Opens the directory at `path` and keeps it open, so that the engine keeps using it after its name has changed. Later
    /// calls get paths that begin with [`OpenDir::path`]: a wrapper that passes this call on to [`RealFiles`] does not see the
    /// names of directories any more. An implementation whose names only the engine changes returns a [`NamedDir`].
    ///
    /// # Errors
    /// As the trait says; [`io::ErrorKind::NotFound`] if there is no such directory.
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>>;
}

/// A directory that is kept open.
pub trait OpenDir: Send + Sync + Debug {
    /// The path through which the [`FileAccess`] reaches the directory: not necessarily the path that it was opened by.
    fn path(&self) -> &Path;

    /// Checks that [`path`](Self::path) leads to the directory and that the directory was not removed. The engine calls it
    /// before and after it creates, renames or removes a file there, and before each sync, rotation and checkpoint.
    ///
    /// # Errors
    /// An [`io::Error`] if the path leads to another directory, if the directory was removed, or if neither can be found
    /// out.
    fn check(&self) -> io::Result<()>;
}

/// A [`OpenDir`] that is reached by its name.
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
/// Every method fails with the [`io::Error`] of the operating system, or one that a fault-injecting implementation
/// chose.
pub trait File: Send + Sync + Debug {
    /// Reads at `offset` into `buffer`; returns how many bytes were read, 0 at the file's end.
    ///
    /// # Errors
    /// As the trait says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the beginning of `bytes` at `offset`, growing the file if need be; returns how many bytes were written.
    ///
    /// # Errors
    /// As the trait says; any part of `bytes` may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// The file's length.
    ///
    /// # Errors
    /// As the trait says.
    fn len(&self) -> io::Result<u64>;

    /// Returns true if the file's length is 0.
    ///
    /// # Errors
    /// As the trait says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the content and the length of the file durable. Its name is durable after [`FileAccess::sync_dir`].
    ///
    /// # Errors
    /// As the trait says; content that was not durable before may be lost, also if a later sync succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// An exclusive lock that is held. Dropping it closes it: a copy in a forked child is not affected.
pub trait FileLock: Send + Sync + Debug {
    /// Checks that no other process can have taken the lock. The engine calls it before each sync, rotation and checkpoint.
    ///
    /// # Errors
    /// An [`io::Error`] if the lock file was removed or replaced and the directory itself is not locked, or if that cannot
    /// be found out.
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

/// Writes all of `bytes` at `offset`, continuing after short and interrupted writes.
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

/// Reads at `offset` until `buffer` is full or the file ends; returns how many bytes were read.
///
/// # Errors
/// The first error of [`File::read_at`] but [`io::ErrorKind::Interrupted`].
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
/// Those of [`File::len`] and [`File::read_at`]; [`io::ErrorKind::OutOfMemory`] if there is no memory for it.
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
