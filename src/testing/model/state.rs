//! The signal state of one key: all its events, from which scores and windows are computed anew.

use std::sync::OnceLock;

use super::difference::EventId;
use crate::{CohortId, EntityId, Ring, RingExport, Signal, SignalId, SignalStateExport};

/// How far a contribution in the engine's score may be from the model's, relative to itself and in units of 2^-52. The
/// engine's two powers of two have an error of two units each, the model's one has one, and ten roundings add half a unit
/// each: 10 together. The rest is for a platform with a worse `exp2`, which promises no accuracy.
const CONTRIBUTION_TOLERANCE: f64 = 16.0;
/// The smallest number with all its digits: below it the engine loses some, and so does the model.
const SCORE_TOLERANCE_ABS: f64 = f64::MIN_POSITIVE;
/// More halvings than there are between the largest and the smallest number.
const HALVINGS_MAX: i128 = 2200;

/// Whose state it is. Sorted as exports are: the global ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) cohort: Option<CohortId>,
    pub(super) entity: EntityId,
    pub(super) signal: SignalId,
}

/// An event as one state knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StateEvent {
    pub(crate) event: EventId,
    pub(crate) weight: f64,
    pub(crate) at_ms: i64,
}

/// The events of one key, and what follows from them once somebody asked.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyState {
    events: Vec<StateEvent>,
    computed: OnceLock<Computed>,
}

/// What a database keeps of the events of a key.
#[derive(Debug, Clone)]
pub(super) struct Computed {
    pub(super) time_ms: i64,
    /// By half-life.
    pub(super) scores: Vec<Score>,
    /// By ring.
    pub(super) windows: Vec<RingExport>,
}

/// A score and how far a correct engine may be from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    pub(super) value: f64,
    tolerance: f64,
}

impl Score {
    /// Whether `found` is this score. Not a number never is, and nothing is one that overflows: an event long after the
    /// time of the state has no score there.
    pub(crate) fn is(self, found: f64) -> bool {
        self.tolerance.is_finite() && (self.value - found).abs() <= self.tolerance
    }
}

impl KeyState {
    pub(super) fn of(events: Vec<StateEvent>) -> Self {
        Self {
            events,
            computed: OnceLock::new(),
        }
    }

    pub(super) fn events(&self) -> &[StateEvent] {
        &self.events
    }

    pub(super) fn add(&mut self, event: StateEvent) {
        self.events.push(event);
        self.computed.take();
    }

    pub(super) fn computed(&self, signal: &Signal) -> &Computed {
        self.computed.get_or_init(|| {
            let newest_ms = self.events.iter().map(|event| event.at_ms).max();
            Computed::at(&self.events, newest_ms.unwrap_or(i64::MIN), signal)
        })
    }
}

impl Computed {
    /// What is kept of events whose newest one is at `time_ms`.
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

/// The sum of the contributions at `time_ms`, and how far the engine may be from it: for `n` events and their sum of
/// absolute contributions `S`, the engine and the model are each within `n * 2^-53 * S` of the exact sum of what they add
/// up (see [`TidalDb::score`](crate::TidalDb::score)), and these differ by the tolerance of the contributions.
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

/// `weight * 2^-(age / half-life)`. Whole half-lives are halvings, which are exact: a power of the whole quotient would
/// be off by more, the larger the quotient is.
fn decayed(weight: f64, age_ms: i128, half_life_ms: i128) -> f64 {
    let halvings = (age_ms / half_life_ms).clamp(-HALVINGS_MAX, HALVINGS_MAX);
    let rest = (age_ms % half_life_ms) as f64 / half_life_ms as f64;
    weight * (-rest).exp2() * 0.5_f64.powi(halvings as i32)
}

/// The counts of the ring's newest buckets, one more than it has: older events were late, or were pushed out since.
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
