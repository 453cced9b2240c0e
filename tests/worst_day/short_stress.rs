//! The short form of the stress: a few seconds of it, in the suite.

use crate::stress::{Round, Totals};

/// Many more rounds than it takes to meet everything, whatever the operating system does with the threads.
const ROUNDS_MAX: u64 = 600;

/// Returns true if enough of each kind was met for the run to mean something.
fn is_enough(totals: &Totals) -> bool {
    totals.images >= 3000
        && totals.nested >= 1000
        && totals.acknowledged >= 1000
        && totals.faults >= 25
        && totals.failed >= 25
        && totals.closed >= 5
}

#[test]
fn under_stress_and_faults_no_crash_loses_or_doubles_an_acknowledged_call() {
    let mut totals = Totals::default();
    while !is_enough(&totals) {
        assert!(totals.rounds < ROUNDS_MAX, "not enough was met: {totals:?}");
        let round = Round::of_seed(totals.rounds).run();
        totals.add(round.unwrap_or_else(|wrong| panic!("{wrong}")));
    }
    println!("{totals:?}");
}
