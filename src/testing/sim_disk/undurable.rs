//! What has been done and is not durable yet.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::model::{Change, Model, PendingChange};
use super::operation::DiskOperationKind;

/// The kind of change that a power loss may take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Whether a failed sync has lost it, so that no later one makes it durable.
    pub lost: bool,
}

impl Undurable {
    /// Whether the file at `path` may be without some of its bytes, or without its name, for this: it is a change of the
    /// file's content, of its name, or of the name of a directory above it.
    pub fn concerns(&self, path: &Path) -> bool {
        path.starts_with(&self.path)
    }
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
        write!(f, " (operation {})", self.ordinal)?;
        if self.lost {
            f.write_str(", lost by a failed sync")?;
        }
        Ok(())
    }
}

impl Model {
    /// What is not durable, in the order of the operations; nothing of files that have no name any more.
    pub(super) fn undurable(&self) -> Vec<Undurable> {
        let entries = self.pending_entries.iter().map(|pending| Undurable {
            ordinal: pending.ordinal,
            kind: match pending.kind {
                DiskOperationKind::Remove => UndurableKind::Removal,
                _ => UndurableKind::Name,
            },
            path: pending.path.clone(),
            offset: 0,
            len: 0,
            lost: false,
        });
        let mut undurable: Vec<_> = entries.collect();
        for (_, file) in self.files().filter(|(_, file)| file.named) {
            undurable.extend(file.pending.iter().map(|change| of_change(change, &file.path)));
        }
        undurable.sort_by_key(|undurable| undurable.ordinal);
        undurable
    }
}

fn of_change(pending: &PendingChange, path: &Arc<Path>) -> Undurable {
    let (kind, offset, len) = match &pending.change {
        Change::Write { offset, bytes } => (UndurableKind::Write, *offset, bytes.len() as u64),
        Change::Truncation => (UndurableKind::Truncation, 0, 0),
    };
    Undurable {
        ordinal: pending.ordinal,
        kind,
        path: path.clone(),
        offset,
        len,
        lost: pending.lost,
    }
}
