//! The lock of a directory: `flock(2)` on the directory itself and on a lock file in it.
//!
//! The directory's lock holds whatever becomes of the names in it. A file system that cannot lock a directory, such as NFS,
//! keeps the lock file alone; [`FileLock::check`] then compares the name with the locked file.
//!
//! Invariants: nothing unlocks explicitly. The lock ends when its last descriptor is closed, so a forked child that drops
//! its copy releases nothing. This process opens a lock file only while it does not hold that lock: some systems release
//! all locks of a file when a process closes any descriptor of it.
//!
//! A crash leaves the lock file. The lock itself ends with the process.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::directory::FileId;
use crate::fs::FileLock;
use crate::lock::lock;

/// The directories that this process has locked.
static LOCKED: Mutex<Locked> = Mutex::new(Locked {
    held: Vec::new(),
    released: VecDeque::new(),
});
/// As many released directories are remembered.
const RELEASED_LEN_MAX: usize = 256;
/// A child process that this process starts shares the lock from its fork until it executes its program. An open that
/// finds a lock which this process released tries again that often before it gives up.
const TRIES: u32 = 2_000;
const PAUSE: Duration = Duration::from_millis(1);

type LockDir = fn(&fs::File) -> Result<(), fs::TryLockError>;

struct Locked {
    held: Vec<FileId>,
    /// The latest last.
    released: VecDeque<FileId>,
}

#[derive(Debug)]
pub(super) struct RealLock {
    /// Nothing once it is dropped.
    files: Option<LockedFiles>,
}

#[derive(Debug)]
struct LockedFiles {
    /// Open as long as the lock is held.
    _dir: fs::File,
    dir_id: FileId,
    is_dir_locked: bool,
    /// As the directory.
    _file: fs::File,
    file_id: FileId,
    path: PathBuf,
}

/// The end of one try.
enum Try {
    Taken(LockedFiles),
    /// Another handle of this process holds the lock.
    HeldHere,
    /// Another process holds the lock. It may be a child of this process that has not executed its program yet.
    HeldElsewhere {
        was_released_here: bool,
    },
}

impl RealLock {
    /// Takes the lock of the directory that `path` lies in; `path` is that of the lock file.
    /// `lock_dir` locks an open directory, or fails where that is not possible.
    pub(super) fn take(path: &Path, lock_dir: LockDir) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            match take_once(path, lock_dir)? {
                Try::Taken(files) => return Ok(Some(Self { files: Some(files) })),
                Try::HeldElsewhere {
                    was_released_here: true,
                } => thread::sleep(PAUSE),
                Try::HeldHere | Try::HeldElsewhere { .. } => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn take_once(path: &Path, lock_dir: LockDir) -> io::Result<Try> {
    let dir = fs::File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    let dir_id = FileId::of(&dir.metadata()?);
    let mut locked = lock(&LOCKED);
    if locked.held.contains(&dir_id) {
        return Ok(Try::HeldHere);
    }
    let held_elsewhere = Try::HeldElsewhere {
        was_released_here: locked.released.contains(&dir_id),
    };
    let is_dir_locked = match lock_dir(&dir) {
        Ok(()) => true,
        Err(fs::TryLockError::WouldBlock) => return Ok(held_elsewhere),
        // The file system cannot lock a directory.
        Err(fs::TryLockError::Error(_)) => false,
    };
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(held_elsewhere),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let files = LockedFiles {
        _dir: dir,
        dir_id,
        is_dir_locked,
        file_id: FileId::of(&file.metadata()?),
        _file: file,
        path: path.to_path_buf(),
    };
    files.check()?;
    locked.held.push(dir_id);
    Ok(Try::Taken(files))
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
        let mut locked = lock(&LOCKED);
        let id = files.dir_id;
        // Before another thread of this process may try, which would find the lock held elsewhere.
        drop(files);
        locked.held.retain(|held| *held != id);
        locked.released.retain(|released| *released != id);
        locked.released.push_back(id);
        if locked.released.len() > RELEASED_LEN_MAX {
            locked.released.pop_front();
        }
    }
}
