//! The lock of a directory: `flock(2)` on the directory itself and on a lock file in it.
//!
//! The lock of the directory does not depend on the names in it. A file system that cannot lock a directory, such as NFS,
//! keeps only the lock of the file; [`FileLock::check`] then compares its name with the locked file.
//!
//! Invariants: no call unlocks. The lock ends when every process that holds a copy has dropped it, executed another program or
//! ended; a forked child holds a copy. So a child that drops its copy releases nothing. A process opens a lock file only while
//! it does not hold that lock: some systems release all locks of a file when a process closes any descriptor of it.
//!
//! A crash leaves the lock file without a lock, once every process with a copy has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::directory::FileId;
use crate::fs::FileLock;
use crate::lock::lock;

/// The directories whose lock this process holds.
static HELD: Mutex<Vec<FileId>> = Mutex::new(Vec::new());
/// How often an open tries to take a lock that this process took and closed, and the pause between: 2 seconds in all. A
/// forked child that has not executed its program yet holds a copy of it.
const TRIES: u32 = 2_000;
const PAUSE: Duration = Duration::from_millis(1);

/// Locks an open directory. Fails where that is not possible.
type LockDir = fn(&fs::File) -> Result<(), fs::TryLockError>;

#[derive(Debug)]
pub(in crate::fs) struct RealLock {
    /// `None` only while it is dropped.
    files: Option<LockedFiles>,
}

#[derive(Debug)]
struct LockedFiles {
    /// Open as long as the lock is held.
    _dir: fs::File,
    dir_id: FileId,
    is_dir_locked: bool,
    /// Open as long as the lock is held.
    _file: fs::File,
    file_id: FileId,
    path: PathBuf,
}

/// The process that uses [`HELD`]: a forked child finds the id of its parent here.
static HELD_BY: AtomicU32 = AtomicU32::new(0);
/// The forked child that cannot use [`HELD`].
static HELD_LOST_IN: AtomicU32 = AtomicU32::new(0);

/// The directories whose lock this process holds.
///
/// In a forked child the list may stay locked: another thread of the parent was using it during the fork. The child tries
/// `tries_of_child` times, with a pause between, and then gets `None`.
fn held(tries_of_child: u32) -> Option<MutexGuard<'static, Vec<FileId>>> {
    let here = process::id();
    if [0, here].contains(&HELD_BY.load(Ordering::Relaxed)) {
        HELD_BY.store(here, Ordering::Relaxed);
        return Some(lock(&HELD));
    }
    if HELD_LOST_IN.load(Ordering::Relaxed) == here {
        return None;
    }
    for tried in 0..tries_of_child {
        if tried > 0 {
            thread::sleep(PAUSE);
        }
        if let Ok(held) = HELD.try_lock() {
            HELD_BY.store(here, Ordering::Relaxed);
            return Some(held);
        }
    }
    if tries_of_child > 1 {
        HELD_LOST_IN.store(here, Ordering::Relaxed);
    }
    None
}

/// The end of one try.
enum LockAttempt {
    Taken(LockedFiles),
    /// Another handle holds the lock, of this process or another.
    Held,
    /// A child of this process holds a copy of a closed handle's lock, or the lock has just ended.
    HeldBriefly,
}

impl RealLock {
    /// Takes the lock of the directory that `path` lies in; `path` is that of the lock file.
    pub(in crate::fs) fn take(path: &Path, lock_dir: LockDir) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            match take_once(path, lock_dir)? {
                LockAttempt::Taken(files) => return Ok(Some(Self { files: Some(files) })),
                LockAttempt::Held => return Ok(None),
                LockAttempt::HeldBriefly => thread::sleep(PAUSE),
            }
        }
        Ok(None)
    }
}

fn take_once(path: &Path, lock_dir: LockDir) -> io::Result<LockAttempt> {
    let dir = fs::File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    let dir_id = FileId::of(&dir.metadata()?);
    let mut held = held(TRIES);
    if held.as_ref().is_some_and(|held| held.contains(&dir_id)) {
        return Ok(LockAttempt::Held);
    }
    let is_dir_locked = match lock_dir(&dir) {
        Ok(()) => true,
        Err(fs::TryLockError::WouldBlock) => return Ok(held_elsewhere(dir_id)),
        // The file system cannot lock a directory.
        Err(fs::TryLockError::Error(_)) => false,
    };
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let file_id = FileId::of(&file.metadata()?);
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(held_elsewhere(file_id)),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let files = LockedFiles {
        _dir: dir,
        dir_id,
        is_dir_locked,
        _file: file,
        file_id,
        path: path.to_path_buf(),
    };
    files.check()?;
    if let Some(held) = &mut held {
        held.push(dir_id);
    }
    Ok(LockAttempt::Taken(files))
}

/// Returns `Held` if another process took the lock, `HeldBriefly` if this process did or if it is not listed. Linux lists each
/// lock with the process that took it, see `proc_locks(5)`. Without that list the result is `HeldBriefly`.
fn held_elsewhere(id: FileId) -> LockAttempt {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let taken_by_another = |line: &str| {
        // For example: `1: FLOCK  ADVISORY  WRITE 4455 fe:00:10110631 0 EOF`
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process_id, place, ..] = fields[..] else {
            return false;
        };
        let inode = place.rsplit(':').next().and_then(|inode| inode.parse().ok());
        inode == Some(id.inode()) && process_id.parse() != Ok(process::id())
    };
    if locks.lines().any(taken_by_another) {
        LockAttempt::Held
    } else {
        LockAttempt::HeldBriefly
    }
}

impl LockedFiles {
    fn check(&self) -> io::Result<()> {
        if !self.is_dir_locked && FileId::at(&self.path)? != self.file_id {
            return Err(io::Error::other("the lock file was replaced"));
        }
        Ok(())
    }
}

impl FileLock for RealLock {
    fn check(&self) -> io::Result<()> {
        self.files.as_ref().map_or(Ok(()), LockedFiles::check)
    }
}

impl Drop for RealLock {
    fn drop(&mut self) {
        let Some(files) = self.files.take() else { return };
        let held = held(1);
        let id = files.dir_id;
        // Under the mutex, so that another thread finds both the handle and the lock, or neither.
        drop(files);
        if let Some(mut held) = held {
            held.retain(|held| *held != id);
        }
    }
}
