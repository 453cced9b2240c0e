//! The short form of the load with kills: a few seconds of it, in the suite.

use tidaldb::testing::lab::process::ChildProgram;

use crate::load::{Load, LoadTotals, POLICIES, serve_if_asked};
use crate::temp_dir::TempDir;

const SEED: u64 = 0x10ad_0001;
const ROUNDS: u64 = 4;

#[test]
fn under_load_no_kill_loses_or_doubles_what_was_acknowledged() {
    serve_if_asked();
    let program = ChildProgram::calling_test().expect("the harness names the thread");
    let mut totals = LoadTotals::default();
    for (policy, durability) in POLICIES.iter().enumerate() {
        let dir = TempDir::new("load");
        let mut load = Load::new(dir.path().join("db"), SEED + policy as u64);
        for round in 0..ROUNDS {
            let done = load.round(&program, policy);
            done.unwrap_or_else(|why| {
                panic!(
                    "seed {SEED:#x}, {durability:?}, round {round}: {why}\n{}",
                    dir.keep()
                )
            });
        }
        totals = totals.with(load.totals);
    }
    assert_eq!(totals.kills, 3 * ROUNDS);
    assert!(totals.calls > 2000 && totals.events > totals.calls, "{totals:?}");
}
