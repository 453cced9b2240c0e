//! Files that are not those of the crash any more when the database is opened again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{FileBug, Role, Target};
use crate::fs::{FileAccess, OpenMode, read_whole, write_all_at};
use crate::testing::lab::planted::{Acts, PlantedBug};
use crate::testing::sweep::Setup;

/// Files with their content, shared by all openings of a sweep.
pub(super) type Backup = Arc<Mutex<Option<Vec<(PathBuf, Vec<u8>)>>>>;

pub(super) fn make(bug: PlantedBug, acts: &Acts, backup: &Backup) -> Option<Arc<dyn FileBug>> {
    let acts = acts.clone();
    Some(match bug {
        PlantedBug::LastSegmentLost => Arc::new(SegmentsLost { all: false, acts }),
        PlantedBug::LogLost => Arc::new(SegmentsLost { all: true, acts }),
        PlantedBug::StoreLost => Arc::new(StoreLost { acts }),
        PlantedBug::StoreRolledBack => Arc::new(StoreRolledBack {
            backup: Arc::clone(backup),
            acts,
        }),
        _ => return None,
    })
}

/// The files in `dir` that have this role, in order; none if there is no such directory.
fn files_in(files: &dyn FileAccess, dir: &Path, role: Role) -> Vec<PathBuf> {
    let names = files.list(dir).unwrap_or_default();
    let mut paths: Vec<_> = names.iter().map(|name| dir.join(name)).collect();
    paths.retain(|path| Role::of(path) == role);
    paths.sort_unstable();
    paths
}

/// Removes files; a device that is dead keeps them.
fn remove(files: &dyn FileAccess, paths: &[PathBuf], acts: &Acts) {
    for path in paths {
        if files.remove(path).is_ok() {
            acts.count();
        }
    }
}

/// The last segment is gone if there is one before it, or all of them are.
#[derive(Debug)]
struct SegmentsLost {
    all: bool,
    acts: Acts,
}

impl FileBug for SegmentsLost {
    fn opening(&self, files: &dyn FileAccess) {
        let segments = files_in(files, &Setup::log_and_store().0, Role::Segment);
        let lost = if self.all {
            &segments[..]
        } else {
            segments
                .get(1..)
                .and_then(<[_]>::last)
                .map_or(&[][..], std::slice::from_ref)
        };
        remove(files, lost, &self.acts);
    }
}

/// The store is gone.
#[derive(Debug)]
struct StoreLost {
    acts: Acts,
}

impl FileBug for StoreLost {
    fn opening(&self, files: &dyn FileAccess) {
        let store = files_in(files, &Setup::log_and_store().1, Role::StoreFile);
        remove(files, &store, &self.acts);
    }
}

/// Whoever opens the database puts a backup of the store in its place first: what it held when it got its second file.
#[derive(Debug)]
struct StoreRolledBack {
    backup: Backup,
    acts: Acts,
}

impl StoreRolledBack {
    fn restore(&self, files: &dyn FileAccess) -> io::Result<()> {
        let backup = self.backup.lock().unwrap_or_else(PoisonError::into_inner);
        let store_dir = Setup::log_and_store().1;
        let store = files_in(files, &store_dir, Role::StoreFile);
        let Some(backup) = backup.as_ref().filter(|_| store.len() > 1) else {
            return Ok(());
        };
        self.acts.count();
        for path in store {
            files.remove(&path)?;
        }
        for (path, bytes) in backup {
            let file = files.open(path, OpenMode::Create)?;
            write_all_at(file.as_ref(), bytes, 0)?;
            file.sync()?;
        }
        files.sync_dir(&store_dir)
    }
}

impl FileBug for StoreRolledBack {
    fn opening(&self, files: &dyn FileAccess) {
        // A device that died meanwhile has what it has.
        self.restore(files).ok();
    }

    fn rename(&self, files: &dyn FileAccess, from: &Path, to: &Path, _: Option<&Target>) -> io::Result<()> {
        let mut backup = self.backup.lock().unwrap_or_else(PoisonError::into_inner);
        let store = files_in(files, &Setup::log_and_store().1, Role::StoreFile);
        if backup.is_none() && !store.is_empty() && Role::of(to) == Role::StoreFile {
            let read = |path: PathBuf| -> io::Result<_> {
                let file = files.open(&path, OpenMode::Read)?;
                let bytes = read_whole(file.as_ref())?;
                Ok((path, bytes))
            };
            *backup = Some(store.into_iter().map(read).collect::<io::Result<_>>()?);
        }
        files.rename(from, to)
    }
}
