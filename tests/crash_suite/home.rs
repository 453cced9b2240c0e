//! Where a case's database lives, and how it is opened there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidaldb::storage::MemoryStore;
use tidaldb::testing::workload::{STANDARD_NOW_MS, WorkloadClock};
use tidaldb::{Error, Options, TidalDb};

use crate::fjall_storage::FjallStorage;
use crate::outcome::{Checked, Failure};
use crate::plan::{Policy, Store};

/// A directory, and the store that goes with it.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    dir: PathBuf,
    store: Store,
    /// The content of the in-memory store, which outlives every handle.
    memory: MemoryStore,
}

impl Home {
    /// A home in the directory `dir`, which exists.
    pub(crate) fn new(dir: &Path, store: Store) -> Self {
        Self {
            dir: dir.to_path_buf(),
            store,
            memory: MemoryStore::new(),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn database_dir(&self) -> PathBuf {
        self.dir.join("database")
    }

    /// Opens the database.
    ///
    /// # Errors
    /// That of opening.
    pub(crate) fn open(&self, options: Options) -> Result<TidalDb, Error> {
        match self.store {
            Store::Embedded => TidalDb::open(self.database_dir(), options),
            Store::Fjall => {
                let storage = FjallStorage::open(self.dir.join("fjall"))?;
                TidalDb::open_with_storage(self.database_dir(), options, Arc::new(storage))
            }
            Store::Memory => {
                TidalDb::open_with_storage(self.database_dir(), options, Arc::new(self.memory.clone()))
            }
        }
    }

    /// The name and content of every file of the database, those of fjall left aside: its destructor writes.
    pub(crate) fn files(&self) -> Checked<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        collect(&self.database_dir(), &mut files)?;
        files.sort();
        Ok(files)
    }

    /// Writes files of the database, as they were at its death, into a directory beside it.
    pub(crate) fn lay_out_at_death(&self, files: &[(PathBuf, Vec<u8>)]) -> Checked<()> {
        for (path, content) in files {
            let inside = path.strip_prefix(self.database_dir()).unwrap_or(path);
            let copy = self.dir.join("at-death").join(inside);
            let written =
                fs::create_dir_all(copy.parent().unwrap_or(&copy)).and_then(|()| fs::write(&copy, content));
            written.map_err(|error| Failure::of(&format!("cannot write {}", copy.display()), &error))?;
        }
        Ok(())
    }
}

fn collect(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) -> Checked<()> {
    let fail = |error: std::io::Error| Failure::of(&format!("cannot read {}", dir.display()), &error);
    for entry in fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            let content = fs::read(&path).map_err(fail)?;
            files.push((path, content));
        }
    }
    Ok(())
}

/// `options` with the policy, for an opening by the calling thread: its clock begins anew, so that the timed sync is done at
/// the same calls in every run.
pub(crate) fn with_policy(options: Options, policy: Policy) -> Options {
    WorkloadClock::set(STANDARD_NOW_MS);
    options.durability(policy.durability())
}
