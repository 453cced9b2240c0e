//! Names that come, change and go at the wrong moment, locks among them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FileBug, Role, Target};
use crate::fs::{File, FileAccess, FileLock, OpenMode};
use crate::testing::lab::planted::{Acts, PlantedBug};

pub(super) fn make(bug: PlantedBug, acts: &Acts) -> Option<Arc<dyn FileBug>> {
    let acts = acts.clone();
    Some(match bug {
        PlantedBug::RenamedBeforeSync => Arc::new(RenamedBeforeSync { acts }),
        PlantedBug::TemporaryNameSkipped => Arc::new(TemporaryNameSkipped { acts }),
        PlantedBug::OldNameKept => Arc::new(OldNameKept { acts }),
        PlantedBug::RemovalSkipped => Arc::new(RemovalSkipped { acts }),
        PlantedBug::SegmentRemovedEarly => Arc::new(SegmentRemovedEarly { acts }),
        PlantedBug::LockAlwaysGranted => Arc::new(LockAlwaysGranted { acts }),
        PlantedBug::LockLeftBehind => Arc::new(LockLeftBehind { acts }),
        PlantedBug::FileLeftOpen => Arc::new(FileLeftOpen { acts }),
        _ => return None,
    })
}

fn is_temporary(role: Role) -> bool {
    matches!(role, Role::NewSegment | Role::NewStoreFile)
}

/// A new file gets its name first and is synced then.
#[derive(Debug)]
struct RenamedBeforeSync {
    acts: Acts,
}

impl FileBug for RenamedBeforeSync {
    fn sync(&self, file: &Target) -> io::Result<()> {
        if is_temporary(file.role()) {
            return Ok(());
        }
        file.inner.sync()
    }

    fn rename(
        &self,
        files: &dyn FileAccess,
        from: &Path,
        to: &Path,
        file: Option<&Target>,
    ) -> io::Result<()> {
        files.rename(from, to)?;
        self.acts.count();
        file.map_or(Ok(()), |file| file.inner.sync())
    }
}

/// A new file is made under its final name.
#[derive(Debug)]
struct TemporaryNameSkipped {
    acts: Acts,
}

impl TemporaryNameSkipped {
    fn final_name(path: &Path) -> PathBuf {
        path.with_extension("")
    }
}

impl FileBug for TemporaryNameSkipped {
    fn open(&self, files: &dyn FileAccess, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if mode == OpenMode::Create && is_temporary(Role::of(path)) {
            self.acts.count();
            return files.open(&Self::final_name(path), mode);
        }
        files.open(path, mode)
    }

    fn rename(&self, files: &dyn FileAccess, from: &Path, to: &Path, _: Option<&Target>) -> io::Result<()> {
        if Self::final_name(from) == to {
            return Ok(());
        }
        files.rename(from, to)
    }
}

/// A file that is renamed leaves an empty one under its old name.
#[derive(Debug)]
struct OldNameKept {
    acts: Acts,
}

impl FileBug for OldNameKept {
    fn rename(&self, files: &dyn FileAccess, from: &Path, to: &Path, _: Option<&Target>) -> io::Result<()> {
        files.rename(from, to)?;
        self.acts.count();
        files.open(from, OpenMode::Create).map(drop)
    }
}

/// What is removed stays.
#[derive(Debug)]
struct RemovalSkipped {
    acts: Acts,
}

impl FileBug for RemovalSkipped {
    fn remove(&self, _: &dyn FileAccess, _: &Path) -> io::Result<()> {
        self.acts.count();
        Ok(())
    }
}

/// The oldest segment goes when a third one is made, whatever the checkpoint covers.
#[derive(Debug)]
struct SegmentRemovedEarly {
    acts: Acts,
}

impl FileBug for SegmentRemovedEarly {
    fn open(&self, files: &dyn FileAccess, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if let (OpenMode::Create, Role::NewSegment, Some(dir)) = (mode, Role::of(path), path.parent()) {
            let mut names = files.list(dir)?;
            names.retain(|name| Role::of(&dir.join(name)) == Role::Segment);
            names.sort_unstable();
            if let [oldest, _, ..] = &names[..] {
                self.acts.count();
                files.remove(&dir.join(oldest))?;
            }
        }
        files.open(path, mode)
    }

    fn remove(&self, files: &dyn FileAccess, path: &Path) -> io::Result<()> {
        match files.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Whoever asks gets the lock.
#[derive(Debug)]
struct LockAlwaysGranted {
    acts: Acts,
}

#[derive(Debug)]
struct NoLock;

impl FileLock for NoLock {
    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

impl FileBug for LockAlwaysGranted {
    fn lock(&self, files: &dyn FileAccess, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        let lock = files.lock(path)?;
        Ok(Some(lock.unwrap_or_else(|| {
            self.acts.count();
            Box::new(NoLock)
        })))
    }
}

/// The lock outlives its holder.
#[derive(Debug)]
struct LockLeftBehind {
    acts: Acts,
}

impl FileBug for LockLeftBehind {
    fn lock(&self, files: &dyn FileAccess, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        Ok(files.lock(path)?.map(|lock| -> Box<dyn FileLock> {
            self.acts.count();
            std::mem::forget(lock);
            Box::new(NoLock)
        }))
    }
}

/// Files are never closed.
#[derive(Debug)]
struct FileLeftOpen {
    acts: Acts,
}

impl FileBug for FileLeftOpen {
    fn open(&self, files: &dyn FileAccess, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = files.open(path, mode)?;
        self.acts.count();
        std::mem::forget(Arc::clone(&file));
        Ok(file)
    }
}
