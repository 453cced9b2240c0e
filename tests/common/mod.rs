//! What the integration tests share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test binary uses a part of it, may panic, and looks at files from outside"
)]

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A directory of its own, removed when dropped unless it is kept or the thread is panicking.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    kept: AtomicBool,
}

impl TempDir {
    /// A new directory below the system's one for temporary files. One that a killed process of the same number has
    /// left behind is not taken for new.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = loop {
            let unique = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tidaldb-{name}-{}-{unique}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", path.display()),
            }
        };
        Self {
            path,
            kept: AtomicBool::new(false),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory where it is, for whoever looks for the reason of a failure. Gives what is in it, in words.
    pub fn keep(&self) -> String {
        self.kept.store(true, Ordering::Relaxed);
        let mut text = format!("{} is kept and holds:", self.path.display());
        describe(&self.path, &mut text);
        text
    }
}

/// One line for each file below `dir`, with its length.
fn describe(dir: &Path, text: &mut String) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            write!(text, "\n  {}: {error}", dir.display()).unwrap();
            return;
        }
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            describe(&path, text);
        } else {
            let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            write!(text, "\n  {} {bytes} bytes", path.display()).unwrap();
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) && !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}
