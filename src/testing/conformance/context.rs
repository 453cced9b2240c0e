//! The context of a check: the functions that open the engine, its directories, and the text of its failures. A failed
//! check leaves its directories and images on disk.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::report::CheckStop;
pub(super) use super::subject::DynEngine;
use super::subject::{Conformance, OpenWithFiles, Survives};
use crate::fs::{FileAccess, RealFiles};
use crate::testing::sim_disk::Image;
use crate::testing::text::error_chain;

/// The directory of an engine on a simulated disk.
pub(super) const SIMULATED_DIR: &str = "/engine";

/// The context of one check.
#[derive(Debug)]
pub(super) struct CheckContext {
    pub(super) conformance: Conformance,
    root: PathBuf,
    next: AtomicU64,
}

impl CheckContext {
    /// A context with directories below the empty directory `root`.
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
        RealFiles.create_dir(&dir).or_fail("creating a directory")?;
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

    /// Ends the check as not applicable unless the engine claims this much.
    pub(super) fn require(&self, survives: Survives) -> Result<(), CheckStop> {
        if self.survives(survives) {
            return Ok(());
        }
        let (claim, need) = (self.conformance.survives.text(), survives.text());
        let reason = format!("the engine claims to survive {claim}, and the check needs {need}");
        Err(CheckStop::NotApplicable(reason))
    }

    /// The function that opens the engine on a simulated disk. Ends the check as not applicable if the engine has none.
    pub(super) fn over_file_access(&self) -> Result<&OpenWithFiles, CheckStop> {
        let reason =
            "the engine does not reach its files through FileAccess, so its disk cannot be simulated";
        let open = self.conformance.open_with_files.as_ref();
        open.ok_or_else(|| CheckStop::NotApplicable(reason.to_owned()))
    }

    /// Adds the place of a failure to its text, and writes the image of the failure into a directory.
    pub(super) fn located(&self, stop: CheckStop, place: impl Display, image: &Image) -> CheckStop {
        stop.map(|text| match self.dir() {
            Ok(dir) if self.conformance.keeps_files_of_failures => match image.write_to(&RealFiles, &dir) {
                Ok(()) => format!("{place}: {text}; the image is in {}", dir.display()),
                Err(error) => format!("{place}: {text}; writing the image failed: {error}"),
            },
            _ => format!("{place}: {text}"),
        })
    }
}

/// The result of a call that must succeed, as an extension of [`Result`].
pub(super) trait CheckedCall<T> {
    /// The value of a success. An error becomes the failure of the check, with the call and the causes of the error.
    fn or_fail(self, call: impl Display) -> Result<T, CheckStop>;
}

impl<T, E: Into<Box<dyn std::error::Error>>> CheckedCall<T> for Result<T, E> {
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
