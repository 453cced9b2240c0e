//! The parameters of a race. All of them follow from a seed.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

use crate::testing::sim_disk::{DiskOperationKind, Fault, ImageChoice, Side};
use crate::testing::workload::{PolicyText, Random, standard_schema, tiny_options};
use crate::testing::{CrashPoint, SimDisk};
use crate::{Background, Durability, Options};

/// The directory of the database.
pub(super) const PATH: &str = "/db";
/// Every race passes at least this number of yield points. Images, the fault and the close have numbers below it.
const YIELD_POINTS_LEN: u64 = 400;
/// The number of yield points at which an image is taken.
const IMAGES_LEN: usize = 6;

/// One race.
///
/// # Examples
/// ```
/// use tidaldb::testing::lab::race::Race;
///
/// let statistics = Race::of_seed(7).run()?;
/// assert!(statistics.yield_points > 0 && statistics.images > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    pub(super) seed: u64,
    pub(super) durability: Durability,
    pub(super) background: Background,
    /// The database is closed after this number of yield points.
    pub(super) closes_at: Option<u64>,
    /// A thread panics at this crash point, after this number of crossings of it.
    pub(super) panics_at: Option<(CrashPoint, u64)>,
    /// The numbers of the yield points at which an image is taken.
    pub(super) images_at: [u64; IMAGES_LEN],
    /// The fault begins after this number of yield points, counted from the end of the open.
    pub(super) fails_at: Option<(u64, RaceFault)>,
    /// Images are also taken after calls, and each recovery is also crashed.
    pub(super) is_stress: bool,
    /// Each thread makes its calls inside a destructor, while it unwinds from a panic of the application.
    pub(super) in_destructors: bool,
}

/// The fault of a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RaceFault {
    /// The next operation of this kind has this fault.
    Next(DiskOperationKind, Fault),
    /// The disk has room for this number of further bytes, until the race ends.
    Full { free_bytes: u64 },
}

impl fmt::Display for RaceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next(kind, fault) => write!(f, "{fault} at the next {kind}"),
            Self::Full { free_bytes } => write!(f, "room for only {free_bytes} more bytes"),
        }
    }
}

impl Race {
    /// The race that follows from `seed`. In a third of the races a thread closes the database, in another third a
    /// thread panics.
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let durability = *random.pick(&[
            Durability::EverySynced,
            Durability::SyncedEvery { interval_ms: 1 },
            Durability::OperatingSystem,
        ]);
        let background = *random.pick(&[Background::OwnThreads, Background::Caller]);
        let ending = random.below(3);
        let closes_at = (ending == 1).then(|| random.below(YIELD_POINTS_LEN));
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
            images_at: std::array::from_fn(|_| random.below(YIELD_POINTS_LEN)),
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
        let fault = *random.pick(&errors);
        let fails_at = Some((random.below(YIELD_POINTS_LEN), fault));
        Self { fails_at, ..self }
    }

    /// The stress race that follows from `seed`. It has no panic at a crash point.
    ///
    /// In most stress races a sync or write fails or panics, or the disk gets full. In half of them the threads make
    /// their calls in destructors, while they unwind. Images of power losses and process crashes are taken after many
    /// calls. Each image is recovered, and each recovery is also crashed.
    pub fn stress_of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7374_7265_7373);
        let mut faults = RaceFault::errors(&mut random).map(Some).to_vec();
        for kind in [DiskOperationKind::Sync, DiskOperationKind::Write] {
            let panics = [Side::Before, Side::After].map(Fault::Panic);
            faults.extend(panics.map(|fault| Some(RaceFault::Next(kind, fault))));
        }
        let free_bytes = random.below(3000);
        let full = Some(RaceFault::Full { free_bytes });
        faults.extend([full, full, None, None]);
        let fault = *random.pick(&faults);
        Self {
            panics_at: None,
            fails_at: fault.map(|fault| (random.below(YIELD_POINTS_LEN), fault)),
            is_stress: true,
            in_destructors: random.chance(1, 2),
            ..Self::of_seed(seed)
        }
    }

    /// The options of the database on `disk`.
    pub(super) fn options(self, disk: &SimDisk) -> Options {
        tiny_options(standard_schema())
            .durability(self.durability)
            .background(self.background)
            .files(Arc::new(disk.clone()))
    }

    /// Returns true if the race has a panic inside a call, which may leave the state in memory incomplete.
    pub(super) fn has_panic(self) -> bool {
        let fault = self.fails_at.map(|(_, fault)| fault);
        self.panics_at.is_some() || matches!(fault, Some(RaceFault::Next(_, Fault::Panic(_))))
    }
}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_stress { "stress" } else { "race" };
        let background = match self.background {
            Background::OwnThreads => "own threads",
            Background::Caller => "the caller",
        };
        write!(
            f,
            "{kind} of seed {:#x}: {}, background work by {background}",
            self.seed,
            PolicyText(self.durability)
        )?;
        if let Some(closes_at) = self.closes_at {
            write!(f, ", closed at yield point {closes_at}")?;
        }
        if let Some((point, crossings)) = self.panics_at {
            write!(f, ", a panic at crossing {} of {point}", crossings + 1)?;
        }
        if let Some((number, fault)) = self.fails_at {
            write!(f, ", {fault}, after yield point {number}")?;
        }
        if self.in_destructors {
            f.write_str(", calls in destructors")?;
        }
        Ok(())
    }
}

impl RaceFault {
    /// The errors of a sync or write. An error that is drawn more often is listed more than once.
    fn errors(random: &mut Random) -> [Self; 8] {
        let sync_loses = Fault::SyncLoses(ErrorKind::Other);
        let before = Fault::ErrorBefore(ErrorKind::Other);
        let after = Fault::ErrorAfter(ErrorKind::Other);
        let torn = Fault::ErrorMidway(random.below(200) as usize, ErrorKind::StorageFull);
        [
            (DiskOperationKind::Sync, sync_loses),
            (DiskOperationKind::Sync, sync_loses),
            (DiskOperationKind::Sync, before),
            (DiskOperationKind::Sync, after),
            (DiskOperationKind::SyncDir, before),
            (DiskOperationKind::SyncDir, after),
            (DiskOperationKind::Write, before),
            (DiskOperationKind::Write, torn),
        ]
        .map(|(kind, fault)| Self::Next(kind, fault))
    }

    /// Plans the fault on `disk`, from now on.
    pub(super) fn begin(self, disk: &SimDisk) {
        match self {
            Self::Next(kind, fault) => disk.fail_next(kind, fault),
            Self::Full { free_bytes } => {
                let used = disk.image(&ImageChoice::All).bytes_len();
                disk.set_capacity_bytes(Some(used + free_bytes));
            }
        }
    }
}

/// The counts of a race that found no failure. The sums over many races show the explored cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RaceStatistics {
    /// Passed yield points.
    pub yield_points: u64,
    /// Yield points at which a thread waited for others.
    pub waits: u64,
    /// Recovered images.
    pub images: u64,
    /// Recovered images that a crash inside a recovery left; part of `images`.
    pub nested: u64,
    /// Acknowledged events.
    pub events: u64,
    /// Acknowledged calls.
    pub acknowledged: u64,
    /// Failed calls, without those refused as planned or because the handle was closed.
    pub calls_failed: u64,
    /// Races that were closed before all other threads had ended.
    pub closed: u64,
    /// Races in which a thread panicked at its crash point.
    pub panicked: u64,
    /// The number of failed syncs and writes, or of races with a full disk in which a call failed.
    pub failed: u64,
}

impl RaceStatistics {
    /// The sums of these statistics and those of another race.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            yield_points: self.yield_points + other.yield_points,
            waits: self.waits + other.waits,
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
