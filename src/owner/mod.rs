//! The owner of an open database: the process that opened it and holds the lock.
//!
//! Invariant: only the owner writes. [`Owner::check`] compares the process id, and checks the lock and the directories.
//! It runs before each sync, rotation and checkpoint, and before the storage engine is closed. [`Owner::check_process`]
//! and [`Owner::check_process_once_per_ms`] compare the process id before a call writes.
//!
//! This module writes nothing. After a crash the lock is free when the process and every forked child with a copy have
//! ended or executed another program.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Error;
use crate::fs::{FileLock, RootedFiles};
use crate::sync::{AtomicI64, Mutex, lock, try_lock};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Owner {
    /// The directory of the database, for messages.
    path: PathBuf,
    process_id: u32,
    /// The directories of the database.
    files: Arc<RootedFiles>,
    /// `None` after the release.
    lock: Mutex<Option<Box<dyn FileLock>>>,
    /// The millisecond of the last comparison of the process id by
    /// [`check_process_once_per_ms`](Self::check_process_once_per_ms).
    compared_ms: AtomicI64,
}

impl Owner {
    /// The calling process. It uses the directory `path` through `files` and holds its `lock`.
    pub(crate) fn new(path: PathBuf, files: Arc<RootedFiles>, lock: Box<dyn FileLock>) -> Self {
        Self {
            path,
            files,
            process_id: process::id(),
            lock: Mutex::new(Some(lock)),
            compared_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// Returns true in the process that opened the database, and false in a forked child.
    pub(crate) fn is_this_process(&self) -> bool {
        process::id() == self.process_id
    }

    /// Checks that the calling process opened the database.
    ///
    /// # Errors
    /// `Forked` in a forked child.
    pub(crate) fn check_process(&self) -> Result<(), Error> {
        if self.is_this_process() {
            return Ok(());
        }
        Err(Error::Forked {
            path: self.path.clone(),
            opened_by: self.process_id,
        })
    }

    /// Like [`check_process`](Self::check_process), but compares once for each millisecond: the system call for the
    /// process id takes a quarter of the time of a call that records one event without a sync.
    ///
    /// # Errors
    /// `Forked` in a forked child.
    #[inline]
    pub(crate) fn check_process_once_per_ms(&self, now_ms: i64) -> Result<(), Error> {
        if self.compared_ms.load(Ordering::Relaxed) == now_ms {
            return Ok(());
        }
        self.check_process()?;
        self.compared_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Checks that this process is the owner, that no other process can have taken the lock, and that the directories
    /// of the database were not removed or replaced.
    ///
    /// # Errors
    /// `Forked` in a forked child; `DirectoryLost`.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.check_process()?;
        let lock = lock(&self.lock);
        let checked = lock.as_ref().map_or(Ok(()), |lock| lock.check());
        checked
            .and_then(|()| self.files.check())
            .map_err(|source| Error::DirectoryLost {
                path: self.path.clone(),
                source,
            })
    }

    /// Releases the lock.
    pub(crate) fn release(&self) {
        let lock = lock(&self.lock).take();
        drop(lock);
    }

    /// Closes the copy of the lock in a forked child, and never waits. If another thread of the parent used the lock
    /// during the fork, the copy stays open until the child ends or executes another program.
    pub(crate) fn release_copy(&self) {
        if let Some(mut lock) = try_lock(&self.lock) {
            drop(lock.take());
        }
    }
}
