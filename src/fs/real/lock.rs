//! The lock of a directory: `flock(2)` on the directory itself and on a lock file in it.
//!
//! The lock of the directory does not depend on the names in it. If the file system cannot lock a directory, for
//! example NFS, only the lock of the file is taken. [`FileLock::check`] then compares the name of the lock file with
//! the locked file.
//!
//! Invariants: no call unlocks. The lock ends when every process that holds a copy has dropped it, executed another
//! program or ended. A forked child holds a copy, so a child that drops its copy releases nothing. A process opens a
//! lock file only while it does not hold that lock: some systems release all locks of a file when a process closes any
//! descriptor of it.
//!
//! A crash leaves the lock file. Its lock ends when every process with a copy has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::directory::FileId;
use crate::fs::FileLock;
use crate::sync::{AtomicU32, Mutex, MutexGuard, lock, sleep, try_lock};

/// The directories whose lock this process holds.
static LOCKED_DIRS: Mutex<Vec<FileId>> = Mutex::new(Vec::new());
/// The number of tries to take a lock that this process took and closed, and the pause between two tries: together 2
/// seconds. A forked child that has not executed its program yet may hold a copy of that lock.
const TRIES: u32 = 2_000;
const PAUSE: Duration = Duration::from_millis(1);

/// Locks an open directory. Fails if the file system cannot lock a directory.
type LockDir = fn(&fs::File) -> Result<(), fs::TryLockError>;

#[derive(Debug)]
pub(in crate::fs) struct RealLock {
    /// `None` only during the drop.
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

/// The id of the process that uses [`LOCKED_DIRS`]. In a forked child it is the id of the parent.
static LOCKED_DIRS_USED_BY: AtomicU32 = AtomicU32::new(0);
/// The id of the forked child that cannot use [`LOCKED_DIRS`].
static LOCKED_DIRS_UNUSABLE_IN: AtomicU32 = AtomicU32::new(0);

/// The directories whose lock this process holds.
///
/// In a forked child the list may stay locked, if another thread of the parent used it during the fork. The child tries
/// `tries_of_child` times, with a pause between two tries. Then the result is `None`.
fn locked_dirs(tries_of_child: u32) -> Option<MutexGuard<'static, Vec<FileId>>> {
    let process_id = process::id();
    if [0, process_id].contains(&LOCKED_DIRS_USED_BY.load(Ordering::Relaxed)) {
        LOCKED_DIRS_USED_BY.store(process_id, Ordering::Relaxed);
        return Some(lock(&LOCKED_DIRS));
    }
    if LOCKED_DIRS_UNUSABLE_IN.load(Ordering::Relaxed) == process_id {
        return None;
    }
    for tried in 0..tries_of_child {
        if tried > 0 {
            sleep(PAUSE);
        }
        if let Some(held_dirs) = try_lock(&LOCKED_DIRS) {
            LOCKED_DIRS_USED_BY.store(process_id, Ordering::Relaxed);
            return Some(held_dirs);
        }
    }
    if tries_of_child > 1 {
        LOCKED_DIRS_UNUSABLE_IN.store(process_id, Ordering::Relaxed);
    }
    None
}

/// The result of one try.
enum LockAttempt {
    Taken(LockedFiles),
    /// Another handle of this process or of another process holds the lock.
    Held,
    /// A child of this process may hold a copy of a closed handle's lock, or the lock has just ended.
    HeldBriefly,
}

impl RealLock {
    /// Takes the lock of the parent directory of `path`, the path of the lock file.
    pub(in crate::fs) fn take(path: &Path, lock_dir: LockDir) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            match take_once(path, lock_dir)? {
                LockAttempt::Taken(files) => return Ok(Some(Self { files: Some(files) })),
                LockAttempt::Held => return Ok(None),
                LockAttempt::HeldBriefly => sleep(PAUSE),
            }
        }
        Ok(None)
    }
}

fn take_once(path: &Path, lock_dir: LockDir) -> io::Result<LockAttempt> {
    let dir = fs::File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    let dir_id = FileId::of(&dir.metadata()?);
    let mut held_dirs = locked_dirs(TRIES);
    if held_dirs.as_ref().is_some_and(|dirs| dirs.contains(&dir_id)) {
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
    if let Some(held_dirs) = &mut held_dirs {
        held_dirs.push(dir_id);
    }
    Ok(LockAttempt::Taken(files))
}

/// Returns `Held` if another process took the lock, and `HeldBriefly` if this process took it or if the lock is not
/// listed. Linux lists each lock with the process that took it, see `proc_locks(5)`. Without that list the result is
/// `HeldBriefly`.
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
        let held_dirs = locked_dirs(1);
        let id = files.dir_id;
        // The files are closed under the mutex, so that another thread finds both the listed handle and the lock, or
        // neither.
        drop(files);
        if let Some(mut held_dirs) = held_dirs {
            held_dirs.retain(|dir_id| *dir_id != id);
        }
    }
}
