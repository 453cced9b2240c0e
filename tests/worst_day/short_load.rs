//! The short form of the load with kills. It takes a few seconds.

use tidaldb::testing::lab::process::ChildProgram;

use crate::load::{Load, LoadTotals, POLICIES, run_if_child};
use crate::temp_dir::TempDir;

const SEED: u64 = 0x10ad_0001;
const ROUNDS: u64 = 4;

#[test]
fn no_kill_under_load_loses_or_doubles_an_acknowledged_call() {
    run_if_child();
    let program = ChildProgram::calling_test().expect("the harness names the thread");
    let mut totals = LoadTotals::default();
    for (policy, durability) in POLICIES.iter().enumerate() {
        let dir = TempDir::new("load");
        let mut load = Load::new(dir.path().join("db"), SEED + policy as u64);
        for round in 0..ROUNDS {
            let done = load.round(&program, policy);
            done.unwrap_or_else(|failure| {
                panic!(
                    "seed {SEED:#x}, {durability:?}, round {round}: {failure}\n{}",
                    dir.keep()
                )
            });
        }
        totals = totals.with(load.totals);
    }
    assert_eq!(totals.kills, 3 * ROUNDS);
    assert!(totals.calls > 2000 && totals.events > totals.calls, "{totals:?}");
}
