//! The operating system's file system. The only module of the crate that calls `std::fs`.
//!
//! Invariant: it holds no state except open files and directories. Each change except [`lock`] is one system call. The
//! docs of the module [`fs`](super) list the effects that survive a crash.
#![allow(clippy::disallowed_methods, reason = "only this module may call std::fs")]

pub(super) mod directory;
pub(super) mod lock;

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use self::directory::RealDir;
use self::lock::RealLock;
use super::{File, FileAccess, FileLock, OpenDir, OpenMode};

/// The operating system's file system.
///
/// `sync` is `fdatasync(2)`: it makes the content and the length durable, but not the times.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

#[derive(Debug)]
struct RealFile(fs::File);

impl FileAccess for RealFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::Write => options.read(true).write(true),
            OpenMode::Create => options.read(true).write(true).create(true).truncate(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(match fs::read_link(path) {
                Ok(target) => {
                    let target = target.display();
                    io::Error::new(
                        error.kind(),
                        format!("it is a symbolic link to {target}, which is not a directory"),
                    )
                }
                Err(_) => error,
            }),
            other => other,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all().map_err(|error| {
            // `EINVAL`.
            if error.kind() != io::ErrorKind::InvalidInput {
                return error;
            }
            let what = "the file system cannot sync a directory, so a power loss could remove the names of new files";
            io::Error::new(io::ErrorKind::Unsupported, what)
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        Ok(RealLock::take(path, fs::File::try_lock)?.map(|lock| Box::new(lock) as _))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        Ok(Arc::new(RealDir::open(path)?))
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
