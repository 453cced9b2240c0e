//! Scores of the hot tier compared with a sum over all events.

use crate::decay::HalfLife;
use crate::limits::{DURATION_MS_MAX, WEIGHT_ABS_MAX};
use crate::signals::hot::HotTier;
use crate::testing::workload::{Random, with_a_fresh_seed};
use crate::testing::{CrashInjector, CrashPoint, run_with_crash};

pub(super) const SEED: u64 = 0x7469_6461_6c64_6202;
const HOUR_MS: u64 = 3_600_000;
const HALF_LIVES_MS: [u64; 3] = [60_000, HOUR_MS, 7 * 24 * HOUR_MS];
pub(super) const NOW_MS: i64 = 1_760_000_000_000;
/// The largest difference between a contribution and the contribution of the oracle, relative to itself, in units of
/// 2^-52.
const CONTRIBUTION_TOLERANCE: usize = 16;

#[derive(Debug, Clone, Copy)]
pub(super) struct ScoredEvent {
    pub(super) weight: f64,
    pub(super) at_ms: i64,
}

fn tier(half_lives_ms: &[u64]) -> HotTier {
    let mut tier = HotTier::new(half_lives_ms.iter().map(|&ms| HalfLife::new(ms)).collect());
    tier.grow(2);
    tier
}

/// A tier whose slot 1 has `events`, in this order.
pub(super) fn filled(half_lives_ms: &[u64], events: &[ScoredEvent]) -> HotTier {
    let mut tier = tier(half_lives_ms);
    for event in events {
        tier.on_signal(1, event.weight, event.at_ms);
    }
    tier
}

/// The decayed sum of the weights by the definition, and the tolerance of a score. Engine and oracle are each within
/// `n * 2^-53` of the sum of the absolute contributions, and their contributions differ a little.
fn oracle(half_life_ms: u64, events: &[ScoredEvent], now_ms: i64) -> (f64, f64) {
    let now_ms = events.iter().map(|event| event.at_ms).fold(now_ms, i64::max);
    let half_life_ms = i128::from(half_life_ms);
    let (mut sum, mut absolute) = (0.0, 0.0);
    for event in events {
        let age_ms = i128::from(now_ms) - i128::from(event.at_ms);
        // Whole half-lives are exact halvings. After 2200 of them every weight is zero.
        let halvings = (age_ms / half_life_ms).min(2200) as i32;
        let rest = (age_ms % half_life_ms) as f64 / half_life_ms as f64;
        let decayed = event.weight * (-rest).exp2() * 0.5_f64.powi(halvings);
        sum += decayed;
        absolute += decayed.abs();
    }
    let roundings = (events.len() + CONTRIBUTION_TOLERANCE) as f64;
    // Numbers below the smallest normal number lose digits.
    (sum, roundings * f64::EPSILON * absolute + f64::MIN_POSITIVE)
}

fn assert_close(found: f64, (sum, tolerance): (f64, f64), context: &str) {
    assert!(found.is_finite(), "{context}: {found}");
    assert!(
        (found - sum).abs() <= tolerance,
        "{context}: {found:e} instead of {sum:e}"
    );
}

fn random_events(random: &mut Random) -> Vec<ScoredEvent> {
    let spread_ms = *random.pick(&[1, 1000, 100_000, 10_000_000, 100 * 24 * HOUR_MS as i64]);
    let weight_max = *random.pick(&[1.0, 5.0, WEIGHT_ABS_MAX]);
    let event = |random: &mut Random| ScoredEvent {
        weight: weight_max * (random.below(2001) as f64 / 1000.0 - 1.0),
        at_ms: NOW_MS - random.between(0, spread_ms),
    };
    (0..=random.below(60)).map(|_| event(random)).collect()
}

#[test]
fn scores_equal_the_decayed_sum_of_all_events_in_any_order() {
    let rounds = with_a_fresh_seed([SEED]).flat_map(|seed| {
        let mut random = Random::new(seed);
        (0..300).map(move |_| (seed, random.next_u64()))
    });
    for (seed, round) in rounds {
        let mut random = Random::new(round);
        let mut events = random_events(&mut random);
        for _ in 0..4 {
            random.shuffle(&mut events);
            let tier = filled(&HALF_LIVES_MS, &events);
            for (i, half_life_ms) in HALF_LIVES_MS.into_iter().enumerate() {
                for after_ms in [0, 1, 59_999, 60_000, 1_000_000] {
                    let now_ms = NOW_MS + after_ms;
                    let expected = oracle(half_life_ms, &events, now_ms);
                    assert_close(
                        tier.score(1, i, now_ms),
                        expected,
                        &format!("seed {seed:#x}, {half_life_ms} ms"),
                    );
                }
            }
        }
    }
}

#[test]
fn every_order_of_a_few_events_gives_the_same_scores() {
    let event = |weight, at_ms| ScoredEvent { weight, at_ms };
    let events = [
        event(1.0, -90_001),
        event(-3.0, -60_000),
        event(WEIGHT_ABS_MAX, -1),
        event(0.5, 0),
        event(7.0, 3_600_001),
    ];
    let mut order = [0, 1, 2, 3, 4];
    permutations(&mut order, 0, &mut |order| {
        let tier = filled(&HALF_LIVES_MS, &order.map(|i| events[i]));
        for (i, half_life_ms) in HALF_LIVES_MS.into_iter().enumerate() {
            let expected = oracle(half_life_ms, &events, 4_000_000);
            assert_close(tier.score(1, i, 4_000_000), expected, &format!("{order:?}"));
        }
    });
}

fn permutations(order: &mut [usize; 5], from: usize, visit: &mut impl FnMut([usize; 5])) {
    if from == order.len() {
        visit(*order);
    }
    for i in from..order.len() {
        order.swap(from, i);
        permutations(order, from + 1, visit);
        order.swap(from, i);
    }
}

#[test]
fn a_score_halves_exactly_after_each_half_life() {
    for half_life_ms in HALF_LIVES_MS {
        for at_ms in [NOW_MS, -NOW_MS, 0, -1] {
            let tier = filled(&[half_life_ms], &[ScoredEvent { weight: 3.0, at_ms }]);
            let first = tier.score(1, 0, at_ms);
            assert!((first - 3.0).abs() < 1e-15, "{first}");
            let mut expected = first;
            for halvings in 0..200 {
                let found = tier.score(1, 0, at_ms + halvings * half_life_ms as i64);
                assert_eq!(
                    found.to_bits(),
                    expected.to_bits(),
                    "{half_life_ms} ms, {halvings} halvings"
                );
                expected /= 2.0;
            }
        }
    }
}

#[test]
fn a_million_moves_of_the_landmark_round_nothing() {
    // Each move would round if the factor were not a power of two.
    let mut tier = tier(&[1000]);
    tier.on_signal(0, 0.1, 999);
    for step in 1..1_000_000_i64 {
        tier.on_signal(0, 0.1, step * 1000 + 999);
    }
    let found = tier.score(0, 0, 999_999_999);
    assert!((found - 0.2).abs() < 1e-15, "{found}");
}

#[test]
fn a_read_before_the_newest_event_returns_the_score_at_that_event() {
    let tier = filled(
        &HALF_LIVES_MS,
        &[ScoredEvent {
            weight: 2.0,
            at_ms: NOW_MS,
        }],
    );
    for now_ms in [i64::MIN, 0, NOW_MS - 1, NOW_MS] {
        assert_eq!(
            tier.score(1, 0, now_ms).to_bits(),
            tier.score(1, 0, NOW_MS).to_bits()
        );
    }
    assert_eq!(tier.time_ms(1), NOW_MS);
}

#[test]
fn extreme_times_and_weights_give_finite_scores_that_equal_the_oracle() {
    let times = [i64::MIN, i64::MIN + 1, -1, 0, 1, NOW_MS, i64::MAX - 1, i64::MAX];
    let half_lives_ms = [1, 2, 60_000, HOUR_MS, DURATION_MS_MAX];
    let mut random = Random::new(SEED);
    let mut events = Vec::new();
    for at_ms in times {
        for weight in [
            WEIGHT_ABS_MAX,
            -WEIGHT_ABS_MAX,
            1.0,
            f64::MIN_POSITIVE,
            5e-324,
            0.0,
            -0.0,
        ] {
            events.push(ScoredEvent { weight, at_ms });
        }
    }
    for _ in 0..200 {
        random.shuffle(&mut events);
        let used = &events[..=random.below(events.len() as u64) as usize];
        let tier = filled(&half_lives_ms, used);
        for (i, half_life_ms) in half_lives_ms.into_iter().enumerate() {
            for now_ms in times {
                let expected = oracle(half_life_ms, used, now_ms);
                assert_close(
                    tier.score(1, i, now_ms),
                    expected,
                    &format!("{half_life_ms} ms at {now_ms}"),
                );
            }
        }
    }
}

#[test]
fn a_score_at_its_limit_is_finite() {
    let mut tier = tier(&[HOUR_MS]);
    let most = WEIGHT_ABS_MAX * 2.0 * 2_f64.powi(64);
    let full = 2;
    tier.grow(1);
    tier.row_mut(full).copy_from_slice(&[HOUR_MS - 1, most.to_bits()]);
    for at_ms in [0, HOUR_MS as i64 - 1, i64::MIN, i64::MAX] {
        tier.on_signal(full, WEIGHT_ABS_MAX, at_ms);
        assert!(tier.score(full, 0, at_ms).is_finite());
    }
}

#[test]
fn slots_do_not_share_scores_and_a_cleared_slot_equals_a_new_one() {
    let mut tier = filled(
        &HALF_LIVES_MS,
        &[ScoredEvent {
            weight: 2.0,
            at_ms: NOW_MS,
        }],
    );
    assert_eq!(tier.row(0), self::tier(&HALF_LIVES_MS).row(0));
    tier.clear(1);
    assert_eq!(tier.page(0), self::tier(&HALF_LIVES_MS).page(0));
}

#[test]
fn the_stored_bits_are_the_same_on_every_platform() {
    let events = [
        ScoredEvent {
            weight: 1.0,
            at_ms: NOW_MS,
        },
        ScoredEvent {
            weight: -0.25,
            at_ms: NOW_MS + 123_456,
        },
        ScoredEvent {
            weight: 3.5,
            at_ms: NOW_MS - 987_654_321,
        },
    ];
    let tier = filled(&HALF_LIVES_MS, &events);
    let expected = [
        NOW_MS as u64 + 123_456,
        0xbf8a_46a9_e38f_7940,
        0x3ff6_0af6_0f4a_6240,
        0x3fff_2d59_d8bf_8020,
    ];
    assert_eq!(tier.row(1), expected);
}

#[test]
fn each_event_crosses_the_crash_point_once_when_only_the_first_score_is_updated() {
    for half_lives_ms in [&HALF_LIVES_MS[..1], &HALF_LIVES_MS[..]] {
        let event = ScoredEvent {
            weight: 1.0,
            at_ms: 0,
        };
        let mut tier = filled(half_lives_ms, &[event]);
        let injector = CrashInjector::new(CrashPoint::SignalAggregationUpdate, 3);
        let crashed = run_with_crash(&injector, || (0..4).for_each(|_| tier.on_signal(1, 1.0, 0)));
        assert_eq!(crashed, Err(CrashPoint::SignalAggregationUpdate));
        assert_eq!(injector.crossing_count(), 4);
        let scores: Vec<f64> = tier.row(1)[1..]
            .iter()
            .map(|&bits| f64::from_bits(bits))
            .collect();
        assert_eq!(scores, [5.0, 4.0, 4.0][..half_lives_ms.len()]);
    }
}
