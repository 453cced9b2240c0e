//! Random plans. A seed alone determines its plan.

use super::case::{disk_of, site_at};
use super::next_session::NextSession;
use super::record::{RunRecord, seek};
use super::setup::Setup;
use crate::Durability;
use crate::testing::plan::{CRASHES_MAX, CrashMode, Plan};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::workload::{Random, STANDARD_SYNC_MS};

/// The random plan of `seed`: a standard workload in one session or in several, a policy, a site that the run reaches,
/// and a crash mode. Half of the plans also have a crash in the session after this crash, in the recovery or in a later
/// call.
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
    let of_work = *random.pick(&[Plan::standard, Plan::sessions]);
    let mut plan = of_work(random.next_u64(), operations_len).durability(*random.pick(&policies));
    let setup = Setup::new(plan.work.clone(), plan.durability);
    let mut run = RunRecord::of_work(&setup, &setup.new_disk());
    let (site, position) = *random.pick(&run.sites);
    let mut builder = run.recording.images();
    seek(&mut builder, position.operations_len);
    let mut snapshot_index = position.snapshot_index;
    let mut mode = any_mode(&mut random);
    plan = plan.crash(site, mode.clone());
    while plan.crashes.len() < CRASHES_MAX && random.chance(1, 2) {
        let disk = disk_of(&builder, &mode);
        let start = disk.operations_len();
        // If this disk does not recover, the plan fails when it runs.
        let Ok(next) = NextSession::record(
            &setup,
            &disk,
            &builder,
            &run.snapshots[snapshot_index],
            &plan.crashes,
        ) else {
            break;
        };
        mode = any_mode(&mut random);
        // In the recovery, or in a call after it.
        let site = if random.chance(1, 2) {
            site_at(start + random.below(next.opened_at - start + 1), start)
        } else {
            random.pick(&next.run.sites).0
        };
        let Ok((at_site, next_index)) = next.run.builder_at(site) else {
            unreachable!("the site is one of the run");
        };
        builder = at_site;
        // A crash in the recovery has the oracle snapshot of the crash before it.
        if next_index > 0 {
            (run, snapshot_index) = (next.run, next_index);
        }
        plan = plan.crash(site, mode.clone());
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
