//! Errors that do not reach whom they are for.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{FileBug, Target};
use crate::fs::FileAccess;
use crate::testing::lab::planted::{Acts, PlantedBug};

pub(super) fn make(bug: PlantedBug, acts: &Acts) -> Option<Arc<dyn FileBug>> {
    let acts = acts.clone();
    Some(match bug {
        PlantedBug::WriteErrorSwallowed => Arc::new(WriteErrorSwallowed { acts }),
        PlantedBug::WriteRetried => Arc::new(WriteRetried { acts }),
        _ => return None,
    })
}

/// A write or sync that failed is reported as done.
#[derive(Debug)]
struct WriteErrorSwallowed {
    acts: Acts,
}

impl WriteErrorSwallowed {
    fn swallow<T>(&self, result: io::Result<T>, done: T) -> T {
        result.unwrap_or_else(|_| {
            self.acts.count();
            done
        })
    }
}

impl FileBug for WriteErrorSwallowed {
    fn write_at(&self, file: &Target, bytes: &[u8], offset: u64) -> io::Result<usize> {
        Ok(self.swallow(file.inner.write_at(bytes, offset), bytes.len()))
    }

    fn sync(&self, file: &Target) -> io::Result<()> {
        self.swallow(file.inner.sync(), ());
        Ok(())
    }

    fn sync_dir(&self, files: &dyn FileAccess, path: &Path) -> io::Result<()> {
        self.swallow(files.sync_dir(path), ());
        Ok(())
    }
}

/// A write that failed is tried again.
#[derive(Debug)]
struct WriteRetried {
    acts: Acts,
}

impl FileBug for WriteRetried {
    fn write_at(&self, file: &Target, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.inner.write_at(bytes, offset).or_else(|_| {
            self.acts.count();
            file.inner.write_at(bytes, offset)
        })
    }
}
