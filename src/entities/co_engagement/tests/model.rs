//! The naive co-engagement of the kit as the model of the index: its state, and its weights by the plain formula.

use super::super::state::{CoEngagementState, NodeState, RingState};
use crate::ids::{EntityId, UserId};
use crate::testing::model::co_engagement::{CoEngagement, EdgeGain, ItemNode};

/// The state with the weights of the model. The index must equal it bit for bit.
pub(super) fn state(model: &CoEngagement) -> CoEngagementState {
    state_by(model, |node| model.weights(node).collect())
}

/// The state with each gain computed as `weight * 2^((at - landmark) / half_life)` by the standard library.
pub(super) fn state_by_the_plain_formula(model: &CoEngagement) -> CoEngagementState {
    let half_life_ms = i128::from(model.config.half_life_ms);
    state_by(model, |node| {
        let landmark = i128::from(node.time_ms).div_euclid(half_life_ms) * half_life_ms;
        let edges = node.edges.values();
        edges.map(|gains| plain_weight(model, gains, landmark)).collect()
    })
}

/// The sum of the gains at a time, computed by the standard library.
fn plain_weight(model: &CoEngagement, gains: &[EdgeGain], at_ms: i128) -> f64 {
    let age = |event_ms: i64| (at_ms - i128::from(event_ms)) as f64 / model.config.half_life_ms as f64;
    let gains = gains.iter().map(|gain| gain.event);
    gains
        .map(|(weight, event_ms)| weight * (-age(event_ms)).exp2())
        .sum()
}

fn state_by(model: &CoEngagement, weights: impl Fn(&ItemNode) -> Vec<f64>) -> CoEngagementState {
    let users = model.users.iter().map(|(&user, ring)| RingState {
        user: UserId(user),
        touched: ring.touched,
        items: ring.items.iter().copied().map(EntityId).collect(),
    });
    let items = model.nodes.iter().map(|(&item, node)| NodeState {
        item: EntityId(item),
        touched: node.touched,
        time_ms: node.time_ms,
        edges: node
            .edges
            .keys()
            .copied()
            .map(EntityId)
            .zip(weights(node))
            .collect(),
    });
    CoEngagementState {
        ordinal: model.ordinal,
        users: users.collect(),
        items: items.collect(),
    }
}

/// The `k` heaviest edges of an item, by the plain formula.
pub(super) fn related(model: &CoEngagement, item: u64, k: usize, now_ms: i64) -> Vec<(EntityId, f64)> {
    let Some(node) = model.nodes.get(&item) else {
        return Vec::new();
    };
    let now_ms = i128::from(now_ms.max(node.time_ms));
    let scored = |(&id, gains): (&u64, &Vec<EdgeGain>)| (EntityId(id), plain_weight(model, gains, now_ms));
    let mut all: Vec<_> = node.edges.iter().map(scored).collect();
    all.retain(|&(_, score)| score > 0.0);
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}
