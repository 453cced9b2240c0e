//! Random plans: each follows from its seed alone.

use super::explore::{disk_of, seek, site_at};
use super::record::Recorded;
use super::recover::recover;
use super::setup::Setup;
use crate::Durability;
use crate::testing::SimDisk;
use crate::testing::plan::{CRASHES_MAX, Plan, Site};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::workload::{Random, STANDARD_SYNC_MS};

impl Plan {
    /// A plan that `seed` draws: a standard workload, a policy, a site that its run reaches, an image, and half of the
    /// time a crash in the recovery.
    ///
    /// # Examples
    /// ```
    /// use tidaldb::testing::Plan;
    ///
    /// for seed in 0..3 {
    ///     let plan = Plan::random(seed);
    ///     assert_eq!(plan, Plan::random(seed));
    ///     plan.run().unwrap_or_else(|finding| panic!("seed {seed}: {finding}"));
    /// }
    /// ```
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let policies = [
            Durability::EverySynced,
            Durability::SyncedEvery {
                interval_ms: STANDARD_SYNC_MS,
            },
            Durability::OperatingSystem,
        ];
        let operations_len = 20 + random.below(60) as usize;
        let mut plan = Self::standard(random.next(), operations_len).durability(*random.pick(&policies));
        let setup = Setup::new(plan.work.clone(), plan.durability);
        let run = Recorded::of_work(&setup, &SimDisk::new());
        let (site, moment) = *random.pick(&run.sites);
        let mut builder = run.recording.images();
        seek(&mut builder, moment.position);
        let mut image = any_image(&mut random);
        let mut disk = disk_of(&builder, &image);
        plan = plan.crash(site, image);
        while plan.crashes.len() < CRASHES_MAX && random.chance(1, 2) {
            let start = disk.operations_len();
            // What does not recover fails when the plan is run.
            if recover(&setup, &disk).is_err() {
                break;
            }
            let recording = disk.recording();
            let position = start + random.below(recording.len() - start + 1);
            builder = recording.images();
            seek(&mut builder, position);
            image = any_image(&mut random);
            let site: Site = site_at(position, start);
            disk = disk_of(&builder, &image);
            plan = plan.crash(site, image);
        }
        plan
    }
}

fn any_image(random: &mut Random) -> ImageChoice {
    match random.below(5) {
        0 => ImageChoice::All,
        1 => ImageChoice::Synced,
        _ => ImageChoice::Random { seed: random.next() },
    }
}
