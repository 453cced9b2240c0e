//! The subject of the checks: the functions that open the storage engine, and its claim.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::fs::{FileAccess, RealFiles};
use crate::storage::StorageEngine;
use crate::testing::process::ChildProgram;

pub(super) type DynEngine = Arc<dyn StorageEngine>;
pub(super) type Open = Arc<dyn Fn(&Path) -> Result<DynEngine, Error> + Send + Sync>;
pub(super) type OpenWithFiles =
    Arc<dyn Fn(Arc<dyn FileAccess>, &Path) -> Result<DynEngine, Error> + Send + Sync>;

/// The events that an engine's writes survive. Each variant includes the variants before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Survives {
    /// Nothing: a drop of the engine loses its content.
    Nothing,
    /// A reopening in the same process.
    Reopening,
    /// Every end of the process.
    ProcessCrash,
    /// A power loss, for flushed writes. This is the promise of [`StorageEngine`].
    PowerLoss,
}

impl Survives {
    pub(super) fn text(self) -> &'static str {
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
    pub(super) open_with_files: Option<OpenWithFiles>,
    pub(super) survives: Survives,
    pub(super) seed: u64,
    pub(super) child: Option<ChildProgram>,
    pub(super) time_limit: Duration,
    pub(super) keeps_files_of_failures: bool,
}

impl Conformance {
    /// The checks of an engine. `open` opens the engine in a directory, which exists and is empty at the first call.
    ///
    /// A later call with the same directory must restore the content, as far as the engine [`survives`](Self::survives)
    /// the event between the calls. `name` is the name of the engine in the report.
    pub fn new<E, F>(name: &str, open: F) -> Self
    where
        E: StorageEngine + 'static,
        F: Fn(&Path) -> Result<E, Error> + Send + Sync + 'static,
    {
        Self {
            name: name.to_owned(),
            open: Arc::new(move |dir| Ok(Arc::new(open(dir)?))),
            open_with_files: None,
            survives: Survives::PowerLoss,
            seed: 0x7a1d_a1db,
            child: None,
            time_limit: Duration::from_secs(120),
            keeps_files_of_failures: true,
        }
    }

    /// The checks of an engine that reaches its files only through the given [`FileAccess`]. They are like those of
    /// [`new`](Self::new), on real files and also on simulated disks.
    pub fn over_file_access<E, F>(name: &str, open: F) -> Self
    where
        E: StorageEngine + 'static,
        F: Fn(Arc<dyn FileAccess>, &Path) -> Result<E, Error> + Send + Sync + 'static,
    {
        let open = Arc::new(open);
        let over = Arc::clone(&open);
        Self {
            open_with_files: Some(Arc::new(move |files, dir| Ok(Arc::new(over(files, dir)?)))),
            ..Self::new(name, move |dir| open(Arc::new(RealFiles), dir))
        }
    }

    /// Sets the claim of the engine. Checks beyond the claim are not made. Default: [`Survives::PowerLoss`], the
    /// contract of [`StorageEngine`].
    #[must_use]
    pub fn survives(mut self, survives: Survives) -> Self {
        self.survives = survives;
        self
    }

    /// Sets the seed of random choices. Default: a constant.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the name of the calling test, as the test harness lists it, for the child processes. Default: the name of
    /// the calling thread, which the harness sets to the name of the test. So this is needed only on other threads.
    #[must_use]
    pub fn in_test(mut self, test: &str) -> Self {
        self.child = Some(ChildProgram::named_test(test));
        self
    }

    /// Sets the time after which a check counts as hanging. Default: 2 minutes.
    #[must_use]
    pub fn time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }
}
