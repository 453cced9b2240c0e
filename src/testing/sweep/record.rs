//! The recording run: one run of the work that does not crash, from which the image of every crash is built.
//!
//! A site is a crossing, or one side of a disk operation. It lies at a moment, which has two numbers: the disk operations that
//! are done, and the entry of the journal. The moment alone decides the images and the legal states, so sites that lie at
//! one moment share its images.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::driver::Driver;
use super::finding::{Failure, FailureKind};
use super::home::Home;
use super::journal::{Journal, Mark, OracleSnapshot, Pages};
use super::setup::Setup;
use crate::TidalDb;
use crate::testing::plan::{Crash, FaultEnd, Site};
use crate::testing::sim_disk::{ImageBuilder, Recording, Side};
use crate::testing::text::{error_chain, panic_text};
use crate::testing::workload::{Operation, Session};
use crate::testing::{Crossing, CrossingCounts, SimDisk, scoped_recorder};

/// What follows from a site: how much the disk has done, and what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrashPosition {
    /// How many operations of the disk are done.
    pub(crate) position: u64,
    /// The number of the entry in [`Recorded::known`].
    pub(crate) known: usize,
}

/// A recorded run.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) recording: Recording,
    pub(crate) known: Vec<OracleSnapshot>,
    /// Each site with its moment, in the order of the run.
    pub(crate) sites: Vec<(Site, CrashPosition)>,
    pub(crate) crossings: Vec<Crossing>,
    pub(crate) operations: Vec<Operation>,
    /// What was wrong already without a crash.
    pub(crate) failures: Vec<Failure>,
    /// The crashes before the run.
    pub(crate) crashes: Vec<Crash>,
    /// Equal for runs after the same crashes and with the same fault.
    pub(crate) id: u64,
}

impl Recorded {
    /// Does the work on `disk`, from opening the database to closing it.
    pub(crate) fn of_work(setup: &Setup, disk: &SimDisk) -> Self {
        let (recorded, _) = Self::of(disk, OracleSnapshot::first(setup.oracle()), |journal| {
            let mut home = setup.on_disk(disk, Session::first());
            let mut fail = |failure: Failure| journal.fail(failure.kind, failure.message);
            do_work(setup, &mut home, journal, &mut None).unwrap_or_else(&mut fail);
            home.check_dropped(disk.operations_len())
                .unwrap_or_else(&mut fail);
        });
        recorded
    }

    /// Records `run` on `disk`. `known` is the knowledge before it. Also returns the result, if it did not panic.
    pub(crate) fn of<T>(
        disk: &SimDisk,
        known: OracleSnapshot,
        run: impl FnOnce(&Journal) -> T,
    ) -> (Self, Option<T>) {
        let start = disk.operations_len();
        let journal = Journal::of(disk, known);
        let outcome = {
            let _recording = scoped_recorder(&journal.recorder);
            catch_unwind(AssertUnwindSafe(|| run(&journal)))
        };
        disk.observe(|_| {});
        if let Err(payload) = &outcome {
            journal.fail(FailureKind::Panicked, panic_text(&**payload));
        }
        let crossings = journal.recorder.crossings();
        let journaled = journal.take();
        let recorded = Self {
            recording: disk.recording(),
            sites: sites(&journaled, &crossings, start),
            known: journaled.known,
            crossings,
            operations: journaled.operations,
            failures: journaled.failures,
            crashes: Vec::new(),
            id: 0,
        };
        (recorded, outcome.ok())
    }

    /// The same run, marked as one after these crashes.
    pub(crate) fn after(self, crashes: &[Crash]) -> Self {
        let mut hasher = DefaultHasher::new();
        format!("{crashes:?}").hash(&mut hasher);
        Self {
            crashes: crashes.to_vec(),
            id: hasher.finish(),
            ..self
        }
    }

    /// The moment of a site.
    pub(crate) fn moment_of(&self, site: Site) -> Option<CrashPosition> {
        let moment_at = |site| {
            let mut sites = self.sites.iter();
            sites.find(|(at, _)| *at == site).map(|(_, moment)| *moment)
        };
        let end = CrashPosition {
            position: self.recording.len(),
            known: self.known.len().checked_sub(1)?,
        };
        match site {
            Site::Point { .. } | Site::Disk { .. } => moment_at(site),
            Site::Fault {
                ordinal,
                after: FaultEnd::Call,
                ..
            } => {
                let side = Side::After;
                let fault = moment_at(Site::Disk { ordinal, side })?;
                let mut moments = self.sites.iter().map(|(_, moment)| *moment);
                Some(moments.find(|moment| moment.known > fault.known).unwrap_or(end))
            }
            Site::Fault { .. } | Site::End => Some(end),
        }
    }

    /// An image builder at a site of the run, and the number of the entry that was current there.
    pub(crate) fn at(&self, site: Site) -> Result<(ImageBuilder, usize), Failure> {
        let Some(moment) = self.moment_of(site) else {
            let message = format_args!(
                "there is no {site} in this run of {} disk operations; {}",
                self.recording.len(),
                CrossingCounts::of(&self.crossings)
            );
            return Err(Failure::new(FailureKind::NeverReached, message));
        };
        let mut builder = self.recording.images();
        seek(&mut builder, moment.position);
        Ok((builder, moment.known))
    }

    /// The moments in the order of the run, each once, with the numbers of the sites that lie there.
    pub(crate) fn moments(&self) -> Vec<(CrashPosition, Vec<usize>)> {
        let mut moments: Vec<(CrashPosition, Vec<usize>)> = Vec::new();
        for (index, (_, moment)) in self.sites.iter().enumerate() {
            match moments.last_mut() {
                Some((last, sites)) if last == moment => sites.push(index),
                _ => moments.push((*moment, vec![index])),
            }
        }
        moments
    }
}

/// Moves the builder to the moment at which `position` operations are done.
pub(crate) fn seek(builder: &mut ImageBuilder, position: u64) {
    if builder.seek(position, Side::Before).is_err() {
        unreachable!("a moment of a run lies in its recording");
    }
}

/// Opens the database, does the work, and closes and drops the database. `handle` holds it meanwhile: after a panic or a
/// failed close the caller still has it.
pub(crate) fn do_work(
    setup: &Setup,
    home: &mut Home,
    journal: &Journal,
    handle: &mut Option<TidalDb>,
) -> Result<(), Failure> {
    match setup.open(home) {
        Ok(db) => *handle = Some(db),
        // A disk that fails makes open fail.
        Err(_) if home.has_failed() => return Ok(()),
        Err(error) => return Err(Failure::new(FailureKind::Refused, error_chain(&error))),
    }
    let mut driver = setup.driver(home, handle, journal);
    if driver.has_disk() {
        driver = driver.checked(journal);
    }
    let worked = work_on(setup, &mut driver);
    // A thread that panicked poisons the handle, which a sync shows without closing it.
    let closed = match driver.handle() {
        Some(db) if journal.has_threads() => db.sync().and_then(|()| driver.close()),
        _ => driver.close(),
    };
    match worked {
        Err(failure) if !home.has_failed() => journal.fail(failure.kind, failure.message),
        _ => {}
    }
    match closed {
        Ok(()) => {
            *handle = None;
            Ok(())
        }
        Err(_) if home.has_failed() => Ok(()),
        Err(error) => Err(Failure::new(FailureKind::CannotGoOn, error_chain(&error))),
    }
}

/// Does the work on an open database. Calls that fail are part of it.
pub(crate) fn work_on(setup: &Setup, driver: &mut Driver<'_>) -> Result<(), Failure> {
    match (&setup.drive, setup.operations()) {
        (Some(drive), _) => drive(driver).map_err(|error| {
            let message = format_args!("the work failed: {}", error_chain(&error));
            Failure::new(FailureKind::CannotGoOn, message)
        }),
        (None, Some(operations)) => {
            for operation in &operations {
                driver.apply(operation).ok();
            }
            Ok(())
        }
        (None, None) => Err(Failure::new(
            FailureKind::NeverReached,
            "the work of the plan is known to its own sweep only",
        )),
    }
}

/// Puts the crossings where they belong between the marks.
fn sites(journaled: &Pages, crossings: &[Crossing], start: u64) -> Vec<(Site, CrashPosition)> {
    let mut sites = Vec::with_capacity(journaled.marks.len() + crossings.len());
    let mut moment = CrashPosition {
        position: start,
        known: 0,
    };
    let mut passed = 0;
    let end = (None, crossings.len());
    let marks = journaled
        .marks
        .iter()
        .map(|(mark, before)| (Some(*mark), *before));
    for (mark, crossings_before) in marks.chain([end]) {
        while passed < crossings_before {
            let crossing = &crossings[passed];
            passed += 1;
            // A crossing on a panicking thread cannot crash.
            if let Some(ordinal) = crossing.ordinal {
                let site = Site::Point {
                    point: crossing.point,
                    crossing: ordinal,
                };
                sites.push((site, moment));
            }
        }
        match mark {
            Some(Mark::OracleSnapshot(known)) => moment.known = known,
            Some(Mark::Disk { ordinal, side }) => {
                moment.position = match side {
                    Side::Before => ordinal,
                    Side::After => ordinal + 1,
                };
                sites.push((Site::Disk { ordinal, side }, moment));
            }
            None => {}
        }
    }
    sites
}
