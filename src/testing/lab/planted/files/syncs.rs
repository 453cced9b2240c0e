//! Syncs that do nothing, too little, or come too late.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::{Every, FileBug, Role, Target};
use crate::fs::FileAccess;
use crate::testing::lab::planted::{Acts, PlantedBug};

pub(super) fn make(bug: PlantedBug, acts: &Acts) -> Option<Arc<dyn FileBug>> {
    let acts = acts.clone();
    let skipped = |of: fn(&Target) -> bool, one_in| -> Arc<dyn FileBug> {
        Arc::new(SyncSkipped {
            of,
            every: Every::one_in(one_in),
            acts: acts.clone(),
        })
    };
    let dir_skipped = |of: fn(&str) -> bool| -> Arc<dyn FileBug> {
        let acts = acts.clone();
        Arc::new(DirectorySyncSkipped { of, acts })
    };
    Some(match bug {
        PlantedBug::SegmentSyncSkipped | PlantedBug::SealingSyncSkipped | PlantedBug::TimedSyncSkipped => {
            skipped(|file| file.role() == Role::Segment, 1)
        }
        PlantedBug::ThirdSegmentSyncSkipped => skipped(|file| file.role() == Role::Segment, 3),
        PlantedBug::SegmentHeaderSyncSkipped => skipped(|file| file.role() == Role::NewSegment, 1),
        PlantedBug::StoreSyncSkipped => skipped(|file| file.role() == Role::StoreFile, 1),
        PlantedBug::StoreHeaderSyncSkipped => skipped(|file| file.role() == Role::NewStoreFile, 1),
        PlantedBug::LogDirectorySyncSkipped => dir_skipped(|name| name == "log"),
        PlantedBug::StoreDirectorySyncSkipped => dir_skipped(|name| name == "store"),
        PlantedBug::DatabaseDirectorySyncSkipped => dir_skipped(|name| name != "log" && name != "store"),
        PlantedBug::UnwatchedThread => Arc::new(SyncElsewhere { acts }),
        _ => return None,
    })
}

/// Some syncs of some files do nothing.
#[derive(Debug)]
struct SyncSkipped {
    of: fn(&Target) -> bool,
    every: Every,
    acts: Acts,
}

impl FileBug for SyncSkipped {
    fn sync(&self, file: &Target) -> io::Result<()> {
        if (self.of)(file) && self.every.is_due() {
            self.acts.count();
            return Ok(());
        }
        file.inner.sync()
    }
}

/// Syncs of directories of some names do nothing.
#[derive(Debug)]
struct DirectorySyncSkipped {
    of: fn(&str) -> bool,
    acts: Acts,
}

impl FileBug for DirectorySyncSkipped {
    fn sync_dir(&self, files: &dyn FileAccess, path: &Path) -> io::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str());
        if (self.of)(name.unwrap_or_default()) {
            self.acts.count();
            return Ok(());
        }
        files.sync_dir(path)
    }
}

/// Segments are synced by a thread that was not started by the one helper that hands the injector on.
#[derive(Debug)]
struct SyncElsewhere {
    acts: Acts,
}

impl FileBug for SyncElsewhere {
    fn sync(&self, file: &Target) -> io::Result<()> {
        if file.role() != Role::Segment {
            return file.inner.sync();
        }
        self.acts.count();
        thread::scope(|scope| match scope.spawn(|| file.inner.sync()).join() {
            Ok(result) => result,
            Err(payload) => std::panic::resume_unwind(payload),
        })
    }
}
