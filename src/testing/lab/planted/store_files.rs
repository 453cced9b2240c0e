//! Planted bugs in the renames and removals of files after a compaction of the embedded store.

use std::io;
use std::path::Path;

use super::files::{FileBugState, FileResult, Writes, files_in, skip};
use crate::fs::{FileAccess, OpenMode, read_whole};
use crate::testing::faults::{FileCall, FileOperation, FileRole};
use crate::testing::lab::file_format::{last_place, u64_at};
use crate::testing::lock::lock;

/// The first and the last place of a file of the store, and true for a compacted file.
fn places(files: &dyn FileAccess, path: &Path) -> io::Result<(u64, u64, bool)> {
    let bytes = read_whole(files.open(path, OpenMode::Read)?.as_ref())?;
    let number = |at| u64_at(&bytes, at).ok_or(io::ErrorKind::UnexpectedEof);
    let (first, last) = (number(36)?, last_place(&bytes));
    Ok((first, last.max(first), last > 0))
}

/// Skips the sync of the directory after the rename of a compacted file.
pub(crate) fn skip_sync_of_compacted_name(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let mut pending = lock(&state.pending);
    match call.operation {
        FileOperation::Rename { to } if FileRole::of(to) == FileRole::StoreFile => {
            let answer = call.forward()?;
            let is_compacted = places(call.files(), to)?.2;
            pending.clear();
            pending.extend(is_compacted.then(|| (0, Writes::new())));
            Ok(answer)
        }
        FileOperation::SyncDir if call.role() == FileRole::StoreDir && pending.remove(&0).is_some() => {
            skip(call, state)
        }
        _ => call.forward(),
    }
}

/// Removes a compacted file instead of one that it replaced.
pub(crate) fn remove_compacted(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let (first, ..) = places(call.files(), call.path)?;
    let dir = call.path.parent().unwrap_or(call.path);
    let compacted = files_in(call.files(), dir, FileRole::StoreFile)
        .into_iter()
        .rfind(|path| {
            let covers =
                |(from, to, is_compacted): (u64, u64, bool)| is_compacted && (from..=to).contains(&first);
            path != call.path && places(call.files(), path).is_ok_and(covers)
        });
    match compacted {
        Some(compacted) => {
            state.faults.count();
            call.files().remove(&compacted)?;
            call.skip()
        }
        None => call.forward(),
    }
}
