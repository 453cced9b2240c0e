//! Recovering from a crash, and from crashes inside that recovery.

use std::collections::HashSet;

use tidaldb::TidalDb;
use tidaldb::testing::SimDisk;
use tidaldb::testing::sim_disk::{ImageChoice, Side};

use super::{Crash, PATH, Round, Totals, scramble};

/// Crashes inside each recovery.
const CRASHES: u64 = 4;

impl Crash {
    /// Recovers, compares, and does the same from crashes at some operations of the recovery.
    pub(super) fn recover(&self, round: Round, number: u64, totals: &mut Totals) -> Result<(), String> {
        let disk = SimDisk::from_image(&self.image);
        self.check(round, &disk)?;
        totals.images += 1;
        let operations_len = disk.operations_len();
        let mut seen = HashSet::from([self.image.hash()]);
        for crash in 0..CRASHES {
            let random = scramble(round.seed ^ number << 24 ^ crash << 16);
            let side = if random.is_multiple_of(2) {
                Side::Before
            } else {
                Side::After
            };
            let ordinal = (random >> 8) % operations_len.max(1);
            let disk = SimDisk::from_image(&self.image);
            disk.crash_at(ordinal, side);
            if TidalDb::open(PATH, round.options(&disk)).is_ok() && !disk.is_gone() {
                return Err(format!(
                    "no crash at operation {ordinal} of {operations_len} of a recovery"
                ));
            }
            let random = ImageChoice::Random { seed: random >> 8 };
            for choice in [ImageChoice::Synced, ImageChoice::All, random] {
                let image = disk.image(&choice);
                if seen.insert(image.hash()) {
                    let checked = self.check(round, &SimDisk::from_image(&image));
                    checked.map_err(|wrong| {
                        format!("{choice} of a crash {side:?} operation {ordinal} of a recovery: {wrong}")
                    })?;
                    totals.images += 1;
                    totals.nested += 1;
                }
            }
        }
        Ok(())
    }

    /// Opens the database on `disk` and compares it with the promises.
    fn check(&self, round: Round, disk: &SimDisk) -> Result<(), String> {
        let db = TidalDb::open(PATH, round.options(disk))
            .map_err(|error| format!("after {:?}, opening: {error:?}", self.death))?;
        let verdict = self.oracle.check(self.death, &db);
        if verdict.is_ok() {
            Ok(())
        } else {
            Err(format!("after {:?}: {verdict}", self.death))
        }
    }
}
