//! The open files of a store: the number of handles is bounded, for any number of files.
//!
//! The handles of the file that takes records and of the file that a compaction writes are pinned: they stay open. Any
//! other file is opened when it is read, and the last used of these files stay open. In memory only: a crash leaves
//! nothing of it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::fs::{File, FileAccess, OpenMode};
use crate::sync::{Mutex, lock_brief};

#[derive(Debug)]
pub(super) struct OpenFiles {
    access: Arc<dyn FileAccess>,
    /// The most handles that stay open in addition to the pinned handles.
    len_max: usize,
    opened: Mutex<OpenHandles>,
}

#[derive(Debug, Default)]
struct OpenHandles {
    files: Vec<OpenFile>,
    uses_len: u64,
}

#[derive(Debug)]
struct OpenFile {
    number: u64,
    handle: Arc<dyn File>,
    is_pinned: bool,
    /// The number of the last use.
    used: u64,
}

impl OpenFiles {
    pub(super) fn new(access: Arc<dyn FileAccess>, len_max: usize) -> Self {
        Self {
            access,
            len_max,
            opened: Mutex::default(),
        }
    }

    /// Holds `handle` open for file `number`. It replaces an earlier handle of the file.
    pub(super) fn pin(&self, number: u64, handle: Arc<dyn File>) {
        let mut opened = lock_brief(&self.opened);
        opened.files.retain(|file| file.number != number);
        opened.push(number, handle, true);
    }

    /// Ends [`pin`](Self::pin): the handle of file `number` may be closed like a handle that [`get`](Self::get) opened.
    pub(super) fn unpin(&self, number: u64) {
        let mut opened = lock_brief(&self.opened);
        if let Some(file) = opened.files.iter_mut().find(|file| file.number == number) {
            file.is_pinned = false;
        }
        opened.close_beyond(self.len_max);
    }

    /// Closes the handle of file `number`.
    pub(super) fn close(&self, number: u64) {
        lock_brief(&self.opened)
            .files
            .retain(|file| file.number != number);
    }

    /// The handle of file `number` at `path`.
    ///
    /// # Errors
    /// The error of [`FileAccess::open`].
    pub(super) fn get(&self, number: u64, path: &Path) -> io::Result<Arc<dyn File>> {
        if let Some(handle) = lock_brief(&self.opened).find(number) {
            return Ok(handle);
        }
        let handle = self.access.open(path, OpenMode::Read)?;
        let mut opened = lock_brief(&self.opened);
        // Another thread may have opened the file meanwhile.
        if let Some(handle) = opened.find(number) {
            return Ok(handle);
        }
        opened.push(number, Arc::clone(&handle), false);
        opened.close_beyond(self.len_max);
        Ok(handle)
    }
}

impl OpenHandles {
    /// The handle of file `number`. Counts as a use.
    fn find(&mut self, number: u64) -> Option<Arc<dyn File>> {
        self.uses_len += 1;
        let file = self.files.iter_mut().find(|file| file.number == number)?;
        file.used = self.uses_len;
        Some(Arc::clone(&file.handle))
    }

    fn push(&mut self, number: u64, handle: Arc<dyn File>, is_pinned: bool) {
        self.files.push(OpenFile {
            number,
            handle,
            is_pinned,
            used: self.uses_len,
        });
    }

    /// Closes the handles with the oldest last use, until `len_max` handles are left in addition to the pinned handles.
    fn close_beyond(&mut self, len_max: usize) {
        let is_closable = |file: &OpenFile| !file.is_pinned;
        while self.files.iter().filter(|file| is_closable(file)).count() > len_max {
            let closable = self
                .files
                .iter()
                .enumerate()
                .filter(|(_, file)| is_closable(file));
            let Some((oldest, _)) = closable.min_by_key(|(_, file)| file.used) else {
                return;
            };
            self.files.swap_remove(oldest);
        }
    }
}
