//! What the scores must be: sums over the events, without any decay from step to step.

use std::collections::HashMap;

use crate::peer::{Key, Peer, PeerResult};
use crate::workload::{HALF_LIVES_MS, Touch};

/// How far a score may be from the sum, relative to it.
const RELATIVE: f64 = 1e-9;

/// The sums of all keys as of one time.
pub(crate) struct Reference {
    sums: HashMap<Key, [f64; 3]>,
    now_ms: i64,
}

impl Reference {
    pub(crate) fn of(touches: &[Touch], now_ms: i64) -> Self {
        let mut sums: HashMap<Key, [f64; 3]> = HashMap::new();
        for touch in touches {
            let sum = sums.entry(Key::of(touch)).or_default();
            for (sum, half_life_ms) in sum.iter_mut().zip(HALF_LIVES_MS) {
                *sum += (-((now_ms - touch.at_ms) as f64) / half_life_ms as f64).exp2();
            }
        }
        Self { sums, now_ms }
    }

    /// # Errors
    /// The first score that is not its sum.
    pub(crate) fn check(&self, name: &str, peer: &dyn Peer, keys: &[Key]) -> PeerResult<()> {
        if keys.len() != self.sums.len() {
            return Err(format!("{} keys are compared with {}", keys.len(), self.sums.len()).into());
        }
        for half_life in 0..HALF_LIVES_MS.len() {
            let mut scores = Vec::with_capacity(keys.len());
            peer.scores(keys, half_life, self.now_ms, &mut scores)?;
            if scores.len() != keys.len() {
                return Err(format!("{name}: {} scores of {} keys", scores.len(), keys.len()).into());
            }
            for (key, score) in keys.iter().zip(scores) {
                let sum = self.sums[key][half_life];
                // Written so that NaN is far off too.
                let is_near = (score - sum).abs() <= RELATIVE * sum;
                if !is_near {
                    return Err(format!("{name}: the score of {key:?} is {score}, the sum {sum}").into());
                }
            }
        }
        Ok(())
    }
}
