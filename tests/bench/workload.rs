//! The job of all benchmarks: the same events for every engine, from a fixed seed.
//!
//! By default the job has 1,000,000 events of 100,000 entities and 4 signals, 40 ms apart. The rank of an entity is
//! drawn by Zipf's law with exponent 1. Ranks are assigned to ids at random, so that frequent ids are not adjacent. The
//! events belong to about 173,000 pairs of entity and signal. Scores have half-lives of 1 hour, 24 hours and 7 days.

#[path = "../../src/testing/workload/random.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the test kit, which uses more of it"
)]
mod random;

pub(crate) use random::Random;

/// The seed of the job.
pub(crate) const SEED: u64 = 0x7469_6461_6c64_6201;
/// The number of entities.
pub(crate) const ENTITIES: u64 = 100_000;
/// The number of signals.
pub(crate) const SIGNALS: u16 = 4;
/// The half-lives of each signal, in milliseconds.
pub(crate) const HALF_LIVES_MS: [u64; 3] = [3_600_000, 24 * 3_600_000, 7 * 24 * 3_600_000];
/// The time of the first event, in milliseconds since the Unix epoch.
pub(crate) const BEGIN_MS: i64 = 1_700_000_000_000;
/// The time between two events, in milliseconds.
pub(crate) const STEP_MS: i64 = 40;
/// The number of events of a batch.
pub(crate) const BATCH_LEN: usize = 256;

/// One event of the job, with weight 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobEvent {
    pub(crate) entity: u64,
    pub(crate) signal: u16,
    pub(crate) at_ms: i64,
}

/// A random number below `bound`, which is at least 1.
pub(crate) fn below(random: &mut Random, bound: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64
}

fn shuffle<T>(random: &mut Random, values: &mut [T]) {
    for index in (1..values.len()).rev() {
        values.swap(index, below(random, index as u64 + 1) as usize);
    }
}

/// The first `len` events of the job, in the order of their times.
pub(crate) fn events(len: usize) -> Vec<JobEvent> {
    let mut random = Random::new(SEED);
    let mut ids: Vec<u64> = (0..ENTITIES).collect();
    shuffle(&mut random, &mut ids);
    let mut sum = 0.0;
    let cumulated: Vec<f64> = (1..=ENTITIES)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    (0..len)
        .map(|index| {
            let drawn = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
            let rank = cumulated.partition_point(|&below| below <= drawn);
            JobEvent {
                entity: ids[rank.min(ids.len() - 1)],
                signal: below(&mut random, u64::from(SIGNALS)) as u16,
                at_ms: BEGIN_MS + STEP_MS * index as i64,
            }
        })
        .collect()
}

/// One event for each of `len` pairs of entity and signal, in random order.
pub(crate) fn spread(len: usize) -> Vec<JobEvent> {
    let mut pairs: Vec<usize> = (0..len).collect();
    shuffle(&mut Random::new(SEED ^ 1), &mut pairs);
    let pair = |(index, pair): (usize, &usize)| JobEvent {
        entity: (pair / usize::from(SIGNALS)) as u64,
        signal: (pair % usize::from(SIGNALS)) as u16,
        at_ms: BEGIN_MS + STEP_MS * index as i64,
    };
    pairs.iter().enumerate().map(pair).collect()
}

/// The pairs of entity and signal of the events, each once, in random order.
pub(crate) fn keys(events: &[JobEvent]) -> Vec<(u64, u16)> {
    let mut keys: Vec<(u64, u16)> = events.iter().map(|event| (event.entity, event.signal)).collect();
    keys.sort_unstable();
    keys.dedup();
    shuffle(&mut Random::new(SEED ^ 2), &mut keys);
    keys
}
