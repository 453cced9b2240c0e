//! Which items the same users engage with.
//!
//! Owns the ring of each user and the edges of each item. A positive event links its item with every other item of
//! the user's ring, in both directions, and each of those edges gains the event's weight, decayed from the event's
//! time on. A pair counts once for as long as both stay in the ring: a repeat makes the item the newest of the ring
//! again and changes no edge.
//!
//! Invariant: the state is a function of the events and their order, bit for bit. There is no clock, and no decision
//! follows the order of a hash map; ties go by id. The order of events is counted by an ordinal, which is part of
//! the state. At a limit nothing fails, for the event is in the log already: the oldest is dropped.
//!
//! - Over `degree_max` edges an item loses its lightest, Space-Saving: see [`node`].
//! - Over `users_max` rings the one whose user has had no event for longest is dropped.
//! - Over `nodes_max` items with edges, that one's edges are dropped which has had no event of its own for longest;
//!   being linked by the events of others does not count, being given its first edge does. Of several with the same
//!   last event the smallest id goes. Edges of others that lead to it stay: they are what is known about those.
//!
//! A crash inside an event leaves memory half changed, which is why the engine is poisoned then; on disk there is
//! the log and the last checkpoint, which was taken between events, and replay applies the event whole.

mod bounds;
mod codec;
mod config;
mod node;
mod state;
mod table;

use codec::{stored_node_bytes_max, stored_ring_bytes_max};

pub(crate) use codec::FencedRecord;
pub use config::CoEngagementConfig;
pub(crate) use state::CoEngagementState;
pub(crate) use table::FENCE_SHARDS;

use crate::Error;
use crate::decay::HalfLife;
use crate::entities::user_ring::UserRing;
use crate::ids::{EntityId, UserId};
use node::{Gain, Node};
use table::Table;

/// The shard with which the counters are taken.
const META_SHARD: usize = 0;

/// The rings of all users and the edges of all items.
#[derive(Debug)]
pub(crate) struct CoEngagementIndex {
    config: CoEngagementConfig,
    half_life: HalfLife,
    /// How many positive events there have been: the ordinal of the next one.
    ordinal: u64,
    /// The ordinal that the last checkpoint holds.
    ordinal_checkpointed: u64,
    /// The ordinal at the fence, until it is taken.
    ordinal_fenced: Option<u64>,
    users: Table<UserRing>,
    nodes: Table<Node>,
}

impl CoEngagementIndex {
    /// An empty index.
    ///
    /// # Errors
    /// Those of [`CoEngagementConfig::validate`].
    pub(crate) fn new(config: CoEngagementConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config,
            half_life: HalfLife::new(config.half_life_ms),
            ordinal: 0,
            ordinal_checkpointed: 0,
            ordinal_fenced: None,
            users: Table::new(),
            nodes: Table::new(),
        })
    }

    /// Applies one positive event: links `item` with the recent items of `user`, then makes it the newest of them.
    ///
    /// `weight` is what each edge gains; one that is not above zero, or not a number, moves the ring and links
    /// nothing. `at_ms` is milliseconds since the Unix epoch; an event older than the edges counts as if it had
    /// come in time. Never fails.
    pub(crate) fn record_positive(&mut self, user: UserId, item: EntityId, weight: f64, at_ms: i64) {
        let EntityId(item) = item;
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let degree_max = self.config.degree_max as usize;
        let ring_len_max = self.config.ring_len_max as usize;
        let edges_len_max = degree_max + ring_len_max;
        let ring = self.users.change_or_create(user.0, ordinal, UserRing::default);
        let gain =
            Gain::new(&self.half_life, weight, at_ms).filter(|_| !ring.is_empty() && !ring.contains(item));

        if let Some(gain) = gain {
            // Oldest first: if there are more newcomers than edges, the last one always stays.
            let node = self.nodes.change_or_create(item, ordinal, || Node::new(at_ms));
            for &other in ring.items() {
                node.link(&self.half_life, other, gain, edges_len_max);
            }
            for &other in ring.items() {
                let node = self.nodes.change_or_create(other, ordinal, || Node::new(at_ms));
                node.link(&self.half_life, item, gain, edges_len_max);
            }
        }

        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::CoEngagementUpdate);

        if gain.is_some() {
            for &linked in ring.items().iter().chain([&item]) {
                if let Some(node) = self.nodes.change(linked) {
                    node.evict(degree_max);
                }
            }
        }
        ring.push(item, ring_len_max);
        self.users.touch(user.0, ordinal);
        self.users.drop_oldest(self.config.users_max);
        self.nodes.touch(item, ordinal);
        self.nodes.drop_oldest(self.config.nodes_max);
    }

    /// The `k` items most engaged with by those who engaged with `item`, and their weights decayed to `now_ms`: by
    /// weight descending, then by id ascending.
    ///
    /// A `now_ms` before the latest event of the edges reads as that event's time. What has decayed to zero is
    /// left out. After evictions a weight is an upper estimate.
    pub(crate) fn related(&self, item: EntityId, k: usize, now_ms: i64) -> Vec<(EntityId, f64)> {
        let edges = self
            .nodes
            .get(item.0)
            .map(|node| node.heaviest(&self.half_life, k, now_ms));
        edges
            .unwrap_or_default()
            .into_iter()
            .map(|edge| (EntityId(edge.id), edge.weight))
            .collect()
    }

    /// Removes the item from every ring, its edges, and every edge to it. Looks at the whole state.
    pub(crate) fn forget_item(&mut self, item: EntityId) {
        let EntityId(item) = item;
        self.nodes.remove(item);
        for id in self.nodes.ids_where(|node| node.has_edge(item)) {
            if let Some(node) = self.nodes.change(id) {
                node.unlink(item);
                if node.edges.is_empty() {
                    self.nodes.remove(id);
                }
            }
        }
        for id in self.users.ids_where(|ring| ring.contains(item)) {
            if let Some(ring) = self.users.change(id) {
                ring.remove(item);
                if ring.is_empty() {
                    self.users.remove(id);
                }
            }
        }
    }

    /// Removes the ring of the user. What the user's events gave to edges stays: it is not known any more whose
    /// it is.
    pub(crate) fn forget_user(&mut self, user: UserId) {
        self.users.remove(user.0);
    }

    /// Declares everything changed since the last fence to be the next checkpoint's, to be fetched shard by shard.
    ///
    /// To be called between events. Takes time by the number of shards, not of records. Records that an earlier
    /// fence left untaken are part of this one.
    pub(crate) fn begin_fence(&mut self) {
        self.users.begin_fence();
        self.nodes.begin_fence();
        self.ordinal_fenced = Some(self.ordinal);
    }

    /// An upper bound of what the next fence captures, in bytes as stored.
    pub(crate) fn changed_bytes(&self) -> u64 {
        self.nodes.changed_len() * stored_node_bytes_max(&self.config)
            + self.users.changed_len() * stored_ring_bytes_max(&self.config)
    }

    /// What one event makes the next fence capture at the most, in bytes as stored.
    pub(crate) fn changed_bytes_max(config: &CoEngagementConfig) -> u64 {
        // The item's edges, those of every other one in the ring, and what makes room for them.
        let nodes_len = 2 * (u64::from(config.ring_len_max) + 1);
        nodes_len * stored_node_bytes_max(config) + 2 * stored_ring_bytes_max(config)
    }

    /// Copies the records of one of the [`FENCE_SHARDS`] shards that changed up to the fence, as they were at the
    /// fence whatever was applied since, in a fixed order. A second call for the same shard gives nothing.
    pub(crate) fn take_fenced(&mut self, shard: usize) -> Vec<FencedRecord> {
        let nodes = self.nodes.take_fenced(shard);
        let users = self.users.take_fenced(shard);
        let mut records: Vec<_> = nodes
            .into_iter()
            .map(|(id, node)| FencedRecord::Node(id, node))
            .collect();
        records.extend(users.into_iter().map(|(id, ring)| FencedRecord::User(id, ring)));
        if shard == META_SHARD
            && let Some(ordinal) = self.ordinal_fenced.take()
            && ordinal != self.ordinal_checkpointed
        {
            self.ordinal_checkpointed = ordinal;
            records.push(FencedRecord::Meta(ordinal));
        }
        records
    }

    /// Puts back one record of a checkpoint into an index made empty with the same bounds, in any order;
    /// [`Self::finish_restore`] ends it. Gives the newest event time in the record, if it has one.
    ///
    /// # Errors
    /// `Error::CorruptValue` says what is wrong with the key or the value; the index is of no use then.
    pub(crate) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<Option<i64>, Error> {
        let corrupt = |what| Error::CorruptValue {
            key: key.to_vec(),
            what,
        };
        let mut time_ms = None;
        let fresh = match FencedRecord::decode(key, value, &self.config).map_err(corrupt)? {
            FencedRecord::Node(id, Some(node)) => {
                time_ms = Some(node.record.time_ms);
                self.nodes.restore(id, node)
            }
            FencedRecord::User(id, Some(ring)) => self.users.restore(id, ring),
            FencedRecord::Node(_, None) | FencedRecord::User(_, None) => true,
            FencedRecord::Meta(ordinal) => {
                self.ordinal_checkpointed = ordinal;
                std::mem::replace(&mut self.ordinal, ordinal) == 0
            }
        };
        if !fresh {
            return Err(corrupt("record twice"));
        }
        if self.nodes.len() as u64 > self.config.nodes_max || self.users.len() as u64 > self.config.users_max
        {
            return Err(corrupt("more records than the configured bound"));
        }
        Ok(time_ms)
    }

    /// Checks what only all records together tell.
    ///
    /// # Errors
    /// `Error::CorruptValue` if the counters are missing or older than a record.
    pub(crate) fn finish_restore(&self) -> Result<(), Error> {
        let last_touched = self.nodes.last_touched().max(self.users.last_touched());
        if last_touched.is_some_and(|touched| touched >= self.ordinal) {
            let what = "counters missing or older than a record";
            return Err(Error::CorruptValue {
                key: FencedRecord::Meta(self.ordinal).key(),
                what,
            });
        }
        Ok(())
    }

    /// The whole state in one canonical form: equal for equal states, whatever led to them.
    pub(crate) fn export(&self) -> CoEngagementState {
        CoEngagementState::new(self.ordinal, &self.users.sorted(), &self.nodes.sorted())
    }
}

#[cfg(test)]
mod tests;
