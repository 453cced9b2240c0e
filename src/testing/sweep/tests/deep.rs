//! Crashes in two nested recoveries, and the deep profile, which runs a series of sweeps with them.

use std::sync::Mutex;

use super::*;
use crate::testing::lab::planted::{FaultCount, PlantedBug};

#[test]
fn a_sweep_of_depth_two_also_crashes_in_the_second_recovery() {
    let sweep = |depth| {
        let sweep = CrashSweep::standard(SEED, 6).images_max(4).nested_max(3);
        let report = sweep.nested_images_max(2).faults_max(0).depth(depth).run();
        report.expect_clean();
        report
    };
    let [none, one, two] = [0, 1, 2].map(sweep);
    assert_eq!(none.nested, 0);
    assert!(none.left_out.recoveries > 0, "{none}");
    assert!(one.nested > 0 && one.distinct >= none.distinct, "{one}");
    assert!(two.nested > one.nested, "{} and {}", one.nested, two.nested);
}

#[test]
fn a_bug_that_needs_a_crash_in_a_recovery_is_found_and_its_line_contains_both_crashes() {
    // After a crash in a recovery, a leftover file makes the next recovery panic.
    let acts = FaultCount::default();
    let sweep = PlantedBug::LeftoverPanics.plant(CrashSweep::standard(SEED, 12).quick(), &acts);
    let report = sweep
        .clone()
        .workers(1)
        .shrink(false)
        .faults_max(0)
        .depth(2)
        .run();
    let deepest = report
        .findings
        .iter()
        .max_by_key(|finding| finding.plan.crashes.len());
    let deepest = deepest.expect("the bug is found");
    assert!(deepest.plan.crashes.len() >= 2, "{deepest}");
    let again = finding_of(sweep.replay(&deepest.replay_line()));
    assert_eq!(again.failure.kind, FailureKind::Panicked);
    remove_image(&again);
}

fn profile() -> DeepProfile {
    DeepProfile {
        operations_len: 6,
        workers: 2,
        images_max: 4,
        nested_images_max: 1,
        sessions_max: 1,
        faults_max: 2,
        ..DeepProfile::default()
    }
}

#[test]
fn the_deep_profile_ends_at_its_number_of_images_and_sums_the_sweeps_of_every_policy() {
    let profile = DeepProfile {
        distinct_max: 3000,
        ..profile()
    };
    let mut reports: Vec<SweepReport> = Vec::new();
    let totals = profile.run(|_| {}, |sweep, _| reports.push(sweep.clone()));
    let sum = |count: fn(&SweepReport) -> u64| reports.iter().map(count).sum::<u64>();
    assert_eq!(totals.sweeps, reports.len() as u64);
    assert_eq!(totals.distinct, sum(|sweep| sweep.distinct));
    assert_eq!(totals.nested, sum(|sweep| sweep.nested));
    assert_eq!((totals.findings_len, totals.workers), (0, 2));
    // Each of the two threads may be in a case when the bound is reached.
    assert!((3000..3002).contains(&totals.distinct), "{totals}");
    assert!(reports.len() > 3, "{totals}");
    let plans: Vec<_> = reports
        .iter()
        .take(4)
        .map(|sweep| sweep.plan.to_string())
        .collect();
    assert_eq!(
        plans,
        [
            "work=standard:1:6 durability=every-synced",
            "work=sessions:2:6 durability=synced-every:2000 sectors=4096",
            "work=standard:3:6 durability=operating-system",
            "work=sessions:4:6 durability=every-synced sectors=4096",
        ]
    );
}

#[test]
fn the_deep_profile_ends_at_its_time_and_reports_its_rate_and_the_time_left() {
    let profile = DeepProfile {
        time: Duration::from_millis(1500),
        operations_len: 300,
        images_max: 512,
        progress_interval: Duration::from_millis(1),
        ..profile()
    };
    let reported = Arc::new(Mutex::new(Vec::new()));
    let reporter = Arc::clone(&reported);
    let totals = profile.run(
        move |progress| reporter.lock().unwrap().push(*progress),
        |_, _| {},
    );
    assert!(totals.elapsed >= profile.time, "{totals}");
    let reported = reported.lock().unwrap();
    let progress = reported.last().expect("progress is reported");
    let time_left = progress.time_left.expect("there is a bound on time");
    assert!(
        time_left < profile.time && progress.per_second > 0.0,
        "{progress:?}"
    );
}
