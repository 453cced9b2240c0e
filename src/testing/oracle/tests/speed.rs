//! How long a check takes. Run by hand: `cargo test --release --lib oracle::tests::speed -- --ignored --nocapture`.

#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::hint::black_box;
use std::time::Instant;

use super::{acknowledge, state};
use crate::testing::oracle::{Death, Guarantee, Oracle, Timeline};
use crate::testing::workload::{Workload, standard_schema};

#[test]
#[ignore = "a measurement"]
fn microseconds_for_a_run_of_a_hundred_operations() {
    const RUNS: u32 = 2000;
    let operations = Workload::standard(1, 100).operations;
    let timeline = Timeline::new(&standard_schema(), &operations);
    let found = state(&operations);
    let us = |start: Instant| start.elapsed().as_secs_f64() * 1e6 / f64::from(RUNS);
    let last = Some(operations.len() as u64);
    let makes: [(&str, &dyn Fn() -> Oracle); 2] = [
        ("plain", &|| {
            Oracle::new(&standard_schema(), Guarantee::Acknowledged)
        }),
        ("following", &|| {
            Oracle::following(&timeline, Guarantee::Acknowledged)
        }),
    ];
    for (name, make) in makes {
        let start = Instant::now();
        for _ in 0..RUNS {
            let mut oracle = make();
            acknowledge(&mut oracle, &operations, 0);
            black_box(&oracle);
        }
        println!("{name}: telling it {:.1} us", us(start));
        let mut oracle = make();
        acknowledge(&mut oracle, &operations, 0);
        assert!(oracle.check_export(Death::PowerLoss, &found, last).is_ok());
        let start = Instant::now();
        for _ in 0..RUNS {
            black_box(oracle.check_export(Death::PowerLoss, &found, last));
        }
        println!("{name}: checking again {:.1} us", us(start));
        let mut first = 0.0;
        for _ in 0..RUNS {
            let mut oracle = make();
            acknowledge(&mut oracle, &operations, 0);
            let start = Instant::now();
            black_box(oracle.check_export(Death::PowerLoss, &found, last));
            first += start.elapsed().as_secs_f64() * 1e6;
        }
        println!("{name}: first check {:.1} us", first / f64::from(RUNS));
    }
}
