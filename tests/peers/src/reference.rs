//! The expected scores: sums over all events, each decayed directly to the final time.

use std::collections::HashMap;

use crate::peer::{Key, Peer, PeerResult};
use crate::workload::{HALF_LIVES_MS, JobEvent};

/// The maximum difference of a score from the sum, relative to the sum.
const RELATIVE: f64 = 1e-9;

/// The sums of all keys at one time.
pub(crate) struct Reference {
    sums: HashMap<Key, [f64; 3]>,
    now_ms: i64,
}

impl Reference {
    pub(crate) fn of(events: &[JobEvent], now_ms: i64) -> Self {
        let mut sums: HashMap<Key, [f64; 3]> = HashMap::new();
        for event in events {
            let sum = sums.entry(Key::of(event)).or_default();
            for (sum, half_life_ms) in sum.iter_mut().zip(HALF_LIVES_MS) {
                *sum += (-((now_ms - event.at_ms) as f64) / half_life_ms as f64).exp2();
            }
        }
        Self { sums, now_ms }
    }

    /// Compares the scores of the engine with the sums.
    ///
    /// # Errors
    /// The first score that differs from its sum.
    pub(crate) fn check(&self, name: &str, peer: &dyn Peer, keys: &[Key]) -> PeerResult<()> {
        if keys.len() != self.sums.len() {
            return Err(format!("{} keys are compared with {} sums", keys.len(), self.sums.len()).into());
        }
        for half_life in 0..HALF_LIVES_MS.len() {
            let mut scores = Vec::with_capacity(keys.len());
            peer.scores(keys, half_life, self.now_ms, &mut scores)?;
            if scores.len() != keys.len() {
                return Err(format!("{name}: {} scores for {} keys", scores.len(), keys.len()).into());
            }
            for (key, score) in keys.iter().zip(scores) {
                let sum = self.sums[key][half_life];
                // This form also refuses NaN.
                let is_near = (score - sum).abs() <= RELATIVE * sum;
                if !is_near {
                    return Err(format!("{name}: the score of {key:?} is {score} instead of {sum}").into());
                }
            }
        }
        Ok(())
    }
}
