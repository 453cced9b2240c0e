//! What has been done and is not durable yet.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::state::{ContentChange, DiskState, PendingReason};

/// The kind of change that a power loss may take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UndurableKind {
    /// A write to a file.
    Write,
    /// The truncation of a file, by creating one of its name.
    Truncation,
    /// A new name of a file or directory, by creation or renaming.
    Name,
    /// The removal of a name.
    Removal,
}

/// A change that a power loss may take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undurable {
    /// The operation that made it.
    pub ordinal: u64,
    /// The kind of change.
    pub kind: UndurableKind,
    /// The file, by the name it has now, or the name; the new one of a renaming.
    pub path: Arc<Path>,
    /// Where in the file, in bytes; 0 for a name.
    pub offset: u64,
    /// How many bytes of a write; 0 for the rest.
    pub len: u64,
    /// True if a failed sync may have lost it. Then no later sync makes it durable.
    pub lost: bool,
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
        let lost = if self.lost {
            ", which a failed sync may have lost"
        } else {
            ""
        };
        write!(f, " (operation {}){lost}", self.ordinal)
    }
}

impl DiskState {
    /// What is not durable, in the order of the operations; nothing of files that have no name any more.
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
            lost: false,
        });
        let mut undurable: Vec<_> = names.collect();
        for file in self.files.iter().filter(|file| file.named) {
            let pending = file.pending.iter().filter(|it| it.hold != PendingReason::Durable);
            undurable.extend(pending.map(|pending| {
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
                    lost: pending.hold == PendingReason::Doubtful,
                }
            }));
        }
        undurable.sort_by_key(|undurable| undurable.ordinal);
        undurable
    }
}
