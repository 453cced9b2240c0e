//! The short form of the stress: a few seconds of it, in the suite.

use crate::stress::{Round, Totals};

const ROUNDS: u64 = 40;

#[test]
fn under_stress_and_faults_no_crash_loses_or_doubles_an_acknowledged_call() {
    let mut totals = Totals::default();
    for seed in 0..ROUNDS {
        totals.add(
            Round::of_seed(seed)
                .run()
                .unwrap_or_else(|wrong| panic!("{wrong}")),
        );
    }
    println!("{totals:?}");
    assert!(
        totals.images > 60 * ROUNDS && totals.nested > 30 * ROUNDS,
        "{totals:?}"
    );
    assert!(
        totals.faults > ROUNDS / 2 && totals.failed > ROUNDS / 2,
        "{totals:?}"
    );
    assert!(
        totals.closed > ROUNDS / 10 && totals.acknowledged > 20 * ROUNDS,
        "{totals:?}"
    );
}
