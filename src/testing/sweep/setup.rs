//! What is crashed: how the database is opened, on which files and storage, and what is done to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::Driver;
use crate::fs::FileAccess;
use crate::storage::StorageEngine;
use crate::testing::SimDisk;
use crate::testing::plan::{Plan, Work};
use crate::testing::workload::{Operation, STANDARD_NOW_MS, WorkloadClock, standard_schema, tiny_options};
use crate::{Durability, Error, Options, Receipt, TidalDb};

/// Where the database is on the simulated disk.
pub(crate) const DB_DIR: &str = "/db";

type MakeOptions = dyn Fn() -> Options + Send + Sync;
type MakeStorage = dyn Fn(Arc<dyn FileAccess>) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync;
type WrapFiles = dyn Fn(Arc<dyn FileAccess>) -> Arc<dyn FileAccess> + Send + Sync;
type Drive = dyn Fn(&mut Driver<'_>) -> Result<(), Error> + Send + Sync;
type MakeCalls = dyn Fn() -> Box<dyn Calls> + Send + Sync;
type ChangeOptions = dyn Fn(Options) -> Options + Send + Sync;

/// Stands between the driver and the handle, for one run: makes the calls that the oracle is told of, or others.
pub(crate) trait Calls: fmt::Debug {
    fn call(&mut self, db: &TidalDb, operation: &Operation) -> Result<Option<Receipt>, Error>;
}

/// See the [module](self). Cheap to clone.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) durability: Durability,
    pub(crate) work: Work,
    pub(crate) options: Option<Arc<MakeOptions>>,
    pub(crate) storage: Option<Arc<MakeStorage>>,
    pub(crate) files: Option<Arc<WrapFiles>>,
    pub(crate) drive: Option<Arc<Drive>>,
    /// What makes the calls of the work, if they are not just made.
    pub(crate) calls: Option<Arc<MakeCalls>>,
    /// What the options are changed to behind the back of whoever promises something.
    pub(crate) changed_options: Option<Arc<ChangeOptions>>,
}

impl Setup {
    pub(crate) fn new(work: Work, durability: Durability) -> Self {
        Self {
            durability,
            work,
            options: None,
            storage: None,
            files: None,
            drive: None,
            calls: None,
            changed_options: None,
        }
    }

    /// Whether a plan says all there is to it.
    pub(crate) fn is_standard(&self) -> bool {
        let Self {
            durability: _,
            work: _,
            options,
            storage,
            files,
            drive,
            calls,
            changed_options,
        } = self;
        options.is_none()
            && storage.is_none()
            && files.is_none()
            && drive.is_none()
            && calls.is_none()
            && changed_options.is_none()
    }

    /// The same with the work and policy of `plan`.
    pub(crate) fn for_plan(&self, plan: &Plan) -> Self {
        let mut setup = self.clone();
        if setup.work != plan.work {
            setup.drive = None;
            setup.work = plan.work.clone();
        }
        setup.durability = plan.durability;
        setup
    }

    /// The options, without the file access. Made anew for each opening: a clock of one's own may move.
    pub(crate) fn options(&self) -> Options {
        let options = match &self.options {
            Some(make) => make(),
            None => tiny_options(standard_schema()),
        };
        let options = options.durability(self.durability);
        match &self.changed_options {
            Some(change) => change(options),
            None => options,
        }
    }

    /// The file access that the database sees of `disk`. To be dropped after the database: its count tells whether
    /// anything of the database is left.
    pub(crate) fn files_of(&self, disk: &SimDisk) -> Arc<dyn FileAccess> {
        self.wrapped(Arc::new(disk.clone()))
    }

    pub(crate) fn wrapped(&self, files: Arc<dyn FileAccess>) -> Arc<dyn FileAccess> {
        match &self.files {
            Some(wrap) => wrap(files),
            None => files,
        }
    }

    /// Opens the database below `dir`.
    pub(crate) fn open(&self, files: &Arc<dyn FileAccess>, dir: &Path) -> Result<TidalDb, Error> {
        // The clock begins anew, whatever the thread did before: every run does the same.
        WorkloadClock::set(STANDARD_NOW_MS);
        let options = self.options().files(Arc::clone(files));
        match &self.storage {
            Some(make) => TidalDb::open_with_storage(dir, options, make(Arc::clone(files))?),
            None => TidalDb::open(dir, options),
        }
    }

    /// The directory of the log and that of the embedded store, on the simulated disk.
    pub(crate) fn log_and_store() -> (PathBuf, PathBuf) {
        let dir = Path::new(DB_DIR);
        (dir.join("log"), dir.join("store"))
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("durability", &self.durability)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}
