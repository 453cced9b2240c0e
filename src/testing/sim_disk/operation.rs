//! The operations of a disk: their kinds, and the record that each one leaves.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The kind of an operation. The kinds from [`Create`](Self::Create) on [change the disk](Self::changes_disk). The
/// kinds before it only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DiskOperationKind {
    /// Opens an existing file.
    Open,
    /// Reads from a file.
    Read,
    /// Gets a file's length.
    Len,
    /// Lists a directory.
    List,
    /// Creates a file, or truncates the existing file with the name.
    Create,
    /// Writes to a file.
    Write,
    /// Makes a file's content durable.
    Sync,
    /// Renames a file.
    Rename,
    /// Removes a file.
    Remove,
    /// Creates a directory.
    CreateDir,
    /// Makes a directory's entries durable.
    SyncDir,
    /// Takes a lock, and creates its file if the file does not exist.
    Lock,
    /// A power loss: [`SimDisk::lose_power`](super::SimDisk::lose_power).
    PowerLoss,
}

impl DiskOperationKind {
    /// Every kind, in the order of the declaration.
    pub const ALL: &'static [Self] = &[
        Self::Open,
        Self::Read,
        Self::Len,
        Self::List,
        Self::Create,
        Self::Write,
        Self::Sync,
        Self::Rename,
        Self::Remove,
        Self::CreateDir,
        Self::SyncDir,
        Self::Lock,
        Self::PowerLoss,
    ];

    /// The name in records and replay lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Len => "len",
            Self::List => "list",
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::CreateDir => "create-dir",
            Self::SyncDir => "sync-dir",
            Self::Lock => "lock",
            Self::PowerLoss => "power-loss",
        }
    }

    /// Returns true if the operation changes the visible or the durable content of the disk. These operations always
    /// have an ordinal and a record. Other operations have them only on a disk that records reads.
    pub fn changes_disk(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Len | Self::List)
    }

    /// Returns true if the operation only makes changes durable. Then each image of a crash after the operation is also
    /// an image of a crash before it.
    pub fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDir)
    }
}

impl fmt::Display for DiskOperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The record of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOperation {
    /// The number of earlier recorded operations on this disk.
    pub ordinal: u64,
    /// The kind of the operation.
    pub kind: DiskOperationKind,
    /// The path of the file or directory at the time of the operation.
    pub path: Arc<Path>,
    /// The new path of a renamed file. `None` for other operations.
    pub target: Option<Arc<Path>>,
    /// The offset of a write or read in the file, in bytes. 0 for other operations.
    pub offset: u64,
    /// The number of bytes: the written bytes of a write, the requested bytes of a read or of a failed write. 0 for
    /// other operations.
    pub len: u64,
    /// The error that the call returned, if it failed.
    pub error: Option<io::ErrorKind>,
}

impl DiskOperation {
    /// The record of an operation before its execution, still without ordinal and result.
    pub(super) fn new(kind: DiskOperationKind, path: &Arc<Path>) -> Self {
        Self {
            ordinal: 0,
            kind,
            path: Arc::clone(path),
            target: None,
            offset: 0,
            len: 0,
            error: None,
        }
    }
}

impl fmt::Display for DiskOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.ordinal, self.kind, self.path.display())?;
        if let Some(target) = &self.target {
            write!(f, " to {}", target.display())?;
        }
        if matches!(self.kind, DiskOperationKind::Write | DiskOperationKind::Read) {
            write!(f, " at {}, {} bytes", self.offset, self.len)?;
        }
        self.error.iter().try_for_each(|kind| write!(f, ": {kind}"))
    }
}

/// A call that an observer of the disk receives. See [`super::SimDisk::observe`].
#[derive(Debug, Clone, Copy)]
pub struct ObservedCall<'a> {
    /// The kind of the operation.
    pub kind: DiskOperationKind,
    /// The path of the file or directory.
    pub path: &'a Path,
    /// The ordinal of the operation's record. `None` if the operation is not recorded.
    pub ordinal: Option<u64>,
    /// The side of the operation: before or after its execution.
    pub side: Side,
}

/// A side of an operation: the position of a crash or a fault relative to the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Before the operation: it has no effect yet.
    Before,
    /// After the operation: it has its full effect, but the call has not returned.
    After,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Before, Self::After];

    /// The side whose text form is `text`.
    pub(crate) fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|side| side.to_string() == text)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}
