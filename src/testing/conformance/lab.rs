//! What a check works with: the engine's doors, directories of its own, and how its failures are told.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::report::Stop;
use super::{Conformance, Survives};
use crate::Error;
use crate::fs::{FileAccess, RealFiles};
use crate::storage::StorageEngine;
use crate::testing::sim_disk::Image;
use crate::testing::text::error_chain;

pub(super) type Engine = Arc<dyn StorageEngine>;
pub(super) type Open = Arc<dyn Fn(&Path) -> Result<Engine, Error> + Send + Sync>;
pub(super) type OpenOver = Arc<dyn Fn(Arc<dyn FileAccess>, &Path) -> Result<Engine, Error> + Send + Sync>;

/// Where an engine lives on a simulated disk.
pub(super) const SIMULATED_DIR: &str = "/engine";

/// One check's surroundings.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) conformance: Conformance,
    root: PathBuf,
    next: AtomicU64,
}

impl Lab {
    /// Surroundings below the empty directory `root`.
    pub(super) fn new(conformance: &Conformance, root: &Path) -> Self {
        Self {
            conformance: conformance.clone(),
            root: root.to_path_buf(),
            next: AtomicU64::new(0),
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.conformance.seed
    }

    /// A new, empty directory.
    pub(super) fn dir(&self) -> Result<PathBuf, Stop> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.root.join(number.to_string());
        RealFiles.create_dir(&dir).or_fail("making a directory")?;
        Ok(dir)
    }

    /// Opens the engine in `dir`.
    pub(super) fn open(&self, dir: &Path) -> Result<Engine, Stop> {
        (self.conformance.open)(dir).or_fail("opening")
    }

    /// Returns true if the engine claims this much.
    pub(super) fn survives(&self, survives: Survives) -> bool {
        self.conformance.survives >= survives
    }

    /// Ends the check here unless the engine claims this much.
    pub(super) fn require(&self, survives: Survives) -> Result<(), Stop> {
        if self.survives(survives) {
            return Ok(());
        }
        Err(Stop::NotApplicable(format!(
            "the engine is said to survive {}, and this needs {}",
            self.conformance.survives.in_words(),
            survives.in_words()
        )))
    }

    /// The door for simulated disks, or the end of the check.
    pub(super) fn over_file_access(&self) -> Result<&OpenOver, Stop> {
        self.conformance.open_over.as_ref().ok_or_else(|| {
            Stop::NotApplicable(
                "the engine does not reach its files through FileAccess, so no disk can be simulated below it"
                    .to_owned(),
            )
        })
    }

    /// Adds to a failure where it was seen, and lays out the image it was seen on.
    pub(super) fn located(&self, stop: Stop, place: impl Display, image: &Image) -> Stop {
        stop.map(|text| format!("{place}: {text}{}", self.lay_out(image)))
    }

    /// Lays an image out where it can be looked at, and says where.
    fn lay_out(&self, image: &Image) -> String {
        if !self.conformance.keeps_failures {
            return String::new();
        }
        let Ok(dir) = self.dir() else {
            return String::new();
        };
        match image.write_to(&RealFiles, &dir) {
            Ok(()) => format!("; the image is in {}", dir.display()),
            Err(error) => format!("; the image could not be laid out in {}: {error}", dir.display()),
        }
    }
}

/// The result of a call that must succeed.
pub(super) trait OrFail<T> {
    /// The value; or the failure of the check, with the call and the causes of its error.
    fn or_fail(self, call: impl Display) -> Result<T, Stop>;
}

impl<T> OrFail<T> for Result<T, Error> {
    fn or_fail(self, call: impl Display) -> Result<T, Stop> {
        self.map_err(|error| failed(call, error_chain(&error)))
    }
}

impl<T> OrFail<T> for io::Result<T> {
    fn or_fail(self, call: impl Display) -> Result<T, Stop> {
        self.map_err(|error| failed(call, error_chain(&error)))
    }
}

/// Of a call in a child process, which tells its error as text.
impl<T> OrFail<T> for Result<T, String> {
    fn or_fail(self, call: impl Display) -> Result<T, Stop> {
        self.map_err(|text| failed(call, text))
    }
}

fn failed(call: impl Display, text: impl Display) -> Stop {
    Stop::Failed(format!("{call} failed: {text}"))
}

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err($crate::testing::conformance::report::Stop::Failed(format!($($text)+)));
        }
    };
}
pub(super) use ensure;
