//! Random operations from a seed, against a map.

use super::Survives;
use super::lab::Lab;
use super::mirrored::Mirrored;
use super::report::{CheckResult, CheckStop, CheckTally};
use crate::storage::WriteBatch;
use crate::testing::workload::Random;

const ROUNDS: u64 = 8;
const OPERATIONS_PER_ROUND: u64 = 150;

/// Runs of random operations, each ended by a comparison of everything and, if the engine survives it, a reopening.
pub(super) fn random_model(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["writes", "gets", "scans", "keys there"]);
    let mut random = Random::new(lab.seed());
    let mut it = Mirrored::new(lab)?;
    for round in 0..ROUNDS {
        let located = |number: u64| {
            move |stop: CheckStop| {
                let seed = lab.seed();
                stop.map(|reason| format!("{reason} (round {round}, operation {number}, seed {seed:#x})"))
            }
        };
        for number in 0..OPERATIONS_PER_ROUND {
            operate(&mut it, &mut random, &mut tally).map_err(located(number))?;
        }
        it.expect_all("random operations")
            .map_err(located(OPERATIONS_PER_ROUND))?;
        tally.add("keys there", it.pairs.len() as u64);
        it = it.reopen("reopening").map_err(located(OPERATIONS_PER_ROUND))?;
        tally.add("reopenings", u64::from(lab.survives(Survives::Reopening)));
    }
    if !lab.survives(Survives::Reopening) {
        tally.note("no reopening: the engine does not survive it");
    }
    Ok(tally)
}

fn operate(it: &mut Mirrored<'_>, random: &mut Random, tally: &mut CheckTally) -> Result<(), CheckStop> {
    match random.below(40) {
        0..10 => {
            let (key, value) = (key(random), value(random));
            it.put(&key, &value)?;
            tally.add("writes", 1);
        }
        10..16 => {
            it.delete(&key(random))?;
            tally.add("writes", 1);
        }
        16..22 => {
            let mut batch = WriteBatch::new();
            for _ in 0..random.below(12) {
                if random.below(3) == 0 {
                    batch.delete(key(random));
                } else {
                    batch.put(key(random), value(random));
                }
            }
            it.write(&batch)?;
            tally.add("writes", 1);
        }
        22..34 => {
            it.expect(&key(random), "random operations")?;
            tally.add("gets", 1);
        }
        34..39 => {
            it.expect_scan(&key(random))?;
            tally.add("scans", 1);
        }
        _ => it.flush()?,
    }
    Ok(())
}

/// Few keys, so that they meet; short ones that are prefixes of one another.
fn key(random: &mut Random) -> Vec<u8> {
    let len = 1 + random.below(3);
    (0..len)
        .map(|_| [0, b'a', b'b', 0xff][random.below(4) as usize])
        .collect()
}

fn value(random: &mut Random) -> Vec<u8> {
    let len = match random.below(10) {
        0 => 0,
        1 => 2_000,
        _ => random.below(60),
    };
    random.bytes(len as usize)
}
