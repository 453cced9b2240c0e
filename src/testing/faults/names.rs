//! The names of a database's files and directories.
//!
//! These names are independent of the engine's constants, so that a fault does not repeat a mistake of the engine. A
//! test compares the two.

use std::path::{Path, PathBuf};

const LOCK: &str = "LOCK";
const LOG: &str = "log";
const STORE: &str = "store";
const TEMPORARY: &str = ".tmp";

/// The purpose of a path in a database. The last component of the path determines it.
///
/// [`RealFiles`](crate::fs::RealFiles) uses a path without the directory's name for an open directory. So on real files
/// a sync of the log's directory has the role [`Other`](Self::Other). On a [`SimDisk`](crate::testing::SimDisk) every
/// path has its own role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FileRole {
    /// A segment of the log: `log/<20 digits>.wal`.
    Segment,
    /// A segment under its temporary name: `log/<20 digits>.wal.tmp`.
    NewSegment,
    /// A file of the embedded store: `store/<20 digits>.tdstore`.
    StoreFile,
    /// A file of the embedded store under its temporary name: `store/<20 digits>.tdstore.tmp`.
    NewStoreFile,
    /// The lock file: `LOCK`.
    Lock,
    /// The directory of the log: `log`.
    LogDir,
    /// The directory of the embedded store: `store`.
    StoreDir,
    /// Any other path, also the directory of the database.
    Other,
}

impl FileRole {
    /// The role of `path`.
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        let (final_name, is_temporary) = match name.strip_suffix(TEMPORARY) {
            Some(final_name) => (final_name, true),
            None => (name, false),
        };
        let extension = Path::new(final_name).extension();
        match (extension.and_then(|extension| extension.to_str()), is_temporary) {
            (Some("wal"), false) => Self::Segment,
            (Some("wal"), true) => Self::NewSegment,
            (Some("tdstore"), false) => Self::StoreFile,
            (Some("tdstore"), true) => Self::NewStoreFile,
            _ => match name {
                LOCK => Self::Lock,
                LOG => Self::LogDir,
                STORE => Self::StoreDir,
                _ => Self::Other,
            },
        }
    }

    /// Returns true for the temporary name of a file that the engine renames later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::NewSegment | Self::NewStoreFile)
    }
}

/// The directory of the log of the database at `db`.
pub fn log_dir(db: &Path) -> PathBuf {
    db.join(LOG)
}

/// The directory of the embedded store of the database at `db`.
pub fn store_dir(db: &Path) -> PathBuf {
    db.join(STORE)
}

/// The lock file of the database at `db`.
pub fn lock_file(db: &Path) -> PathBuf {
    db.join(LOCK)
}
