//! The operations of a disk: their kinds, and the record that each one leaves.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What an operation does. The kinds from [`Create`](Self::Create) on change something or make something durable;
/// those before only look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DiskOperationKind {
    /// Opens an existing file.
    Open,
    /// Reads from a file.
    Read,
    /// Asks for a file's length.
    Len,
    /// Lists a directory.
    List,
    /// Creates a file, or truncates the one that has the name.
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
    /// Takes a lock, creating its file if need be.
    Lock,
    /// A loss of the power: [`SimDisk::lose_power`](super::SimDisk::lose_power).
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

    /// Whether the operation changes something or makes something durable. These always have an ordinal and a record;
    /// the others only on a disk that records reads.
    pub fn is_durable(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Len | Self::List)
    }

    /// Whether the operation only makes something durable. So what a crash after it may leave, a crash before it may
    /// have left too.
    pub fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDir)
    }
}

impl fmt::Display for DiskOperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
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
        })
    }
}

/// The record of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOperation {
    /// How many recorded operations there were before it on this disk.
    pub ordinal: u64,
    /// What it does.
    pub kind: DiskOperationKind,
    /// The file or directory, by the name it had then.
    pub path: Arc<Path>,
    /// The new name, for a rename.
    pub target: Option<Arc<Path>>,
    /// Where in the file, in bytes; 0 where that has no meaning.
    pub offset: u64,
    /// How many bytes: those that were accepted of a write, those that were asked for of a failed one; 0 where that has
    /// no meaning.
    pub len: u64,
    /// What its caller was told, if it failed.
    pub error: Option<io::ErrorKind>,
}

impl DiskOperation {
    /// One whose ordinal and result are not known yet.
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

/// A call as its observer sees it; see [`super::SimDisk::observe`].
#[derive(Debug, Clone, Copy)]
pub struct ObservedCall<'a> {
    /// What is asked for.
    pub kind: DiskOperationKind,
    /// Of which file or directory.
    pub path: &'a Path,
    /// The ordinal of its record; `None` if it has none.
    pub ordinal: Option<u64>,
    /// Whether it is about to be done or was just done.
    pub side: Side,
}

/// On which side of an operation something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Before it: nothing of it was done.
    Before,
    /// After it: it was done, and its caller never heard of it.
    After,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Before, Self::After];

    /// The side that prints as `text`.
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
