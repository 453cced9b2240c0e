//! A saved prefix of a run: the files of the database, and an oracle that knows its state. No call was running when the files
//! were copied, so they are those that a crash of the process leaves.

use std::path::Path;
use std::sync::Arc;

use crate::testing::oracle::Oracle;
use crate::testing::temp_dir::TempDir;
use crate::testing::workload::Workload;

/// A database as it was at a position of a run, and the operations after it.
#[derive(Debug)]
pub struct SavedPrefix {
    /// Removed on drop.
    pub(super) dir: TempDir,
    /// The operations after the position.
    pub next: Arc<Workload>,
    /// The number of events before the position.
    pub events_before: u64,
    pub(super) oracle: Oracle,
}

impl SavedPrefix {
    /// The directory of the saved database.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
