//! The surroundings of a check: the functions that open the engine, its directories, and the text of its failures.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::report::CheckStop;
pub(super) use super::subject::DynEngine;
use super::subject::{Conformance, OpenOver, Survives};
use crate::fs::{FileAccess, RealFiles};
use crate::testing::sim_disk::Image;
use crate::testing::text::error_chain;

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
    pub(super) fn dir(&self) -> Result<PathBuf, CheckStop> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.root.join(number.to_string());
        RealFiles.create_dir(&dir).or_fail("making a directory")?;
        Ok(dir)
    }

    /// Opens the engine in `dir`.
    pub(super) fn open(&self, dir: &Path) -> Result<DynEngine, CheckStop> {
        (self.conformance.open)(dir).or_fail("opening")
    }

    /// Returns true if the engine claims this much.
    pub(super) fn survives(&self, survives: Survives) -> bool {
        self.conformance.survives >= survives
    }

    /// Ends the check here unless the engine claims this much.
    pub(super) fn require(&self, survives: Survives) -> Result<(), CheckStop> {
        if self.survives(survives) {
            return Ok(());
        }
        let (claim, need) = (self.conformance.survives.in_words(), survives.in_words());
        let why = format!("the engine is said to survive {claim}, and this needs {need}");
        Err(CheckStop::NotApplicable(why))
    }

    /// The door for simulated disks, or the end of the check.
    pub(super) fn over_file_access(&self) -> Result<&OpenOver, CheckStop> {
        let why =
            "the engine does not reach its files through FileAccess, so no disk can be simulated below it";
        let open = self.conformance.open_over.as_ref();
        open.ok_or_else(|| CheckStop::NotApplicable(why.to_owned()))
    }

    /// Adds to a failure where it was seen, and lays out the image it was seen on.
    pub(super) fn located(&self, stop: CheckStop, place: impl Display, image: &Image) -> CheckStop {
        stop.map(|text| match self.dir() {
            Ok(dir) if self.conformance.keeps_failures => match image.write_to(&RealFiles, &dir) {
                Ok(()) => format!("{place}: {text}; the image is in {}", dir.display()),
                Err(error) => format!("{place}: {text}; the image could not be laid out: {error}"),
            },
            _ => format!("{place}: {text}"),
        })
    }
}

/// The result of a call that must succeed.
pub(super) trait OrFail<T> {
    /// The value; or the failure of the check, with the call and the causes of its error.
    fn or_fail(self, call: impl Display) -> Result<T, CheckStop>;
}

impl<T, E: Into<Box<dyn std::error::Error>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, call: impl Display) -> Result<T, CheckStop> {
        self.map_err(|error| CheckStop::Failed(format!("{call} failed: {}", error_chain(&*error.into()))))
    }
}

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err($crate::testing::conformance::report::CheckStop::Failed(format!($($text)+)));
        }
    };
}
pub(super) use ensure;
