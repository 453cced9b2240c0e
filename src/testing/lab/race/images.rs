//! Images of the disk during a race, with the promises at their moments, and their recovery.

use std::collections::HashSet;
use std::sync::Mutex;

use super::work::lock;
use super::{PATH, Race, RaceStatistics};
use crate::testing::SimDisk;
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::sim_disk::{Image, ImageChoice, Side};
use crate::testing::workload::Random;
use crate::{Background, TidalDb};

/// Crashes inside each recovery.
const NESTED_CRASHES: u64 = 4;

/// An image, and the promises when it was taken.
pub(super) struct RaceImage {
    image: Image,
    oracle: Oracle,
    death: CrashKind,
}

/// The disk of a race, and the promises of its database.
pub(super) struct WatchedDisk {
    pub(super) disk: SimDisk,
    pub(super) oracle: Mutex<Oracle>,
    pub(super) images: Mutex<Vec<RaceImage>>,
}

impl WatchedDisk {
    /// Keeps the disk as a crash at this moment leaves it. No call begins or ends meanwhile.
    pub(super) fn take(&self, choice: &ImageChoice) {
        let death = match choice {
            ImageChoice::All => CrashKind::ProcessCrash,
            _ => CrashKind::PowerLoss,
        };
        let oracle = lock(&self.oracle);
        let image = self.disk.image(choice);
        let oracle = oracle.clone();
        lock(&self.images).push(RaceImage { image, oracle, death });
    }
}

impl RaceImage {
    /// Recovers the image and compares. With `nested`, also recovers from crashes inside that recovery.
    pub(super) fn recover(
        &self,
        race: Race,
        closed: bool,
        nested: Option<&mut Random>,
        told: &mut RaceStatistics,
    ) -> Result<(), String> {
        let disk = SimDisk::from_image(&self.image);
        let events = self.check(race, &disk, closed)?;
        told.images += 1;
        told.events = told.events.max(events);
        let Some(random) = nested else {
            return Ok(());
        };
        let operations_len = {
            let disk = SimDisk::from_image(&self.image);
            drop(self.open(race, &disk)?);
            disk.operations_len()
        };
        let mut seen = HashSet::from([self.image.hash()]);
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
                if seen.insert(image.hash()) {
                    self.check(race, &SimDisk::from_image(&image), false)
                        .map_err(|wrong| {
                            format!("{choice} of a crash {side:?} operation {ordinal} of a recovery: {wrong}")
                        })?;
                    told.images += 1;
                    told.nested += 1;
                }
            }
        }
        Ok(())
    }

    fn open(&self, race: Race, disk: &SimDisk) -> Result<TidalDb, String> {
        TidalDb::open(PATH, race.options(disk).background(Background::Caller))
            .map_err(|error| format!("after {:?}: opening: {error:?}", self.death))
    }

    /// Opens the database on `disk` and compares it with the promises. Returns the number of acknowledged events.
    fn check(&self, race: Race, disk: &SimDisk, closed: bool) -> Result<u64, String> {
        let db = self.open(race, disk)?;
        let verdict = self.oracle.check(self.death, &db);
        if !verdict.is_ok() {
            return Err(format!("after {:?}: {verdict}", self.death));
        }
        if closed && !matches!(db.close(), Ok(())) {
            return Err(format!("after {:?}: it cannot be closed again", self.death));
        }
        Ok(verdict.counts.acknowledged)
    }
}
