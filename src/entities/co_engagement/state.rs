//! The whole state of co-engagement as plain values, for comparisons and exports. In memory only.

use super::forgotten::ForgottenItems;
use super::node::Node;
use super::table::Stamped;
use crate::entities::user_ring::UserRing;
use crate::ids::{EntityId, UserId};

/// The whole state, sorted. Two indexes have the same state iff these values are equal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CoEngagementState {
    /// The number of positive events since the database was created.
    pub(crate) ordinal: u64,
    /// By user.
    pub(crate) users: Vec<RingState>,
    /// By item.
    pub(crate) items: Vec<NodeState>,
}

/// The ring of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RingState {
    pub(crate) user: UserId,
    /// The ordinal of the user's last event.
    pub(crate) touched: u64,
    /// Oldest first.
    pub(crate) items: Vec<EntityId>,
}

/// The edges of one item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeState {
    pub(crate) item: EntityId,
    /// The ordinal of the item's last event, or of the event that gave it its first edge.
    pub(crate) touched: u64,
    /// The latest time of an event that changed an edge, in milliseconds since the Unix epoch.
    pub(crate) time_ms: i64,
    /// By id. A weight is relative to the beginning of the half-life that contains `time_ms`, counted from the epoch.
    pub(crate) edges: Vec<(EntityId, f64)>,
}

impl CoEngagementState {
    /// Both slices are sorted by id. Entries for which [`ForgottenItems::is_forgotten`] returns true are left out.
    pub(super) fn new(
        ordinal: u64,
        users: &[(u64, &Stamped<UserRing>)],
        nodes: &[(u64, &Stamped<Node>)],
        forgotten: &ForgottenItems,
    ) -> Self {
        let ring = |&(user, ring): &(u64, &Stamped<UserRing>)| RingState {
            user: UserId(user),
            touched: ring.touched,
            items: forgotten
                .cleaned(ring)
                .items()
                .iter()
                .copied()
                .map(EntityId)
                .collect(),
        };
        let node = |&(item, node): &(u64, &Stamped<Node>)| NodeState {
            item: EntityId(item),
            touched: node.touched,
            time_ms: node.record.time_ms,
            edges: forgotten
                .cleaned(node)
                .sorted_edges()
                .iter()
                .map(|edge| (EntityId(edge.id), edge.weight))
                .collect(),
        };
        Self {
            ordinal,
            users: users.iter().map(ring).collect(),
            items: nodes.iter().map(node).collect(),
        }
    }
}
