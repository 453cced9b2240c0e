//! The list of the changes that are not durable yet.
//!
//! Invariant: a change leaves the list when it is durable or when its file has no name any more. A power loss can lose
//! each listed change.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::state::{ContentChange, DiskState, PendingReason};

/// The kind of a change that a power loss can lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UndurableKind {
    /// A write to a file.
    Write,
    /// The truncation of an existing file by [`OpenMode::Create`](crate::fs::OpenMode::Create).
    Truncation,
    /// A new name of a file or directory, by a creation or a renaming.
    Name,
    /// The removal of a name.
    Removal,
}

/// A change that a power loss can lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undurable {
    /// The ordinal of the operation that made the change.
    pub ordinal: u64,
    /// The kind of change.
    pub kind: UndurableKind,
    /// For a change of content, the current path of the file. For a change of names, the path: for a renaming the new
    /// one.
    pub path: Arc<Path>,
    /// The offset of a write in the file, in bytes. 0 for other changes.
    pub offset: u64,
    /// The number of bytes of a write. 0 for other changes.
    pub len: u64,
    /// True if a sync of the change failed and may have lost it. Then no later sync makes it durable.
    pub sync_failed: bool,
}

impl fmt::Display for Undurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.kind {
            UndurableKind::Write => write!(f, "{} bytes at offset {} of {path}", self.len, self.offset)?,
            UndurableKind::Truncation => write!(f, "the truncation of {path}")?,
            UndurableKind::Name => write!(f, "the name {path}")?,
            UndurableKind::Removal => write!(f, "the removal of {path}")?,
        }
        let note = if self.sync_failed {
            ", which a failed sync may have lost"
        } else {
            ""
        };
        write!(f, " (operation {}){note}", self.ordinal)
    }
}

impl DiskState {
    /// The undurable changes in the order of the operations, except changes of files without a name.
    pub(super) fn undurable(&self) -> Vec<Undurable> {
        let names = self.pending_names.iter().map(|pending| Undurable {
            ordinal: pending.ordinal,
            kind: match pending.last().value {
                None => UndurableKind::Removal,
                Some(_) => UndurableKind::Name,
            },
            path: pending.last().path.clone(),
            offset: 0,
            len: 0,
            sync_failed: false,
        });
        let mut undurable: Vec<_> = names.collect();
        for file in self.files.iter().filter(|file| file.has_name) {
            undurable.extend(file.undurable().map(|pending| {
                let (kind, offset, len) = match &pending.change {
                    ContentChange::Write { offset, bytes } => {
                        (UndurableKind::Write, *offset, bytes.len() as u64)
                    }
                    ContentChange::Truncation => (UndurableKind::Truncation, 0, 0),
                };
                Undurable {
                    ordinal: pending.ordinal,
                    kind,
                    path: file.path.clone(),
                    offset,
                    len,
                    sync_failed: pending.reason == PendingReason::SyncFailed,
                }
            }));
        }
        undurable.sort_by_key(|undurable| undurable.ordinal);
        undurable
    }
}
