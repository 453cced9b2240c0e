//! The subject of the checks: how the storage engine is opened, and its claim.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::fs::{FileAccess, RealFiles};
use crate::storage::StorageEngine;
use crate::testing::process::ChildProgram;

pub(super) type DynEngine = Arc<dyn StorageEngine>;
pub(super) type Open = Arc<dyn Fn(&Path) -> Result<DynEngine, Error> + Send + Sync>;
pub(super) type OpenOver = Arc<dyn Fn(Arc<dyn FileAccess>, &Path) -> Result<DynEngine, Error> + Send + Sync>;

/// How much an engine's writes survive. Each step includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Survives {
    /// Nothing: the content ends with the engine.
    Nothing,
    /// Opening again in the same process.
    Reopening,
    /// The end of the process, however it ends.
    ProcessCrash,
    /// A power loss, once flushed. This is what [`StorageEngine`] promises.
    PowerLoss,
}

impl Survives {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Reopening => "reopening in one process",
            Self::ProcessCrash => "the end of the process",
            Self::PowerLoss => "a power loss",
        }
    }
}

/// The checks of a storage engine: the function that opens it, and its claim. See the [module](super).
#[derive(Clone)]
pub struct Conformance {
    pub(super) name: String,
    pub(super) open: Open,
    pub(super) open_over: Option<OpenOver>,
    pub(super) survives: Survives,
    pub(super) seed: u64,
    pub(super) child: Option<ChildProgram>,
    pub(super) time_limit: Duration,
    pub(super) keeps_failures: bool,
}

impl Conformance {
    /// Checks of the engine that `open` opens in a directory, which exists and at first is empty.
    ///
    /// `open` must bring back the content when it is called again with the same directory, as far as the engine
    /// [`survives`](Self::survives). `name` is for the report.
    pub fn new<E, F>(name: &str, open: F) -> Self
    where
        E: StorageEngine + 'static,
        F: Fn(&Path) -> Result<E, Error> + Send + Sync + 'static,
    {
        Self {
            name: name.to_owned(),
            open: Arc::new(move |dir| Ok(Arc::new(open(dir)?))),
            open_over: None,
            survives: Survives::PowerLoss,
            seed: 0x7a1d_a1db,
            child: None,
            time_limit: Duration::from_secs(120),
            keeps_failures: true,
        }
    }

    /// As [`new`](Self::new), for an engine that reaches its files through the [`FileAccess`] it is given and in no
    /// other way: it is checked on real files and on simulated disks.
    pub fn over_file_access<E, F>(name: &str, open: F) -> Self
    where
        E: StorageEngine + 'static,
        F: Fn(Arc<dyn FileAccess>, &Path) -> Result<E, Error> + Send + Sync + 'static,
    {
        let open = Arc::new(open);
        let over = Arc::clone(&open);
        Self {
            open_over: Some(Arc::new(move |files, dir| Ok(Arc::new(over(files, dir)?)))),
            ..Self::new(name, move |dir| open(Arc::new(RealFiles), dir))
        }
    }

    /// The claim of the engine, if it is less than the contract; checks beyond it are not made. Default
    /// [`Survives::PowerLoss`].
    #[must_use]
    pub fn survives(mut self, survives: Survives) -> Self {
        self.survives = survives;
        self
    }

    /// The seed of random choices, instead of a constant.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The name of the calling test as the harness lists it, for the child processes. Needed only on a thread that does
    /// not have it: the harness names the thread of each test after it.
    #[must_use]
    pub fn in_test(mut self, test: &str) -> Self {
        self.child = Some(ChildProgram::named_test(test));
        self
    }

    /// The time after which a check counts as a hang. Default 2 minutes.
    #[must_use]
    pub fn time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }
}
