//! The recording run: one run of the work without a crash. The images of all crashes are built from its recording.
//!
//! A site is a crossing, or one side of a disk operation. Each site has a crash position, which consists of two
//! numbers: the number of completed disk operations, and the index of the oracle snapshot. The crash position alone
//! determines the images and the legal states, so sites with the same position share the images.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::driver::Driver;
use super::finding::{Failure, FailureKind};
use super::journal::{Journal, JournalContent, Mark, OracleSnapshot};
use super::location::DatabaseLocation;
use super::setup::Setup;
use crate::TidalDb;
use crate::testing::plan::{Crash, FaultEnd, Site};
use crate::testing::sim_disk::{ImageBuilder, Recording, Side};
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::{Operation, Session};
use crate::testing::{Crossing, CrossingCounts, SimDisk, scoped_recorder};

/// The position of a crash in a recorded run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrashPosition {
    /// The number of completed disk operations.
    pub(crate) operations_len: u64,
    /// The index of the current oracle snapshot in [`RunRecord::snapshots`].
    pub(crate) snapshot_index: usize,
}

/// A recorded run.
#[derive(Debug)]
pub(crate) struct RunRecord {
    pub(crate) recording: Recording,
    pub(crate) snapshots: Vec<OracleSnapshot>,
    /// The sites in the order of the run, each with its crash position.
    pub(crate) sites: Vec<(Site, CrashPosition)>,
    pub(crate) crossings: Vec<Crossing>,
    pub(crate) operations: Vec<Operation>,
    /// The failures of the run itself, without a crash.
    pub(crate) failures: Vec<Failure>,
    /// The crashes before the run.
    pub(crate) crashes: Vec<Crash>,
    /// The id of the run: equal for runs after the same crashes and with the same fault.
    pub(crate) id: u64,
}

impl RunRecord {
    /// Records the work on `disk`, from the opening of the database to its close.
    pub(crate) fn of_work(setup: &Setup, disk: &SimDisk) -> Self {
        let (recorded, _) = Self::of(disk, OracleSnapshot::first(setup.oracle()), |journal| {
            let mut location = setup.location_on_disk(disk, Session::first());
            let mut fail = |failure: Failure| journal.fail(failure.kind, failure.message);
            run_work(setup, &mut location, journal, &mut None).unwrap_or_else(&mut fail);
            location
                .check_dropped(disk.operations_len())
                .unwrap_or_else(&mut fail);
        });
        recorded
    }

    /// Records `run` on `disk`. `snapshot` is the oracle snapshot before it. Also returns the result of `run`; `None`
    /// if it panicked.
    pub(crate) fn of<T>(
        disk: &SimDisk,
        snapshot: OracleSnapshot,
        run: impl FnOnce(&Journal) -> T,
    ) -> (Self, Option<T>) {
        let start = disk.operations_len();
        let journal = Journal::of(disk, snapshot);
        let outcome = {
            let _recording = scoped_recorder(&journal.recorder);
            catch_unwind(AssertUnwindSafe(|| run(&journal)))
        };
        disk.observe(|_| {});
        if let Err(payload) = &outcome {
            journal.fail(FailureKind::Panicked, panic_text(&**payload));
        }
        let crossings = journal.recorder.crossings();
        let journal = journal.take();
        let recorded = Self {
            recording: disk.recording(),
            sites: sites(&journal, &crossings, start),
            snapshots: journal.snapshots,
            crossings,
            operations: journal.operations,
            failures: journal.failures,
            crashes: Vec::new(),
            id: 0,
        };
        (recorded, outcome.ok())
    }

    /// The same run, with these crashes before it.
    pub(crate) fn after(self, crashes: &[Crash]) -> Self {
        let mut hasher = DefaultHasher::new();
        format!("{crashes:?}").hash(&mut hasher);
        Self {
            crashes: crashes.to_vec(),
            id: hasher.finish(),
            ..self
        }
    }

    /// The crash position of a site; `None` if the run does not reach the site.
    pub(crate) fn position_of(&self, site: Site) -> Option<CrashPosition> {
        let position_at = |site| {
            let mut sites = self.sites.iter();
            sites.find(|(at, _)| *at == site).map(|(_, position)| *position)
        };
        let end = CrashPosition {
            operations_len: self.recording.len(),
            snapshot_index: self.snapshots.len().checked_sub(1)?,
        };
        match site {
            Site::Point { .. } | Site::Disk { .. } => position_at(site),
            Site::Fault {
                ordinal,
                after: FaultEnd::Call,
                ..
            } => {
                let side = Side::After;
                let fault = position_at(Site::Disk { ordinal, side })?;
                let mut positions = self.sites.iter().map(|(_, position)| *position);
                let after_call = positions.find(|position| position.snapshot_index > fault.snapshot_index);
                Some(after_call.unwrap_or(end))
            }
            Site::Fault { .. } | Site::End => Some(end),
        }
    }

    /// An image builder at a site of the run, and the index of the current oracle snapshot there.
    pub(crate) fn builder_at(&self, site: Site) -> Result<(ImageBuilder, usize), Failure> {
        let Some(position) = self.position_of(site) else {
            let message = format_args!(
                "the run of {} disk operations does not reach {site}; {}",
                self.recording.len(),
                CrossingCounts::of(&self.crossings)
            );
            return Err(Failure::new(FailureKind::NeverReached, message));
        };
        let mut builder = self.recording.images();
        seek(&mut builder, position.operations_len);
        Ok((builder, position.snapshot_index))
    }

    /// The distinct crash positions in the order of the run, each with the indexes of its sites.
    pub(crate) fn crash_positions(&self) -> Vec<(CrashPosition, Vec<usize>)> {
        let mut positions: Vec<(CrashPosition, Vec<usize>)> = Vec::new();
        for (index, (_, position)) in self.sites.iter().enumerate() {
            match positions.last_mut() {
                Some((last, sites)) if last == position => sites.push(index),
                _ => positions.push((*position, vec![index])),
            }
        }
        positions
    }
}

/// Moves the builder to the position at which `operations_len` operations are complete.
pub(crate) fn seek(builder: &mut ImageBuilder, operations_len: u64) {
    if builder.seek(operations_len, Side::Before).is_err() {
        unreachable!("a crash position of a run is in its recording");
    }
}

/// Opens the database, runs the work, and closes and drops the database. The database is in `handle` during the run.
/// After a panic or a failed close it remains there.
pub(crate) fn run_work(
    setup: &Setup,
    location: &mut DatabaseLocation,
    journal: &Journal,
    handle: &mut Option<TidalDb>,
) -> Result<(), Failure> {
    match setup.open(location) {
        Ok(db) => *handle = Some(db),
        // A failed disk makes `open` fail.
        Err(_) if location.has_failed() => return Ok(()),
        Err(error) => return Err(Failure::new(FailureKind::Refused, error_chain(&error))),
    }
    let mut driver = setup.driver(location, handle, journal);
    if driver.has_disk() {
        driver = driver.with_disk_checks(journal);
    }
    let result = apply_work(setup, &mut driver);
    // A panic of a thread poisons the handle. The sync then fails, and the handle stays open for further checks.
    let closed = match driver.handle() {
        Some(db) if journal.has_threads() => db.sync().and_then(|()| driver.close()),
        _ => driver.close(),
    };
    match result {
        Err(failure) if !location.has_failed() => journal.fail(failure.kind, failure.message),
        _ => {}
    }
    match closed {
        Ok(()) => {
            *handle = None;
            Ok(())
        }
        Err(_) if location.has_failed() => Ok(()),
        Err(error) => Err(Failure::new(FailureKind::CannotContinue, error_chain(&error))),
    }
}

/// Runs the work on an open database. The journal notes calls that fail. They do not end a workload.
pub(crate) fn apply_work(setup: &Setup, driver: &mut Driver<'_>) -> Result<(), Failure> {
    match (&setup.work_function, setup.operations()) {
        (Some(drive), _) => drive(driver).map_err(|error| {
            let message = format_args!("the work failed: {}", error_chain(&error));
            Failure::new(FailureKind::CannotContinue, message)
        }),
        (None, Some(operations)) => {
            for operation in &operations {
                driver.apply(operation).ok();
            }
            Ok(())
        }
        (None, None) => Err(Failure::new(
            FailureKind::NeverReached,
            "only the sweep with this name can run the work of the plan; use `CrashSweep::replay` of that sweep",
        )),
    }
}

/// The sites of a run, in order. Puts the crossings between the marks of the journal.
fn sites(journal: &JournalContent, crossings: &[Crossing], start: u64) -> Vec<(Site, CrashPosition)> {
    let mut sites = Vec::with_capacity(journal.marks.len() + crossings.len());
    let mut position = CrashPosition {
        operations_len: start,
        snapshot_index: 0,
    };
    let mut crossed_len = 0;
    let end = (None, crossings.len());
    let marks = journal.marks.iter().map(|(mark, before)| (Some(*mark), *before));
    for (mark, crossings_before) in marks.chain([end]) {
        while crossed_len < crossings_before {
            let crossing = &crossings[crossed_len];
            crossed_len += 1;
            // A crossing on a panicking thread cannot crash.
            if let Some(ordinal) = crossing.ordinal {
                let site = Site::Point {
                    point: crossing.point,
                    crossing: ordinal,
                };
                sites.push((site, position));
            }
        }
        match mark {
            Some(Mark::OracleSnapshot(index)) => position.snapshot_index = index,
            Some(Mark::Disk { ordinal, side }) => {
                position.operations_len = match side {
                    Side::Before => ordinal,
                    Side::After => ordinal + 1,
                };
                sites.push((Site::Disk { ordinal, side }, position));
            }
            None => {}
        }
    }
    sites
}
