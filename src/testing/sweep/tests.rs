use super::*;
use crate::testing::CrashPoint;

const SEED: u64 = 7;

/// The standing proof: every site, every image, and a crash at every operation of every recovery.
#[test]
fn one_standard_workload_completely_at_depth_one() {
    let report = CrashSweep::standard(SEED, 80)
        .nested_max(usize::MAX)
        .complete()
        .run();
    println!("{report}");
    report.expect_clean();
}

#[test]
fn ways_to_die_agree() {
    let test = concat!(module_path!(), "::ways_to_die_agree");
    for point in CrashPoint::ALL {
        let plan = Plan::standard(SEED, 40).crash_at(point, 1);
        println!("{:?}", plan.agree(test).unwrap());
    }
}
