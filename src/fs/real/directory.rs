//! An open directory, and the identity of files and directories.
//!
//! Linux reaches the names in an open directory through its descriptor, by the path `/proc/self/fd/N`. Other systems,
//! and Linux without `/proc`, reach the directory by its name, and [`OpenDir::check`] compares the name with the open
//! directory.
//!
//! Invariant: [`RealDir`] holds the directory open, so its descriptor stays valid, and no other directory gets its
//! identity. This module changes nothing on disk, so a crash leaves nothing of it.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fs::OpenDir;

/// The identity of a file or directory. It is unique only while the file is open: the system uses inode numbers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fs) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(in crate::fs) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    pub(in crate::fs) fn inode(self) -> u64 {
        self.inode
    }

    /// The identity of the file or directory that `path` leads to now.
    pub(in crate::fs) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::metadata(path)?))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::fs) struct RealDir {
    dir: fs::File,
    id: FileId,
    path: PathBuf,
    is_named: bool,
    /// True if the file system counts the names of a directory. Then a count of 0 means that the directory was removed.
    counts_names: bool,
}

impl RealDir {
    pub(in crate::fs) fn open(path: &Path) -> io::Result<Self> {
        let named = Self::open_named(path)?;
        let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", named.dir.as_raw_fd()));
        let reaches =
            std::env::consts::OS == "linux" && FileId::at(&by_descriptor).is_ok_and(|id| id == named.id);
        Ok(if reaches {
            Self {
                path: by_descriptor,
                is_named: false,
                ..named
            }
        } else {
            named
        })
    }

    /// Opens the directory at `path`, which is then reached by this path.
    pub(in crate::fs) fn open_named(path: &Path) -> io::Result<Self> {
        let dir = fs::File::open(path)?;
        let metadata = dir.metadata()?;
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            dir,
            id: FileId::of(&metadata),
            path: path.to_path_buf(),
            is_named: true,
            counts_names: metadata.nlink() > 0,
        })
    }
}

impl OpenDir for RealDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self) -> io::Result<()> {
        if self.is_named && FileId::at(&self.path)? != self.id {
            let what = "the path now leads to another directory than the opened one";
            return Err(io::Error::other(what));
        }
        // A sync of a removed file succeeds, but its content is lost when the file is closed.
        if self.counts_names && self.dir.metadata()?.nlink() == 0 {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the directory was removed",
            ));
        }
        Ok(())
    }
}
