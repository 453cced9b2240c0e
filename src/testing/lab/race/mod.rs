//! Races: many threads at one handle, in orders that a seed decides.
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
//! | under stress: images after calls, and of crashes inside each recovery | the same |
//! | that all threads end | a time limit: one that is held up for good is left behind, and told with the seed |
//!
//! The seed decides the plan and each thread's choices, not the operating system's: the same seed again is another
//! attempt at the same kind of race. Other seeds are other kinds.

mod images;
#[cfg(test)]
mod tests;
mod work;
mod yields;

use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::images::WatchedDisk;
use self::work::{RaceThreads, lock};
use self::yields::{Yields, yielding};
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::sim_disk::{DiskModel, DiskOperationKind, Fault, ImageChoice, Side};
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
/// The images of a power loss at the end of a race under stress.
const LAST_IMAGES: usize = 24;

/// One race.
///
/// # Examples
/// ```
/// use tidaldb::testing::lab::race::Race;
///
/// let told = Race::of_seed(7).run()?;
/// assert!(told.places > 0 && told.images > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
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
    /// The planned fault, after this number of places since opening.
    fails_at: Option<(u64, RaceFault)>,
    /// Images are also taken after calls, and each recovery crashes too.
    is_stress: bool,
    /// Each thread makes its calls inside a destructor, while it unwinds from a panic of the application.
    in_destructors: bool,
}

/// The fault of a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RaceFault {
    /// The next operation of this kind fails in this way.
    Next(DiskOperationKind, Fault),
    /// The disk has room for so many bytes more, until the race ends.
    Full { free_bytes: u64 },
}

/// What a race that was right tells. Sums of many say what was explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RaceStatistics {
    /// Places that were passed.
    pub places: u64,
    /// Places at which a thread held to let others go first.
    pub holds: u64,
    /// Images that were recovered.
    pub images: u64,
    /// Those of them that a crash inside a recovery left.
    pub nested: u64,
    /// Events that were acknowledged.
    pub events: u64,
    /// Calls that were acknowledged.
    pub acknowledged: u64,
    /// Calls that failed, without those refused as planned or because the handle was closed.
    pub calls_failed: u64,
    /// Whether, or how often, the database was closed before the others had ended.
    pub closed: u64,
    /// Whether, or how often, a thread panicked at its point.
    pub panicked: u64,
    /// Whether, or how often, a sync or write failed or the disk was full.
    pub failed: u64,
}

/// A race that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaceFailure {
    race: Race,
    what: String,
}

impl fmt::Display for RaceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.race, self.what)
    }
}

impl std::error::Error for RaceFailure {}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_stress { "stress" } else { "race" };
        write!(
            f,
            "{kind} of seed {:#x}: {:?}, background by {:?}",
            self.seed, self.durability, self.background
        )?;
        if let Some(closes_at) = self.closes_at {
            write!(f, ", closed at place {closes_at}")?;
        }
        if let Some((point, crossings)) = self.panics_at {
            write!(f, ", a panic at crossing {} of {point}", crossings + 1)?;
        }
        if let Some((place, trouble)) = self.fails_at {
            write!(f, ", {trouble:?} after place {place}")?;
        }
        if self.in_destructors {
            f.write_str(", calls in destructors")?;
        }
        Ok(())
    }
}

impl RaceStatistics {
    /// These and those of another race.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            places: self.places + other.places,
            holds: self.holds + other.holds,
            images: self.images + other.images,
            nested: self.nested + other.nested,
            events: self.events + other.events,
            acknowledged: self.acknowledged + other.acknowledged,
            calls_failed: self.calls_failed + other.calls_failed,
            closed: self.closed + other.closed,
            panicked: self.panicked + other.panicked,
            failed: self.failed + other.failed,
        }
    }
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
            is_stress: false,
            in_destructors: false,
        }
    }

    /// The same race with one failing sync or write, which follows from the seed.
    #[must_use]
    pub fn with_a_fault(self) -> Self {
        let mut random = Random::new(self.seed ^ 0x6661_756c_7421);
        let errors = RaceFault::errors(&mut random);
        let trouble = *random.pick(&errors);
        let fails_at = Some((random.below(PLACES_LEN), trouble));
        Self { fails_at, ..self }
    }

    /// The stress that follows from `seed`: a race with no panic at a crash point and, mostly, a fault: a sync or write fails
    /// or panics, or the disk gets full. Half of them make their calls in destructors of threads that unwind. Power losses
    /// and process crashes at many moments are recovered, and crashed again inside the recovery.
    pub fn stress_of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7374_7265_7373);
        let mut troubles = RaceFault::errors(&mut random).map(Some).to_vec();
        for kind in [DiskOperationKind::Sync, DiskOperationKind::Write] {
            let panics = [Side::Before, Side::After].map(Fault::Panic);
            troubles.extend(panics.map(|fault| Some(RaceFault::Next(kind, fault))));
        }
        let free_bytes = random.below(3000);
        let full = Some(RaceFault::Full { free_bytes });
        troubles.extend([full, full, None, None]);
        let trouble = *random.pick(&troubles);
        Self {
            panics_at: None,
            fails_at: trouble.map(|trouble| (random.below(PLACES_LEN), trouble)),
            is_stress: true,
            in_destructors: random.chance(1, 2),
            ..Self::of_seed(seed)
        }
    }

    /// Runs it on threads of its own.
    ///
    /// # Errors
    /// The failure, and the seed.
    pub fn run(self) -> Result<RaceStatistics, Box<RaceFailure>> {
        let failure = |what: String| Box::new(RaceFailure { race: self, what });
        run_within(TIME_MAX, "tidaldb-race", move || catch_as_text(|| self.raced()))
            .map_err(|hang| failure(hang.to_string()))?
            .flatten()
            .map_err(failure)
    }

    fn options(self, disk: &SimDisk) -> Options {
        tiny_options(standard_schema())
            .durability(self.durability)
            .background(self.background)
            .files(Arc::new(disk.clone()))
    }

    fn raced(self) -> Result<RaceStatistics, String> {
        let watched = Arc::new(WatchedDisk {
            disk: SimDisk::new(),
            oracle: Mutex::new(Oracle::new(&standard_schema(), self.durability)),
            images: Mutex::default(),
        });
        // The places passed during opening. The fault comes later.
        let opened = Arc::new(AtomicU64::new(u64::MAX));
        let yields = self.yields(&watched, &opened);
        let mut told = self.run_threads(&watched, &yields, &opened)?;
        self.recover_all(&watched, &mut told)?;
        if yields.passed() != told.places {
            return Err("a recovery waits at places of the race, whose threads are gone".to_owned());
        }
        Ok(told)
    }

    /// The race itself, with its recorder and injector.
    fn run_threads(
        self,
        watched: &Arc<WatchedDisk>,
        yields: &Arc<Yields>,
        opened: &AtomicU64,
    ) -> Result<RaceStatistics, String> {
        let disk = &watched.disk;
        let passing = Arc::clone(yields);
        let recorder = CrossingRecorder::with_callback(move |_| passing.pass());
        let _recording = scoped_recorder(&recorder);
        let injector = self
            .panics_at
            .map(|(point, crossings)| CrashInjector::new(point, crossings));
        let files = yielding(disk, yields);
        // Crossings of the open are not part of the race.
        if let Some(injector) = &injector {
            injector.disarm();
        }
        let _installed = injector.as_ref().map(scoped_injector);
        let run = || {
            let db = TidalDb::open(PATH, self.options(disk).files(files))
                .map_err(|error| format!("opening: {error:?}"))?;
            opened.store(yields.passed(), Ordering::Release);
            if let Some(injector) = &injector {
                injector.arm();
            }
            let threads = RaceThreads::new(self, db, Arc::clone(watched), Arc::clone(yields));
            work::run(&threads);
            self.ended(threads)
        };
        let mut told = match &injector {
            None => run()?,
            // So that the crash unwinds with its typed payload on every thread that inherits.
            Some(injector) => crate::testing::run_with_crash(injector, run)
                .map_err(|point| format!("the crash at {point} met the thread that spawns"))??,
        };
        told.panicked = u64::from(injector.is_some_and(|injector| injector.has_fired()));
        told.failed = match self.fails_at {
            Some((_, RaceFault::Full { .. })) => u64::from(told.calls_failed > 0),
            _ => disk.faults_fired().len() as u64,
        };
        (told.places, told.holds) = yields.counts();
        Ok(told)
    }

    /// What decides at each place, and takes images at some.
    fn yields(self, watched: &Arc<WatchedDisk>, opened: &Arc<AtomicU64>) -> Arc<Yields> {
        let (watched, opened) = (Arc::clone(watched), Arc::clone(opened));
        let at_place = move |number: u64| {
            if let Some((place, trouble)) = self.fails_at
                && number.checked_sub(opened.load(Ordering::Acquire)) == Some(place)
            {
                trouble.begin(&watched.disk);
            }
            if self.images_at.contains(&number) {
                watched.take(if number.is_multiple_of(2) {
                    &ImageChoice::All
                } else {
                    &ImageChoice::Synced
                });
            }
        };
        Arc::new(Yields::new(self.seed, at_place))
    }

    /// Returns true if the fault is a panic inside a call, which may leave the state in memory incomplete.
    fn has_panic(self) -> bool {
        let fault = self.fails_at.map(|(_, trouble)| trouble);
        self.panics_at.is_some() || matches!(fault, Some(RaceFault::Next(_, Fault::Panic(_))))
    }

    /// Looks at the handle once all threads have ended, and drops it.
    fn ended(self, threads: RaceThreads) -> Result<RaceStatistics, String> {
        if let Some(what) = lock(&threads.wrong).take() {
            return Err(what);
        }
        let closed = threads.closed.into_inner();
        let oracle = &threads.watched.oracle;
        if closed {
            lock(oracle).synced(threads.db.durable_sequence());
            if !matches!(threads.db.close(), Err(Error::Closed)) {
                return Err("it could be closed twice".to_owned());
            }
        } else if !self.has_panic() && !matches!(threads.db.collections(), Err(Error::Closed)) {
            let verdict = lock(oracle).check(CrashKind::ProcessCrash, &threads.db);
            if !verdict.is_ok() {
                return Err(format!("the live state is wrong: {verdict}"));
            }
        }
        drop(threads.db);
        Ok(RaceStatistics {
            closed: u64::from(closed),
            acknowledged: threads.acknowledged.into_inner(),
            calls_failed: threads.failed.into_inner(),
            ..RaceStatistics::default()
        })
    }

    /// Recovers from all images taken before, and from those of a crash at the end.
    fn recover_all(self, watched: &WatchedDisk, told: &mut RaceStatistics) -> Result<(), String> {
        let mut last = vec![ImageChoice::All, ImageChoice::Synced];
        if self.is_stress {
            let drawn = watched.disk.choices(DiskModel::WEAKEST, LAST_IMAGES, self.seed);
            last.extend(drawn.choices);
        }
        for choice in &last {
            watched.take(choice);
        }
        let closed = told.closed > 0;
        let mut random = self.is_stress.then(|| Random::new(self.seed));
        let images = std::mem::take(&mut *lock(&watched.images));
        for image in images {
            image.recover(self, closed, random.as_mut(), told)?;
        }
        Ok(())
    }
}

impl RaceFault {
    /// The errors of a sync or write, as often as they are to come.
    fn errors(random: &mut Random) -> [Self; 8] {
        let lost = Fault::SyncLoses(ErrorKind::Other);
        let before = Fault::ErrorBefore(ErrorKind::Other);
        let after = Fault::ErrorAfter(ErrorKind::Other);
        let torn = Fault::ErrorMidway(random.below(200) as usize, ErrorKind::StorageFull);
        [
            (DiskOperationKind::Sync, lost),
            (DiskOperationKind::Sync, lost),
            (DiskOperationKind::Sync, before),
            (DiskOperationKind::Sync, after),
            (DiskOperationKind::SyncDir, before),
            (DiskOperationKind::SyncDir, after),
            (DiskOperationKind::Write, before),
            (DiskOperationKind::Write, torn),
        ]
        .map(|(kind, fault)| Self::Next(kind, fault))
    }

    fn begin(self, disk: &SimDisk) {
        match self {
            Self::Next(kind, fault) => disk.fail_next(kind, fault),
            Self::Full { free_bytes } => {
                let used = disk.image(&ImageChoice::All).bytes_len();
                disk.set_capacity_bytes(Some(used + free_bytes));
            }
        }
    }
}
