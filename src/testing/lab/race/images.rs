//! The images of a race, and their recovery.
//!
//! Owns the disk, the oracle and the images of a race. Invariant: each image belongs to the state of the oracle that is
//! stored with it, because no call begins or ends while an image is taken.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::parameters::{PATH, Race, RaceStatistics};
use crate::testing::SimDisk;
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::sim_disk::{Image, ImageChoice, Side};
use crate::testing::text::error_chain;
use crate::testing::workload::{Random, standard_schema};
use crate::{Background, TidalDb};

/// The number of crashes inside each recovery.
const NESTED_CRASHES: u64 = 4;

/// An image, and the oracle when it was taken.
pub(super) struct RaceImage {
    image: Image,
    oracle: Oracle,
    crash: CrashKind,
}

/// The disk of a race, the oracle of its database, and the images taken.
pub(super) struct RaceDisk {
    pub(super) disk: SimDisk,
    oracle: Mutex<Oracle>,
    images: Mutex<Vec<RaceImage>>,
}

impl RaceDisk {
    /// An empty disk for a race.
    pub(super) fn new(race: Race) -> Self {
        Self {
            disk: SimDisk::new(),
            oracle: Mutex::new(Oracle::new(&standard_schema(), race.durability)),
            images: Mutex::default(),
        }
    }

    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn images(&self) -> MutexGuard<'_, Vec<RaceImage>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an image of the disk as a crash leaves it at this point in time.
    pub(super) fn take_image(&self, choice: &ImageChoice) {
        let crash = match choice {
            ImageChoice::All => CrashKind::ProcessCrash,
            _ => CrashKind::PowerLoss,
        };
        let oracle = self.oracle();
        let image = self.disk.image(choice);
        let oracle = oracle.clone();
        self.images().push(RaceImage { image, oracle, crash });
    }

    /// Removes and returns all images.
    pub(super) fn drain_images(&self) -> Vec<RaceImage> {
        std::mem::take(&mut *self.images())
    }
}

impl RaceImage {
    /// Recovers the image and compares the result with the oracle. With `nested`, also recovers from crashes inside
    /// that recovery. With `closed`, closes the database after each recovery of the image itself.
    pub(super) fn recover(
        &self,
        race: Race,
        closed: bool,
        nested: Option<&mut Random>,
        statistics: &mut RaceStatistics,
    ) -> Result<(), String> {
        let disk = SimDisk::from_image(&self.image);
        let events = self.check(race, &disk, closed)?;
        statistics.images += 1;
        statistics.events = statistics.events.max(events);
        let Some(random) = nested else {
            return Ok(());
        };
        let operations_len = {
            let disk = SimDisk::from_image(&self.image);
            drop(self.open(race, &disk)?);
            disk.operations_len()
        };
        let mut checked = HashSet::from([self.image.hash()]);
        for _ in 0..NESTED_CRASHES {
            let side = *random.pick(&[Side::Before, Side::After]);
            let ordinal = random.below(operations_len.max(1));
            let disk = SimDisk::from_image(&self.image);
            disk.crash_at(ordinal, side);
            if self.open(race, &disk).is_ok() && !disk.has_device_failed() {
                return Err(format!(
                    "no crash at operation {ordinal} of {operations_len} of a recovery"
                ));
            }
            let drawn = ImageChoice::Random {
                seed: random.next_u64(),
            };
            for choice in [ImageChoice::Synced, ImageChoice::All, drawn] {
                let image = disk.image(&choice);
                if checked.insert(image.hash()) {
                    self.check(race, &SimDisk::from_image(&image), false)
                        .map_err(|failure| {
                            format!("{choice} of a crash {side} operation {ordinal} of a recovery: {failure}")
                        })?;
                    statistics.images += 1;
                    statistics.nested += 1;
                }
            }
        }
        Ok(())
    }

    fn open(&self, race: Race, disk: &SimDisk) -> Result<TidalDb, String> {
        TidalDb::open(PATH, race.options(disk).background(Background::Caller))
            .map_err(|error| format!("after a {}: opening: {}", self.crash, error_chain(&error)))
    }

    /// Opens the database on `disk` and compares it with the oracle. Returns the number of acknowledged events.
    fn check(&self, race: Race, disk: &SimDisk, closed: bool) -> Result<u64, String> {
        let db = self.open(race, disk)?;
        let verdict = self.oracle.check(self.crash, &db);
        if !verdict.is_ok() {
            return Err(format!("after a {}: {verdict}", self.crash));
        }
        if closed && !matches!(db.close(), Ok(())) {
            return Err(format!(
                "after a {}: the database cannot be closed again",
                self.crash
            ));
        }
        Ok(verdict.counts.acknowledged)
    }
}
