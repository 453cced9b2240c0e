//! Directories for tests on real files.
//!
//! Tests that also run without the kit include this file by its path.

#![allow(
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "makes, lists and removes directories outside of any database, and a test that includes it uses a part"
)]

use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A new directory below the system's directory for temporary files.
///
/// Dropping it removes the directory with everything in it, unless it is [kept](Self::keep) or the thread is panicking.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    is_kept: AtomicBool,
}

impl TempDir {
    /// Makes a directory whose name contains `name`. A directory that a killed process left behind is never reused.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn try_new(name: &str) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let unique = NEXT.fetch_add(1, Ordering::Relaxed);
            let parent = std::env::temp_dir();
            let path = parent.join(format!("tidaldb-{name}-{}-{unique}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        is_kept: AtomicBool::new(false),
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let message = format!(
                        "there is no directory for temporary files at {}: make it, or set TMPDIR to another",
                        parent.display()
                    );
                    return Err(io::Error::new(error.kind(), message));
                }
                Err(error) => {
                    let message = format!("cannot make the directory {}: {error}", path.display());
                    return Err(io::Error::new(error.kind(), message));
                }
            }
        }
    }

    /// As [`try_new`](Self::try_new).
    ///
    /// # Panics
    /// If the directory cannot be made.
    pub fn new(name: &str) -> Self {
        Self::try_new(name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory with everything in it. A part that cannot be removed stays.
    pub fn remove(&self) {
        std::fs::remove_dir_all(&self.path).ok();
    }

    /// Keeps the directory on disk when `self` is dropped. Returns a text that lists its files with their lengths.
    pub fn keep(&self) -> String {
        self.is_kept.store(true, Ordering::Relaxed);
        let mut text = format!("{} is kept and holds:", self.path.display());
        list(&self.path, &mut text);
        text
    }
}

/// Copies the directory `from` with all its files and directories to `to`. Makes `to` unless it exists.
///
/// # Errors
/// The error of the operating system, with the path.
pub fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    let named = |path: &Path, error: io::Error| {
        let message = format!("cannot copy {}: {error}", path.display());
        io::Error::new(error.kind(), message)
    };
    // Not `create_dir_all`: if the parents were removed, the copy must fail and not make them again.
    match std::fs::create_dir(to) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(named(to, error)),
        _ => {}
    }
    for entry in std::fs::read_dir(from).map_err(|error| named(from, error))? {
        let entry = entry.map_err(|error| named(from, error))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_dir(&path, &copy)?;
        } else {
            std::fs::copy(&path, copy).map_err(|error| named(&path, error))?;
        }
    }
    Ok(())
}

/// Appends one line for each file below `dir`.
fn list(dir: &Path, text: &mut String) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            write!(text, "\n  {}: {error}", dir.display()).ok();
            return;
        }
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(&path, text);
        } else {
            let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            write!(text, "\n  {} {bytes} bytes", path.display()).ok();
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if !self.is_kept.load(Ordering::Relaxed) && !std::thread::panicking() {
            self.remove();
        }
    }
}
