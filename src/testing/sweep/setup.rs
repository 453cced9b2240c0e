//! The setup of a sweep: the work, and the options, files and storage with which the database is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::{CallExecutor, Driver, Opener};
use super::finding::{Failure, FailureKind, Finding};
use super::journal::CallLog;
use super::location::DatabaseLocation;
use super::saved::SavedPrefix;
use crate::fs::{FileAccess, RealFiles};
use crate::limits::Limits;
use crate::storage::StorageEngine;
use crate::testing::SimDisk;
use crate::testing::faults;
use crate::testing::oracle::Oracle;
use crate::testing::plan::{Plan, Work};
use crate::testing::sim_disk::{Image, SimDiskOptions};
use crate::testing::text::error_chain;
use crate::testing::workload::{
    Operation, Session, Workload, WorkloadClock, enter_session, in_session, standard_schema, tiny_limits,
    tiny_options,
};
use crate::{Durability, Error, Options, TidalDb};

/// The directory of the database on the simulated disk.
pub(crate) const DB_DIR: &str = "/db";

type MakeOptions = dyn Fn() -> Options + Send + Sync;
type OpenOverFiles = dyn Fn(Arc<dyn FileAccess>) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync;
type OpenInDir = dyn Fn(&Path) -> Result<Arc<dyn StorageEngine>, Error> + Send + Sync;
type WrapFiles = dyn Fn(Arc<dyn FileAccess>) -> Arc<dyn FileAccess> + Send + Sync;
type WorkFunction = dyn Fn(&mut Driver<'_>) -> Result<(), Error> + Send + Sync;
type MakeCallExecutor = dyn Fn() -> Box<dyn CallExecutor> + Send + Sync;
type ChangeOptions = dyn Fn(Options) -> Options + Send + Sync;

/// Opens the storage engine.
#[derive(Clone)]
pub(crate) enum OpenStorage {
    /// Over the file access of the database.
    OverFiles(Arc<OpenOverFiles>),
    /// With its own file access, below a directory. On real files only.
    InDir(Arc<OpenInDir>),
}

/// See the [module](self). Cheap to clone.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) durability: Durability,
    /// The bytes of a sector of the disk.
    pub(crate) sector_bytes: u32,
    pub(crate) work: Work,
    pub(crate) options: Option<Arc<MakeOptions>>,
    pub(crate) storage: Option<OpenStorage>,
    pub(crate) wrap_files: Option<Arc<WrapFiles>>,
    /// The calls of the work, if `work` is only a name.
    pub(crate) work_function: Option<Arc<WorkFunction>>,
    /// The operations of the work, if `work` is only a name.
    pub(crate) workload: Option<Arc<Workload>>,
    /// Makes the calls of the work instead of the driver.
    pub(crate) call_executor: Option<Arc<MakeCallExecutor>>,
    /// The saved database with which the work starts; `None` for a new database. On real files only.
    pub(crate) prefix: Option<Arc<SavedPrefix>>,
    /// Changes the options of each opening. The oracle uses the unchanged options.
    pub(crate) change_options: Option<Arc<ChangeOptions>>,
}

impl Setup {
    pub(crate) fn new(work: Work, durability: Durability) -> Self {
        Self {
            durability,
            sector_bytes: SimDiskOptions::default().sector_bytes,
            work,
            options: None,
            storage: None,
            wrap_files: None,
            work_function: None,
            workload: None,
            call_executor: None,
            prefix: None,
            change_options: None,
        }
    }

    /// Returns true if a plan alone determines the run: the setup has no options, storage, files or work of the user.
    pub(crate) fn is_standard(&self) -> bool {
        let Self {
            durability: _,
            sector_bytes: _,
            work: _,
            options,
            storage,
            wrap_files,
            work_function,
            workload,
            call_executor,
            prefix,
            change_options,
        } = self;
        options.is_none()
            && storage.is_none()
            && wrap_files.is_none()
            && work_function.is_none()
            && workload.is_none()
            && call_executor.is_none()
            && prefix.is_none()
            && change_options.is_none()
    }

    /// The same setup with the work, policy and sector size of `plan`.
    pub(crate) fn for_plan(&self, plan: &Plan) -> Self {
        let mut setup = self.clone();
        if setup.work != plan.work {
            setup.work_function = None;
            setup.workload = None;
            setup.prefix = None;
            setup.work = plan.work.clone();
        }
        setup.durability = plan.durability;
        setup.sector_bytes = plan.sector_bytes;
        setup
    }

    /// The options of a session, without the file access. Each opening gets new options, because a clock of the user
    /// may advance.
    pub(crate) fn options(&self, session: &Session) -> Options {
        in_session(session.number, || {
            let options = match &self.options {
                Some(make) => make(),
                None => tiny_options(standard_schema()),
            };
            let options = session.options(options.durability(self.durability));
            match &self.change_options {
                Some(change) => change(options),
                None => options,
            }
        })
    }

    /// The operations of the work; `None` if a closure makes the calls.
    pub(crate) fn operations(&self) -> Option<Vec<Operation>> {
        match &self.workload {
            Some(workload) => Some(workload.operations.clone()),
            None => Some(self.work.workload()?.operations),
        }
    }

    /// The plan of this work without a crash.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            durability: self.durability,
            sector_bytes: self.sector_bytes,
            ..Plan::new(self.work.clone())
        }
    }

    /// An empty disk.
    pub(crate) fn new_disk(&self) -> SimDisk {
        let options = SimDiskOptions {
            sector_bytes: self.sector_bytes,
            ..SimDiskOptions::default()
        };
        SimDisk::with_options(&Image::new(), options)
    }

    /// The location of the database on a simulated disk.
    pub(crate) fn location_on_disk(&self, disk: &SimDisk, session: Session) -> DatabaseLocation {
        self.location_in_dir_of_disk(disk, Path::new(DB_DIR), session)
    }

    /// The location of the database in this directory of a simulated disk.
    pub(crate) fn location_in_dir_of_disk(
        &self,
        disk: &SimDisk,
        dir: &Path,
        session: Session,
    ) -> DatabaseLocation {
        self.location(dir, Some(disk.clone()), session)
    }

    /// The location of the database in this directory of the real file system.
    pub(crate) fn location_on_files(&self, dir: &Path, session: Session) -> DatabaseLocation {
        self.location(dir, None, session)
    }

    fn location(&self, dir: &Path, disk: Option<SimDisk>, session: Session) -> DatabaseLocation {
        let mut location = DatabaseLocation {
            dir: dir.to_path_buf(),
            files: Arc::new(RealFiles),
            disk,
            session: session.clone(),
            failed_len_before: 0,
        };
        self.begin_session(&mut location, session);
        location
    }

    /// Sets the session of `location`, and makes a new file access. So a wrapper of the user has no state of an earlier
    /// session.
    pub(crate) fn begin_session(&self, location: &mut DatabaseLocation, session: Session) {
        enter_session(session.number);
        location.failed_len_before = location.disk.as_ref().map_or(0, SimDisk::failed_operations_len);
        location.session = session;
        let files: Arc<dyn FileAccess> = match &location.disk {
            Some(disk) => Arc::new(disk.clone()),
            None => Arc::new(RealFiles),
        };
        location.files = match &self.wrap_files {
            Some(wrap) => wrap(files),
            None => files,
        };
    }

    /// The directories of the log and of the embedded store, on the simulated disk.
    pub(crate) fn log_and_store() -> (PathBuf, PathBuf) {
        let dir = Path::new(DB_DIR);
        (faults::log_dir(dir), faults::store_dir(dir))
    }

    /// A driver of the open database in `handle`, which notes the calls in `log`.
    pub(crate) fn driver<'a>(
        &'a self,
        location: &'a mut DatabaseLocation,
        handle: &'a mut Option<TidalDb>,
        log: &'a dyn CallLog,
    ) -> Driver<'a> {
        Driver::new(
            self,
            location,
            handle,
            log,
            self.call_executor.as_ref().map(|make| make()),
        )
    }

    /// A finding of a sweep with this setup.
    pub(crate) fn finding(&self, plan: Plan, failure: Failure) -> Finding {
        Finding {
            has_own_setup: !self.is_standard(),
            ..Finding::new(plan, failure)
        }
    }

    /// An oracle for the database with which the work starts.
    pub(crate) fn oracle(&self) -> Oracle {
        let Some(prefix) = &self.prefix else {
            return Oracle::new(&self.options(&Session::first()).schema, self.durability);
        };
        let mut oracle = prefix.oracle.clone();
        oracle.set_guarantee(self.durability);
        oracle
    }

    /// Opens the database.
    pub(crate) fn open(&self, location: &DatabaseLocation) -> Result<TidalDb, Error> {
        self.open_with(location, self.options(&location.session))
    }

    /// Opens the database with the stored schema. Fails if the stored schema is not the schema of the options.
    pub(crate) fn open_stored(&self, location: &DatabaseLocation) -> Result<TidalDb, Failure> {
        let options = self.options(&location.session);
        let schema = options.schema.clone();
        let stored = Options {
            schema_stored: true,
            ..options
        };
        let db = self.open_with(location, stored);
        let db = db.map_err(|error| {
            let message = format_args!("with the stored schema: {}", error_chain(&error));
            Failure::new(FailureKind::Refused, message)
        })?;
        if schema.resolved(Some(db.schema())) == *db.schema() {
            return Ok(db);
        }
        let message = format_args!(
            "the open before this one stored another schema: {:?}",
            db.schema()
        );
        Err(Failure::new(FailureKind::Wrong, message))
    }

    fn open_with(&self, location: &DatabaseLocation, options: Options) -> Result<TidalDb, Error> {
        enter_session(location.session.number);
        WorkloadClock::set(location.session.now_ms);
        let options = options.files(Arc::clone(&location.files));
        let storage = match &self.storage {
            None => return TidalDb::open(&location.dir, options),
            Some(OpenStorage::OverFiles(open)) if location.disk.is_some() => {
                open(Arc::clone(&location.files))?
            }
            // The engine uses absolute paths of a simulated disk. On real files they would be paths of the machine.
            Some(OpenStorage::OverFiles(_)) => {
                return Err(Error::storage(
                    "open",
                    "a storage engine over the file access of the sweep can crash on simulated disks only",
                ));
            }
            Some(OpenStorage::InDir(open)) if location.disk.is_none() => {
                open(&location.dir.with_extension("storage"))?
            }
            Some(OpenStorage::InDir(_)) => {
                return Err(Error::storage(
                    "open",
                    "a storage engine with its own file access can crash on real files only",
                ));
            }
        };
        TidalDb::open_with_storage(&location.dir, options, storage)
    }
}

impl Opener for Setup {
    fn open_session(&self, location: &mut DatabaseLocation, session: Session) -> Result<TidalDb, Error> {
        self.begin_session(location, session);
        self.open(location)
    }

    fn durability_of(&self, session: &Session) -> Durability {
        session.durability().unwrap_or(self.durability)
    }

    fn sync_interval_ms(&self, session: &Session) -> Option<u64> {
        match self.durability_of(session) {
            Durability::SyncedEvery { interval_ms } if self.options.is_none() => Some(interval_ms),
            _ => None,
        }
    }

    fn has_own_storage(&self) -> bool {
        self.storage.is_some()
    }

    fn segments_len_max(&self) -> usize {
        let limits = match self.options {
            Some(_) => Limits::default(),
            None => tiny_limits(),
        };
        // Two further segments are possible: the segment to which frames are appended, and one that a call may add if
        // its checkpoint has nothing new to store.
        (limits.sealed_segments_len_max * limits.log_growth_factor_max) as usize + 2
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
