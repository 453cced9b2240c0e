//! What every engine is asked to do, and the value that the general stores keep for a key.
//!
//! A general store keeps three decayed scores and their time in one value for each pair of entity and signal, and changes
//! it by reading, computing and writing. A call is one transaction; within it the events are sorted by key, so that a key
//! is read and written once and a tree is walked in order. That is the best form for each of them that was found.

use std::error::Error;
use std::path::Path;

use crate::workload::{HALF_LIVES_MS, SIGNALS, Touch};

/// The result of everything here: what fails ends the run.
pub(crate) type PeerResult<T> = Result<T, Box<dyn Error>>;

/// What an acknowledged call has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The operating system, or what comes nearest.
    Written,
    /// The disk.
    Synced,
}

/// A kind of engine.
pub(crate) struct Kind {
    /// The column's head.
    pub(crate) name: &'static str,
    /// Makes or opens a database in an existing directory.
    pub(crate) open: fn(&Path, Policy) -> PeerResult<Box<dyn Peer>>,
    /// Whether it is a limit rather than a store: it checks and recovers nothing.
    pub(crate) is_skeleton: bool,
}

/// An open database.
pub(crate) trait Peer {
    /// One call: all of the events or none, as durable on return as the policy says.
    fn record(&mut self, touches: &[Touch]) -> PeerResult<()>;

    /// Makes everything recorded durable.
    fn sync(&mut self) -> PeerResult<()>;

    /// The scores of these keys for one half-life, decayed to `now_ms`; a key never recorded scores 0.
    fn scores(&self, keys: &[Key], half_life: usize, now_ms: i64, scores: &mut Vec<f64>) -> PeerResult<()>;

    /// What makes all states durable at once, though every one of them changed: the engine's own checkpoint; of a
    /// general store one synced transaction that writes each of `keys` anew.
    fn checkpoint(&mut self, keys: &[Key]) -> PeerResult<()>;

    /// Ends it in order.
    fn close(self: Box<Self>) -> PeerResult<()>;
}

/// A pair of entity and signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) entity: u64,
    pub(crate) signal: u16,
}

/// How many bytes a key has in a store that orders bytes.
pub(crate) const KEY_BYTES: usize = 10;

impl Key {
    pub(crate) fn of(touch: &Touch) -> Self {
        Self {
            entity: touch.entity,
            signal: touch.signal,
        }
    }

    /// In the order of the numbers.
    pub(crate) fn bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.entity.to_be_bytes());
        bytes[8..].copy_from_slice(&self.signal.to_be_bytes());
        bytes
    }

    /// Its place among all pairs.
    pub(crate) fn index(self) -> usize {
        self.entity as usize * usize::from(SIGNALS) + usize::from(self.signal)
    }
}

/// How many bytes the value of a key has.
pub(crate) const STATE_BYTES: usize = 32;

/// Three decayed scores and the time that they are decayed to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct State {
    scores: [f64; 3],
    at_ms: i64,
}

impl State {
    /// Adds an event of weight 1.
    pub(crate) fn add(&mut self, at_ms: i64) {
        let newest_ms = self.at_ms.max(at_ms);
        for (score, half_life_ms) in self.scores.iter_mut().zip(HALF_LIVES_MS) {
            *score =
                *score * decay(newest_ms - self.at_ms, half_life_ms) + decay(newest_ms - at_ms, half_life_ms);
        }
        self.at_ms = newest_ms;
    }

    pub(crate) fn score(&self, half_life: usize, now_ms: i64) -> f64 {
        self.scores[half_life] * decay(now_ms - self.at_ms, HALF_LIVES_MS[half_life])
    }

    pub(crate) fn bytes(&self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        for (place, score) in bytes.chunks_exact_mut(8).zip(self.scores) {
            place.copy_from_slice(&score.to_le_bytes());
        }
        bytes[24..].copy_from_slice(&self.at_ms.to_le_bytes());
        bytes
    }

    /// Of the value of a key, which is as [`bytes`](Self::bytes) made it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> PeerResult<Self> {
        let bytes: &[u8; STATE_BYTES] = bytes.try_into()?;
        let eight = |index: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * index..8 * (index + 1)]);
            word
        };
        Ok(Self {
            scores: [0, 1, 2].map(|index| f64::from_le_bytes(eight(index))),
            at_ms: i64::from_le_bytes(eight(3)),
        })
    }
}

/// What is left of 1 after a time. Nothing has passed in many cases, which costs nothing.
fn decay(passed_ms: i64, half_life_ms: u64) -> f64 {
    if passed_ms == 0 {
        1.0
    } else {
        (-(passed_ms as f64) / half_life_ms as f64).exp2()
    }
}

/// The events of a call by key: calls `change` once for each key, in order, with its events.
pub(crate) fn by_key(
    touches: &[Touch],
    mut change: impl FnMut(Key, &[Touch]) -> PeerResult<()>,
) -> PeerResult<()> {
    if touches.len() == 1 {
        return change(Key::of(&touches[0]), touches);
    }
    let mut sorted = touches.to_vec();
    sorted.sort_by_key(Key::of);
    for same in sorted.chunk_by(|left, right| Key::of(left) == Key::of(right)) {
        change(Key::of(&same[0]), same)?;
    }
    Ok(())
}

/// The state after the events of one key, given its value before.
pub(crate) fn changed(before: Option<&[u8]>, touches: &[Touch]) -> PeerResult<State> {
    let mut state = before.map_or_else(|| Ok(State::default()), State::from_bytes)?;
    for touch in touches {
        state.add(touch.at_ms);
    }
    Ok(state)
}
