//! Powers of two, scaling, division and growth against the standard library.
#![allow(clippy::float_cmp, reason = "powers of two are exact")]

use crate::decay::{Divisor, HalfLife, exp2_fraction, scale_pow2};
use crate::limits;
use crate::testing::workload::Random;

const SEED: u64 = 0x7469_6461_6c64_6201;

/// A number of any magnitude: small ones are as likely as large ones.
fn any_magnitude(random: &mut Random) -> u64 {
    let shift = random.next_u64() % 64;
    random.next_u64() >> shift
}

/// The distance of two positive numbers in units in the last place.
fn ulps(a: f64, b: f64) -> u64 {
    a.to_bits().abs_diff(b.to_bits())
}

#[test]
fn a_power_of_two_is_within_two_units_in_the_last_place() {
    let mut random = Random::new(SEED);
    let mut worst = 0;
    let grid = (0..100_000_u32).map(|i| f64::from(i) / 100_000.0);
    let edges = (0..=32_u32).flat_map(|i| {
        let x = f64::from(i) / 32.0;
        let half = x + 1.0 / 64.0;
        [
            x.next_down(),
            x,
            x.next_up(),
            half.next_down(),
            half,
            half.next_up(),
        ]
    });
    let any = std::iter::repeat_with(|| (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64);
    for x in grid
        .chain(edges)
        .chain(any.take(300_000))
        .filter(|x| (0.0..1.0).contains(x))
    {
        let found = exp2_fraction(x);
        assert!((1.0..=2.0).contains(&found), "2^{x:?} is {found:?}");
        worst = worst.max(ulps(found, x.exp2()));
    }
    assert!(worst <= 2, "{worst} units, seed {SEED:#x}");
}

#[test]
fn a_power_of_two_has_the_same_bits_on_every_platform() {
    let found = [
        0.0,
        1e-300,
        0.015_625,
        0.1,
        0.25,
        0.5,
        0.75,
        0.9,
        1.0_f64.next_down(),
    ]
    .map(|x| exp2_fraction(x).to_bits());
    assert_eq!(
        found,
        [
            0x3ff0_0000_0000_0000,
            0x3ff0_0000_0000_0000,
            0x3ff0_2c9a_3e77_8061,
            0x3ff1_25fb_ee25_0665,
            0x3ff3_06fe_0a31_b715,
            0x3ff6_a09e_667f_3bcd,
            0x3ffa_e89f_995a_d3ad,
            0x3ffd_db68_0117_ab12,
            0x3fff_ffff_ffff_ffff,
        ]
    );
}

#[test]
fn scaling_by_a_power_of_two_is_exact_and_a_result_that_is_too_small_is_zero() {
    let value = 1.234_567_890_123_456_7_f64;
    for exponent in -1022..=1023_i32 {
        assert_eq!(
            scale_pow2(value, exponent.into()),
            value * 2_f64.powi(exponent),
            "{exponent}"
        );
    }
    let large = value * 2_f64.powi(100);
    assert_eq!(scale_pow2(large, -1100), value * 2_f64.powi(-1000));
    assert_eq!(
        scale_pow2(f64::MAX, -2046),
        f64::MAX * 2_f64.powi(-1023) * 2_f64.powi(-1023)
    );
    assert_eq!(scale_pow2(f64::from_bits(1), 2097), 2_f64.powi(1023));
    for exponent in [-2100, -2200, -2201, i64::MIN] {
        assert_eq!(scale_pow2(f64::MAX, exponent), 0.0, "{exponent}");
        assert_eq!(scale_pow2(-f64::MAX, exponent), 0.0, "{exponent}");
    }
    for exponent in [i64::MIN, -1, 0, 1, i64::MAX] {
        assert_eq!(scale_pow2(0.0, exponent), 0.0, "{exponent}");
    }
}

#[test]
fn division_by_reciprocal_equals_euclidean_division() {
    let check = |t: i64, divisor: u64| {
        let signed = divisor as i64;
        let expected = (t.div_euclid(signed), t.rem_euclid(signed) as u64);
        assert_eq!(
            Divisor::new(divisor).div_rem(t),
            expected,
            "{t} by {divisor}, seed {SEED:#x}"
        );
    };
    let mut random = Random::new(SEED);
    let edges = [
        0,
        1,
        2,
        3,
        24,
        4096,
        60_000,
        3_600_000,
        limits::DURATION_MS_MAX,
        (1 << 62) - 1,
        1 << 62,
        i64::MAX as u64,
    ];
    for divisor in edges.into_iter().filter(|&divisor| divisor > 0) {
        for near in edges.into_iter().flat_map(|edge| {
            [
                edge,
                edge.wrapping_mul(divisor),
                u64::MAX - edge,
                (1 << 63) - edge,
            ]
        }) {
            for t in -2..=2 {
                check((near as i64).wrapping_add(t), divisor);
            }
        }
    }
    for _ in 0..500_000 {
        let divisor = (any_magnitude(&mut random) >> 1).max(1);
        let t = any_magnitude(&mut random) as i64;
        check(t, divisor);
        check(!t, divisor);
        check(
            t.wrapping_mul(divisor as i64)
                .wrapping_sub((random.next_u64() % 2) as i64),
            divisor,
        );
    }
}

#[test]
fn the_decay_factor_rises_from_one_to_two_within_a_period() {
    for half_life_ms in [1, 2, 3, 60_000, 3_600_000, limits::DURATION_MS_MAX] {
        let half_life = HalfLife::new(half_life_ms);
        for period in [-3, -1, 0, 1, 1000] {
            let begin = period * half_life_ms as i64;
            let last = begin + half_life_ms as i64 - 1;
            assert_eq!(half_life.period_and_growth(begin), (period, 1.0));
            assert_eq!(half_life.period(last), period);
            let expected = ((half_life_ms - 1) as f64 / half_life_ms as f64).exp2();
            assert!(ulps(half_life.growth(last), expected) <= 4, "{half_life_ms}");
        }
        for t in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
            assert!((1.0..2.0).contains(&half_life.growth(t)), "{half_life_ms} at {t}");
        }
    }
}
