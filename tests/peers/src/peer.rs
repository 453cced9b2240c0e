//! The interface of all engines, and the value of a key in a general store.
//!
//! A general store has one value for each pair of entity and signal: three decayed scores and their time. To record an
//! event it reads the value, computes the new one and writes it. A call is one transaction. The events of a call are
//! sorted by key, so that each key is read and written once, in the order of the tree. No faster form was found for any
//! of these stores.

use std::error::Error;
use std::path::Path;

use crate::workload::{HALF_LIVES_MS, JobEvent, SIGNALS};

/// The result of a measurement. An error ends the run.
pub(crate) type PeerResult<T> = Result<T, Box<dyn Error>>;

/// The durability of an acknowledged call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The operating system has the events, or the engine's nearest equivalent.
    Written,
    /// The disk has the events.
    Synced,
}

/// A kind of engine.
pub(crate) struct Engine {
    /// The head of the engine's column.
    pub(crate) name: &'static str,
    /// Creates or opens a database in an existing directory.
    pub(crate) open: fn(&Path, Policy) -> PeerResult<Box<dyn Peer>>,
    /// True for a skeleton: it shows the limit of the machine, and checks and recovers nothing.
    pub(crate) is_skeleton: bool,
}

/// An open database.
pub(crate) trait Peer {
    /// Records all events or none in one call. On return they are durable as the policy promises.
    fn record(&mut self, events: &[JobEvent]) -> PeerResult<()>;

    /// Makes all recorded events durable.
    fn sync(&mut self) -> PeerResult<()>;

    /// Adds the scores of these keys for one half-life, decayed to `now_ms`, to `scores`. A key without events has
    /// score 0.
    fn scores(&self, keys: &[Key], half_life: usize, now_ms: i64, scores: &mut Vec<f64>) -> PeerResult<()>;

    /// Makes all states durable, also if each state has changed: the engine's own checkpoint, or for a general store
    /// one synced transaction that writes the value of each of `keys` again.
    fn checkpoint(&mut self, keys: &[Key]) -> PeerResult<()>;

    /// Closes the database.
    fn close(self: Box<Self>) -> PeerResult<()>;
}

/// A pair of entity and signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) entity: u64,
    pub(crate) signal: u16,
}

/// The size of a key in a store that orders bytes.
pub(crate) const KEY_BYTES: usize = 10;

impl Key {
    pub(crate) fn of(event: &JobEvent) -> Self {
        Self {
            entity: event.entity,
            signal: event.signal,
        }
    }

    /// The key as bytes, whose order is the order of the numbers.
    pub(crate) fn bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.entity.to_be_bytes());
        bytes[8..].copy_from_slice(&self.signal.to_be_bytes());
        bytes
    }

    /// The index of the key among all pairs.
    pub(crate) fn index(self) -> usize {
        self.entity as usize * usize::from(SIGNALS) + usize::from(self.signal)
    }
}

/// The size of the value of a key.
pub(crate) const STATE_BYTES: usize = 32;

/// Three decayed scores and the time to which they are decayed.
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
        for (slot, score) in bytes.chunks_exact_mut(8).zip(self.scores) {
            slot.copy_from_slice(&score.to_le_bytes());
        }
        bytes[24..].copy_from_slice(&self.at_ms.to_le_bytes());
        bytes
    }

    /// Decodes the value of a key, which [`bytes`](Self::bytes) encoded.
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

/// The rest of a score of 1 after a time. Often no time has passed, and that case computes nothing.
fn decay(passed_ms: i64, half_life_ms: u64) -> f64 {
    if passed_ms == 0 {
        1.0
    } else {
        (-(passed_ms as f64) / half_life_ms as f64).exp2()
    }
}

/// Sorts the events of a call by key, and calls `change` once for each key, in order, with the events of the key.
pub(crate) fn by_key(
    events: &[JobEvent],
    mut change: impl FnMut(Key, &[JobEvent]) -> PeerResult<()>,
) -> PeerResult<()> {
    if events.len() == 1 {
        return change(Key::of(&events[0]), events);
    }
    let mut sorted = events.to_vec();
    sorted.sort_by_key(Key::of);
    for same in sorted.chunk_by(|left, right| Key::of(left) == Key::of(right)) {
        change(Key::of(&same[0]), same)?;
    }
    Ok(())
}

/// The state of a key after these events. `before` is the value before them.
pub(crate) fn state_after(before: Option<&[u8]>, events: &[JobEvent]) -> PeerResult<State> {
    let mut state = before.map_or_else(|| Ok(State::default()), State::from_bytes)?;
    for event in events {
        state.add(event.at_ms);
    }
    Ok(state)
}
