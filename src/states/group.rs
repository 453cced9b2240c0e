//! Changes of one call, grouped by shard, so that a group takes the lock of its shard once and its cache misses
//! overlap.
//!
//! A locked instruction waits for every load before it. If each event took the lock, it would wait for its own cache
//! misses alone. A group first finds all its slots, then reads a word of their cells, then changes them. So the
//! processor already loads all cells when the changes begin.
//!
//! Invariant: the changes of one shard keep their order, so the state is the same as after single changes in this
//! order.
//!
//! In memory only: a crash leaves nothing of it.

use super::key::{self, SHARDS, StateKey};
use crate::limits::GROUPED_CHANGES_LEN_MAX;
use crate::{EntityId, SignalEvent, SignalId};

/// One event for one state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change<K> {
    pub(crate) key: K,
    pub(crate) signal: SignalId,
    pub(crate) weight: f64,
    pub(crate) at_ms: i64,
}

impl From<&SignalEvent<'_>> for Change<EntityId> {
    fn from(event: &SignalEvent<'_>) -> Self {
        Self {
            key: event.entity,
            signal: event.signal,
            weight: event.weight,
            at_ms: event.at_ms,
        }
    }
}

/// The indexes of some changes, ordered by shard and then ascending.
#[derive(Debug)]
pub(super) struct ByShard {
    order: [u8; GROUPED_CHANGES_LEN_MAX],
    /// The end of the group of each shard in `order`. A group begins at the end of the group before.
    ends: [u16; SHARDS],
}

impl ByShard {
    /// Groups at most [`GROUPED_CHANGES_LEN_MAX`] changes, by a counting sort.
    pub(super) fn new<K: StateKey>(changes: &[Change<K>]) -> Self {
        debug_assert!(changes.len() <= GROUPED_CHANGES_LEN_MAX);
        let mut shards = [0_u8; GROUPED_CHANGES_LEN_MAX];
        let mut next = [0_u16; SHARDS];
        for (shard, change) in shards.iter_mut().zip(changes) {
            let number = key::shard_of(change.key.entity());
            *shard = number as u8;
            next[number] += 1;
        }
        let mut begin = 0;
        for len in &mut next {
            (*len, begin) = (begin, begin + *len);
        }
        let mut order = [0_u8; GROUPED_CHANGES_LEN_MAX];
        for (i, &shard) in shards[..changes.len()].iter().enumerate() {
            let place = &mut next[usize::from(shard)];
            order[usize::from(*place)] = i as u8;
            *place += 1;
        }
        Self { order, ends: next }
    }

    /// The shards that have a group, ascending, with the indexes of its changes.
    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut begin = 0;
        let group = move |(shard, &end): (usize, &u16)| {
            let group = &self.order[begin..usize::from(end)];
            begin = usize::from(end);
            (shard, group)
        };
        self.ends
            .iter()
            .enumerate()
            .map(group)
            .filter(|(_, group)| !group.is_empty())
    }
}

const _: () = assert!(SHARDS <= GROUPED_CHANGES_LEN_MAX);
