//! The cohort ledger: hot and warm tier by cohort, entity and signal, fed from the same log frames as the global one.
//!
//! Invariant: a state holds every event recorded for its cohort exactly once, in both tiers; readers see both or
//! neither.
//!
//! In memory only. A crash between the tiers leaves the event in the hot one alone, under a lock. No reader sees
//! that: the shard gives `Panicked` from then on, and replay starts from a checkpoint.

pub(super) use super::CohortEntity;
use crate::limits::Limits;
use crate::states::{SignalShape, Slot, StateTable};
use crate::{CohortId, EntityId, Error, SignalId};

/// The aggregates of all cohorts.
#[derive(Debug)]
pub(crate) struct CohortSignalLedger {
    states: StateTable<CohortEntity>,
}

impl CohortSignalLedger {
    /// An empty ledger for signals of these shapes, in the order of their ids.
    pub(crate) fn new(shapes: &[SignalShape], limits: &Limits) -> Self {
        Self {
            states: StateTable::new(shapes, limits),
        }
    }

    /// Applies one event to the state of `entity` in `cohort`, and returns how many window rings it was too late for.
    ///
    /// # Errors
    /// `Error::UnknownSignal`, `Error::LimitExceeded`: nothing was changed. `Error::Panicked` if a thread panicked in
    /// the same shard before.
    pub(crate) fn record(
        &self,
        cohort: CohortId,
        entity: EntityId,
        signal: SignalId,
        weight: f64,
        at_ms: i64,
    ) -> Result<u32, Error> {
        let key = CohortEntity { cohort, entity };
        self.states.with_slot(key, signal, |Slot { hot, warm, slot }| {
            hot.on_signal(slot, weight, at_ms);
            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CohortLedgerUpdate);
            warm.increment(slot, at_ms)
        })
    }

    /// As [`StateTable::score`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn score(
        &self,
        cohort: CohortId,
        entity: EntityId,
        signal: SignalId,
        half_life_index: usize,
        now_ms: i64,
    ) -> Result<f64, Error> {
        let key = CohortEntity { cohort, entity };
        self.states.score(key, signal, half_life_index, now_ms)
    }

    /// As [`StateTable::count`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn count(
        &self,
        cohort: CohortId,
        entity: EntityId,
        signal: SignalId,
        ring_index: usize,
        buckets_len: u32,
        now_ms: i64,
    ) -> Result<u64, Error> {
        let key = CohortEntity { cohort, entity };
        self.states.count(key, signal, ring_index, buckets_len, now_ms)
    }

    /// The table itself, for checkpoints, exports and statistics.
    pub(crate) fn states(&self) -> &StateTable<CohortEntity> {
        &self.states
    }

    /// The table itself, for restoring it.
    pub(crate) fn states_mut(&mut self) -> &mut StateTable<CohortEntity> {
        &mut self.states
    }
}
