//! Two recoveries deep, and the profile that goes there sweep after sweep.

use std::sync::Mutex;

use super::*;
use crate::testing::lab::planted::{FaultCount, PlantedBug};

#[test]
fn the_second_recovery_is_crashed_in_too() {
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
fn what_only_a_crash_in_a_recovery_shows_is_found_there_and_its_line_says_how_deep() {
    // A leftover of a recovery that died stops the next one.
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
    let deepest = deepest.expect("it is found");
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
fn the_deep_profile_ends_by_its_states_and_adds_up_sweeps_of_every_policy() {
    let profile = DeepProfile {
        distinct_max: 3000,
        ..profile()
    };
    let mut told: Vec<SweepReport> = Vec::new();
    let totals = profile.run(|_| {}, |sweep, _| told.push(sweep.clone()));
    let sum = |count: fn(&SweepReport) -> u64| told.iter().map(count).sum::<u64>();
    assert_eq!(totals.sweeps, told.len() as u64);
    assert_eq!(totals.distinct, sum(|sweep| sweep.distinct));
    assert_eq!(totals.nested, sum(|sweep| sweep.nested));
    assert_eq!((totals.findings_len, totals.workers), (0, 2));
    // Each of the two threads may be in the middle of an image when the last one comes.
    assert!((3000..3002).contains(&totals.distinct), "{totals}");
    assert!(told.len() > 3, "{totals}");
    let plans: Vec<_> = told.iter().take(4).map(|sweep| sweep.plan.to_string()).collect();
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
fn the_deep_profile_ends_by_its_time_and_tells_rate_and_time_left_meanwhile() {
    let profile = DeepProfile {
        time: Duration::from_millis(1500),
        operations_len: 300,
        images_max: 512,
        progress_interval: Duration::from_millis(1),
        ..profile()
    };
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let totals = profile.run(move |progress| telling.lock().unwrap().push(*progress), |_, _| {});
    assert!(totals.elapsed >= profile.time, "{totals}");
    let told = told.lock().unwrap();
    let progress = told.last().expect("it is told again and again");
    let left = progress.time_left.expect("there is a bound");
    assert!(left < profile.time && progress.per_second > 0.0, "{progress:?}");
}
