//! The place of a database: a directory of the simulated disk or of the real file system.

use std::path::PathBuf;
use std::sync::Arc;

use crate::fs::FileAccess;
use crate::testing::SimDisk;

/// Where a database is: a directory, and the file access that reaches it.
///
/// Drop `files` after the database: its count shows whether something of the database still holds the file access.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) files: Arc<dyn FileAccess>,
    /// The simulated disk that holds the directory, if one does.
    pub(crate) disk: Option<SimDisk>,
}

impl Home {
    /// The directory of the log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The directory of the embedded store.
    pub(crate) fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Returns true if the simulated device has failed.
    pub(crate) fn is_gone(&self) -> bool {
        self.disk.as_ref().is_some_and(SimDisk::is_gone)
    }
}
