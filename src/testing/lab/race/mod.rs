//! Races: many threads call one handle, in orders that a seed decides.
//!
//! Two threads record and forget. One thread changes collections, one makes checkpoints and syncs, and one reads.
//! Another thread may close the database while the others call it. A thread may panic at a crash point, and a sync or
//! write may fail. At each yield point the seed decides if the thread continues, yields, or waits for others. The disk
//! is simulated. At some yield points the race takes an image of the disk as a crash leaves it, and recovers it later.
//!
//! | checked | against |
//! |---|---|
//! | every result of a call | the results that are legal while other threads close or panic |
//! | the state in memory when all threads have ended | the [oracle](crate::testing::oracle) |
//! | images of a process crash or power loss, taken at yield points and at the end | the oracle at that time |
//! | in stress races: images after calls, and of crashes inside each recovery | the oracle at that time |
//! | the end of all threads | a time limit: a thread that hangs is abandoned, and the race fails with its seed |
//!
//! The seed decides the plan of the race and the choices at its yield points, but not the scheduling by the operating
//! system. So a second race of the same seed has the same plan, but may run in another order.

mod images;
mod parameters;
#[cfg(test)]
mod tests;
mod work;
mod yield_points;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::images::RaceDisk;
use self::parameters::{PATH, RaceFault};
pub use self::parameters::{Race, RaceStatistics};
use self::work::RaceThreads;
use self::yield_points::{YieldPoints, with_yield_points};
use crate::testing::oracle::CrashKind;
use crate::testing::sim_disk::{DiskModel, ImageChoice};
use crate::testing::text::{catch_as_text, error_chain};
use crate::testing::watchdog::run_within;
use crate::testing::workload::Random;
use crate::testing::{CrashInjector, CrossingRecorder, scoped_injector, scoped_recorder};
use crate::{Error, TidalDb};

/// A race that has not ended after this time counts as hung. Usually it takes a fraction of a second.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The number of power-loss images at the end of a race under stress.
const LAST_IMAGES: usize = 24;

/// A race that found a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaceFailure {
    race: Race,
    message: String,
}

impl fmt::Display for RaceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.race, self.message)
    }
}

impl std::error::Error for RaceFailure {}

impl Race {
    /// Runs the race on its own threads.
    ///
    /// # Errors
    /// The failure, with the seed.
    pub fn run(self) -> Result<RaceStatistics, Box<RaceFailure>> {
        let failure = |message: String| Box::new(RaceFailure { race: self, message });
        run_within(TIME_MAX, "tidaldb-race", move || {
            catch_as_text(|| self.run_and_recover())
        })
        .map_err(|hang| failure(hang.to_string()))?
        .flatten()
        .map_err(failure)
    }

    fn run_and_recover(self) -> Result<RaceStatistics, String> {
        let disk = Arc::new(RaceDisk::new(self));
        // The number of yield points passed when the open returns. The fault comes later.
        let opened_at = Arc::new(AtomicU64::new(u64::MAX));
        let points = self.yield_points(&disk, &opened_at);
        let mut statistics = self.run_threads(&disk, &points, &opened_at)?;
        self.recover_all(&disk, &mut statistics)?;
        if points.passed() != statistics.yield_points {
            return Err("a recovery passed yield points of the race, whose threads have ended".to_owned());
        }
        Ok(statistics)
    }

    /// Runs all threads, with the recorder and the injector of the race.
    fn run_threads(
        self,
        race_disk: &Arc<RaceDisk>,
        points: &Arc<YieldPoints>,
        opened_at: &AtomicU64,
    ) -> Result<RaceStatistics, String> {
        let disk = &race_disk.disk;
        let passed = Arc::clone(points);
        let recorder = CrossingRecorder::with_callback(move |_| passed.pass());
        let _recording = scoped_recorder(&recorder);
        let injector = self
            .panics_at
            .map(|(point, crossings)| CrashInjector::new(point, crossings));
        let files = with_yield_points(disk, points);
        // Crossings of the open are not part of the race.
        if let Some(injector) = &injector {
            injector.disarm();
        }
        let _installed = injector.as_ref().map(scoped_injector);
        let run = || {
            let db = TidalDb::open(PATH, self.options(disk).files(files))
                .map_err(|error| format!("opening: {}", error_chain(&error)))?;
            opened_at.store(points.passed(), Ordering::Release);
            if let Some(injector) = &injector {
                injector.arm();
            }
            let threads = RaceThreads::new(self, db, Arc::clone(race_disk), Arc::clone(points));
            work::run(&threads);
            self.finish(threads)
        };
        let mut statistics = match &injector {
            None => run()?,
            // The crash then unwinds with its typed payload on every thread that inherits the injector.
            Some(injector) => crate::testing::run_with_crash(injector, run).map_err(|point| {
                format!("the crash at {point} was in the thread that starts the others")
            })??,
        };
        statistics.panicked = u64::from(injector.is_some_and(|injector| injector.has_fired()));
        statistics.failed = match self.fails_at {
            Some((_, RaceFault::Full { .. })) => u64::from(statistics.calls_failed > 0),
            _ => disk.faults_fired().len() as u64,
        };
        (statistics.yield_points, statistics.waits) = (points.passed(), points.waits());
        Ok(statistics)
    }

    /// The yield points of the race, at some of which the fault begins or an image is taken.
    fn yield_points(self, disk: &Arc<RaceDisk>, opened_at: &Arc<AtomicU64>) -> Arc<YieldPoints> {
        let (disk, opened_at) = (Arc::clone(disk), Arc::clone(opened_at));
        let on_pass = move |number: u64| {
            if let Some((fails_at, fault)) = self.fails_at
                && number.checked_sub(opened_at.load(Ordering::Acquire)) == Some(fails_at)
            {
                fault.begin(&disk.disk);
            }
            if self.images_at.contains(&number) {
                disk.take_image(if number.is_multiple_of(2) {
                    &ImageChoice::All
                } else {
                    &ImageChoice::Synced
                });
            }
        };
        Arc::new(YieldPoints::new(self.seed, on_pass))
    }

    /// Checks the handle after all threads have ended, and drops it.
    fn finish(self, threads: RaceThreads) -> Result<RaceStatistics, String> {
        if let Some(failure) = threads.failure() {
            return Err(failure);
        }
        let closed = threads.closed.into_inner();
        if closed {
            threads.disk.oracle().synced(threads.db.durable_sequence());
            if !matches!(threads.db.close(), Err(Error::Closed)) {
                return Err("the handle was closed twice without an error".to_owned());
            }
        } else if !self.has_panic() && !matches!(threads.db.collections(), Err(Error::Closed)) {
            let verdict = threads.disk.oracle().check(CrashKind::ProcessCrash, &threads.db);
            if !verdict.is_ok() {
                return Err(format!("the state in memory is wrong: {verdict}"));
            }
        }
        drop(threads.db);
        Ok(RaceStatistics {
            closed: u64::from(closed),
            acknowledged: threads.acknowledged.into_inner(),
            calls_failed: threads.calls_failed.into_inner(),
            ..RaceStatistics::default()
        })
    }

    /// Recovers from all images taken before, and from the images of a crash at the end.
    fn recover_all(self, disk: &RaceDisk, statistics: &mut RaceStatistics) -> Result<(), String> {
        let mut last = vec![ImageChoice::All, ImageChoice::Synced];
        if self.is_stress {
            let drawn = disk.disk.choices(DiskModel::WEAKEST, LAST_IMAGES, self.seed);
            last.extend(drawn.choices);
        }
        for choice in &last {
            disk.take_image(choice);
        }
        let closed = statistics.closed > 0;
        let mut random = self.is_stress.then(|| Random::new(self.seed));
        for image in disk.drain_images() {
            image.recover(self, closed, random.as_mut(), statistics)?;
        }
        Ok(())
    }
}
