//! The relations between items: the items that the same users engage with.
//!
//! Owns the ring of each user and the edges of each item. A positive event links its item with every other item of the
//! user's ring, in both directions. Each of those edges gains the weight of the event, which decays from the time of
//! the event on. A pair counts once while both items stay in the ring. A repeated item becomes the newest of the ring
//! and changes no edge.
//!
//! Invariant: the state is a function of the events and their order, bit for bit. No code reads a clock, and no
//! decision depends on the order of a hash map; the ids decide between equal candidates. An ordinal counts the events
//! and is part of the state. An event at a limit does not fail, because it is in the log already. Instead, an older
//! record or edge is dropped:
//!
//! - Over `degree_max` edges an item loses its lightest edge, by Space-Saving: see [`node`].
//! - Over `users_max` rings, the ring whose last event is the oldest is dropped.
//! - Over `nodes_max` items with edges, the edges of the item whose last touch is the oldest are dropped. An event of
//!   the item touches it, and so does the event that gives it its first edge. Other events that link it do not. Of
//!   several items with the same last touch the smallest id is dropped. The edges of other items to it stay, because
//!   they belong to the other items.
//!
//! A forget of an item takes the same time for every number of records with the item: see [`forgotten`]. A ring or an
//! item whose entries were all forgotten stays. It counts for the bounds until it is dropped because its last touch is
//! the oldest.
//!
//! A panic inside an event leaves memory half changed, so it poisons the handle. The disk holds the log and the last
//! checkpoint, which was taken between two events. Replay applies the event completely.

mod bounds;
mod codec;
mod forgotten;
mod node;
mod state;
mod table;

pub(crate) use codec::FencedRecord;
pub(crate) use state::CoEngagementState;
pub(crate) use table::FENCE_SHARDS;

use crate::Error;
use crate::decay::HalfLife;
use crate::entities::user_ring::UserRing;
use crate::ids::{EntityId, UserId};
use crate::schema::CoEngagementConfig;
use codec::Ordinals;
use forgotten::ForgottenItems;
use node::{Gain, Node};
use table::{Entries, Table};

/// The counters are taken together with this shard.
const META_SHARD: usize = 0;

/// The rings of all users and the edges of all items.
#[derive(Debug)]
pub(crate) struct CoEngagementIndex {
    config: CoEngagementConfig,
    half_life: HalfLife,
    counters: Ordinals,
    /// The counters that the last checkpoint holds.
    counters_checkpointed: Ordinals,
    /// The counters at the fence; `None` after they were taken.
    counters_fenced: Option<Ordinals>,
    users: Table<UserRing>,
    nodes: Table<Node>,
    forgotten: ForgottenItems,
}

impl CoEngagementIndex {
    /// An empty index.
    ///
    /// # Errors
    /// The errors of [`CoEngagementConfig::validate`].
    pub(crate) fn new(config: CoEngagementConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config,
            half_life: HalfLife::new(config.half_life_ms),
            counters: Ordinals::default(),
            counters_checkpointed: Ordinals::default(),
            counters_fenced: None,
            users: Table::new(),
            nodes: Table::new(),
            forgotten: ForgottenItems::new(),
        })
    }

    /// Applies one positive event: links `item` with the recent items of `user`, then makes it the newest of them.
    ///
    /// Each edge gains `weight`. An event whose weight is not above zero, or NaN, changes the ring and no edge. `at_ms`
    /// is milliseconds since the Unix epoch. An event older than the edges counts as if it had been recorded in time.
    /// Never fails.
    pub(crate) fn record_positive(&mut self, user: UserId, item: EntityId, weight: f64, at_ms: i64) {
        let EntityId(item) = item;
        if self.forgotten.len() > 0 {
            let (users, nodes) = (&mut self.users, &mut self.nodes);
            self.forgotten
                .clean_for(users, nodes, user.0, item, self.counters.forgets);
        }
        let Ordinals { ordinal, forgets } = self.counters;
        self.counters.ordinal += 1;
        let degree_max = self.config.degree_max as usize;
        let ring_len_max = self.config.ring_len_max as usize;
        let edges_len_max = degree_max + ring_len_max;
        let ring = self
            .users
            .change_or_create(user.0, ordinal, forgets, UserRing::default);
        let gain =
            Gain::new(&self.half_life, weight, at_ms).filter(|_| !ring.is_empty() && !ring.contains(item));
        let mut edges_before = 0;

        if let Some(gain) = gain {
            // Oldest first: if there are more new edges than the bound, the last one always stays.
            let node = self
                .nodes
                .change_or_create(item, ordinal, forgets, || Node::new(at_ms));
            edges_before += node.edges.len();
            for &other in ring.items() {
                node.link(&self.half_life, other, gain, edges_len_max);
            }
            for &other in ring.items() {
                let node = self
                    .nodes
                    .change_or_create(other, ordinal, forgets, || Node::new(at_ms));
                edges_before += node.edges.len();
                node.link(&self.half_life, item, gain, edges_len_max);
            }
        }

        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::CoEngagementUpdate);

        if gain.is_some() {
            let (mut edges_after, mut longest) = (0, 0);
            for &linked in ring.items().iter().chain([&item]) {
                if let Some(node) = self.nodes.change(linked) {
                    node.record.evict(degree_max);
                    edges_after += node.record.edges.len();
                    longest = longest.max(node.record.edges.len());
                }
            }
            self.nodes.note_resize(edges_before, edges_after, longest);
        }
        let items_before = ring.items().len();
        ring.push(item, ring_len_max);
        let items_after = ring.items().len();
        self.users.note_resize(items_before, items_after, items_after);
        self.users.touch(user.0, ordinal);
        self.users.drop_oldest(self.config.users_max);
        self.nodes.touch(item, ordinal);
        self.nodes.drop_oldest(self.config.nodes_max);
        self.remove_forgotten(1);
    }

    /// The `k` items with the heaviest edges of `item`, and the weights decayed to `now_ms`: by weight descending, then
    /// by id ascending.
    ///
    /// A `now_ms` before the latest event of the edges counts as the time of that event. Edges that have decayed to
    /// zero are left out. After evictions a weight is an upper estimate.
    pub(crate) fn related(&self, item: EntityId, k: usize, now_ms: i64) -> Vec<(EntityId, f64)> {
        let edges = self.nodes.get(item.0).map(|node| {
            let keep = |item| !self.forgotten.is_forgotten(item, node.forgets);
            node.record.heaviest(&self.half_life, k, now_ms, keep)
        });
        edges
            .unwrap_or_default()
            .into_iter()
            .map(|edge| (EntityId(edge.id), edge.weight))
            .collect()
    }

    /// Forgets the item. Removes its edges, and hides every edge to it and its entry in every ring from readers. Then
    /// takes `steps_len` steps of the removal of forgotten entries from the records.
    pub(crate) fn forget_item(&mut self, item: EntityId, steps_len: usize) {
        self.nodes.remove(item.0);
        if self.nodes.len() + self.users.len() > 0 {
            self.counters.forgets += 1;
            self.forgotten.add(item.0, self.counters.forgets);
        }
        self.remove_forgotten(steps_len);
    }

    fn remove_forgotten(&mut self, steps_len: usize) {
        self.forgotten
            .remove_some(&mut self.users, &mut self.nodes, self.counters, steps_len);
    }

    /// The number of forgotten items that may still have entries in records.
    pub(crate) fn tombstones_len(&self) -> usize {
        self.forgotten.len()
    }

    /// Removes the ring of the user. The weights that the user's events gave to edges stay, because an edge does not
    /// hold its users.
    pub(crate) fn forget_user(&mut self, user: UserId) {
        self.users.remove(user.0);
    }

    /// Begins a fence: assigns all records that changed since the last fence to the next checkpoint, which takes them
    /// shard by shard.
    ///
    /// The caller calls this between two events. The time depends on the number of shards, not of records. Records of
    /// an earlier fence that were not taken are part of this one.
    pub(crate) fn begin_fence(&mut self) {
        self.users.begin_fence();
        self.nodes.begin_fence();
        self.forgotten.tombstones_mut().begin_fence();
        self.counters_fenced = Some(self.counters);
    }

    /// An upper bound of the bytes that the records of the next fence take when stored.
    pub(crate) fn changed_bytes(&self) -> u64 {
        let tombstones = self.forgotten.tombstones();
        self.nodes.changed_bytes() + self.users.changed_bytes() + tombstones.changed_bytes()
    }

    /// The most bytes that so many positive events can add to [`changed_bytes`](Self::changed_bytes).
    pub(crate) fn changed_bytes_max(&self, positives_len: usize) -> u64 {
        if positives_len == 0 {
            return 0;
        }
        let ring_len = (self.users.longest() + positives_len).min(self.config.ring_len_max as usize);
        // An event changes its item, the items of the ring and the record that a step of the removal visits.
        let nodes_len = ring_len as u64 + 2;
        let (node_bytes, ring_bytes) = (Node::stored_bytes(0), UserRing::stored_bytes(0));
        // Changed records that exist already, each as long as the longest.
        let existing = nodes_len * Node::stored_bytes(self.nodes.longest())
            + 2 * UserRing::stored_bytes(self.users.longest());
        let all_existing = self.nodes.stored_bytes() + self.users.stored_bytes();
        // New records, the records that are dropped for them, the new edges in both directions, the ring's new item,
        // and the removal of a tombstone.
        let added = 2 * (nodes_len * node_bytes + ring_bytes)
            + (Node::stored_bytes(2 * ring_len) - node_bytes)
            + (UserRing::stored_bytes(1) - ring_bytes)
            + <()>::stored_bytes(0);
        (positives_len as u64 * existing).min(all_existing) + positives_len as u64 * added
    }

    /// The most bytes that a forget with so many steps of the removal can add to
    /// [`changed_bytes`](Self::changed_bytes).
    pub(crate) fn forget_bytes_max(&self, steps_len: usize) -> u64 {
        let longest =
            Node::stored_bytes(self.nodes.longest()).max(UserRing::stored_bytes(self.users.longest()));
        (steps_len as u64 + 1) * longest + <()>::stored_bytes(0)
    }

    /// Copies the records of one of the [`FENCE_SHARDS`] shards that changed up to the fence, in a fixed order. Their
    /// content is that at the fence; later changes are not in it. A second call for the same shard returns no record.
    pub(crate) fn take_fenced(&mut self, shard: usize) -> Vec<FencedRecord> {
        let nodes = self.nodes.take_fenced(shard);
        let users = self.users.take_fenced(shard);
        let tombstones = self.forgotten.tombstones_mut().take_fenced(shard);
        let mut records: Vec<_> = nodes
            .into_iter()
            .map(|(id, node)| FencedRecord::Node(id, node))
            .collect();
        records.extend(users.into_iter().map(|(id, ring)| FencedRecord::User(id, ring)));
        let forget = |(id, stamped): (u64, Option<table::Stamped<()>>)| {
            FencedRecord::Tombstone(id, stamped.map(|stamped| stamped.touched))
        };
        records.extend(tombstones.into_iter().map(forget));
        if shard == META_SHARD
            && let Some(counters) = self.counters_fenced.take()
            && counters != self.counters_checkpointed
        {
            self.counters_checkpointed = counters;
            records.push(FencedRecord::Meta(counters));
        }
        records
    }

    /// Restores one record of a checkpoint into an index that was created empty with the same bounds. The counters come
    /// first, then the tombstones, then the others in any order. [`Self::finish_restore`] ends the restore. A record
    /// that had forgotten entries counts as changed. Returns the newest event time in the record, if it has one.
    ///
    /// # Errors
    /// `Error::CorruptValue` names the fault of the key or the value. The index cannot be used then.
    pub(crate) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<Option<i64>, Error> {
        let corrupt = |what| Error::CorruptValue {
            key: key.to_vec(),
            what,
        };
        let mut time_ms = None;
        let forgets_max = self.counters.forgets;
        let check = |forgets| {
            let is_legal = forgets <= forgets_max;
            is_legal
                .then_some(())
                .ok_or_else(|| corrupt("number of forgets above the counters"))
        };
        let is_new = match FencedRecord::decode(key, value, &self.config).map_err(corrupt)? {
            FencedRecord::Node(id, Some(node)) => {
                time_ms = Some(node.record.time_ms);
                check(node.forgets)?;
                self.forgotten.restore_in(&mut self.nodes, id, node, forgets_max)
            }
            FencedRecord::User(id, Some(ring)) => {
                check(ring.forgets)?;
                self.forgotten.restore_in(&mut self.users, id, ring, forgets_max)
            }
            FencedRecord::Tombstone(item, Some(forget)) => {
                check(forget)?;
                self.forgotten.restore(item, forget)
            }
            FencedRecord::Node(_, None) | FencedRecord::User(_, None) | FencedRecord::Tombstone(_, None) => {
                true
            }
            FencedRecord::Meta(counters) => {
                self.counters_checkpointed = counters;
                std::mem::replace(&mut self.counters, counters) == Ordinals::default()
            }
        };
        if !is_new {
            return Err(corrupt("record twice"));
        }
        if self.nodes.len() as u64 > self.config.nodes_max || self.users.len() as u64 > self.config.users_max
        {
            return Err(corrupt("more records than the configured bound"));
        }
        Ok(time_ms)
    }

    /// Checks the records against the counters, and removes the tombstones, because no record has a forgotten entry any
    /// more.
    ///
    /// # Errors
    /// `Error::CorruptValue` if the counters are missing or older than a record.
    pub(crate) fn finish_restore(&mut self) -> Result<(), Error> {
        let last_touched = self.nodes.last_touched().max(self.users.last_touched());
        if last_touched.is_some_and(|touched| touched >= self.counters.ordinal) {
            let what = "counters missing or older than a record";
            return Err(Error::CorruptValue {
                key: FencedRecord::Meta(self.counters).key(),
                what,
            });
        }
        while self.forgotten.remove_oldest(self.counters.forgets) {}
        Ok(())
    }

    /// The whole state in one canonical form. It is the same for two indexes with the same state.
    pub(crate) fn export(&self) -> CoEngagementState {
        CoEngagementState::new(
            self.counters.ordinal,
            &self.users.sorted(),
            &self.nodes.sorted(),
            &self.forgotten,
        )
    }
}

#[cfg(test)]
mod tests;
