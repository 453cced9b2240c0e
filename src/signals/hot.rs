//! The hot tier: exponentially decayed scores, one per half-life, of the slots of one signal in one shard.
//!
//! A slot holds the time of its newest event, and one stored score per half-life. A score is relative to the beginning
//! of the period of that time, see [`decay`](crate::decay). One time is enough for all half-lives, because the
//! landmarks follow from it. A slot without events has the time `i64::MIN` and zeros, so the code has no special case
//! for it.
//!
//! Invariant: for weights up to [`WEIGHT_ABS_MAX`](crate::limits::WEIGHT_ABS_MAX) every score is finite. A score is a
//! plain sum of contributions, each of which is rounded in the same way in every order of the events. With `n` events
//! and `S` the sum of the absolute contributions:
//!
//! - a stored score is within `(n - 1) * 2^-53 * S` of the exact sum, for every order of the events;
//! - two orders of the same events give scores that differ by at most `n * 2^-52 * S`, including the rounding of the
//!   two reads. This is under 1e-9 of `S` up to 2^22 events. The worst orders reach three quarters of the bound.
//!
//! Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, SIAM 2002, section 4.2. Its term of
//! second order is not needed: Jeannerod and Rump, "Improved Error Bounds for Inner Products in Floating-Point
//! Arithmetic", SIAM J. Matrix Anal. Appl. 34 (2013). Halvings are exact and add no rounding, except for numbers under
//! 2^-1022, which lose digits and become zero.
//!
//! In memory only. A panic inside [`HotTier::on_signal`] leaves the first score with the event, and the other scores
//! and the time without it. No reader gets this state: each later access to the shard returns `Panicked`. An open
//! replays from a checkpoint.

use std::sync::Arc;

use crate::cells::Cells;
use crate::decay::{DecayTime, HalfLife, scale_pow2};

/// The decayed scores of the slots of one signal in one shard.
#[derive(Debug)]
pub(crate) struct HotTier {
    half_lives: Arc<[HalfLife]>,
    /// For each slot its newest event time and then its stored scores, as bits. They are adjacent, so an event costs
    /// one cache miss instead of two or three.
    cells: Cells<u64>,
}

/// The time of a slot without events.
pub(crate) const TIME_NONE: i64 = i64::MIN;

/// The number of cells of a slot.
pub(crate) fn cells_len(half_lives: &[HalfLife]) -> usize {
    1 + half_lives.len()
}

/// Fills the cells of a slot.
pub(crate) fn write_cells(cells: &mut [u64], time_ms: i64, decay_scores: &[f64]) {
    cells[0] = time_ms as u64;
    for (cell, score) in cells[1..].iter_mut().zip(decay_scores) {
        *cell = score.to_bits();
    }
}

/// The newest event time and the stored scores in the cells of a slot.
pub(crate) fn read_cells(cells: &[u64]) -> (i64, impl Iterator<Item = f64>) {
    let scores = cells[1..].iter().map(|&bits| f64::from_bits(bits));
    (cells[0] as i64, scores)
}

impl HotTier {
    /// A tier without slots, for one or more half-lives.
    pub(crate) fn new(half_lives: Arc<[HalfLife]>) -> Self {
        assert!(!half_lives.is_empty());
        Self {
            cells: Cells::new(cells_len(&half_lives)),
            half_lives,
        }
    }

    /// Adds `additional_len` slots without events.
    pub(crate) fn grow(&mut self, additional_len: usize) {
        for _ in 0..additional_len {
            self.cells.push_row(0.0_f64.to_bits())[0] = TIME_NONE as u64;
        }
    }

    /// Reserves memory for `additional_len` more slots, but at most to the end of the page of the next slot.
    pub(crate) fn reserve(&mut self, additional_len: usize) {
        self.cells.reserve(additional_len);
    }

    /// Forgets the events of `slot`.
    pub(crate) fn clear(&mut self, slot: usize) {
        let cells = self.cells.row_mut(slot);
        cells.fill(0.0_f64.to_bits());
        cells[0] = TIME_NONE as u64;
    }

    /// Adds an event of `weight` at `at_ms` to every score of `slot`.
    #[inline]
    pub(crate) fn on_signal(&mut self, slot: usize, weight: f64, at_ms: i64) {
        debug_assert!(weight.abs() <= crate::limits::WEIGHT_ABS_MAX);
        let half_lives = &*self.half_lives;
        let (time, decay_scores) = self.cells.row_mut(slot).split_at_mut(1);
        let time_ms = time[0] as i64;

        add(&mut decay_scores[0], half_lives[0], time_ms, weight, at_ms);
        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::SignalAggregationUpdate);
        for (score, half_life) in decay_scores[1..].iter_mut().zip(&half_lives[1..]) {
            add(score, *half_life, time_ms, weight, at_ms);
        }
        time[0] = time_ms.max(at_ms) as u64;
    }

    /// The score of `slot` for one half-life, decayed to `now_ms`, or to its newest event if that is later.
    pub(crate) fn score(&self, slot: usize, half_life_index: usize, now_ms: i64) -> f64 {
        let half_life = &self.half_lives[half_life_index];
        let cells = self.row(slot);
        let stored = f64::from_bits(cells[1 + half_life_index]);
        let time_ms = cells[0] as i64;
        let (period, growth) = half_life.period_and_growth(now_ms.max(time_ms));
        let halvings = period.saturating_sub(half_life.period(time_ms));
        scale_pow2(stored, -halvings) / growth
    }

    /// Reads a word of `slot`, so that the processor loads its cache line.
    #[inline]
    pub(crate) fn prefetch(&self, slot: usize) -> u64 {
        self.row(slot)[0]
    }

    /// The newest event time of `slot`.
    pub(crate) fn time_ms(&self, slot: usize) -> i64 {
        self.row(slot)[0] as i64
    }

    /// The cells of a slot.
    pub(crate) fn row(&self, slot: usize) -> &[u64] {
        self.cells.row(slot)
    }

    /// The cells of a slot, to be filled.
    pub(crate) fn row_mut(&mut self, slot: usize) -> &mut [u64] {
        self.cells.row_mut(slot)
    }

    /// The cells of the slots of a page.
    pub(crate) fn page(&self, page: usize) -> &[u64] {
        self.cells.page(page)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.cells.heap_bytes()
    }
}

/// Adds one event to a stored score that is relative to the period of `time_ms`. The sum is relative to the later of
/// the periods of `time_ms` and `at_ms`. The summand of the earlier period is halved once for each period between them,
/// which is exact.
#[inline]
fn add(score: &mut u64, half_life: HalfLife, time_ms: i64, weight: f64, at_ms: i64) {
    let DecayTime {
        period,
        first_ms,
        last_ms,
        growth,
    } = half_life.decay_time(at_ms);
    let stored = f64::from_bits(*score);
    let added = weight * growth;
    let sum = if (first_ms..=last_ms).contains(&time_ms) || (*score == 0 && time_ms <= at_ms) {
        // The same period, as for most events, or the first event of a slot: no summand is halved.
        stored + added
    } else {
        let ahead = period.saturating_sub(half_life.period(time_ms));
        scale_pow2(stored, ahead.saturating_neg().min(0)) + scale_pow2(added, ahead.min(0))
    };
    *score = sum.to_bits();
}
