//! A naive twin of the index: every edge remembers all it ever gained and is weighed anew each time.

use std::collections::BTreeMap;

use super::super::CoEngagementConfig;
use super::super::state::{CoEngagementState, NodeState, RingState};
use crate::decay::HalfLife;
use crate::ids::{EntityId, UserId};

/// How the model computes the weight of a gain at a landmark.
#[derive(Debug, Clone, Copy)]
pub(super) enum Formula {
    /// `weight * growth`, then halved or doubled step by step: bit for bit what the index promises.
    Exact,
    /// `weight * 2^((at - landmark) / half_life)` by the standard library.
    Plain,
}

/// The weight and the time of each event that an edge gained from, in the order of gaining.
type Gains = Vec<(f64, i64)>;

#[derive(Debug, Clone)]
struct ModelNode {
    touched: u64,
    time_ms: i64,
    edges: BTreeMap<u64, Gains>,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    config: CoEngagementConfig,
    formula: Formula,
    ordinal: u64,
    users: BTreeMap<u64, (u64, Vec<u64>)>,
    nodes: BTreeMap<u64, ModelNode>,
}

impl Model {
    pub(super) fn new(config: CoEngagementConfig, formula: Formula) -> Self {
        Self {
            config,
            formula,
            ordinal: 0,
            users: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    fn half_life(&self) -> i128 {
        i128::from(self.config.half_life_ms)
    }

    /// The start of the half-life that holds the time.
    fn landmark(&self, at_ms: i64) -> i128 {
        i128::from(at_ms).div_euclid(self.half_life()) * self.half_life()
    }

    fn gain_at(&self, (weight, at_ms): (f64, i64), landmark: i128) -> f64 {
        if let Formula::Plain = self.formula {
            return weight * ((i128::from(at_ms) - landmark) as f64 / self.half_life() as f64).exp2();
        }
        let own = self.landmark(at_ms);
        let mut gain = weight * HalfLife::new(self.config.half_life_ms).growth(at_ms);
        for _ in 0..((landmark - own) / self.half_life()).min(2200) {
            gain /= 2.0;
        }
        for _ in 0..((own - landmark) / self.half_life()).min(2200) {
            gain *= 2.0;
        }
        gain
    }

    fn weight(&self, gains: &Gains, landmark: i128) -> f64 {
        gains
            .iter()
            .map(|&gain| self.gain_at(gain, landmark))
            .fold(0.0, |sum, gain| sum + gain)
    }

    /// Whether `from` took the gain.
    fn link(&mut self, from: u64, to: u64, gain: (f64, i64), newcomers: &mut Vec<(u64, u64)>) {
        let (ordinal, now) = (self.ordinal, gain.1);
        let before = self.nodes.get(&from).cloned();
        let new = || ModelNode {
            touched: ordinal,
            time_ms: now,
            edges: BTreeMap::new(),
        };
        let mut node = before.unwrap_or_else(new);
        let time_ms = node.time_ms.max(now);
        let landmark = self.landmark(time_ms);
        if self.gain_at(gain, landmark) < f64::MIN_POSITIVE {
            return;
        }
        node.time_ms = time_ms;
        node.edges
            .retain(|_, gains| self.weight(gains, landmark) >= f64::MIN_POSITIVE);
        match node.edges.get_mut(&to) {
            Some(gains) => gains.push(gain),
            None => newcomers.push((from, to)),
        }
        self.nodes.insert(from, node);
    }

    /// Space-Saving, one newcomer at a time.
    fn admit(&mut self, from: u64, newcomer: u64, gain: (f64, i64)) {
        let mut gains = Vec::new();
        if self.nodes[&from].edges.len() == self.config.degree_max as usize {
            let victim = self.lightest(from);
            gains = self.nodes.get_mut(&from).unwrap().edges.remove(&victim).unwrap();
        }
        gains.push(gain);
        self.nodes.get_mut(&from).unwrap().edges.insert(newcomer, gains);
    }

    /// The lightest edge of the item; of equals the one with the largest id.
    fn lightest(&self, item: u64) -> u64 {
        let node = &self.nodes[&item];
        let landmark = self.landmark(node.time_ms);
        let mut ranked: Vec<_> = node
            .edges
            .iter()
            .map(|(&id, gains)| (self.weight(gains, landmark), id))
            .collect();
        ranked.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
        ranked.last().unwrap().1
    }

    pub(super) fn record_positive(&mut self, user: u64, item: u64, weight: f64, at_ms: i64) {
        let mut ring = self.users.remove(&user).unwrap_or_default().1;
        if !ring.contains(&item) && weight > 0.0 {
            let mut newcomers = Vec::new();
            for &other in &ring {
                self.link(item, other, (weight, at_ms), &mut newcomers);
                self.link(other, item, (weight, at_ms), &mut newcomers);
            }
            for (from, to) in newcomers {
                self.admit(from, to, (weight, at_ms));
            }
        }
        ring.retain(|&other| other != item);
        ring.push(item);
        if ring.len() > self.config.ring_len_max as usize {
            ring.remove(0);
        }
        self.users.insert(user, (self.ordinal, ring));
        if let Some(node) = self.nodes.get_mut(&item) {
            node.touched = self.ordinal;
        }
        self.drop_oldest();
        self.ordinal += 1;
    }

    fn drop_oldest(&mut self) {
        while self.users.len() as u64 > self.config.users_max {
            let oldest = *self
                .users
                .iter()
                .min_by_key(|(id, user)| (user.0, **id))
                .unwrap()
                .0;
            self.users.remove(&oldest);
        }
        while self.nodes.len() as u64 > self.config.nodes_max {
            let oldest = *self
                .nodes
                .iter()
                .min_by_key(|(id, node)| (node.touched, **id))
                .unwrap()
                .0;
            self.nodes.remove(&oldest);
        }
    }

    pub(super) fn set_bounds(&mut self, config: CoEngagementConfig) {
        self.config = config;
        self.drop_oldest();
        for (_, ring) in self.users.values_mut() {
            while ring.len() > config.ring_len_max as usize {
                ring.remove(0);
            }
        }
        let items: Vec<u64> = self.nodes.keys().copied().collect();
        for item in items {
            while self.nodes[&item].edges.len() > config.degree_max as usize {
                let lightest = self.lightest(item);
                self.nodes.get_mut(&item).unwrap().edges.remove(&lightest);
            }
        }
    }

    pub(super) fn forget_item(&mut self, item: u64) {
        self.nodes.remove(&item);
        for node in self.nodes.values_mut() {
            node.edges.remove(&item);
        }
        self.nodes.retain(|_, node| !node.edges.is_empty());
        for (_, ring) in self.users.values_mut() {
            ring.retain(|&other| other != item);
        }
        self.users.retain(|_, (_, ring)| !ring.is_empty());
    }

    pub(super) fn forget_user(&mut self, user: u64) {
        self.users.remove(&user);
    }

    pub(super) fn related(&self, item: u64, k: usize, now_ms: i64) -> Vec<(EntityId, f64)> {
        let Some(node) = self.nodes.get(&item) else {
            return Vec::new();
        };
        let now = i128::from(now_ms.max(node.time_ms));
        let score = |gains: &Gains| -> f64 {
            let age = |at: i64| (now - i128::from(at)) as f64 / self.half_life() as f64;
            gains.iter().map(|&(weight, at)| weight * (-age(at)).exp2()).sum()
        };
        let mut all: Vec<_> = node
            .edges
            .iter()
            .map(|(&id, gains)| (EntityId(id), score(gains)))
            .collect();
        all.retain(|&(_, score)| score > 0.0);
        all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }

    pub(super) fn export(&self) -> CoEngagementState {
        let ring = |(&user, (touched, items)): (&u64, &(u64, Vec<u64>))| RingState {
            user: UserId(user),
            touched: *touched,
            items: items.iter().copied().map(EntityId).collect(),
        };
        let node = |(&item, node): (&u64, &ModelNode)| NodeState {
            item: EntityId(item),
            touched: node.touched,
            time_ms: node.time_ms,
            edges: node
                .edges
                .iter()
                .map(|(&id, gains)| (EntityId(id), self.weight(gains, self.landmark(node.time_ms))))
                .collect(),
        };
        CoEngagementState {
            ordinal: self.ordinal,
            users: self.users.iter().map(ring).collect(),
            items: self.nodes.iter().map(node).collect(),
        }
    }
}
