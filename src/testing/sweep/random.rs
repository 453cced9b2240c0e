//! Random plans: each follows from its seed alone.

use super::case::{disk_of, image_of, recovery_session, site_at};
use super::record::{Recorded, seek};
use super::recover::recover;
use super::setup::Setup;
use crate::Durability;
use crate::testing::SimDisk;
use crate::testing::plan::{CRASHES_MAX, CrashMode, Plan, Site};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::workload::{Random, STANDARD_SYNC_MS};

/// A plan that `seed` draws: a standard workload, a policy, a site that its run reaches, a crash mode, and half of the time
/// a crash in the recovery.
///
/// # Examples
/// ```
/// use tidaldb::testing::{random_plan, run_plan};
///
/// for seed in 0..3 {
///     let plan = random_plan(seed);
///     assert_eq!(plan, random_plan(seed));
///     run_plan(&plan).unwrap_or_else(|finding| panic!("seed {seed}: {finding}"));
/// }
/// ```
pub fn random_plan(seed: u64) -> Plan {
    let mut random = Random::new(seed);
    let policies = [
        Durability::EverySynced,
        Durability::SyncedEvery {
            interval_ms: STANDARD_SYNC_MS,
        },
        Durability::OperatingSystem,
    ];
    let operations_len = 20 + random.below(60) as usize;
    let mut plan = Plan::standard(random.next_u64(), operations_len).durability(*random.pick(&policies));
    let setup = Setup::new(plan.work.clone(), plan.durability);
    let run = Recorded::of_work(&setup, &SimDisk::new());
    let (site, moment) = *random.pick(&run.sites);
    let mut builder = run.recording.images();
    seek(&mut builder, moment.position);
    let mut mode = any_mode(&mut random);
    let mut image = builder.image_hash(&image_of(&mode));
    let mut disk = disk_of(&builder, &mode);
    plan = plan.crash(site, mode);
    while plan.crashes.len() < CRASHES_MAX && random.chance(1, 2) {
        let start = disk.operations_len();
        let session = recovery_session(&run.known[moment.known], image);
        // A disk that does not recover fails when the plan is run.
        if recover(&setup, &disk, &session).is_err() {
            break;
        }
        let recording = disk.recording();
        let position = start + random.below(recording.len() - start + 1);
        builder = recording.images();
        seek(&mut builder, position);
        mode = any_mode(&mut random);
        let site: Site = site_at(position, start);
        image = builder.image_hash(&image_of(&mode));
        disk = disk_of(&builder, &mode);
        plan = plan.crash(site, mode);
    }
    plan
}

fn any_mode(random: &mut Random) -> CrashMode {
    match random.below(5) {
        0 => CrashMode::Kill,
        1 => CrashMode::PowerLoss(ImageChoice::Synced),
        _ => CrashMode::PowerLoss(ImageChoice::Random {
            seed: random.next_u64(),
        }),
    }
}
