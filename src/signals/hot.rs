//! The hot tier: exponentially decayed scores, one per half-life, of the slots of one signal in one shard.
//!
//! A slot holds the newest event time it has seen and one stored score per half-life, relative to the beginning of
//! that time's period as [`decay`](crate::decay) describes. One time serves all half-lives: the landmarks derive from
//! it. A slot without events has the time `i64::MIN` and zeros, which needs no case of its own.
//!
//! Invariant: for weights up to [`WEIGHT_ABS_MAX`](crate::limits::WEIGHT_ABS_MAX) every score is finite, and whatever
//! the order of the same events, scores agree to 1e-9 of the sum of their absolute decayed weights.
//!
//! In memory only. A crash inside [`HotTier::on_signal`] leaves the first score with the event and the others and the
//! time without it; nobody reads that, because the panic poisons the shard's lock, and replay starts from a checkpoint.

use std::sync::Arc;

use super::{allocated_bytes, reserve_eighth};
use crate::decay::{HalfLife, scale_pow2};

/// The decayed scores of the slots of one signal in one shard.
#[derive(Debug)]
pub(crate) struct HotTier {
    half_lives: Arc<[HalfLife]>,
    /// The newest event time of each slot.
    times: Vec<i64>,
    /// The stored scores, `half_lives.len()` of them for each slot.
    decay_scores: Vec<f64>,
}

/// The time of a slot without events.
pub(super) const TIME_NONE: i64 = i64::MIN;

impl HotTier {
    /// A tier without slots, for one or more half-lives.
    pub(crate) fn new(half_lives: Arc<[HalfLife]>) -> Self {
        assert!(!half_lives.is_empty());
        Self {
            half_lives,
            times: Vec::new(),
            decay_scores: Vec::new(),
        }
    }

    /// Adds `additional_len` slots without events.
    pub(crate) fn grow(&mut self, additional_len: usize) {
        let scores_len = additional_len * self.half_lives.len();
        reserve_eighth(&mut self.times, additional_len);
        reserve_eighth(&mut self.decay_scores, scores_len);
        self.times.resize(self.times.len() + additional_len, TIME_NONE);
        self.decay_scores
            .resize(self.decay_scores.len() + scores_len, 0.0);
    }

    /// Forgets the events of `slot`.
    pub(crate) fn clear(&mut self, slot: usize) {
        let len = self.half_lives.len();
        self.times[slot] = TIME_NONE;
        self.decay_scores[slot * len..][..len].fill(0.0);
    }

    /// Adds an event of `weight` at `at_ms` to every score of `slot`.
    #[inline]
    pub(crate) fn on_signal(&mut self, slot: usize, weight: f64, at_ms: i64) {
        debug_assert!(weight.abs() <= crate::limits::WEIGHT_ABS_MAX);
        let len = self.half_lives.len();
        let half_lives = &self.half_lives[..len];
        let decay_scores = &mut self.decay_scores[slot * len..][..len];
        let time_ms = self.times[slot];

        add(&mut decay_scores[0], half_lives[0], time_ms, weight, at_ms);
        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::SignalAggregationUpdate);
        for (score, half_life) in decay_scores[1..].iter_mut().zip(&half_lives[1..]) {
            add(score, *half_life, time_ms, weight, at_ms);
        }
        self.times[slot] = time_ms.max(at_ms);
    }

    /// The score of `slot` for one half-life, decayed to `now_ms`, or to its newest event if that is later.
    pub(crate) fn score(&self, slot: usize, half_life_index: usize, now_ms: i64) -> f64 {
        let half_life = &self.half_lives[half_life_index];
        let stored = self.decay_scores[slot * self.half_lives.len() + half_life_index];
        let time_ms = self.times[slot];
        let (period, growth) = half_life.split(now_ms.max(time_ms));
        let halvings = period.saturating_sub(half_life.period(time_ms));
        scale_pow2(stored, -halvings) / growth
    }

    /// The newest event time of `slot`.
    pub(crate) fn time_ms(&self, slot: usize) -> i64 {
        self.times[slot]
    }

    /// The newest event times and the stored scores of consecutive slots.
    pub(super) fn raw(&self, first_slot: usize, slots_len: usize) -> (&[i64], &[f64]) {
        let len = self.half_lives.len();
        (
            &self.times[first_slot..][..slots_len],
            &self.decay_scores[first_slot * len..][..slots_len * len],
        )
    }

    /// Replaces consecutive slots by what [`raw`](Self::raw) gave.
    pub(super) fn set_raw(&mut self, first_slot: usize, times: &[i64], decay_scores: &[f64]) {
        self.times[first_slot..][..times.len()].copy_from_slice(times);
        let first_score = first_slot * self.half_lives.len();
        self.decay_scores[first_score..][..decay_scores.len()].copy_from_slice(decay_scores);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        allocated_bytes(&self.times) + allocated_bytes(&self.decay_scores)
    }
}

/// Adds one event to a stored score that is relative to the period of `time_ms`, and makes it relative to the later
/// of both periods. What lies in the earlier period is halved once for each period between them, which is exact.
#[inline]
fn add(score: &mut f64, half_life: HalfLife, time_ms: i64, weight: f64, at_ms: i64) {
    let (period, growth) = half_life.split(at_ms);
    let ahead = period.saturating_sub(half_life.period(time_ms));
    let kept = scale_pow2(*score, ahead.saturating_neg().min(0));
    let added = scale_pow2(weight * growth, ahead.min(0));
    *score = kept + added;
}

#[cfg(test)]
mod tests;
