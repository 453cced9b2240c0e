//! The weighted edges of one item.
//!
//! Owns the decay and the eviction of edges. Invariant between events: the edges lead to distinct items, none to the
//! item itself, at most as many as the degree bound. Every weight is finite and at least [`WEIGHT_MIN`]. In memory
//! only.
//!
//! Decay is forward decay (Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009), as in [`crate::decay`]: a stored weight is
//! relative to a landmark, so it does not change when time passes. The landmark is the beginning of the half-life that
//! contains the time of the node, in periods counted from the Unix epoch. A move of the landmark multiplies every
//! weight by a power of two, which is exact. A weight that would become smaller than the normal numbers is dropped and
//! not rounded.
//!
//! Eviction is Space-Saving (Metwally, Agrawal, El Abbadi, ICDT 2005): a new edge takes over the weight of the edge
//! that it replaces. Without this, the lightest edge would always be the new one, and no new edge could stay.

use crate::decay::{HalfLife, scale_pow2};

/// The smallest weight of an edge: below it a halving is no longer exact.
pub(super) const WEIGHT_MIN: f64 = f64::MIN_POSITIVE;

/// The weight that one event adds to each edge of its item and its ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gain {
    at_ms: i64,
    period: i64,
    /// Relative to the beginning of the period.
    weight: f64,
}

impl Gain {
    /// `None` for an event that changes no edge: its weight is not above zero, or NaN, or below [`WEIGHT_MIN`].
    pub(super) fn new(half_life: &HalfLife, weight: f64, at_ms: i64) -> Option<Self> {
        let weight = weight * half_life.growth(at_ms);
        let period = half_life.period(at_ms);
        (weight >= WEIGHT_MIN).then(|| Self {
            at_ms,
            period,
            weight: weight.min(f64::MAX),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    pub(super) id: u64,
    /// Relative to the node's landmark.
    pub(super) weight: f64,
}

impl Edge {
    /// The sort key of edges: by weight descending, then by id ascending. The last edge is evicted first.
    ///
    /// A weight is above zero, so the bits of weights have the order of their values.
    fn rank(&self) -> u128 {
        u128::from(!self.weight.to_bits()) << 64 | u128::from(self.id)
    }
}

/// The edges of one item, in no meaningful order between events.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The latest time of an event that changed an edge.
    pub(super) time_ms: i64,
    pub(super) edges: Vec<Edge>,
}

impl Node {
    /// A node without edges. The caller then adds the first edge, for an event at `at_ms`.
    pub(super) fn new(at_ms: i64) -> Self {
        Self {
            time_ms: at_ms,
            edges: Vec::new(),
        }
    }

    /// Adds the gain to the edge to `id`, or adds a new edge at the end. So the node may exceed its degree bound until
    /// [`Self::evict`]. A gain of an old event that has decayed below [`WEIGHT_MIN`] changes nothing.
    ///
    /// The capacity never exceeds `edges_len_max`: the degree bound and the new edges of one event.
    pub(super) fn link(&mut self, half_life: &HalfLife, id: u64, gain: Gain, edges_len_max: usize) {
        let before = half_life.period(self.time_ms);
        let now = before.max(gain.period);
        let weight = decayed(gain.weight, gain.period, now);
        if weight < WEIGHT_MIN {
            return;
        }
        if now != before {
            self.edges.retain_mut(|edge| {
                edge.weight = decayed(edge.weight, before, now);
                edge.weight >= WEIGHT_MIN
            });
        }
        self.time_ms = self.time_ms.max(gain.at_ms);
        if let Some(edge) = self.edges.iter_mut().find(|edge| edge.id == id) {
            edge.weight = add(edge.weight, weight);
            return;
        }
        let len = self.edges.len();
        if len == self.edges.capacity() {
            self.edges
                .reserve_exact(len.max(4).min(edges_len_max.saturating_sub(len)));
        }
        self.edges.push(Edge { id, weight });
    }

    /// Reduces the node to `degree_max` edges.
    ///
    /// The first `degree_max` edges are in place. Every later edge is a new edge of this event. In the order of
    /// insertion, each new edge replaces the lightest edge in place and adds its weight to its own. The replaced edge
    /// may be a new edge before it. Of equally light edges the one with the largest id is replaced. So the result is
    /// that of Space-Saving with the gains of the old edges first and then the new edges one by one. The sum of all
    /// weights is unchanged.
    pub(super) fn evict(&mut self, degree_max: usize) {
        let Some((in_place, new_edges)) = self.edges.split_at_mut_checked(degree_max) else {
            return;
        };
        for new_edge in new_edges {
            if let Some(place) = in_place.iter_mut().max_by_key(|edge| edge.rank()) {
                *place = Edge {
                    id: new_edge.id,
                    weight: add(place.weight, new_edge.weight),
                };
            }
        }
        self.edges.truncate(degree_max);
    }

    /// Drops the lightest edges until at most `len_max` are left; of equally light edges those with the largest ids.
    pub(super) fn drop_lightest(&mut self, len_max: usize) {
        self.edges.sort_unstable_by_key(Edge::rank);
        self.edges.truncate(len_max);
        self.edges.shrink_to_fit();
    }

    /// The heaviest `k` of the edges to items for which `keep` returns true: by weight descending, then by id
    /// ascending. Weights are those at `now_ms`, or at the node's time if it is later. Edges that have decayed to zero
    /// are left out.
    pub(super) fn heaviest(
        &self,
        half_life: &HalfLife,
        k: usize,
        now_ms: i64,
        keep: impl Fn(u64) -> bool,
    ) -> Vec<Edge> {
        let now_ms = now_ms.max(self.time_ms);
        let (from, to) = (half_life.period(self.time_ms), half_life.period(now_ms));
        let growth = half_life.growth(now_ms);
        let at_now = |edge: &Edge| Edge {
            weight: decayed(edge.weight / growth, from, to),
            ..*edge
        };
        let mut edges: Vec<Edge> = self
            .edges
            .iter()
            .filter(|edge| keep(edge.id))
            .map(at_now)
            .filter(|edge| edge.weight > 0.0)
            .collect();
        edges.sort_unstable_by_key(Edge::rank);
        edges.truncate(k);
        edges
    }

    /// The edges by id.
    pub(super) fn sorted_edges(&self) -> Vec<Edge> {
        let mut edges = self.edges.clone();
        edges.sort_unstable_by_key(|edge| edge.id);
        edges
    }
}

/// A weight relative to the beginning of the period `to` instead of the period `from`, which is not later.
fn decayed(weight: f64, from: i64, to: i64) -> f64 {
    // If the difference is too large for the type, the weight has decayed to zero in any case.
    scale_pow2(weight, from.saturating_sub(to))
}

/// A sum that saturates instead of becoming infinite.
fn add(a: f64, b: f64) -> f64 {
    (a + b).min(f64::MAX)
}
