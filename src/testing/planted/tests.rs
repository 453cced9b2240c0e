//! The self-test: every bug is caught by the check that is said to catch it, and nothing is found without one.

use std::time::Duration;

use super::*;
use crate::EntityId;
use crate::testing::SweepReport;

const SEED: u64 = 7;
const OPERATIONS_LEN: usize = 30;

/// What every bug is planted into. Little of it changes collections, so it begins with some of these.
fn sweep(operations_len: usize) -> CrashSweep {
    let name = || b"first".to_vec();
    let mut operations = vec![Operation::CreateCollection(name())];
    operations.extend([1, 2, 3].map(|id| Operation::AddToCollection(name(), EntityId(id))));
    operations.push(Operation::RemoveFromCollection(name(), EntityId(2)));
    operations.push(Operation::DeleteCollection(name()));
    operations.extend(Workload::standard(SEED, operations_len).operations);
    CrashSweep::of(Workload { operations })
        .images_max(8)
        .nested_max(12)
        .nested_images_max(3)
        .deaths_max(24)
        .shrink(false)
}

fn cases(report: &SweepReport) -> u64 {
    report.images + report.deaths
}

fn millis(time: Duration) -> u128 {
    time.as_millis()
}

#[test]
fn explore_all() {
    let only = std::env::var("BUG").ok();
    let len: usize = std::env::var("LEN").map_or(OPERATIONS_LEN, |l| l.parse().unwrap());
    for &bug in PlantedBug::ALL {
        if only.as_ref().is_some_and(|only| !bug.name().contains(only.as_str())) { continue; }
        for (i, &kind) in bug.caught_by().iter().enumerate() {
            let acts = Acts::default();
            let mut sw = bug.plant(sweep(len), &acts).findings_max(if only.is_some() {500} else {1});
            if i > 0 { sw = sw.looking_for(kind); }
            let report = sw.run();
            let kinds: Vec<_> = report.findings.iter().map(|it| it.failure.kind).collect();
            let ok = kinds.first() == Some(&kind)  && !acts.is_empty();
            let mut kinds = kinds; kinds.dedup(); 
            println!("{} {bug:30} acts {:5} cases {:6} {:5} ms {kinds:?} expected {:?}", if ok {"ok "} else {"BAD"}, acts.len(), cases(&report), millis(report.elapsed), kind);
            if !ok || only.is_some() {
                for f in report.findings.iter().take(4) { println!("     {} {}", f.plan.replay_line().split("durability").nth(1).unwrap(), f.failure.to_string().chars().take(1200).collect::<String>()); }
            }
        }
    }
}

#[test]
fn explore_clean() {
    for needs in [Needs::Nothing, Needs::NoSyncs, Needs::NoBarriers, Needs::TimedSyncs] {
        let report = needs.prepare(sweep(30)).run();
        println!("{needs:?} {report}");
    }
    let report = storage::with_storage(sweep(30), |s| s).run();
    println!("{report}");
}
