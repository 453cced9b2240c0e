//! The bound of the rounding: scores compared with sums in whole numbers, and with the same events in another order.

use super::hot::{NOW_MS, SEED, ScoredEvent, filled};
use crate::decay::HalfLife;
use crate::testing::workload::{Random, with_a_fresh_seed};

const HALF_LIFE_MS: i64 = 1000;
/// Every contribution is a whole multiple of `2^-FRACTION_BITS`, so that sums in whole numbers are exact.
const FRACTION_BITS: i32 = 70;

/// The number in units of `2^-FRACTION_BITS`, exactly.
fn units(value: f64) -> i128 {
    let scaled = value * 2_f64.powi(FRACTION_BITS);
    assert!(
        scaled.fract() == 0.0 && scaled.abs() < 2_f64.powi(126),
        "{value:e}"
    );
    scaled as i128
}

/// The stored score of `events`, recorded in this order.
fn stored(events: &[ScoredEvent]) -> f64 {
    f64::from_bits(filled(&[HALF_LIFE_MS as u64], events).row(1)[1])
}

/// The contribution of an event to the score stored relative to `last_period`: the product is rounded once, the
/// halvings are exact.
fn contribution(event: ScoredEvent, last_period: i64) -> f64 {
    let half_life = HalfLife::new(HALF_LIFE_MS as u64);
    let (period, growth) = half_life.period_and_growth(event.at_ms);
    event.weight * growth * 0.5_f64.powi((last_period - period) as i32)
}

/// The exact sum of the contributions and that of their absolute values, in units.
fn exact_sums(events: &[ScoredEvent], last_period: i64) -> (i128, i128) {
    let contributions = events
        .iter()
        .map(|&event| units(contribution(event, last_period)));
    contributions.fold((0, 0), |(sum, absolute), units| {
        (sum + units, absolute + units.abs())
    })
}

/// The distance of two sums, as a multiple of `2^-53 * absolute`.
fn roundings(found: i128, expected: i128, absolute: i128) -> f64 {
    (found - expected).unsigned_abs() as f64 / absolute as f64 * 2_f64.powi(53)
}

/// The same contributions in two orders. In the first order every addition rounds up, in the second order half of them
/// round down.
///
/// Two large contributions reach 2^20, where the unit in the last place is 2^-32. Half of the small contributions are
/// half a unit, a tie. The other half are a little more than a tie. In the first order the large ones come first, and
/// the small ones alternate: the one above the tie rounds up and makes the last place odd, so the tie after it rounds
/// up too. In the second order the ones above the tie come while the sum is under 2^20. There the unit is half as
/// large, so they lose almost no digits. Then the second large one makes the last place even, and every tie rounds
/// down.
fn worst_orders(pairs_len: usize) -> [Vec<f64>; 2] {
    let (large, tie) = (2_f64.powi(19), 2_f64.powi(-33));
    let more = tie * (1.0 + 2_f64.powi(-30));
    let alternating = [more, tie].repeat(pairs_len);
    let up = [&[large, large], &alternating[..]].concat();
    let down = [
        &[large],
        &vec![more; pairs_len][..],
        &[large],
        &vec![tie; pairs_len],
    ]
    .concat();
    [up, down]
}

#[test]
fn the_worst_orders_stay_within_the_bound_and_reach_three_quarters_of_it() {
    let [up, down] = worst_orders(1 << 16).map(|contributions| {
        let together: Vec<ScoredEvent> = contributions
            .iter()
            .map(|&weight| ScoredEvent { weight, at_ms: 0 })
            .collect();
        // The same contributions from events in later and later half-lives, some out of order. Halvings of the sum and
        // of the added contributions round nothing.
        let mut random = Random::new(SEED);
        let events_len = contributions.len();
        let spread = contributions.iter().enumerate().map(|(index, &contribution)| {
            let halvings = (19 * (events_len - 1 - index) / events_len) as u64 + random.below(2);
            ScoredEvent {
                weight: contribution * 2_f64.powi(halvings as i32),
                at_ms: -(halvings as i64) * HALF_LIFE_MS,
            }
        });
        let spread: Vec<ScoredEvent> = spread.collect();
        let found = stored(&together);
        assert_eq!(
            found.to_bits(),
            stored(&spread).to_bits(),
            "moving the landmark rounds"
        );
        let (sum, absolute) = exact_sums(&spread, 0);
        assert_eq!((sum, absolute), exact_sums(&together, 0));
        (units(found), sum, absolute, together.len() as f64)
    });
    let (found_up, sum, absolute, events_len) = up;
    let (found_down, ..) = down;
    assert_eq!((sum, absolute, events_len), (down.1, down.2, down.3));
    for found in [found_up, found_down] {
        assert!(roundings(found, sum, absolute) <= events_len - 1.0);
    }
    // One sum reaches its bound except for the large events. Two orders reach three quarters of their bound.
    let off = roundings(found_up, sum, absolute);
    assert!(off > 0.999 * events_len, "{off} roundings of {events_len} events");
    let apart = roundings(found_up, found_down, absolute);
    assert!(apart <= 2.0 * events_len);
    assert!(
        apart > 1.499 * events_len,
        "{apart} roundings of {events_len} events"
    );
    // So scores are within 1e-9 of the sum up to 2^22 events, and not up to 2^23.
    let bound = |events_len: f64| events_len * 2_f64.powi(-52);
    assert!(bound(2_f64.powi(22)) <= 1e-9);
    assert!(apart / (2.0 * events_len) * bound(2_f64.powi(23)) > 1e-9);
}

#[test]
fn the_bound_holds_for_events_of_any_sign_size_time_and_order() {
    let half_life = HalfLife::new(HALF_LIFE_MS as u64);
    for seed in with_a_fresh_seed([SEED]) {
        let mut random = Random::new(seed);
        for _ in 0..100 {
            let events_len = 1 + random.below(300) as usize;
            let (size_min, size_max) = *random.pick(&[(0, 40), (38, 40), (0, 2)]);
            let spread_ms = *random.pick(&[1, HALF_LIFE_MS, 16 * HALF_LIFE_MS]);
            let negative = *random.pick(&[0, 1, 5]);
            let mut event = || {
                let size = (1.0 + random.below(1 << 20) as f64 / 2_f64.powi(20) / 3.0)
                    * 2_f64.powi(random.between(size_min, size_max) as i32);
                let weight = if random.chance(negative, 10) { -size } else { size };
                let at_ms = NOW_MS - random.between(0, spread_ms);
                ScoredEvent { weight, at_ms }
            };
            let mut events: Vec<ScoredEvent> = std::iter::repeat_with(&mut event).take(events_len).collect();
            let newest_ms = events.iter().map(|event| event.at_ms).max().unwrap();
            let (last_period, growth) = half_life.period_and_growth(newest_ms);
            let (sum, absolute) = exact_sums(&events, last_period);
            let mut reads = Vec::new();
            for order in 0..6 {
                match order {
                    0 => events.sort_by(|a, b| a.weight.abs().total_cmp(&b.weight.abs())),
                    1 => events.sort_by(|a, b| b.weight.total_cmp(&a.weight)),
                    2 => events.sort_by_key(|event| event.at_ms),
                    3 => events.reverse(),
                    _ => random.shuffle(&mut events),
                }
                let tier = filled(&[HALF_LIFE_MS as u64], &events);
                let off = roundings(units(f64::from_bits(tier.row(1)[1])), sum, absolute);
                assert!(
                    off <= events_len as f64 - 1.0,
                    "seed {seed:#x}, {events_len} events: {off}"
                );
                reads.push(tier.score(1, 0, newest_ms));
            }
            let absolute = absolute as f64 * 2_f64.powi(-FRACTION_BITS) / growth;
            let (low, high) = reads.iter().fold((f64::MAX, f64::MIN), |(low, high), &read| {
                (low.min(read), high.max(read))
            });
            assert!(
                high - low <= events_len as f64 * 2_f64.powi(-52) * absolute,
                "seed {seed:#x}, {events_len} events: from {low:e} to {high:e}"
            );
        }
    }
}
