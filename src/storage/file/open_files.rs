//! The open files of a store: a bounded number of handles for reading, whatever the number of files.
//!
//! The file that takes records and the one that a compaction writes keep their handles. Any other file is opened when it is
//! read, and of these the ones that were used last stay open. Memory only: a crash leaves nothing of it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::fs::{File, FileAccess, OpenMode};
use crate::lock::lock_brief;

#[derive(Debug)]
pub(super) struct OpenFiles {
    access: Arc<dyn FileAccess>,
    /// How many handles stay open beside the kept ones.
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
    is_kept: bool,
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

    /// Keeps `handle` open for file `number`, in the place of an earlier one.
    pub(super) fn keep(&self, number: u64, handle: Arc<dyn File>) {
        let mut opened = lock_brief(&self.opened);
        opened.files.retain(|file| file.number != number);
        opened.push(number, handle, true);
    }

    /// Ends [`keep`](Self::keep): the handle of file `number` is one of those for reading now.
    pub(super) fn release(&self, number: u64) {
        let mut opened = lock_brief(&self.opened);
        if let Some(file) = opened.files.iter_mut().find(|file| file.number == number) {
            file.is_kept = false;
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
    /// That of [`FileAccess::open`].
    pub(super) fn get(&self, number: u64, path: &Path) -> io::Result<Arc<dyn File>> {
        if let Some(handle) = lock_brief(&self.opened).find(number) {
            return Ok(handle);
        }
        let handle = self.access.open(path, OpenMode::Read)?;
        let mut opened = lock_brief(&self.opened);
        // Another thread may have opened it meanwhile.
        if let Some(handle) = opened.find(number) {
            return Ok(handle);
        }
        opened.push(number, Arc::clone(&handle), false);
        opened.close_beyond(self.len_max);
        Ok(handle)
    }
}

impl OpenHandles {
    /// The handle of file `number`, which is used now.
    fn find(&mut self, number: u64) -> Option<Arc<dyn File>> {
        self.uses_len += 1;
        let file = self.files.iter_mut().find(|file| file.number == number)?;
        file.used = self.uses_len;
        Some(Arc::clone(&file.handle))
    }

    fn push(&mut self, number: u64, handle: Arc<dyn File>, is_kept: bool) {
        self.files.push(OpenFile {
            number,
            handle,
            is_kept,
            used: self.uses_len,
        });
    }

    /// Closes the handles that were not used for longest, until `len_max` are left beside the kept ones.
    fn close_beyond(&mut self, len_max: usize) {
        let is_closable = |file: &OpenFile| !file.is_kept;
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
