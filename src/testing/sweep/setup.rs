//! The setup of a sweep: the work, and how the database is opened, on which files and storage.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::{Calls, DiskChecks, Driver};
use super::finding::{Failure, Finding};
use super::home::Home;
use super::journal::{CallLog, Journal};
use crate::fs::{FileAccess, RealFiles};
use crate::storage::StorageEngine;
use crate::testing::SimDisk;
use crate::testing::faults;
use crate::testing::oracle::Oracle;
use crate::testing::plan::{Plan, Work};
use crate::testing::workload::{
    Operation, STANDARD_NOW_MS, Workload, WorkloadClock, standard_schema, tiny_options,
};
use crate::{Durability, Error, Options, TidalDb};

/// Where the database is on the simulated disk.
pub(crate) const DB_DIR: &str = "/db";

type MakeOptions = dyn Fn() -> Options + Send + Sync;
type OpenOverFiles = dyn Fn(Arc<dyn FileAccess>) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync;
type OpenInDir = dyn Fn(&Path) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync;
type WrapFiles = dyn Fn(Arc<dyn FileAccess>) -> Arc<dyn FileAccess> + Send + Sync;
type Drive = dyn Fn(&mut Driver<'_>) -> Result<(), Error> + Send + Sync;
type MakeCalls = dyn Fn() -> Box<dyn Calls> + Send + Sync;
type ChangeOptions = dyn Fn(Options) -> Options + Send + Sync;

/// Opens the storage engine.
#[derive(Clone)]
pub(crate) enum OpenStorage {
    /// Over the file access of the database.
    OverFiles(Arc<OpenOverFiles>),
    /// With files of its own below a directory. On real files only.
    InDir(Arc<OpenInDir>),
}

/// See the [module](self). Cheap to clone.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) durability: Durability,
    pub(crate) work: Work,
    pub(crate) options: Option<Arc<MakeOptions>>,
    pub(crate) storage: Option<OpenStorage>,
    pub(crate) files: Option<Arc<WrapFiles>>,
    pub(crate) drive: Option<Arc<Drive>>,
    /// The operations for which the name in `work` stands.
    pub(crate) workload: Option<Arc<Workload>>,
    /// Makes the calls of the work in place of the driver.
    pub(crate) calls: Option<Arc<MakeCalls>>,
    /// Changes the options without the oracle's knowledge.
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
            workload: None,
            calls: None,
            changed_options: None,
        }
    }

    /// Returns true if a plan alone defines the run: no options, storage, files or closure of the user.
    pub(crate) fn is_standard(&self) -> bool {
        let Self {
            durability: _,
            work: _,
            options,
            storage,
            files,
            drive,
            workload,
            calls,
            changed_options,
        } = self;
        options.is_none()
            && storage.is_none()
            && files.is_none()
            && drive.is_none()
            && workload.is_none()
            && calls.is_none()
            && changed_options.is_none()
    }

    /// The same with the work and policy of `plan`.
    pub(crate) fn for_plan(&self, plan: &Plan) -> Self {
        let mut setup = self.clone();
        if setup.work != plan.work {
            setup.drive = None;
            setup.workload = None;
            setup.work = plan.work.clone();
        }
        setup.durability = plan.durability;
        setup
    }

    /// The options, without the file access. Made for each opening: a clock of the user may move.
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

    /// The operations of the work, unless a closure makes them up.
    pub(crate) fn operations(&self) -> Option<Vec<Operation>> {
        match &self.workload {
            Some(workload) => Some(workload.operations.clone()),
            None => Some(self.work.workload()?.operations),
        }
    }

    /// The database on a simulated disk.
    pub(crate) fn on_disk(&self, disk: &SimDisk) -> Home {
        self.on_disk_below(disk, Path::new(DB_DIR))
    }

    /// The database in a directory of a simulated disk.
    pub(crate) fn on_disk_below(&self, disk: &SimDisk, dir: &Path) -> Home {
        Home {
            dir: dir.to_path_buf(),
            files: self.wrapped(Arc::new(disk.clone())),
            disk: Some(disk.clone()),
        }
    }

    /// The database in a directory of the real file system.
    pub(crate) fn on_files(&self, dir: &Path) -> Home {
        Home {
            dir: dir.to_path_buf(),
            files: self.wrapped(Arc::new(RealFiles)),
            disk: None,
        }
    }

    fn wrapped(&self, files: Arc<dyn FileAccess>) -> Arc<dyn FileAccess> {
        match &self.files {
            Some(wrap) => wrap(files),
            None => files,
        }
    }

    /// The directory of the log and that of the embedded store, on the simulated disk.
    pub(crate) fn log_and_store() -> (PathBuf, PathBuf) {
        let dir = Path::new(DB_DIR);
        (faults::log_dir(dir), faults::store_dir(dir))
    }

    /// A driver of an open database, which notes the calls in `log`.
    pub(crate) fn driver<'a>(&self, db: &'a TidalDb, log: &'a dyn CallLog) -> Driver<'a> {
        Driver::new(db, log, self.calls.as_ref().map(|make| make()))
    }

    /// A driver of an open database, which also checks the promise of each acknowledged call on the simulated disk.
    pub(crate) fn checked_driver<'a>(
        &self,
        db: &'a TidalDb,
        journal: &'a Journal,
        home: &'a Home,
        disk: &'a SimDisk,
    ) -> Driver<'a> {
        let checks = DiskChecks {
            disk,
            journal,
            home,
            durability: self.durability,
            has_own_storage: self.storage.is_some(),
        };
        self.driver(db, journal).checked(checks)
    }

    /// A finding of a sweep with this setup.
    pub(crate) fn finding(&self, plan: Plan, failure: Failure) -> Finding {
        Finding {
            of_own_sweep: !self.is_standard(),
            ..Finding::new(plan, failure)
        }
    }

    /// An oracle for a new database.
    pub(crate) fn oracle(&self) -> Oracle {
        Oracle::new(&self.options().schema, self.durability)
    }

    /// Opens the database.
    pub(crate) fn open(&self, home: &Home) -> Result<TidalDb, Error> {
        // Each run begins with the clock at the same time.
        WorkloadClock::set(STANDARD_NOW_MS);
        let options = self.options().files(Arc::clone(&home.files));
        let storage = match &self.storage {
            None => return TidalDb::open(&home.dir, options),
            Some(OpenStorage::OverFiles(open)) if home.disk.is_some() => open(Arc::clone(&home.files))?,
            // Its paths are those of a simulated disk, from the root on.
            Some(OpenStorage::OverFiles(_)) => {
                return Err(Error::storage(
                    "open",
                    "a storage engine over a sweep's file access is crashed on simulated disks only",
                ));
            }
            Some(OpenStorage::InDir(open)) if home.disk.is_none() => {
                open(&home.dir.with_extension("storage"))?
            }
            Some(OpenStorage::InDir(_)) => {
                return Err(Error::storage(
                    "open",
                    "a storage engine with files of its own is crashed on real files only",
                ));
            }
        };
        TidalDb::open_with_storage(&home.dir, options, storage)
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
