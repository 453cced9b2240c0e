//! Random operations from a seed, against a map.

use super::Survives;
use super::lab::{Lab, Pairs, difference, ensure, failed, scan, show};
use super::report::{Checked, Stop, Tally};
use super::semantics::{expect, expect_all, write};
use crate::storage::{StorageEngine, WriteBatch};
use crate::testing::workload::Random;

const ROUNDS: u64 = 8;
const OPERATIONS_PER_ROUND: u64 = 150;

/// Runs of random operations, each ended by a comparison of everything and, if the engine survives it, a reopening.
pub(super) fn random_model(lab: &Lab) -> Checked {
    let mut tally = Tally::of(&["writes", "gets", "scans", "keys there"]);
    let mut random = Random::new(lab.seed());
    let dir = lab.dir()?;
    let reopens = lab.require(Survives::Reopening).is_ok();
    let mut engine = lab.open(&dir)?;
    let mut pairs = Pairs::new();
    for round in 0..ROUNDS {
        for number in 0..OPERATIONS_PER_ROUND {
            let operated = operate(engine.as_ref(), &mut pairs, &mut random, &mut tally);
            operated.map_err(|stop| located(stop, round, number, lab.seed()))?;
        }
        let compared = expect_all(engine.as_ref(), &pairs, "random operations");
        compared.map_err(|stop| located(stop, round, OPERATIONS_PER_ROUND, lab.seed()))?;
        tally.add("keys there", pairs.len() as u64);
        if reopens {
            drop(engine);
            engine = lab.open(&dir)?;
            let compared = expect_all(engine.as_ref(), &pairs, "reopening");
            compared.map_err(|stop| located(stop, round, OPERATIONS_PER_ROUND, lab.seed()))?;
            tally.add("reopenings", 1);
        }
    }
    if !reopens {
        tally.note("no reopening: the engine does not survive it");
    }
    Ok(tally)
}

fn located(stop: Stop, round: u64, number: u64, seed: u64) -> Stop {
    stop.map(|reason| format!("{reason} (round {round}, operation {number}, seed {seed:#x})"))
}

fn operate(
    engine: &dyn StorageEngine,
    pairs: &mut Pairs,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), Stop> {
    match random.below(40) {
        0..10 => {
            let (key, value) = (key(random), value(random));
            engine
                .put(&key, &value)
                .map_err(|error| failed("put failed", &error))?;
            pairs.insert(key, value);
            tally.add("writes", 1);
        }
        10..16 => {
            let key = key(random);
            engine
                .delete(&key)
                .map_err(|error| failed("delete failed", &error))?;
            pairs.remove(&key);
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
            write(engine, &batch, pairs)?;
            tally.add("writes", 1);
        }
        22..34 => {
            let key = key(random);
            expect(
                engine,
                &key,
                pairs.get(&key).map(Vec::as_slice),
                "random operations",
            )?;
            tally.add("gets", 1);
        }
        34..39 => {
            compare_scan(engine, pairs, &key(random))?;
            tally.add("scans", 1);
        }
        _ => engine.flush().map_err(|error| failed("flush failed", &error))?,
    }
    Ok(())
}

fn compare_scan(engine: &dyn StorageEngine, pairs: &Pairs, prefix: &[u8]) -> Result<(), Stop> {
    let found = scan(engine, prefix)?;
    ensure!(
        found.is_sorted_by(|left, right| left.0 < right.0),
        "a scan of prefix {} is not in ascending order",
        show(prefix)
    );
    let expected = pairs.iter().filter(|(key, _)| key.starts_with(prefix));
    let expected = expected
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let what = difference(&found.into_iter().collect(), &expected);
    ensure!(
        what.is_none(),
        "a scan of prefix {}: {}",
        show(prefix),
        what.unwrap_or_default()
    );
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
