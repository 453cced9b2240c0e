//! The owner of an open database: the process that opened it and holds the lock.
//!
//! Invariant: only the owner writes. [`Owner::check`] compares the process id and checks lock and directories before each sync,
//! rotation and checkpoint, and before the storage engine is closed. [`Owner::check_process`] and
//! [`Owner::check_process_once_per_ms`] compare the process id before a call writes.
//!
//! This module writes nothing. After a crash the lock is free once the process and every forked child with a copy have ended or
//! executed another program.

use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::Error;
use crate::fs::{FileLock, RootedFiles};
use crate::lock::lock;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Owner {
    /// The directory of the database, for messages.
    path: PathBuf,
    process_id: u32,
    /// The directories of the database.
    files: Arc<RootedFiles>,
    /// `None` once it is released.
    lock: Mutex<Option<Box<dyn FileLock>>>,
    /// The millisecond of the last comparison of the process id by [`check_process_once_per_ms`](Self::check_process_once_per_ms).
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

    /// Returns false in a forked child.
    pub(crate) fn is_this_process(&self) -> bool {
        process::id() == self.process_id
    }

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

    /// As [`check_process`](Self::check_process), but compares once for each millisecond: reading the process id takes a
    /// quarter of the time of a call that records one event without a sync.
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

    /// Checks that this process is the owner, that no other process can have taken the lock, and that the directories of the
    /// database were not removed or replaced.
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

    /// Ends the lock.
    pub(crate) fn release(&self) {
        let lock = lock(&self.lock).take();
        drop(lock);
    }

    /// Closes the copy of the lock in a forked child, and never waits. If another thread of the parent was using the lock
    /// during the fork, the copy stays open until the child ends or executes another program.
    pub(crate) fn release_copy(&self) {
        if let Ok(mut lock) = self.lock.try_lock() {
            drop(lock.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::fs::RealFiles;

    #[derive(Debug)]
    struct LostLock;

    impl FileLock for LostLock {
        fn check(&self) -> io::Result<()> {
            Err(io::Error::other("gone"))
        }
    }

    fn owner(process_id: u32) -> Owner {
        let files = Arc::new(RootedFiles::new(Arc::new(RealFiles), PathBuf::from("/db")));
        Owner {
            process_id,
            ..Owner::new(PathBuf::from("/db"), files, Box::new(LostLock))
        }
    }

    #[test]
    fn another_process_is_refused_before_the_lock_is_checked() {
        let forked = owner(process::id() + 1);
        assert!(!forked.is_this_process());
        for checked in [
            forked.check(),
            forked.check_process(),
            forked.check_process_once_per_ms(0),
        ] {
            let error = checked.unwrap_err();
            assert!(
                matches!(&error, Error::Forked { opened_by, .. } if *opened_by == process::id() + 1),
                "{error}"
            );
        }
    }

    #[test]
    fn the_process_is_compared_once_for_each_millisecond() {
        let mut owner = owner(process::id());
        owner.check_process_once_per_ms(7).unwrap();
        owner.process_id += 1;
        owner.check_process_once_per_ms(7).unwrap();
        assert!(owner.check_process_once_per_ms(8).is_err());
        assert!(
            owner.check_process_once_per_ms(8).is_err(),
            "a failed comparison does not count"
        );
    }

    #[test]
    fn a_lost_lock_is_an_error_until_it_is_released() {
        let owner = owner(process::id());
        assert!(matches!(owner.check(), Err(Error::DirectoryLost { .. })));
        owner.check_process().unwrap();
        owner.release();
        owner.check().unwrap();
    }
}
