//! Reads and the values that they returned, as the oracle records them.

use std::sync::Arc;

use crate::{EntityId, SignalId};

/// The beginning of a read: the number of calls that had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::testing) struct ReadBegin(pub(super) u64);

/// The values that a read returned.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::testing) struct FoundRead {
    pub(in crate::testing) entity: EntityId,
    pub(in crate::testing) signal: SignalId,
    /// The time of the read, in milliseconds since the Unix epoch.
    pub(in crate::testing) now_ms: i64,
    /// The score of the entity for the first half-life of the signal.
    pub(in crate::testing) score: f64,
    /// The related items of the entity with the greatest weights, at most `related_len_max`.
    pub(in crate::testing) related: Vec<(EntityId, f64)>,
    pub(in crate::testing) related_len_max: usize,
    /// The names of all collections.
    pub(in crate::testing) names: Vec<Vec<u8>>,
    /// The members of collections. `None` for a collection that did not exist.
    pub(in crate::testing) members: Vec<(Vec<u8>, Option<Vec<EntityId>>)>,
}

/// A read that ended.
#[derive(Debug, Clone)]
pub(super) struct OracleRead {
    pub(super) found: Arc<FoundRead>,
    /// The number of calls that had ended when the read began.
    pub(super) ended_len_at_begin: u64,
    /// The number of calls that had ended when the read ended, the read included.
    pub(super) ended_len_at_end: u64,
}
