//! Exponential decay in base 2 whose result is the same on every platform.

#![allow(dead_code, reason = "used once the engine is wired")]

use std::f64::consts::LN_2;

/// `2^x` for `x` in `[0, 1)`, by Taylor series.
pub(crate) fn exp2_fraction(x: f64) -> f64 {
    let y = x * LN_2;
    let mut sum = 1.0;
    for n in (1..18).rev() {
        sum = 1.0 + y / f64::from(n) * sum;
    }
    sum
}

/// `value * 2^exponent`: exact while the result is normal.
pub(crate) fn scale_pow2(mut value: f64, exponent: i64) -> f64 {
    let mut left = exponent.clamp(-2200, 2200);
    while left != 0 {
        let step = left.clamp(-1022, 1023);
        value *= f64::from_bits(((step + 1023) as u64) << 52);
        left -= step;
    }
    value
}

/// A half-life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct HalfLife(i64);

impl HalfLife {
    pub(crate) fn new(half_life_ms: u64) -> Self {
        Self(half_life_ms as i64)
    }

    /// The number of the period that holds `t_ms`; it begins at this number times the half-life.
    pub(crate) fn period(&self, t_ms: i64) -> i64 {
        t_ms.div_euclid(self.0)
    }

    /// `2^((t_ms - L) / half-life)` where `L` is the beginning of `t_ms`'s period: from 1 to under 2.
    pub(crate) fn growth(&self, t_ms: i64) -> f64 {
        exp2_fraction(t_ms.rem_euclid(self.0) as f64 / self.0 as f64)
    }
}
