//! Temporary directories for tests on real files.
//!
//! Invariant: each directory is new, so two tests never share one. A killed process leaves its directories on disk.
//!
//! Tests that also run without the kit include this file by its path.

#![allow(
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "the directories are outside of any database, and a test that includes the file uses only some functions"
)]

use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A new directory below the system's directory for temporary files.
///
/// Dropping the value removes the directory and its content. The directory stays if [`keep`](Self::keep) was called or
/// the thread is panicking.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    is_kept: AtomicBool,
}

impl TempDir {
    /// Makes a directory with `name` in its name. It never reuses a directory that a killed process left.
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
                        "the directory for temporary files {} does not exist: make it, or set TMPDIR to another",
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

    /// Like [`try_new`](Self::try_new), without a result.
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

    /// Removes the directory and its content. Ignores errors: files that cannot be removed stay.
    pub fn remove(&self) {
        std::fs::remove_dir_all(&self.path).ok();
    }

    /// Keeps the directory on disk when `self` is dropped. Returns a list of its files with their lengths.
    pub fn keep(&self) -> String {
        self.is_kept.store(true, Ordering::Relaxed);
        let mut text = format!("the directory {} is not removed; its files:", self.path.display());
        append_file_list(&self.path, &mut text);
        text
    }
}

/// Copies the directory `from` with all its files and directories to `to`. Makes `to` if it does not exist.
///
/// # Errors
/// The error of the operating system, with the path.
pub fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    let with_path = |path: &Path, error: io::Error| {
        let message = format!("cannot copy {}: {error}", path.display());
        io::Error::new(error.kind(), message)
    };
    // `create_dir`, not `create_dir_all`: if the parents were removed, the copy must fail and not make them again.
    match std::fs::create_dir(to) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(with_path(to, error)),
        _ => {}
    }
    for entry in std::fs::read_dir(from).map_err(|error| with_path(from, error))? {
        let entry = entry.map_err(|error| with_path(from, error))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_dir(&path, &copy)?;
        } else {
            std::fs::copy(&path, copy).map_err(|error| with_path(&path, error))?;
        }
    }
    Ok(())
}

/// Appends one line for each file below `dir`.
fn append_file_list(dir: &Path, text: &mut String) {
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
            append_file_list(&path, text);
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
