//! Crash points and the one-shot injector that fires at them.

/// A place in a write path where a crash can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashPoint {
    /// After the log append returned, before the hot tier is updated.
    WalPreAggregate,
    /// After the hot tier is updated, before the caller is acknowledged.
    WalPostAggregate,
    /// Before the checkpoint's batch is written.
    CheckpointPreFlush,
    /// After the checkpoint is flushed, before the log's marker.
    CheckpointPostFlush,
    /// Between the first decay score and the others.
    SignalAggregationUpdate,
    /// After a cohort's hot tier, before its warm tier.
    CohortLedgerUpdate,
    /// After the storage put, before the in-memory collection.
    CollectionIndexUpdate,
    /// After the edges are inserted, before eviction.
    CoEngagementUpdate,
}

/// The hook.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the hook's shape is part of the contract")]
pub fn check_crash_point(_point: CrashPoint) {}

pub(crate) fn inherit<F: FnOnce()>(body: F) -> F {
    body
}
