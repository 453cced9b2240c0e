//! The location of a database: a directory of the simulated disk or of the real file system, and the session that uses
//! it.

use std::path::PathBuf;
use std::sync::Arc;

use super::finding::{Failure, FailureKind};
use crate::fs::FileAccess;
use crate::testing::SimDisk;
use crate::testing::workload::Session;

/// The directory of a database, the file access to it, and the session that uses it. Only one session uses it at a
/// time.
///
/// Drop `files` after the database. Its reference count then shows if a part of the database still holds the file
/// access.
#[derive(Debug)]
pub(crate) struct DatabaseLocation {
    pub(crate) dir: PathBuf,
    /// The file access of the session.
    pub(crate) files: Arc<dyn FileAccess>,
    /// The simulated disk of the directory; `None` for the real file system.
    pub(crate) disk: Option<SimDisk>,
    pub(crate) session: Session,
    /// The number of operations of the disk that failed before this session.
    pub(crate) failed_len_before: usize,
}

impl DatabaseLocation {
    /// The directory of the log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The directory of the embedded store.
    pub(crate) fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Returns true if the simulated device has failed, or one of its operations has failed in this session.
    pub(crate) fn has_failed(&self) -> bool {
        let mut disk = self.disk.iter();
        disk.any(|disk| disk.has_device_failed() || disk.failed_operations_len() > self.failed_len_before)
    }

    /// The number of recorded operations of the simulated disk.
    pub(crate) fn operations_len(&self) -> u64 {
        self.disk.as_ref().map_or(0, SimDisk::operations_len)
    }

    /// Checks after a drop of the database that the drop wrote nothing, and that no lock, open file or reference to the
    /// file access remains. A thread that still runs holds such a reference. Before the drop the disk had
    /// `operations_len` operations.
    pub(crate) fn check_dropped(&self, operations_len: u64) -> Result<(), Failure> {
        let mut remaining: Vec<String> = Vec::new();
        if let Some(disk) = &self.disk {
            if disk.operations_len() != operations_len {
                let recording = disk.recording();
                let written = recording.operations().nth(operations_len as usize);
                let message = written.map_or_else(String::new, ToString::to_string);
                return Err(Failure::new(FailureKind::DropWrote, message));
            }
            let locks = disk.locks_held().into_iter();
            let files = disk.open_files().into_iter();
            remaining.extend(locks.map(|path| format!("the lock {}", path.display())));
            remaining.extend(files.map(|path| format!("the open file {}", path.display())));
        }
        if Arc::strong_count(&self.files) > 1 {
            remaining.push("a reference to the file access".to_owned());
        }
        match remaining.first() {
            Some(first) => Err(Failure::new(FailureKind::LeftBehind, first)),
            None => Ok(()),
        }
    }

    /// Returns true if the simulated device has failed.
    pub(crate) fn has_failed_device(&self) -> bool {
        self.disk.as_ref().is_some_and(SimDisk::has_device_failed)
    }
}
