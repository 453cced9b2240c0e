//! The setup of a sweep: the work, and how the database is opened, on which files and storage.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::{Calls, Driver, Opener};
use super::finding::{Failure, FailureKind, Finding};
use super::home::Home;
use super::journal::CallLog;
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
    /// The bytes of a sector of the disk.
    pub(crate) sector_bytes: u32,
    pub(crate) work: Work,
    pub(crate) options: Option<Arc<MakeOptions>>,
    pub(crate) storage: Option<OpenStorage>,
    pub(crate) files: Option<Arc<WrapFiles>>,
    pub(crate) drive: Option<Arc<Drive>>,
    /// The operations for which the name in `work` stands.
    pub(crate) workload: Option<Arc<Workload>>,
    /// Makes the calls of the work in place of the driver.
    pub(crate) calls: Option<Arc<MakeCalls>>,
    /// The saved database with which the work begins; `None` for a new one. On real files only.
    pub(crate) start: Option<Arc<SavedPrefix>>,
    /// Changes the options without the oracle's knowledge.
    pub(crate) changed_options: Option<Arc<ChangeOptions>>,
}

impl Setup {
    pub(crate) fn new(work: Work, durability: Durability) -> Self {
        Self {
            durability,
            sector_bytes: SimDiskOptions::default().sector_bytes,
            work,
            options: None,
            storage: None,
            files: None,
            drive: None,
            workload: None,
            calls: None,
            start: None,
            changed_options: None,
        }
    }

    /// Returns true if a plan alone defines the run: no options, storage, files or closure of the user.
    pub(crate) fn is_standard(&self) -> bool {
        let Self {
            durability: _,
            sector_bytes: _,
            work: _,
            options,
            storage,
            files,
            drive,
            workload,
            calls,
            start,
            changed_options,
        } = self;
        options.is_none()
            && storage.is_none()
            && files.is_none()
            && drive.is_none()
            && workload.is_none()
            && calls.is_none()
            && start.is_none()
            && changed_options.is_none()
    }

    /// The same with the work and policy of `plan`.
    pub(crate) fn for_plan(&self, plan: &Plan) -> Self {
        let mut setup = self.clone();
        if setup.work != plan.work {
            setup.drive = None;
            setup.workload = None;
            setup.start = None;
            setup.work = plan.work.clone();
        }
        setup.durability = plan.durability;
        setup.sector_bytes = plan.sector_bytes;
        setup
    }

    /// The options of a session, without the file access. They are made for each opening, because a clock of the user may move.
    pub(crate) fn options(&self, session: &Session) -> Options {
        in_session(session.number, || {
            let options = match &self.options {
                Some(make) => make(),
                None => tiny_options(standard_schema()),
            };
            let options = session.options(options.durability(self.durability));
            match &self.changed_options {
                Some(change) => change(options),
                None => options,
            }
        })
    }

    /// The operations of the work, unless a closure makes them up.
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

    /// The database on a simulated disk.
    pub(crate) fn on_disk(&self, disk: &SimDisk, session: Session) -> Home {
        self.on_disk_below(disk, Path::new(DB_DIR), session)
    }

    /// The database in a directory of a simulated disk.
    pub(crate) fn on_disk_below(&self, disk: &SimDisk, dir: &Path, session: Session) -> Home {
        self.home(dir, Some(disk.clone()), session)
    }

    /// The database in a directory of the real file system.
    pub(crate) fn on_files(&self, dir: &Path, session: Session) -> Home {
        self.home(dir, None, session)
    }

    fn home(&self, dir: &Path, disk: Option<SimDisk>, session: Session) -> Home {
        let mut home = Home {
            dir: dir.to_path_buf(),
            files: Arc::new(RealFiles),
            disk,
            session: session.clone(),
            failed_len_before: 0,
        };
        self.begin_session(&mut home, session);
        home
    }

    /// Gives `home` this session and a new file access. So a wrapper of the user keeps nothing of the session before.
    pub(crate) fn begin_session(&self, home: &mut Home, session: Session) {
        enter_session(session.number);
        home.failed_len_before = home.disk.as_ref().map_or(0, SimDisk::failed_operations_len);
        home.session = session;
        let files: Arc<dyn FileAccess> = match &home.disk {
            Some(disk) => Arc::new(disk.clone()),
            None => Arc::new(RealFiles),
        };
        home.files = match &self.files {
            Some(wrap) => wrap(files),
            None => files,
        };
    }

    /// The directory of the log and that of the embedded store, on the simulated disk.
    pub(crate) fn log_and_store() -> (PathBuf, PathBuf) {
        let dir = Path::new(DB_DIR);
        (faults::log_dir(dir), faults::store_dir(dir))
    }

    /// A driver of the open database in `handle`, which notes the calls in `log`.
    pub(crate) fn driver<'a>(
        &'a self,
        home: &'a mut Home,
        handle: &'a mut Option<TidalDb>,
        log: &'a dyn CallLog,
    ) -> Driver<'a> {
        Driver::new(self, home, handle, log, self.calls.as_ref().map(|make| make()))
    }

    /// A finding of a sweep with this setup.
    pub(crate) fn finding(&self, plan: Plan, failure: Failure) -> Finding {
        Finding {
            of_own_sweep: !self.is_standard(),
            ..Finding::new(plan, failure)
        }
    }

    /// An oracle for the database with which the work begins.
    pub(crate) fn oracle(&self) -> Oracle {
        let Some(start) = &self.start else {
            return Oracle::new(&self.options(&Session::first()).schema, self.durability);
        };
        let mut oracle = start.oracle.clone();
        oracle.set_guarantee(self.durability);
        oracle
    }

    /// Opens the database.
    pub(crate) fn open(&self, home: &Home) -> Result<TidalDb, Error> {
        self.open_with(home, self.options(&home.session))
    }

    /// Opens the database with the stored schema. Fails if that is not the schema of the options.
    pub(crate) fn open_stored(&self, home: &Home) -> Result<TidalDb, Failure> {
        let options = self.options(&home.session);
        let schema = options.schema.clone();
        let stored = Options {
            schema_stored: true,
            ..options
        };
        let db = self.open_with(home, stored);
        let db = db.map_err(|error| {
            let message = format_args!("with the stored schema: {}", error_chain(&error));
            Failure::new(FailureKind::Refused, message)
        })?;
        if schema.resolved(Some(db.schema())) == *db.schema() {
            return Ok(db);
        }
        let message = format_args!("the open before stored another schema: {:?}", db.schema());
        Err(Failure::new(FailureKind::Wrong, message))
    }

    fn open_with(&self, home: &Home, options: Options) -> Result<TidalDb, Error> {
        enter_session(home.session.number);
        WorkloadClock::set(home.session.now_ms);
        let options = options.files(Arc::clone(&home.files));
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

impl Opener for Setup {
    fn open_session(&self, home: &mut Home, session: Session) -> Result<TidalDb, Error> {
        self.begin_session(home, session);
        self.open(home)
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
        // The two are the segment that takes frames, and one that a call may add when a checkpoint has nothing new to store.
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
