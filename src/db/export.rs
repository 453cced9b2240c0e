//! The whole logical state as plain values: to look at, to compare, to carry elsewhere.

use super::handle::TidalDb;
use super::read::entities;
use crate::entities::CoEngagementIndex;
use crate::states::State;
use crate::{CohortId, EntityId, Error, SignalId, UserId};

/// Everything a database knows, each list sorted as its field says. Two databases that hold the same are equal, but for
/// the last digits of scores where events came in another order.
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
    /// The users that have a ring, the one without a positive event for longest first: which is dropped at the limit.
    pub users_by_recency: Vec<UserId>,
    /// The items that have edges, the one without a positive event of its own for longest first, likewise.
    pub items_by_recency: Vec<EntityId>,
}

/// What is kept of an entity and a signal.
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

/// The kept buckets of a window ring that are not empty. The list can hold one bucket more than the ring was declared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingExport {
    /// The number of a bucket, which begins at this number times its length after the Unix epoch, and its count.
    pub buckets: Vec<(i64, u32)>,
}

/// What is kept of an entity and a signal in a cohort.
#[derive(Debug, Clone, PartialEq)]
pub struct CohortStateExport {
    /// The cohort.
    pub cohort: CohortId,
    /// The rest.
    pub state: SignalStateExport,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionExport {
    /// Its name.
    pub name: Vec<u8>,
    /// Its members, ascending.
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
    /// By id; a weight is relative to the beginning of the half-life, counted from the epoch, that holds the time.
    pub edges: Vec<(EntityId, f64)>,
}

impl TidalDb {
    /// The whole state. Each part is consistent in itself; while other threads write, the parts may be of different
    /// moments. Takes time and memory by the size of the state.
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

/// The ids by when they were last touched, of those touched together by themselves.
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
