//! Races: many threads at one handle, who goes first being explored and not hoped for.
//!
//! Two threads record and forget, one changes collections, one makes checkpoints and syncs, one reads, one may close the
//! database in the middle of it all, one may panic at a crash point, and a sync or write may fail. Each crash point and each call that reaches a
//! file is a place where a seed decides whether the thread goes on, gives way, or holds until others have come by. The
//! disk is simulated: at some places it is looked at as a crash there would leave it, and recovered later.
//!
//! | what is checked | against |
//! |---|---|
//! | every answer | what may be answered while others close or panic |
//! | the live state when all have ended | the [oracle](crate::testing::oracle) |
//! | images taken at places in between, and at the end, after a process crash and a power loss | the same |
//! | that all threads end | a time limit: one that is held up for good is left behind, and told with the seed |
//!
//! The seed decides the plan and each thread's choices, not the operating system's: the same seed again is another
//! attempt at the same kind of race. Other seeds are other kinds.

#[cfg(test)]
mod tests;
mod work;
mod yields;

use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::work::{Shared, lock};
use self::yields::{Yields, yielding};
use crate::testing::oracle::{Death, Oracle};
use crate::testing::sim_disk::{DiskOperationKind, Fault, Image, ImageChoice};
use crate::testing::text::catch_as_text;
use crate::testing::watchdog::run_within;
use crate::testing::workload::{Random, standard_schema, tiny_options};
use crate::testing::{
    CrashInjector, CrashPoint, CrossingRecorder, SimDisk, scoped_injector, scoped_recorder,
};
use crate::{Background, Durability, Error, Options, TidalDb};

const PATH: &str = "/db";
/// A race that has not ended after this time hangs. It takes a fraction of a second.
const TIME_MAX: Duration = Duration::from_secs(60);
/// How many places a race has at least, in which images are taken and the database is closed.
const PLACES_LEN: u64 = 400;
/// At how many places an image is taken.
const IMAGES_LEN: usize = 6;

/// One race.
///
/// # Examples
/// ```
/// use tidaldb::testing::lab::race::Race;
///
/// let told = Race::of_seed(7).run()?;
/// assert!(told.places > 0 && told.images > 0);
/// # Ok::<(), Box<tidaldb::testing::lab::race::Lost>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    seed: u64,
    durability: Durability,
    background: Background,
    /// The database is closed once so many places were passed.
    closes_at: Option<u64>,
    /// Where a thread panics, after how many crossings.
    panics_at: Option<(CrashPoint, u64)>,
    images_at: [u64; IMAGES_LEN],
    /// The planned fault: after this number of places since opening, the next operation of this kind fails in this way.
    fails_at: Option<(u64, DiskOperationKind, Fault)>,
}

/// What a race that was right tells. Sums of many say what was explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Told {
    /// Places that were passed.
    pub places: u64,
    /// Places at which a thread held to let others go first.
    pub holds: u64,
    /// Images that were recovered.
    pub images: u64,
    /// Events that were acknowledged.
    pub events: u64,
    /// Whether, or how often, the database was closed before the others had ended.
    pub closed: u64,
    /// Whether, or how often, a thread panicked at its point.
    pub panicked: u64,
    /// Whether, or how often, a sync or write failed.
    pub failed: u64,
}

/// A race that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The race.
    pub race: Race,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.race, self.what)
    }
}

impl std::error::Error for Lost {}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "race of seed {:#x}: {:?}, background by {:?}",
            self.seed, self.durability, self.background
        )?;
        if let Some(closes_at) = self.closes_at {
            write!(f, ", closed at place {closes_at}")?;
        }
        if let Some((point, crossings)) = self.panics_at {
            write!(f, ", a panic at crossing {} of {point}", crossings + 1)?;
        }
        if let Some((place, kind, fault)) = self.fails_at {
            write!(f, ", {fault:?} at the next {kind} after place {place}")?;
        }
        Ok(())
    }
}

impl Told {
    /// These and those of another race.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            places: self.places + other.places,
            holds: self.holds + other.holds,
            images: self.images + other.images,
            events: self.events + other.events,
            closed: self.closed + other.closed,
            panicked: self.panicked + other.panicked,
            failed: self.failed + other.failed,
        }
    }
}

/// An image, and what had been promised when it was taken.
struct Taken {
    image: Image,
    oracle: Oracle,
    death: Death,
}

impl Race {
    /// The race that follows from `seed`: a third of them closes, a third panics.
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let durability = *random.pick(&[
            Durability::EverySynced,
            Durability::SyncedEvery { interval_ms: 1 },
            Durability::OperatingSystem,
        ]);
        let background = *random.pick(&[Background::OwnThreads, Background::Caller]);
        let ending = random.below(3);
        let closes_at = (ending == 1).then(|| random.below(PLACES_LEN));
        let point = *random.pick(&CrashPoint::ALL);
        let crossings_max = match point {
            CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush => 3,
            CrashPoint::CollectionIndexUpdate | CrashPoint::CoEngagementUpdate => 6,
            _ => 30,
        };
        let panics_at = (ending == 2).then(|| (point, random.below(crossings_max)));
        Self {
            seed,
            durability,
            background,
            closes_at,
            panics_at,
            images_at: std::array::from_fn(|_| random.below(PLACES_LEN)),
            fails_at: None,
        }
    }

    /// The same race with one failing sync or write, which follows from the seed.
    #[must_use]
    pub fn with_a_fault(self) -> Self {
        let mut random = Random::new(self.seed ^ 0x6661_756c_7421);
        let lost = Fault::SyncLoses(ErrorKind::Other);
        let (before, after) = (
            Fault::ErrorBefore(ErrorKind::Other),
            Fault::ErrorAfter(ErrorKind::Other),
        );
        let torn = Fault::ErrorMidway(random.below(200) as usize, ErrorKind::StorageFull);
        let &(kind, fault) = random.pick(&[
            (DiskOperationKind::Sync, lost),
            (DiskOperationKind::Sync, lost),
            (DiskOperationKind::Sync, before),
            (DiskOperationKind::Sync, after),
            (DiskOperationKind::SyncDir, before),
            (DiskOperationKind::SyncDir, after),
            (DiskOperationKind::Write, before),
            (DiskOperationKind::Write, torn),
        ]);
        Self {
            fails_at: Some((random.below(PLACES_LEN), kind, fault)),
            ..self
        }
    }

    /// Runs it on threads of its own.
    ///
    /// # Errors
    /// What is wrong, and the seed.
    pub fn run(self) -> Result<Told, Box<Lost>> {
        let lost = |what: String| Box::new(Lost { race: self, what });
        run_within(TIME_MAX, "tidaldb-race", move || catch_as_text(|| self.raced()))
            .map_err(|hang| lost(hang.to_string()))?
            .flatten()
            .map_err(lost)
    }

    fn options(self, disk: &SimDisk) -> Options {
        tiny_options(standard_schema())
            .durability(self.durability)
            .background(self.background)
            .files(Arc::new(disk.clone()))
    }

    fn raced(self) -> Result<Told, String> {
        let disk = SimDisk::new();
        let oracle = Arc::new(Mutex::new(Oracle::new(&standard_schema(), self.durability)));
        let taken: Arc<Mutex<Vec<Taken>>> = Arc::default();
        // The places passed during opening. The fault comes later.
        let opened = Arc::new(AtomicU64::new(u64::MAX));
        let yields = self.yields(&disk, &oracle, &taken, &opened);
        let yields = &yields;
        let passing = Arc::clone(yields);
        let recorder = CrossingRecorder::calling(move |_| passing.pass());
        let _recording = scoped_recorder(&recorder);
        let injector = self
            .panics_at
            .map(|(point, crossings)| CrashInjector::new(point, crossings));
        // What opening crosses is none of the race's.
        let files = yielding(&disk, yields);
        if let Some(injector) = &injector {
            injector.disarm();
        }
        let _installed = injector.as_ref().map(scoped_injector);
        let run = || {
            let db = TidalDb::open(PATH, self.options(&disk).files(files))
                .map_err(|error| format!("opening: {error:?}"))?;
            opened.store(yields.passed(), Ordering::Release);
            if let Some(injector) = &injector {
                injector.arm();
            }
            let shared = Shared::new(
                db,
                Arc::clone(&oracle),
                Arc::clone(yields),
                self.closes_at,
                self.panics_at.is_some() || self.fails_at.is_some(),
            );
            work::run(&shared, self.seed);
            self.ended(shared)
        };
        let closed = match &injector {
            None => run()?,
            // So that the crash unwinds with its typed payload on every thread that inherits.
            Some(injector) => crate::testing::run_with_crash(injector, run)
                .map_err(|point| format!("the crash at {point} met the thread that spawns"))??,
        };
        if let Some(injector) = &injector {
            // A fault may end the race first; then the panic must not happen during recovery.
            injector.disarm();
        }
        let mut told = Told {
            closed: u64::from(closed),
            panicked: u64::from(injector.is_some_and(|injector| injector.has_fired())),
            failed: disk.faults_fired().len() as u64,
            ..Told::default()
        };
        (told.places, told.holds) = yields.counts();
        let oracle = lock(&oracle).clone();
        let mut taken = std::mem::take(&mut *lock(&taken));
        for (choice, death) in [
            (ImageChoice::All, Death::ProcessCrash),
            (ImageChoice::Synced, Death::PowerLoss),
        ] {
            taken.push(Taken {
                image: disk.image(&choice),
                oracle: oracle.clone(),
                death,
            });
        }
        for taken in taken {
            told.images += 1;
            let events = self.recovered(&taken, closed)?;
            told.events = told.events.max(events);
        }
        Ok(told)
    }

    /// What decides at each place, and takes images at some.
    fn yields(
        self,
        disk: &SimDisk,
        oracle: &Arc<Mutex<Oracle>>,
        taken: &Arc<Mutex<Vec<Taken>>>,
        opened: &Arc<AtomicU64>,
    ) -> Arc<Yields> {
        let (disk, oracle, taken) = (disk.clone(), Arc::clone(oracle), Arc::clone(taken));
        let opened = Arc::clone(opened);
        let take = move |number: u64| {
            if let Some((place, kind, fault)) = self.fails_at
                && number.checked_sub(opened.load(Ordering::Acquire)) == Some(place)
            {
                disk.fail_next(kind, fault);
            }
            if !self.images_at.contains(&number) {
                return;
            }
            let (choice, death) = if number.is_multiple_of(2) {
                (ImageChoice::All, Death::ProcessCrash)
            } else {
                (ImageChoice::Synced, Death::PowerLoss)
            };
            // Nothing is begun or acknowledged between the two.
            let promised = lock(&oracle);
            let image = disk.image(&choice);
            lock(&taken).push(Taken {
                image,
                oracle: promised.clone(),
                death,
            });
        };
        Arc::new(Yields::new(self.seed, take))
    }

    /// Looks at the handle once all threads have ended, and drops it. Whether it was closed before the others had
    /// ended.
    fn ended(self, shared: Shared) -> Result<bool, String> {
        if let Some(what) = shared.wrong.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(what);
        }
        let closed = shared.closed.into_inner();
        if closed {
            let mut oracle = lock(&shared.oracle);
            oracle.synced(shared.db.durable_sequence());
            if !matches!(shared.db.close(), Err(Error::Closed)) {
                return Err("it could be closed twice".to_owned());
            }
        } else if self.panics_at.is_none() && !matches!(shared.db.collections(), Err(Error::Closed)) {
            let verdict = lock(&shared.oracle).check(Death::ProcessCrash, &shared.db);
            if !verdict.is_ok() {
                return Err(format!("the live state is wrong: {verdict}"));
            }
        }
        drop(shared.db);
        Ok(closed)
    }

    /// Opens an image and compares. How many events were acknowledged.
    fn recovered(self, taken: &Taken, closed: bool) -> Result<u64, String> {
        let Taken { image, oracle, death } = taken;
        let disk = SimDisk::from_image(image);
        let db = TidalDb::open(PATH, self.options(&disk).background(Background::Caller))
            .map_err(|error| format!("after {death:?}: opening: {error:?}"))?;
        let verdict = oracle.check(*death, &db);
        if !verdict.is_ok() {
            return Err(format!("after {death:?}: {verdict}"));
        }
        if closed && !matches!(db.close(), Ok(())) {
            return Err(format!("after {death:?}: it cannot be closed again"));
        }
        Ok(verdict.counts.acknowledged)
    }
}
