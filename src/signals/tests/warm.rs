//! Windowed counts of the warm tier compared with a count of all events.

use crate::limits::{DURATION_MS_MAX, RING_BUCKETS_MAX};
use crate::signals::warm::{RingShape, WarmTier};
use crate::testing::model::EventId;
use crate::testing::model::state::{StateEvent, window};
use crate::testing::workload::{Random, with_a_fresh_seed};

const SEED: u64 = 0x7469_6461_6c64_6203;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const NOW_MS: i64 = 1_760_000_000_000;

fn tier(rings: &[(u64, u32)]) -> WarmTier {
    let mut tier = WarmTier::new(RingShape::prepare(rings));
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

/// The number of the bucket of `t_ms`, counted from the Unix epoch.
fn number(bucket_ms: u64, t_ms: i64) -> i128 {
    i128::from(t_ms).div_euclid(i128::from(bucket_ms))
}

/// The number of all events in the `buckets_len` buckets that end with the bucket of `now_ms`.
fn count_of_all(bucket_ms: u64, events: &[i64], buckets_len: u32, now_ms: i64) -> u64 {
    let last = number(bucket_ms, now_ms);
    let window = last - i128::from(buckets_len) + 1..=last;
    let counted = events
        .iter()
        .filter(|&&at_ms| window.contains(&number(bucket_ms, at_ms)));
    counted.count() as u64
}

/// The number of events in the window that are also in the buckets that the ring retains: one more than declared.
fn oracle((bucket_ms, ring_buckets): (u64, u32), events: &[i64], buckets_len: u32, now_ms: i64) -> u64 {
    let Some(newest) = events.iter().map(|&at_ms| number(bucket_ms, at_ms)).max() else {
        return 0;
    };
    let retained = newest - i128::from(ring_buckets)..=newest;
    let retained_events: Vec<i64> = events
        .iter()
        .copied()
        .filter(|&at_ms| retained.contains(&number(bucket_ms, at_ms)))
        .collect();
    count_of_all(bucket_ms, &retained_events, buckets_len, now_ms)
}

/// Checks that every window at `now_ms` equals the oracle, and that it counts all events if the ring is at most one
/// bucket ahead.
fn assert_counts_equal(ring: (u64, u32), tier: &WarmTier, events: &[i64], now_ms: i64) {
    let bucket_ms = ring.0;
    let newest = events.iter().map(|&at_ms| number(bucket_ms, at_ms)).max();
    for buckets_len in 0..=ring.1 {
        let found = tier.count(1, 0, buckets_len, now_ms);
        let context = format!("ring {ring:?}, {buckets_len} buckets at {now_ms}, events {events:?}");
        assert_eq!(found, oracle(ring, events, buckets_len, now_ms), "{context}");
        if newest.is_none_or(|newest| number(bucket_ms, now_ms) + 1 >= newest) {
            let all = count_of_all(bucket_ms, events, buckets_len, now_ms);
            assert_eq!(found, all, "of all events, {context}");
        }
    }
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
        let newest_ms = events.iter().copied().max().unwrap_or(0);
        let event = |&at_ms: &i64| StateEvent {
            id: EventId {
                sequence: 0,
                index: 0,
            },
            weight: 0.0,
            at_ms,
        };
        let events: Vec<StateEvent> = events.iter().map(event).collect();
        let (bucket_ms, buckets) = ring;
        let expected = window(&events, newest_ms, crate::Ring { bucket_ms, buckets });
        assert_eq!(tier.buckets(1, i), expected.buckets, "ring {ring:?}");
    }
}

#[test]
fn a_window_is_complete_at_the_end_of_its_bucket_after_an_event_of_the_next_bucket() {
    for ring in [
        (HOUR_MS, 24),
        (DAY_MS, 7),
        (1000, 1),
        (1, RING_BUCKETS_MAX as u32),
    ] {
        let (bucket_ms, buckets) = (ring.0 as i64, i64::from(ring.1));
        let last_ms = (NOW_MS.div_euclid(bucket_ms) + 1) * bucket_ms - 1;
        let mut tier = tier(&[ring]);
        for age in 0..buckets {
            tier.increment(1, last_ms - age * bucket_ms);
        }
        tier.increment(1, last_ms + 1);
        assert_eq!(tier.count(1, 0, ring.1, last_ms), buckets as u64, "ring {ring:?}");
        // Two buckets ahead, the ring does not retain the oldest bucket of the window.
        tier.increment(1, last_ms + 1 + bucket_ms);
        assert_eq!(
            tier.count(1, 0, ring.1, last_ms),
            buckets as u64 - 1,
            "ring {ring:?}"
        );
    }
}

#[test]
fn events_at_extreme_times_are_counted() {
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
fn an_event_older_than_a_ring_is_late_for_this_ring_only() {
    let rings = [(HOUR_MS, 24), (DAY_MS, 7)];
    let mut tier = tier(&rings);
    let hour = NOW_MS.div_euclid(HOUR_MS as i64) * HOUR_MS as i64;
    assert_eq!(tier.increment(1, hour).late_len, 0);
    assert_eq!(tier.increment(1, hour - 23 * HOUR_MS as i64).late_len, 0);
    // The additional retained bucket.
    assert_eq!(tier.increment(1, hour - 24 * HOUR_MS as i64).late_len, 0);
    assert_eq!(tier.increment(1, hour - 24 * HOUR_MS as i64 - 1).late_len, 1);
    assert_eq!(tier.increment(1, hour - 7 * DAY_MS as i64).late_len, 1);
    assert_eq!(tier.increment(1, hour - 8 * DAY_MS as i64).late_len, 2);
    assert_eq!(tier.increment(1, i64::MIN).late_len, 2);
    assert_eq!(tier.count(1, 0, 24, hour), 2);
    assert_eq!(tier.count(1, 0, 24, hour - HOUR_MS as i64), 2);
    assert_eq!(tier.count(1, 1, 7, hour), 4);
    assert_eq!(tier.count(1, 1, 7, hour - DAY_MS as i64), 4);
}

#[test]
fn a_skipped_bucket_is_empty_when_its_position_is_used_again() {
    // Every distance from a full ring, which retains six buckets, over every position.
    for start in 0..6 {
        for skip in 1..14_i64 {
            let mut tier = tier(&[(1, 5)]);
            for number in 0..6 + start {
                tier.increment(1, number);
            }
            let last = 5 + start;
            tier.increment(1, last + skip);
            for number in last..=last + skip {
                let expected = u64::from(number == last + skip || (number == last && skip < 6));
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
fn a_saturated_count_does_not_change() {
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
fn increment_returns_the_number_of_buckets_that_are_no_longer_empty() {
    let mut tier = tier(&[(1000, 2), (1000, 1)]);
    let mut filled = |at_ms| tier.increment(1, at_ms).filled_len;
    assert_eq!([filled(0), filled(999), filled(1000), filled(0)], [2, 0, 2, 0]);
    // The first ring retains three buckets, the second one two.
    assert_eq!([filled(2000), filled(1), filled(-1)], [2, 0, 0]);
    assert_eq!(tier.filled_len(1), 3 + 2);
    assert_eq!(tier.increment(1, 9000).filled_len, 2);
    assert_eq!(tier.filled_len(1), 2);
}

#[test]
fn a_signal_can_have_no_window_ring() {
    let mut tier = tier(&[]);
    assert_eq!(tier.increment(1, NOW_MS).late_len, 0);
    tier.grow(3);
    tier.clear(4);
    assert!(tier.row(4).is_empty());
}

#[test]
fn slots_do_not_share_counts_and_a_cleared_slot_equals_a_new_one() {
    let rings = [(HOUR_MS, 24), (DAY_MS, 7)];
    let mut tier = filled(&rings, &[NOW_MS, NOW_MS + 1]);
    assert_eq!(tier.row(0), self::tier(&rings).row(0));
    tier.clear(1);
    assert_eq!(tier.page(0), self::tier(&rings).page(0));
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_window_that_ends_at_most_one_bucket_before_the_newest_counts_all_events() {
        for seed in with_a_fresh_seed([SEED]) {
            let mut random = Random::new(seed);
            for _ in 0..2000 {
                let ring = (*random.pick(&[1, 7, 1000, HOUR_MS]), 1 + random.below(26) as u32);
                let bucket_ms = ring.0 as i64;
                let base_ms = *random.pick(&[NOW_MS, 0, -NOW_MS, i64::MIN, i64::MAX]);
                // Most events are within the ring, some are far out of it, in any order.
                let mut events = Vec::new();
                for _ in 0..random.below(60) {
                    let reach = *random.pick(&[1, 1, 1, 4]) * bucket_ms * i64::from(ring.1 + 2);
                    events.push(base_ms.saturating_add(random.between(-reach, reach)));
                }
                let tier = filled(&[ring], &events);
                let newest_ms = events.iter().copied().max().unwrap_or(base_ms);
                for _ in 0..8 {
                    let off_ms = random.between(-3 * bucket_ms, 3 * bucket_ms);
                    assert_counts_equal(ring, &tier, &events, newest_ms.saturating_add(off_ms));
                }
            }
        }
    }

    #[test]
    fn all_short_sequences_of_events_in_small_rings_are_counted_at_every_time() {
        const SPAN: i64 = 6;
        let mut cases = 0;
        for (bucket_ms, first_ms) in [
            (1, i64::MIN),
            (2, i64::MIN),
            (1, -3),
            (3, -2),
            (1, i64::MAX - SPAN + 1),
            (2, i64::MAX - SPAN + 1),
        ] {
            for buckets in 1..=3 {
                let ring = (bucket_ms, buckets);
                for events_len in 0..=4 {
                    for sequence in 0..SPAN.pow(events_len) {
                        let event = |i| first_ms + sequence / SPAN.pow(i) % SPAN;
                        let events: Vec<i64> = (0..events_len).map(event).collect();
                        let tier = filled(&[ring], &events);
                        for off_ms in -2..SPAN + 2 {
                            let now_ms = first_ms.saturating_add(off_ms);
                            assert_counts_equal(ring, &tier, &events, now_ms);
                            cases += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(cases, 6 * 3 * (1 + 6 + 36 + 216 + 1296) * (SPAN + 4));
    }

    #[test]
    fn every_order_of_events_gives_the_same_windows_and_they_equal_the_oracle() {
        let rings = [(HOUR_MS, 24), (DAY_MS, 7), (1, 5), (1000, 1)];
        let rounds = with_a_fresh_seed([SEED]).flat_map(|seed| {
            let mut random = Random::new(seed);
            (0..300).map(move |_| (seed, random.next_u64()))
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
}
