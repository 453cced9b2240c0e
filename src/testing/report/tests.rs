//! Tests of every form of the report: of a clean sweep, of one over files that lie, and of text that means harm.

mod forms;
mod strict_json;

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::Report;
use crate::fs::{File, FileAccess, FileLock, OpenMode};
use crate::testing::CrashSweep;
use crate::testing::sweep::SweepReport;

/// Twelve operations that cross every point; kept, as several tests look at it.
static CLEAN: LazyLock<SweepReport> = LazyLock::new(|| CrashSweep::standard(3, 12).nested_max(4).run());

/// The same over a log that is never synced.
static LYING: LazyLock<SweepReport> = LazyLock::new(|| {
    CrashSweep::standard(3, 12)
        .depth(0)
        .files(|files| Arc::new(Lying(files)))
        .findings_max(12)
        .shrink(false)
        .run()
});

fn clean() -> Report {
    Report::from(CLEAN.clone())
}

fn lying() -> Report {
    Report::from(LYING.clone())
}

/// Files of the log say that they are synced and are not.
#[derive(Debug)]
struct Lying(Arc<dyn FileAccess>);

impl FileAccess for Lying {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.0.open(path, mode)?;
        if path.components().any(|part| part.as_os_str() == "log") {
            return Ok(Arc::new(NeverSynced(file)));
        }
        Ok(file)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.0.lock(path)
    }
}

#[derive(Debug)]
struct NeverSynced(Arc<dyn File>);

impl File for NeverSynced {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
