use super::{Ring, WarmTier};
use crate::limits::{DURATION_MS_MAX, RING_BUCKETS_MAX};
use crate::testing::workload::{Random, with_a_fresh_seed};

const SEED: u64 = 0x7469_6461_6c64_6203;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const NOW_MS: i64 = 1_760_000_000_000;

fn tier(rings: &[(u64, u32)]) -> WarmTier {
    let mut tier = WarmTier::new(Ring::prepare(rings));
    tier.grow(2);
    tier
}

fn filled(rings: &[(u64, u32)], events: &[i64]) -> WarmTier {
    let mut tier = tier(rings);
    for &at_ms in events {
        tier.increment(1, at_ms);
    }
    tier
}

/// The events in the `buckets_len` buckets that end with the one of `now_ms`, but for those in buckets older than the
/// ring.
fn oracle((bucket_ms, ring_buckets): (u64, u32), events: &[i64], buckets_len: u32, now_ms: i64) -> u64 {
    let number = |t_ms: i64| i128::from(t_ms.div_euclid(bucket_ms as i64));
    let Some(newest) = events.iter().map(|&at_ms| number(at_ms)).max() else {
        return 0;
    };
    let held = |n: i128| n > newest - i128::from(ring_buckets);
    let asked = |n: i128| n > number(now_ms) - i128::from(buckets_len) && n <= number(now_ms);
    let in_both = events
        .iter()
        .filter(|&&at_ms| held(number(at_ms)) && asked(number(at_ms)));
    in_both.count() as u64
}

fn assert_windows_equal(rings: &[(u64, u32)], tier: &WarmTier, events: &[i64], nows_ms: &[i64]) {
    for (i, &ring) in rings.iter().enumerate() {
        for &now_ms in nows_ms {
            for buckets_len in [0, 1, 2, ring.1 / 2, ring.1 - 1, ring.1]
                .into_iter()
                .filter(|&len| len <= ring.1)
            {
                assert_eq!(
                    tier.count(1, i, buckets_len, now_ms),
                    oracle(ring, events, buckets_len, now_ms),
                    "ring {ring:?}, {buckets_len} buckets at {now_ms}, seed {SEED:#x}, events {events:?}"
                );
            }
        }
        let held: u64 = tier
            .buckets(1, i)
            .iter()
            .map(|&(_, count)| u64::from(count))
            .sum();
        let newest_ms = events.iter().copied().max().unwrap_or(0);
        assert_eq!(held, oracle(ring, events, ring.1, newest_ms), "ring {ring:?}");
    }
}

#[test]
fn windows_equal_a_count_of_all_events_in_any_order() {
    let rings = [(HOUR_MS, 24), (DAY_MS, 7), (1, 5), (1000, 1)];
    let rounds = with_a_fresh_seed([SEED]).flat_map(|seed| {
        let mut random = Random::new(seed);
        (0..300).map(move |_| (seed, random.next()))
    });
    for (seed, round) in rounds {
        let mut random = Random::new(round);
        let spread_ms = *random.pick(&[3, 20, 5000, 10_000_000, 3 * DAY_MS as i64, 20 * DAY_MS as i64]);
        let base_ms = *random.pick(&[NOW_MS, 0, -NOW_MS]);
        let len = random.below(80);
        let mut events: Vec<i64> = (0..len)
            .map(|_| base_ms + random.between(-spread_ms, spread_ms))
            .collect();
        let nows_ms: Vec<i64> = (0..8)
            .map(|_| base_ms + random.between(-2 * spread_ms, 3 * spread_ms))
            .collect();
        let first = filled(&rings, &events);
        for _ in 0..3 {
            assert_windows_equal(&rings, &first, &events, &nows_ms);
            random.shuffle(&mut events);
            assert_eq!(filled(&rings, &events).page(0), first.page(0), "seed {seed:#x}");
        }
    }
}

#[test]
fn extreme_times_count_like_any_other() {
    let rings = [
        (1, 4),
        (2, RING_BUCKETS_MAX as u32),
        (HOUR_MS, 24),
        (DURATION_MS_MAX, 3),
    ];
    let times = [
        i64::MIN,
        i64::MIN + 1,
        i64::MIN + 3,
        -1,
        0,
        1,
        NOW_MS,
        i64::MAX - 3,
        i64::MAX - 1,
        i64::MAX,
    ];
    let mut random = Random::new(SEED);
    for _ in 0..300 {
        let events: Vec<i64> = (0..random.below(12)).map(|_| *random.pick(&times)).collect();
        assert_windows_equal(&rings, &filled(&rings, &events), &events, &times);
    }
}

#[test]
fn an_event_older_than_a_ring_is_dropped_from_it_alone_and_reported() {
    let rings = [(HOUR_MS, 24), (DAY_MS, 7)];
    let mut tier = tier(&rings);
    let hour = NOW_MS.div_euclid(HOUR_MS as i64) * HOUR_MS as i64;
    assert_eq!(tier.increment(1, hour), 0);
    assert_eq!(tier.increment(1, hour - 23 * HOUR_MS as i64), 0);
    assert_eq!(tier.increment(1, hour - 23 * HOUR_MS as i64 - 1), 1);
    assert_eq!(tier.increment(1, hour - 8 * DAY_MS as i64), 2);
    assert_eq!(tier.increment(1, i64::MIN), 2);
    assert_eq!(tier.count(1, 0, 24, hour), 2);
    assert_eq!(tier.count(1, 1, 7, hour), 3);
}

#[test]
fn a_skipped_bucket_is_empty_when_its_position_comes_round_again() {
    // Every distance from a full ring, over every position.
    for start in 0..5 {
        for skip in 1..12_i64 {
            let mut tier = tier(&[(1, 5)]);
            for number in 0..5 + start {
                tier.increment(1, number);
            }
            let last = 4 + start;
            tier.increment(1, last + skip);
            for number in last..=last + skip {
                let expected = u64::from(number == last + skip || (number == last && skip < 5));
                assert_eq!(
                    tier.count(1, 0, 1, number),
                    expected,
                    "bucket {number} after {last} + {skip}"
                );
            }
        }
    }
}

#[test]
fn a_full_count_stays_full() {
    let mut tier = tier(&[(1000, 2)]);
    tier.increment(0, 500);
    let mut cells = tier.row(0).to_vec();
    cells[2] = u32::MAX - 1;
    let full = 2;
    tier.grow(1);
    tier.row_mut(full).copy_from_slice(&cells);
    tier.increment(full, 500);
    tier.increment(full, 500);
    tier.increment(full, 1500);
    assert_eq!(tier.count(full, 0, 1, 500), u64::from(u32::MAX));
    assert_eq!(tier.count(full, 0, 2, 1500), u64::from(u32::MAX) + 1);
}

#[test]
fn a_signal_may_have_no_window() {
    let mut tier = tier(&[]);
    assert_eq!(tier.increment(1, NOW_MS), 0);
    tier.grow(3);
    tier.clear(4);
    assert!(tier.row(4).is_empty());
}

#[test]
fn slots_do_not_share_counts_and_a_cleared_one_is_as_new() {
    let rings = [(HOUR_MS, 24), (DAY_MS, 7)];
    let mut tier = filled(&rings, &[NOW_MS, NOW_MS + 1]);
    assert_eq!(tier.row(0), self::tier(&rings).row(0));
    tier.clear(1);
    assert_eq!(tier.page(0), self::tier(&rings).page(0));
}
