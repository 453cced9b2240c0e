//! What has been done and is not durable yet.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::model::{Change, Model, PendingChange};
use super::operation::DiskOperationKind;

/// A change that a power loss may take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undurable {
    /// The operation that made it.
    pub ordinal: u64,
    /// What it was: a write, a truncation, or the creation, renaming or removal of a name.
    pub kind: DiskOperationKind,
    /// The file, by the name it has now, or the name; the new one of a renaming.
    pub path: Arc<Path>,
    /// Where in the file, in bytes; 0 for a name.
    pub offset: u64,
    /// How many bytes; the new length for a truncation, 0 for a name.
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
            DiskOperationKind::Write => {
                write!(f, "{} bytes at offset {} of {path}", self.len, self.offset)?;
            }
            DiskOperationKind::SetLen => write!(f, "the length {} of {path}", self.len)?,
            DiskOperationKind::Remove => write!(f, "the removal of {path}")?,
            _ => write!(f, "the name {path}")?,
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
            kind: pending.kind,
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
        Change::Write { offset, bytes } => (DiskOperationKind::Write, *offset, bytes.len() as u64),
        Change::SetLen(len) => (DiskOperationKind::SetLen, 0, *len),
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
