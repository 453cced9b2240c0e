//! Exponential decay in base 2 whose result is the same on every platform.
//!
//! The scheme is forward decay (Cormode, Shkapenyuk, Srivastava, Xu, "Forward Decay: A Practical Time Decay Model for
//! Streaming Systems", ICDE 2009) with a landmark that moves by whole half-lives. Time is divided into periods of one
//! half-life, numbered from the Unix epoch. A score is stored relative to the beginning `L` of the period of its newest
//! event:
//!
//! ```text
//! stored  = sum over events of  weight * 2^((t - L) / h)        L = floor(newest / h) * h
//! at now  = stored * 2^-(period(now) - period(newest)) / growth(now)
//! ```
//!
//! So an event costs one [`HalfLife::growth`], between 1 and 2. A move of the landmark is a multiplication by a power
//! of two, which is exact: the sum never overflows, and moves of the landmark add no rounding error. Events may come in
//! any order; only the order of the additions differs. [`hot`](crate::signals::hot) has the bound on their rounding.
//!
//! Invariant: no function of this module calls the platform's mathematics library or a fused multiply-add. Each result
//! comes from single IEEE 754 additions, subtractions, multiplications and divisions, so that the replay of a log on
//! another machine gives the same bits. Values under 2^-1022 lose precision and become zero.
//!
//! Pure functions: a crash leaves nothing of them.

use crate::limits;

/// `2^(i / 32)`, each correctly rounded.
const TABLE: [u64; TABLE_LEN] = [
    0x3ff0_0000_0000_0000,
    0x3ff0_59b0_d315_8574,
    0x3ff0_b558_6cf9_890f,
    0x3ff1_1301_d012_5b51,
    0x3ff1_72b8_3c7d_517b,
    0x3ff1_d487_3168_b9aa,
    0x3ff2_387a_6e75_6238,
    0x3ff2_9e9d_f51f_dee1,
    0x3ff3_06fe_0a31_b715,
    0x3ff3_71a7_373a_a9cb,
    0x3ff3_dea6_4c12_3422,
    0x3ff4_4e08_6061_892d,
    0x3ff4_bfda_d536_2a27,
    0x3ff5_342b_569d_4f82,
    0x3ff5_ab07_dd48_5429,
    0x3ff6_247e_b03a_5585,
    0x3ff6_a09e_667f_3bcd,
    0x3ff7_1f75_e8ec_5f74,
    0x3ff7_a114_73eb_0187,
    0x3ff8_2589_994c_ce13,
    0x3ff8_ace5_422a_a0db,
    0x3ff9_3737_b0cd_c5e5,
    0x3ff9_c491_82a3_f090,
    0x3ffa_5503_b23e_255d,
    0x3ffa_e89f_995a_d3ad,
    0x3ffb_7f76_f2fb_5e47,
    0x3ffc_199b_dd85_529c,
    0x3ffc_b720_dcef_9069,
    0x3ffd_5818_dcfb_a487,
    0x3ffd_fc97_337b_9b5f,
    0x3ffe_a4af_a2a4_90da,
    0x3fff_5076_5b6e_4540,
];
const TABLE_LEN: usize = 32;

/// `ln(2)^k / k!` for k = 1 to 7: the Taylor series of `2^r`. At `r = 1/32` the sum of the omitted terms is under
/// 2^-59.
const TAYLOR: [u64; 7] = [
    0x3fe6_2e42_fefa_39ef,
    0x3fce_bfbd_ff82_c58f,
    0x3fac_6b08_d704_a0c0,
    0x3f83_b2ab_6fba_4e77,
    0x3f55_d87f_e78a_6731,
    0x3f24_3091_2f86_c787,
    0x3eef_fcbf_c588_b0c7,
];

/// The sum of this and a number in `[0, 1)` has the number, rounded to a multiple of 1/32, in its last bits.
const ROUND_TO_TABLE: f64 = 1.5 * (1_u64 << 52) as f64 / TABLE_LEN as f64;

/// Half the distance of two entries. It is subtracted first, so that the rounding is to the lower entry.
const HALF_STEP: f64 = 0.5 / TABLE_LEN as f64;

/// `2^fraction` for a `fraction` in `[0, 1)`, within two units in the last place.
#[inline]
pub(crate) fn exp2_fraction(fraction: f64) -> f64 {
    debug_assert!((0.0..1.0).contains(&fraction));
    let shifted = (fraction - HALF_STEP) + ROUND_TO_TABLE;
    let index = shifted.to_bits() as usize % TABLE_LEN;
    // Between 0 and 1/32, and exact: both numbers are multiples of the fraction's last place.
    let rest = fraction - (shifted - ROUND_TO_TABLE);
    let [c1, c2, c3, c4, c5, c6, c7] = TAYLOR.map(f64::from_bits);
    let square = rest * rest;
    // Estrin's order: short chains of dependent operations, so that the processor computes several half-lives at a
    // time.
    let low = (c1 + c2 * rest) + (c3 + c4 * rest) * square;
    let high = (c5 + c6 * rest) + c7 * square;
    let power_minus_one = rest * (low + high * (square * square));
    let base = f64::from_bits(TABLE[index]);
    base + base * power_minus_one
}

const EXPONENT_BIAS: i64 = 1023;
const EXPONENT_MIN: i64 = -1022;
const EXPONENT_SHIFT: u32 = 52;
/// After 2098 halvings the largest finite number is below the smallest one.
const EXPONENT_SPAN: i64 = 2200;

/// `value * 2^exponent`. The result is exact from 2^-1022 up to under 2^1024; smaller results lose precision and become
/// zero.
///
/// Every `exponent` is legal. The caller must make sure that the result is finite: the engine only scales down.
#[inline]
pub(crate) fn scale_pow2(value: f64, exponent: i64) -> f64 {
    if (EXPONENT_MIN..=EXPONENT_BIAS).contains(&exponent) {
        value * normal_pow2(exponent)
    } else {
        scale_in_steps(value, exponent)
    }
}

/// `2^exponent` for an exponent of the normal numbers.
#[inline]
fn normal_pow2(exponent: i64) -> f64 {
    f64::from_bits(((exponent + EXPONENT_BIAS) as u64) << EXPONENT_SHIFT)
}

#[cold]
fn scale_in_steps(value: f64, exponent: i64) -> f64 {
    let mut value = value;
    let mut left = exponent.clamp(-EXPONENT_SPAN, EXPONENT_SPAN);
    while left != 0 {
        let step = left.clamp(EXPONENT_MIN, EXPONENT_BIAS);
        value *= normal_pow2(step);
        left -= step;
    }
    value
}

/// Floor division of times by a constant divisor, without a division instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Divisor {
    divisor: u64,
    /// `floor((2^64 - 1) / divisor)`.
    reciprocal: u64,
}

impl Divisor {
    /// A divisor from 1 to `i64::MAX`.
    pub(crate) fn new(divisor: u64) -> Self {
        assert!(divisor >= 1 && i64::try_from(divisor).is_ok());
        Self {
            divisor,
            reciprocal: u64::MAX / divisor,
        }
    }

    pub(crate) fn get(self) -> u64 {
        self.divisor
    }

    /// `t.div_euclid(divisor)` and `t.rem_euclid(divisor)`, for every `t`.
    #[inline]
    pub(crate) fn div_rem(self, t: i64) -> (i64, u64) {
        // All ones for a negative time. Its complement is divided instead: -(t + 1) is never negative.
        let sign = t >> 63;
        let magnitude = (t ^ sign) as u64;
        // The reciprocal is less than 1 too small and the magnitude under 2^63, so the estimate is right or one short.
        let estimate = ((u128::from(magnitude) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = magnitude - estimate * self.divisor;
        let short = rest >= self.divisor;
        let quotient = estimate + u64::from(short);
        let rest = if short { rest - self.divisor } else { rest };
        let rest = if sign == 0 { rest } else { self.divisor - 1 - rest };
        (quotient as i64 ^ sign, rest)
    }

    /// `t.div_euclid(divisor)`, for every `t`.
    #[inline]
    pub(crate) fn div(self, t: i64) -> i64 {
        self.div_rem(t).0
    }
}

/// The period and the growth of a time for one half-life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DecayTime {
    /// The number of its period.
    pub(crate) period: i64,
    /// The first time of its period; at least `i64::MIN`.
    pub(crate) first_ms: i64,
    /// The last time of its period; at most `i64::MAX`.
    pub(crate) last_ms: i64,
    /// See [`HalfLife::growth`].
    pub(crate) growth: f64,
}

/// A half-life, prepared for fast use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct HalfLife {
    divisor: Divisor,
    per_ms: f64,
}

impl HalfLife {
    /// A half-life from 1 to [`limits::DURATION_MS_MAX`] milliseconds.
    pub(crate) fn new(half_life_ms: u64) -> Self {
        assert!((1..=limits::DURATION_MS_MAX).contains(&half_life_ms));
        Self {
            divisor: Divisor::new(half_life_ms),
            per_ms: 1.0 / half_life_ms as f64,
        }
    }

    /// The number of the period that holds `t_ms`; it begins at this number times the half-life.
    #[inline]
    pub(crate) fn period(&self, t_ms: i64) -> i64 {
        self.divisor.div(t_ms)
    }

    /// `2^((t_ms - L) / half-life)` where `L` is the beginning of `t_ms`'s period: from 1 to under 2.
    #[inline]
    pub(crate) fn growth(&self, t_ms: i64) -> f64 {
        self.period_and_growth(t_ms).1
    }

    /// The period and the growth of `t_ms`, at the cost of one of them.
    #[inline]
    pub(crate) fn period_and_growth(&self, t_ms: i64) -> (i64, f64) {
        let DecayTime { period, growth, .. } = self.decay_time(t_ms);
        (period, growth)
    }

    /// The period with its bounds and the growth of `t_ms`, at the cost of one of them.
    #[inline]
    pub(crate) fn decay_time(&self, t_ms: i64) -> DecayTime {
        let (period, rest_ms) = self.divisor.div_rem(t_ms);
        // Under 2^45, so converting a signed number is exact, and faster than an unsigned one.
        let fraction = rest_ms as i64 as f64 * self.per_ms;
        DecayTime {
            period,
            first_ms: t_ms.saturating_sub_unsigned(rest_ms),
            last_ms: t_ms.saturating_add_unsigned(self.divisor.get() - 1 - rest_ms),
            growth: exp2_fraction(fraction),
        }
    }
}

/// With a longer half-life the fraction of a period could round to one, which `exp2_fraction` does not accept.
const _: () = assert!(limits::DURATION_MS_MAX < 1 << 50);
