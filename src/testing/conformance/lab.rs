//! What a check works with: the engine's doors, directories of its own, and a watchdog.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::report::{Checked, Stop};
use super::{Conformance, Survives};
use crate::Error;
use crate::fs::{FileAccess, RealFiles};
use crate::storage::{KeyValue, StorageEngine};
use crate::testing::sim_disk::Image;
use crate::testing::temp_dir::TempDir;
use crate::testing::text::{error_chain, panic_text};
use crate::threads;

/// A naive store.
pub(super) type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
pub(super) type Engine = Arc<dyn StorageEngine>;

/// Where an engine lives on a simulated disk.
pub(super) const SIMULATED_DIR: &str = "/engine";

/// One check's surroundings.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) conformance: Conformance,
    root: TempDir,
    next: AtomicU64,
}

impl Lab {
    pub(super) fn new(conformance: &Conformance) -> io::Result<Self> {
        Ok(Self {
            conformance: conformance.clone(),
            root: TempDir::try_new("conformance")?,
            next: AtomicU64::new(0),
        })
    }

    /// Keeps everything that the check made on the real disk. Returns a text that says where it is.
    pub(super) fn keep(&self) -> String {
        self.root.keep();
        format!(" [files in {}]", self.root.path().display())
    }

    pub(super) fn seed(&self) -> u64 {
        self.conformance.seed
    }

    /// A new, empty directory.
    pub(super) fn dir(&self) -> Result<PathBuf, Stop> {
        let dir = self
            .root
            .path()
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        RealFiles
            .create_dir(&dir)
            .map_err(|error| failed("cannot make a directory", &error))?;
        Ok(dir)
    }

    /// Opens the engine in `dir`.
    pub(super) fn open(&self, dir: &Path) -> Result<Engine, Stop> {
        (self.conformance.open)(dir).map_err(|error| failed("opening failed", &error))
    }

    /// Opens the engine in a new directory.
    pub(super) fn open_new(&self) -> Result<Engine, Stop> {
        self.open(&self.dir()?)
    }

    /// Ends the check here unless the engine claims this much.
    pub(super) fn require(&self, survives: Survives) -> Result<(), Stop> {
        if self.conformance.survives >= survives {
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

    /// Lays an image out where it can be looked at, and says where.
    pub(super) fn lay_out(&self, image: &Image) -> String {
        if !self.conformance.keeps_failures {
            return String::new();
        }
        let laid = self
            .dir()
            .map(|dir| (image.write_to(&RealFiles, &dir), dir.display().to_string()));
        match laid {
            Ok((Ok(()), dir)) => format!("; the image is in {dir}"),
            Ok((Err(error), dir)) => format!("; the image could not be laid out in {dir}: {error}"),
            Err(_) => String::new(),
        }
    }

    /// Removes everything the check made on the real disk.
    pub(super) fn remove(&self) {
        self.root.remove();
    }
}

pub(super) type Open = Arc<dyn Fn(&Path) -> Result<Engine, Error> + Send + Sync>;
pub(super) type OpenOver = Arc<dyn Fn(Arc<dyn FileAccess>, &Path) -> Result<Engine, Error> + Send + Sync>;

/// Runs a check on a thread of its own, so that a hang or a panic of the engine is a verdict too. A thread that hangs
/// is left behind.
pub(super) fn within(
    limit: Duration,
    name: &'static str,
    check: impl FnOnce() -> Checked + Send + 'static,
) -> Checked {
    let (send, result) = channel();
    let run = move || {
        let checked = catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|payload| {
            let text = panic_text(&*payload);
            Err(Stop::Failed(format!("panicked: {text}")))
        });
        // The receiver is gone if the time was over.
        send.send(checked).ok();
    };
    let thread = threads::spawn(name, run).map_err(|error| failed("cannot start a thread", &error))?;
    match result.recv_timeout(limit) {
        Ok(checked) => {
            // It has sent its last.
            thread.join().ok();
            checked
        }
        Err(RecvTimeoutError::Timeout) => Err(Stop::Failed(format!("hangs: not done after {limit:?}"))),
        Err(RecvTimeoutError::Disconnected) => Err(Stop::Failed("ended without a result".to_owned())),
    }
}

/// Everything in the engine, in one scan; the order of the keys is checked on the way.
pub(super) fn read_all(engine: &dyn StorageEngine) -> Result<Pairs, Stop> {
    let pairs = scan(engine, b"")?;
    if let Some(wrong) = pairs.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        return Err(Stop::Failed(format!(
            "a scan gave key {} and then {}: not in ascending order",
            show(&wrong[0].0),
            show(&wrong[1].0)
        )));
    }
    Ok(pairs.into_iter().collect())
}

/// One scan, as it comes.
pub(super) fn scan(engine: &dyn StorageEngine, prefix: &[u8]) -> Result<Vec<KeyValue>, Stop> {
    let pairs = engine
        .scan_prefix(prefix)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>);
    pairs.map_err(|error| failed(format_args!("scanning {} failed", show(prefix)), &error))
}

/// A failed check with the error and its causes.
pub(super) fn failed(doing: impl Display, error: &(dyn StdError + 'static)) -> Stop {
    Stop::Failed(format!("{doing}: {}", error_chain(error)))
}

/// Bytes as text, the beginning and the length if there are many.
pub(super) fn show(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    if bytes.len() <= SHOWN {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!(
        "\"{}\"... of {} bytes",
        bytes[..SHOWN].escape_ascii(),
        bytes.len()
    )
}

/// The first difference between what there is and what there should be.
pub(super) fn difference(found: &Pairs, expected: &Pairs) -> Option<String> {
    for (key, value) in expected {
        match found.get(key) {
            None => return Some(format!("key {} is missing", show(key))),
            Some(there) if there != value => {
                let same = there.iter().zip(value).take_while(|(a, b)| a == b).count();
                let (there, value) = (show(there), show(value));
                return Some(format!(
                    "key {} has value {there}, not {value}: they differ from byte {same} on",
                    show(key)
                ));
            }
            Some(_) => {}
        }
    }
    let extra = found.keys().find(|key| !expected.contains_key(*key))?;
    Some(format!("key {} is there and should not be", show(extra)))
}

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err($crate::testing::conformance::report::Stop::Failed(format!($($text)+)));
        }
    };
}
pub(super) use ensure;
