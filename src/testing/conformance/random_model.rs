//! Random operations from a seed, compared with a naive map.

use super::Survives;
use super::context::CheckContext;
use super::engine_with_map::EngineWithMap;
use super::report::{CheckResult, CheckStop, CheckTally};
use crate::storage::WriteBatch;
use crate::testing::workload::Random;

const ROUNDS: u64 = 8;
const OPERATIONS_PER_ROUND: u64 = 150;

/// Rounds of random operations. Each round ends with a comparison of all content and, if the engine claims to survive
/// it, a reopening.
pub(super) fn random_model(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["writes", "gets", "scans", "keys"]);
    let mut random = Random::new(context.seed());
    let mut store = EngineWithMap::new(context)?;
    for round in 0..ROUNDS {
        let located = |number: u64| {
            move |stop: CheckStop| {
                let seed = context.seed();
                stop.map(|reason| format!("{reason} (round {round}, operation {number}, seed {seed:#x})"))
            }
        };
        for number in 0..OPERATIONS_PER_ROUND {
            make_operation(&mut store, &mut random, &mut tally).map_err(located(number))?;
        }
        store
            .expect_all("random operations")
            .map_err(located(OPERATIONS_PER_ROUND))?;
        tally.add("keys", store.pairs.len() as u64);
        store = store.reopen("reopening").map_err(located(OPERATIONS_PER_ROUND))?;
        tally.add("reopenings", u64::from(context.survives(Survives::Reopening)));
    }
    if !context.survives(Survives::Reopening) {
        tally.note("no reopening: the engine does not claim to survive it");
    }
    Ok(tally)
}

fn make_operation(
    store: &mut EngineWithMap<'_>,
    random: &mut Random,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    match random.below(40) {
        0..10 => {
            let (key, value) = (key(random), value(random));
            store.put(&key, &value)?;
            tally.add("writes", 1);
        }
        10..16 => {
            store.delete(&key(random))?;
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
            store.write(&batch)?;
            tally.add("writes", 1);
        }
        22..34 => {
            store.expect(&key(random), "random operations")?;
            tally.add("gets", 1);
        }
        34..39 => {
            store.expect_scan(&key(random))?;
            tally.add("scans", 1);
        }
        _ => store.flush()?,
    }
    Ok(())
}

/// One of few keys, so that operations use the same key. Short keys are prefixes of longer ones.
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
