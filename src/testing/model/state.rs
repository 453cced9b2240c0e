//! The signal state of one key. It stores all events of the key and computes scores and windows from them.

use std::sync::OnceLock;

use super::difference::EventId;
use crate::{CohortId, EntityId, Ring, RingExport, Signal, SignalId, SignalStateExport};

/// The largest difference between a contribution in the engine's score and in the model's score, relative to the
/// contribution and in units of 2^-52. The engine's two powers of two have an error of two units each, the model's
/// single power has an error of one unit, and ten roundings add half a unit each. The sum is 10. The remaining units
/// are for a platform with a less accurate `exp2`, which promises no accuracy.
const CONTRIBUTION_TOLERANCE: f64 = 16.0;
/// The smallest number with full precision. Below it the engine and the model both lose digits.
const SCORE_TOLERANCE_ABS: f64 = f64::MIN_POSITIVE;
/// More halvings than lie between the largest and the smallest `f64`.
const HALVINGS_MAX: i128 = 2200;

/// The key of a state. The order is that of exports: global states first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) cohort: Option<CohortId>,
    pub(super) entity: EntityId,
    pub(super) signal: SignalId,
}

/// An event as a state stores it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StateEvent {
    pub(crate) id: EventId,
    pub(crate) weight: f64,
    pub(crate) at_ms: i64,
}

/// The events of one key, and the values computed from them at the first request.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyState {
    events: Vec<StateEvent>,
    values: OnceLock<StateValues>,
}

/// The values that a database stores for the events of a key.
#[derive(Debug, Clone)]
pub(super) struct StateValues {
    pub(super) time_ms: i64,
    /// One for each half-life.
    pub(super) scores: Vec<Score>,
    /// One for each ring.
    pub(super) windows: Vec<RingExport>,
}

/// A score, and the largest difference that the score of a correct engine may have from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    pub(super) value: f64,
    tolerance: f64,
}

impl Score {
    /// Returns true if `found` is this score within the tolerance. NaN never matches, and nothing matches a score that
    /// overflows: an event long after the time of the state has no score at that time.
    pub(crate) fn matches(self, found: f64) -> bool {
        self.tolerance.is_finite() && (self.value - found).abs() <= self.tolerance
    }
}

impl KeyState {
    pub(super) fn of(events: Vec<StateEvent>) -> Self {
        Self {
            events,
            values: OnceLock::new(),
        }
    }

    pub(super) fn events(&self) -> &[StateEvent] {
        &self.events
    }

    pub(super) fn add(&mut self, event: StateEvent) {
        self.events.push(event);
        self.values.take();
    }

    pub(super) fn values(&self, signal: &Signal) -> &StateValues {
        self.values.get_or_init(|| {
            let newest_ms = self.events.iter().map(|event| event.at_ms).max();
            StateValues::at(&self.events, newest_ms.unwrap_or(i64::MIN), signal)
        })
    }
}

impl StateValues {
    /// The values of these events. The newest event is at `time_ms`.
    pub(super) fn at(events: &[StateEvent], time_ms: i64, signal: &Signal) -> Self {
        let score = |&half_life_ms: &u64| score(events, time_ms, half_life_ms);
        let window = |ring: &Ring| window(events, time_ms, *ring);
        Self {
            time_ms,
            scores: signal.half_lives_ms().iter().map(score).collect(),
            windows: signal.window_rings().iter().map(window).collect(),
        }
    }

    pub(super) fn export(&self, key: Key) -> SignalStateExport {
        SignalStateExport {
            entity: key.entity,
            signal: key.signal,
            time_ms: self.time_ms,
            scores: self.scores.iter().map(|score| score.value).collect(),
            windows: self.windows.clone(),
        }
    }
}

/// The sum of the contributions at `time_ms`, with its tolerance. Let `n` be the number of events and `S` the sum of
/// their absolute contributions. The engine and the model are each within `n * 2^-53 * S` of the exact sum of their own
/// contributions (see [`TidalDb::score`](crate::TidalDb::score)), and the contributions of both differ by
/// [`CONTRIBUTION_TOLERANCE`].
pub(crate) fn score(events: &[StateEvent], time_ms: i64, half_life_ms: u64) -> Score {
    let (mut value, mut absolute) = (0.0, 0.0);
    for event in events {
        let age_ms = i128::from(time_ms) - i128::from(event.at_ms);
        let contribution = decayed(event.weight, age_ms, half_life_ms.into());
        value += contribution;
        absolute += contribution.abs();
    }
    let roundings = events.len() as f64 + CONTRIBUTION_TOLERANCE;
    Score {
        value,
        tolerance: roundings * f64::EPSILON * absolute + SCORE_TOLERANCE_ABS,
    }
}

/// `weight * 2^-(age / half-life)`. Whole half-lives are halvings, which are exact. The error of a power of the whole
/// quotient would grow with the quotient.
pub(crate) fn decayed(weight: f64, age_ms: i128, half_life_ms: i128) -> f64 {
    let halvings = (age_ms / half_life_ms).clamp(-HALVINGS_MAX, HALVINGS_MAX);
    let rest = (age_ms % half_life_ms) as f64 / half_life_ms as f64;
    weight * (-rest).exp2() * 0.5_f64.powi(halvings as i32)
}

/// The counts of the ring's newest buckets, one bucket more than the ring declares. Older events came too late, or
/// newer buckets have replaced theirs.
pub(crate) fn window(events: &[StateEvent], time_ms: i64, ring: Ring) -> RingExport {
    let bucket = |at_ms: i64| i128::from(at_ms).div_euclid(i128::from(ring.bucket_ms));
    let newest = bucket(time_ms);
    let mut held: Vec<i64> = events
        .iter()
        .map(|event| bucket(event.at_ms))
        .filter(|number| newest - number <= i128::from(ring.buckets))
        .map(|number| number as i64)
        .collect();
    held.sort_unstable();
    let counts = held.chunk_by(|a, b| a == b);
    RingExport {
        buckets: counts
            .map(|same| (same[0], u32::try_from(same.len()).unwrap_or(u32::MAX)))
            .collect(),
    }
}
