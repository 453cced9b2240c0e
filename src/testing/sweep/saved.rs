//! A saved prefix of a run: the files of the database, and an oracle with the state of the database. No call was
//! running when the files were copied, so they are the files that a crash of the process leaves.

use std::path::Path;
use std::sync::Arc;

use crate::testing::oracle::Oracle;
use crate::testing::temp_dir::TempDir;
use crate::testing::workload::Workload;

/// The database at a position of a run, and the operations after this position.
#[derive(Debug)]
pub struct SavedPrefix {
    /// The directory of the saved database. It is removed on drop.
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
