//! Co-engagement by its documented rules, in plain maps. Every edge stores its gains, and its weight is computed from
//! them at each use.
//!
//! The rules are a second implementation. Only the arithmetic of a single gain is the engine's, because the last bit of
//! a weight may decide which of two edges is the lighter one and is evicted.
//!
//! Invariant: the content follows from the recorded events, the forgotten items and users, and the bounds alone. The
//! module writes nothing to disk.

use std::collections::{BTreeMap, BTreeSet};

use super::state::decayed;
use crate::decay::{HalfLife, scale_pow2};
use crate::{CoEngagementConfig, EntityId, Export, RelatedExport, UserId, UserRingExport};

/// More halvings than lie between the largest and the smallest `f64`.
const HALVINGS_MAX: i128 = 2200;
/// An edge with this many gains replaces them by their sum. This changes no bit of the sum of all gains.
const GAINS_LEN_MAX: usize = 64;
/// The largest relative error of an edge's weight.
const WEIGHT_TOLERANCE: f64 = 1e-9;
/// The smallest weight of an edge, and of a gain.
const WEIGHT_MIN: f64 = f64::MIN_POSITIVE;

/// The rings of all users and the edges of all items.
#[derive(Debug, Clone)]
pub(crate) struct CoEngagement {
    pub(crate) config: CoEngagementConfig,
    /// The number of positive events so far.
    pub(crate) ordinal: u64,
    pub(crate) users: BTreeMap<u64, ModelRing>,
    pub(crate) nodes: BTreeMap<u64, ItemNode>,
}

/// The ring of a user.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModelRing {
    /// The ordinal of the user's last event.
    pub(crate) touched: u64,
    /// Oldest first.
    pub(crate) items: Vec<u64>,
}

/// The edges of an item.
#[derive(Debug, Clone)]
pub(crate) struct ItemNode {
    /// The ordinal of the item's last event, or of the event that created the node.
    pub(crate) touched: u64,
    pub(crate) time_ms: i64,
    pub(crate) edges: BTreeMap<u64, Vec<EdgeGain>>,
}

/// The gain of an edge from one event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EdgeGain {
    /// The number of the half-life, counted from the epoch, to whose beginning `weight` is relative.
    period: i128,
    weight: f64,
    /// The weight and the time of the event.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests of the index weigh it by their own formula")
    )]
    pub(crate) event: (f64, i64),
}

impl CoEngagement {
    pub(crate) fn new(config: CoEngagementConfig) -> Self {
        Self {
            config,
            ordinal: 0,
            users: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    /// Applies an event of a positive signal, with a user and a weight above zero.
    pub(crate) fn record(&mut self, user: UserId, item: EntityId, weight: f64, at_ms: i64) {
        let (user, item) = (user.0, item.0);
        let gain = EdgeGain {
            period: self.period(at_ms),
            weight: weight * HalfLife::new(self.config.half_life_ms).growth(at_ms),
            event: (weight, at_ms),
        };
        let mut ring = self.users.remove(&user).unwrap_or_default();
        if gain.weight >= WEIGHT_MIN && !ring.items.contains(&item) {
            self.link_all(item, &ring.items, gain, at_ms);
        }
        ring.items.retain(|&other| other != item);
        ring.items.push(item);
        if ring.items.len() > self.config.ring_len_max as usize {
            ring.items.remove(0);
        }
        ring.touched = self.ordinal;
        self.users.insert(user, ring);
        if let Some(node) = self.nodes.get_mut(&item) {
            node.touched = self.ordinal;
        }
        self.drop_oldest();
        self.ordinal += 1;
    }

    /// Links the item with every item of the ring, in both directions. New edges are inserted after all existing edges
    /// have gained.
    fn link_all(&mut self, item: u64, ring: &[u64], gain: EdgeGain, at_ms: i64) {
        let mut new_edges = Vec::new();
        for &other in ring {
            for (from, to) in [(item, other), (other, item)] {
                if self.needs_edge(from, to, gain, at_ms) {
                    new_edges.push((from, to));
                }
            }
        }
        for (from, to) in new_edges {
            self.insert_edge(from, to, gain);
        }
    }

    /// Adds the gain to the edge if it exists. Returns true if a new edge is needed.
    fn needs_edge(&mut self, from: u64, to: u64, gain: EdgeGain, at_ms: i64) -> bool {
        let period = |at_ms| i128::from(at_ms).div_euclid(i128::from(self.config.half_life_ms));
        let node = self.nodes.entry(from).or_insert(ItemNode {
            touched: self.ordinal,
            time_ms: at_ms,
            edges: BTreeMap::new(),
        });
        let (before, landmark) = (period(node.time_ms), period(node.time_ms.max(at_ms)));
        if gain.at(landmark) < WEIGHT_MIN {
            return false;
        }
        node.time_ms = node.time_ms.max(at_ms);
        if landmark != before {
            node.edges
                .retain(|_, gains| weight(gains, landmark) >= WEIGHT_MIN);
        }
        let Some(gains) = node.edges.get_mut(&to) else {
            return true;
        };
        if gains.len() >= GAINS_LEN_MAX {
            let sum = weight(gains, landmark);
            let begin_ms = landmark * i128::from(self.config.half_life_ms);
            *gains = vec![EdgeGain {
                period: landmark,
                weight: sum,
                event: (sum, begin_ms as i64),
            }];
        }
        gains.push(gain);
        false
    }

    /// Inserts an edge by the Space-Saving rule. At the bound the new edge replaces the [lightest](Self::lightest) edge
    /// and takes over its gains.
    fn insert_edge(&mut self, from: u64, to: u64, gain: EdgeGain) {
        let lightest = self.lightest(from);
        let Some(node) = self.nodes.get_mut(&from) else {
            return;
        };
        let full = node.edges.len() >= self.config.degree_max as usize;
        let mut gains = match lightest.filter(|_| full) {
            Some(lightest) => node.edges.remove(&lightest).unwrap_or_default(),
            None => Vec::new(),
        };
        gains.push(gain);
        node.edges.insert(to, gains);
    }

    /// The lightest edge of an item. Among equally light edges it is the edge with the largest id.
    pub(crate) fn lightest(&self, item: u64) -> Option<u64> {
        let node = self.nodes.get(&item)?;
        let weighed = node.edges.keys().zip(self.weights(node));
        let lightest = weighed.min_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(a.0)));
        lightest.map(|(&id, _)| id)
    }

    /// The weights of an item's edges at the beginning of its half-life, by id.
    pub(crate) fn weights(&self, node: &ItemNode) -> impl Iterator<Item = f64> {
        let landmark = self.period(node.time_ms);
        node.edges.values().map(move |gains| weight(gains, landmark))
    }

    /// Drops the users and items above the limits.
    pub(crate) fn drop_oldest(&mut self) {
        drop_oldest(&mut self.users, self.config.users_max, |ring| ring.touched);
        drop_oldest(&mut self.nodes, self.config.nodes_max, |node| node.touched);
    }

    /// Applies changed bounds, as an open with them does.
    pub(crate) fn set_bounds(&mut self, config: CoEngagementConfig) {
        self.config = config;
        self.drop_oldest();
        for ring in self.users.values_mut() {
            let excess = ring.items.len().saturating_sub(config.ring_len_max as usize);
            ring.items.drain(..excess);
        }
        let items: Vec<u64> = self.nodes.keys().copied().collect();
        for item in items {
            while self.nodes[&item].edges.len() > config.degree_max as usize
                && let Some(lightest) = self.lightest(item)
                && let Some(node) = self.nodes.get_mut(&item)
            {
                node.edges.remove(&lightest);
            }
        }
    }

    fn period(&self, at_ms: i64) -> i128 {
        i128::from(at_ms).div_euclid(i128::from(self.config.half_life_ms))
    }

    pub(crate) fn forget_item(&mut self, item: EntityId) {
        self.nodes.remove(&item.0);
        for node in self.nodes.values_mut() {
            node.edges.remove(&item.0);
        }
        for ring in self.users.values_mut() {
            ring.items.retain(|&other| other != item.0);
        }
    }

    pub(crate) fn forget_user(&mut self, user: UserId) {
        self.users.remove(&user.0);
    }

    /// The rings, by user.
    pub(super) fn rings(&self) -> impl Iterator<Item = (UserId, &[u64])> {
        self.users
            .iter()
            .map(|(&user, ring)| (UserId(user), ring.items.as_slice()))
    }

    /// The edges, by item.
    pub(super) fn related(&self) -> impl Iterator<Item = RelatedExport> {
        self.nodes.iter().map(|(&item, node)| RelatedExport {
            item: EntityId(item),
            time_ms: node.time_ms,
            edges: node
                .edges
                .keys()
                .map(|&id| EntityId(id))
                .zip(self.weights(node))
                .collect(),
        })
    }

    /// The edges of an item with their weights at `now_ms`. A time before that of the edges counts as theirs.
    pub(super) fn related_at(&self, item: EntityId, now_ms: i64) -> Vec<(EntityId, f64)> {
        let Some(node) = self.nodes.get(&item.0) else {
            return Vec::new();
        };
        let half_life_ms = i128::from(self.config.half_life_ms);
        let begin_ms = self.period(node.time_ms) * half_life_ms;
        let age_ms = i128::from(now_ms.max(node.time_ms)) - begin_ms;
        let weights = self
            .weights(node)
            .map(|weight| decayed(weight, age_ms, half_life_ms));
        node.edges.keys().map(|&id| EntityId(id)).zip(weights).collect()
    }

    pub(super) fn export(&self, into: &mut Export) {
        let ring = |(user, items): (UserId, &[u64])| UserRingExport {
            user,
            items: items.iter().copied().map(EntityId).collect(),
        };
        into.user_rings = self.rings().map(ring).collect();
        into.related = self.related().collect();
        into.users_by_recency = self.users_by_recency().map(UserId).collect();
        into.items_by_recency = self.items_by_recency().map(EntityId).collect();
    }

    /// The users in the order in which the limit drops them.
    pub(super) fn users_by_recency(&self) -> impl Iterator<Item = u64> {
        by_recency(self.users.iter().map(|(&user, ring)| (ring.touched, user)))
    }

    /// The items in the order in which the limit drops them.
    pub(super) fn items_by_recency(&self) -> impl Iterator<Item = u64> {
        by_recency(self.nodes.iter().map(|(&item, node)| (node.touched, item)))
    }
}

fn by_recency(touched: impl Iterator<Item = (u64, u64)>) -> impl Iterator<Item = u64> {
    touched.collect::<BTreeSet<_>>().into_iter().map(|(_, id)| id)
}

/// Returns true if `found` is the ring `expected`.
pub(super) fn is_same_ring(expected: &[u64], found: &UserRingExport) -> bool {
    expected.iter().eq(found.items.iter().map(|item| &item.0))
}

/// Returns true if the edges are the same. Weights may differ by a relative [`WEIGHT_TOLERANCE`].
pub(super) fn has_same_edges(expected: &RelatedExport, found: &RelatedExport) -> bool {
    let same_edge = |(a, b): (&(EntityId, f64), &(EntityId, f64))| {
        a.0 == b.0 && (a.1 - b.1).abs() <= WEIGHT_TOLERANCE * a.1.abs()
    };
    expected.item == found.item
        && expected.time_ms == found.time_ms
        && expected.edges.len() == found.edges.len()
        && expected.edges.iter().zip(&found.edges).all(same_edge)
}

impl EdgeGain {
    /// The weight relative to the beginning of another period. Each period between halves or doubles the weight, which
    /// is exact.
    fn at(self, period: i128) -> f64 {
        let halvings = (period - self.period).clamp(-HALVINGS_MAX, HALVINGS_MAX);
        scale_pow2(self.weight, -halvings as i64)
    }
}

fn weight(gains: &[EdgeGain], landmark: i128) -> f64 {
    gains.iter().fold(0.0, |sum, gain| sum + gain.at(landmark))
}

/// Removes the records that were touched longest ago until `len_max` are left. Among equals the smallest id is removed
/// first.
fn drop_oldest<R>(records: &mut BTreeMap<u64, R>, len_max: u64, touched: impl Fn(&R) -> u64) {
    while records.len() as u64 > len_max {
        let oldest = records.iter().map(|(&id, record)| (touched(record), id)).min();
        let Some((_, id)) = oldest else { return };
        records.remove(&id);
    }
}
