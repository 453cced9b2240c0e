mod collections;
mod deep;
mod disagree;
mod faults;
mod large;
mod on_files;
mod pasted;
mod planted;
mod prefixes;
mod sessions;
mod sessions_on_files;
mod thresholds;
mod timers;
mod vacuous;

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::limits::Limits;
use crate::testing::plan::{CrashMode, Site};
use crate::testing::sim_disk::ImageChoice;
use crate::testing::workload::{Operation, STANDARD_SYNC_MS, Session, standard_schema, tiny_options};
use crate::testing::{CrashPoint, ReplayedLine, SimDisk};
use crate::{CohortId, EntityId, SignalId, UserId};

const SEED: u64 = 7;

/// Replays a line of a crash sweep, with the standard options.
fn replay(line: &str) -> Result<RecoveredCase, ReplayFailure> {
    match crate::testing::replay(line)? {
        ReplayedLine::Crash(recovered) => Ok(*recovered),
        other => panic!("{line} replays {other:?}"),
    }
}

fn finding_of<T: fmt::Debug>(replayed: Result<T, ReplayFailure>) -> Finding {
    match replayed {
        Err(ReplayFailure::Found(finding)) => *finding,
        other => panic!("no finding: {other:?}"),
    }
}

/// Removes the directory with the files of a finding.
#[expect(
    clippy::disallowed_methods,
    reason = "removes a directory outside of any database"
)]
fn remove_image(finding: &Finding) {
    if let Some(dir) = &finding.image_dir {
        std::fs::remove_dir_all(dir).expect("the directory exists");
    }
}

/// The complete proof: every site and every image of the work, and a crash at every operation of every recovery.
#[test]
fn a_standard_workload_survives_every_image_and_every_crash_in_each_recovery() {
    // A compaction of the store writes its file in one step: smaller steps have too many images for a complete sweep.
    // Other sweeps select from these images.
    let options = || {
        let mut options = tiny_options(standard_schema());
        options.limits.store_step_bytes = Limits::default().store_step_bytes;
        options.limits.store_unsynced_bytes_max = 0;
        options
    };
    let report = CrashSweep::standard(SEED, 60)
        .options(options)
        .images_max(32768)
        .nested_max(usize::MAX)
        .faults_max(usize::MAX)
        .complete()
        .run();
    println!("{report}");
    report.expect_clean();
    assert_eq!(
        (report.left_out.images, report.left_out.sites),
        (0, 0),
        "{}",
        report.left_out
    );
    assert_eq!(
        (report.left_out.recoveries, report.left_out.faults),
        (0, 0),
        "{}",
        report.left_out
    );
}

#[test]
fn a_standard_workload_survives_every_crash_under_the_policies_with_fewer_syncs() {
    for durability in [
        Durability::SyncedEvery {
            interval_ms: STANDARD_SYNC_MS,
        },
        Durability::OperatingSystem,
    ] {
        let report = CrashSweep::standard(SEED, 40)
            .quick()
            .durability(durability)
            .run();
        println!("{report}");
        report.expect_clean();
    }
}

/// All images are built from one run, so every run must make the same disk operations.
#[test]
fn two_runs_of_the_same_work_make_the_same_disk_operations_under_every_policy() {
    for durability in [
        Durability::EverySynced,
        Durability::SyncedEvery {
            interval_ms: STANDARD_SYNC_MS,
        },
        Durability::OperatingSystem,
    ] {
        let work = Work::Standard {
            seed: SEED,
            operations_len: 120,
        };
        let record = || record::RunRecord::of_work(&Setup::new(work.clone(), durability), &SimDisk::new());
        let (first, second) = (record(), record());
        let operations = |run: &record::RunRecord| run.recording.operations().cloned().collect::<Vec<_>>();
        assert!(operations(&first).len() > 300, "{durability:?}");
        assert!(operations(&first) == operations(&second), "{durability:?}");
        // The bytes of every operation are in the image after it.
        let (mut images, mut others) = (first.recording.images(), second.recording.images());
        for position in 0..=first.recording.len() {
            record::seek(&mut images, position);
            record::seek(&mut others, position);
            let (image, other) = (images.image(&ImageChoice::All), others.image(&ImageChoice::All));
            assert!(image == other, "{durability:?}, after {position} operations");
        }
        assert_eq!(first.sites, second.sites, "{durability:?}");
    }
}

/// A checkpoint without new content does not flush the storage. The sweep once required that it makes an unflushed
/// collection durable, and reported a false finding.
#[test]
fn a_checkpoint_without_new_content_promises_nothing() {
    let name = || b"a".to_vec();
    let operations = vec![Operation::CreateCollection(name()), Operation::Checkpoint];
    let report = CrashSweep::of(Workload { operations })
        .durability(Durability::OperatingSystem)
        .run();
    report.expect_clean();
}

#[test]
fn all_crash_modes_leave_the_same_files() {
    let test = concat!(module_path!(), "::all_crash_modes_leave_the_same_files");
    let mut plans: Vec<_> = CrashPoint::ALL
        .into_iter()
        .map(|point| Plan::standard(SEED, 40).crash_at(point, 1))
        .collect();
    let on_disk = "disk#100:before".parse().expect("a site");
    plans.push(Plan::standard(SEED, 40).crash(on_disk, CrashMode::Kill));
    for plan in plans {
        let comparison = compare_crash_modes(&plan, test).unwrap_or_else(|finding| panic!("{finding}"));
        // In a child process the comparison of the other plans returns no modes.
        assert!(
            comparison.modes.is_empty() || comparison.modes.len() >= 2,
            "{plan}: {comparison:?}"
        );
    }
}

#[test]
fn a_plan_with_a_panic_passes_every_check_on_the_simulated_disk() {
    let site = "WalPostAggregate#3".parse().expect("a site");
    let recovered = run_plan(&Plan::standard(SEED, 40).crash(site, CrashMode::Panic));
    assert!(recovered.expect("no finding").events() > 3);
}

#[test]
fn random_plans_depend_only_on_their_seeds_and_pass_every_check() {
    for seed in 0..12 {
        let plan = random_plan(seed);
        assert_eq!(plan, random_plan(seed), "seed {seed}");
        let line = plan.replay_line();
        let recovered = replay(&line).unwrap_or_else(|finding| panic!("seed {seed}: {finding}"));
        assert_eq!(
            recovered.open().unwrap().export().unwrap(),
            *recovered.export(),
            "seed {seed}"
        );
    }
}

#[test]
fn the_failure_of_a_plan_that_does_not_reach_its_site_names_the_crossed_points() {
    let plan = Plan::standard(SEED, 20).crash_at(CrashPoint::WalPreAggregate, 10_000);
    let finding = run_plan(&plan).expect_err("it does not crash");
    assert_eq!(finding.failure.kind, FailureKind::NeverReached);
    let message = finding.to_string();
    assert!(
        message.contains("WalPreAggregate#10000") && message.contains("WalPostAggregate "),
        "{message}"
    );
    let nested = Plan::standard(SEED, 20)
        .crash_at(CrashPoint::WalPreAggregate, 0)
        .crash_at(CrashPoint::WalPreAggregate, 10_000);
    let finding = run_plan(&nested).expect_err("the session after the crash has fewer calls");
    assert_eq!(finding.failure.kind, FailureKind::NeverReached);
    assert_eq!(
        run_plan(&Plan::standard(SEED, 20))
            .expect_err("no crash")
            .failure
            .kind,
        FailureKind::NeverReached
    );
    // Images that name an operation that is durable at the crash, or an operation that does not exist.
    for image in ["drop:99999", "only:0", "prefix:99999=1n1o", "drop:99999=1g"] {
        let line = format!("work=standard:7:20 durability=every-synced crash=end mode=power-loss:{image}");
        let finding = finding_of(replay(&line));
        assert_eq!(finding.failure.kind, FailureKind::NeverReached, "{finding}");
        assert!(finding.failure.message.contains(image), "{finding}");
    }
    let error = replay("work=nothing").expect_err("not a plan");
    assert!(
        matches!(&error, ReplayFailure::NotAPlan(_)) && error.finding().is_none(),
        "{error}"
    );
    assert!(format!("{error:?}").contains("\"nothing\""), "{error:?}");
}

#[test]
fn a_sweep_that_tests_nothing_is_not_clean() {
    let nothing = CrashSweep::of(Workload::default()).run();
    assert!(!nothing.is_ok(), "{nothing}");
    let small = Workload {
        operations: vec![Operation::CreateCollection(b"a".to_vec())],
    };
    let incomplete = CrashSweep::of(small).complete().run();
    assert!(
        incomplete.findings.is_empty() && !incomplete.is_ok(),
        "{incomplete}"
    );
    assert!(
        incomplete
            .coverage
            .points_missed
            .contains(&CrashPoint::CoEngagementUpdate)
    );
}

#[test]
fn the_report_counts_the_images_recoveries_faults_and_sites_that_bounds_exclude() {
    let report = CrashSweep::standard(SEED, 20)
        .quick()
        .images_max(2)
        .faults_max(3)
        .nested_max(1)
        .run();
    report.expect_clean();
    let left_out = &report.left_out;
    assert!(
        left_out.images > 0 && left_out.faults > 0 && left_out.recoveries > 0,
        "{left_out}"
    );
    assert_eq!(report.faults, 3);
    let bounded = CrashSweep::standard(SEED, 20).distinct_max(10).run();
    assert!(bounded.left_out.sites > 0 && bounded.distinct < 40, "{bounded}");
    assert_eq!(bounded.coverage.sites_missed, bounded.left_out.sites);
}

#[test]
fn the_sites_of_a_report_are_in_the_order_of_the_work_and_name_the_operation_in_flight() {
    let report = CrashSweep::standard(SEED, 20).depth(0).run();
    report.expect_clean();
    assert!(report.sites.is_sorted_by_key(|site| site.disk_operations_len));
    assert!(
        report
            .sites
            .iter()
            .all(|site| site.is_explored && site.images > 0)
    );
    assert_eq!(report.operations.len(), 20);
    let appended = report
        .sites
        .iter()
        .find(|site| site.site.to_string() == "WalPreAggregate#0");
    let operation = appended
        .and_then(|site| site.operation)
        .expect("a record is in flight");
    assert!(
        report.operations[operation].starts_with("record@"),
        "{appended:?}"
    );
}

#[test]
fn only_the_sweep_with_the_work_function_replays_its_line() {
    let sweep = CrashSweep::driven("views of one entity", |driver| {
        for at in 0..4 {
            let event = crate::testing::workload::Event {
                entity: EntityId(1),
                signal: SignalId(0),
                weight: 1.0,
                at_ms: at,
                user: Some(UserId(1)),
                cohorts: vec![CohortId(1)],
            };
            driver.apply(&Operation::record(vec![event]))?;
        }
        assert_eq!(driver.db().last_sequence(), 4);
        Ok(())
    });
    let report = sweep.run();
    report.expect_clean();
    assert_eq!(report.acknowledged, 4);
    let plan = report.plan.clone().crash_at(CrashPoint::WalPostAggregate, 2);
    let line = plan.replay_line();
    assert_eq!(sweep.replay(&line).expect("no finding").events(), 3);
    assert_eq!(finding_of(replay(&line)).failure.kind, FailureKind::NeverReached);
}

#[test]
fn two_workers_find_the_same_images_as_one_worker() {
    let sweep = |workers| {
        let report = CrashSweep::standard(SEED, 20)
            .quick()
            .nested_max(6)
            .sessions_max(2)
            .workers(workers)
            .run();
        report.expect_clean();
        (report.images, report.distinct, report.nested, report.continued)
    };
    assert_eq!(sweep(1), sweep(2));
}

#[test]
fn progress_is_reported_while_the_sweep_runs() {
    let is_reported = Arc::new(AtomicBool::new(false));
    let reporter = Arc::clone(&is_reported);
    let report = CrashSweep::standard(SEED, 60)
        .quick()
        .progress(Duration::ZERO, move |progress| {
            assert!(
                progress.done <= progress.total || progress.total == 0,
                "{progress:?}"
            );
            reporter.store(true, Ordering::Relaxed);
        })
        .nested_max(16)
        .run();
    report.expect_clean();
    assert!(is_reported.load(Ordering::Relaxed));
}
