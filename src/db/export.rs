//! The whole logical state as plain values, for inspection, comparison and migration. An export reads memory only.

use super::handle::TidalDb;
use super::read::entities;
use crate::entities::CoEngagementIndex;
use crate::states::State;
use crate::{CohortId, EntityId, Error, SignalId, UserId};

/// The whole state of a database. The doc of each field gives the order of its list. Two databases with the same state
/// have equal exports, except for the last digits of scores if the events had another order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Export {
    /// By entity and signal.
    pub signals: Vec<SignalStateExport>,
    /// By cohort, entity and signal.
    pub cohorts: Vec<CohortStateExport>,
    /// By name.
    pub collections: Vec<CollectionExport>,
    /// By user.
    pub user_rings: Vec<UserRingExport>,
    /// By item.
    pub related: Vec<RelatedExport>,
    /// The users that have a ring, in the order of their last positive event, oldest first. At the limit the first one
    /// is dropped.
    pub users_by_recency: Vec<UserId>,
    /// The items that have edges, in the order of their last positive event, oldest first. The event that gave an item
    /// its first edge counts too. At the limit the edges of the first one are dropped.
    pub items_by_recency: Vec<EntityId>,
}

/// The state of an entity and a signal.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalStateExport {
    /// The entity.
    pub entity: EntityId,
    /// The signal.
    pub signal: SignalId,
    /// The time of the newest event, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The scores decayed to that time, by half-life.
    pub scores: Vec<f64>,
    /// By window ring.
    pub windows: Vec<RingExport>,
}

/// The retained buckets of a window ring that are not empty. The list can hold one bucket more than the ring was
/// declared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingExport {
    /// The number of a bucket, which begins at this number times its length after the Unix epoch, and its count.
    pub buckets: Vec<(i64, u32)>,
}

/// The state of an entity and a signal in a cohort.
#[derive(Debug, Clone, PartialEq)]
pub struct CohortStateExport {
    /// The cohort.
    pub cohort: CohortId,
    /// The entity, the signal and the state of both in the cohort.
    pub state: SignalStateExport,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionExport {
    /// The name.
    pub name: Vec<u8>,
    /// The members, ascending.
    pub members: Vec<EntityId>,
}

/// The recent positive items of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRingExport {
    /// The user.
    pub user: UserId,
    /// Oldest first.
    pub items: Vec<EntityId>,
}

/// The edges of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct RelatedExport {
    /// The item.
    pub item: EntityId,
    /// The time of the newest event that changed an edge, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// By id. A weight is relative to the beginning of the half-life that contains `time_ms`, counted from the epoch.
    pub edges: Vec<(EntityId, f64)>,
}

impl TidalDb {
    /// The whole state. Each part is consistent in itself. If other threads write meanwhile, the parts may be of
    /// different times. Time and memory grow with the size of the state.
    ///
    /// # Errors
    /// `Poisoned` after a panic in the middle of an operation; `Closed`.
    pub fn export(&self) -> Result<Export, Error> {
        self.read(|| {
            let state = &self.shared.ledger.state;
            let signals = state.signals.export()?;
            let cohorts = state.cohorts.states().export()?;
            let co_engagement = state.read_co_engagement(CoEngagementIndex::export)?;
            let collections = self.shared.collections.read();
            let collections = collections.get()?;
            let mut collection_exports = Vec::new();
            for name in collections.names() {
                let members = entities(collections.members(name)?);
                collection_exports.push(CollectionExport {
                    name: name.to_vec(),
                    members,
                });
            }
            Ok(Export {
                signals: signals
                    .into_iter()
                    .map(|(entity, signal, state)| signal_state(entity, signal, state))
                    .collect(),
                cohorts: cohorts
                    .into_iter()
                    .map(|(key, signal, state)| CohortStateExport {
                        cohort: key.cohort,
                        state: signal_state(key.entity, signal, state),
                    })
                    .collect(),
                collections: collection_exports,
                users_by_recency: by_recency(
                    co_engagement.users.iter().map(|ring| (ring.touched, ring.user)),
                ),
                items_by_recency: by_recency(
                    co_engagement.items.iter().map(|node| (node.touched, node.item)),
                ),
                user_rings: co_engagement
                    .users
                    .into_iter()
                    .map(|ring| UserRingExport {
                        user: ring.user,
                        items: ring.items,
                    })
                    .collect(),
                related: co_engagement
                    .items
                    .into_iter()
                    .map(|node| RelatedExport {
                        item: node.item,
                        time_ms: node.time_ms,
                        edges: node.edges,
                    })
                    .collect(),
            })
        })
    }
}

/// The ids in the order of their last touch; ids with the same last touch in ascending order.
fn by_recency<Id: Ord>(touched: impl Iterator<Item = (u64, Id)>) -> Vec<Id> {
    let mut all: Vec<_> = touched.collect();
    all.sort_unstable();
    all.into_iter().map(|(_, id)| id).collect()
}

fn signal_state(entity: EntityId, signal: SignalId, state: State) -> SignalStateExport {
    SignalStateExport {
        entity,
        signal,
        time_ms: state.time_ms,
        scores: state.scores,
        windows: state
            .windows
            .into_iter()
            .map(|buckets| RingExport { buckets })
            .collect(),
    }
}
