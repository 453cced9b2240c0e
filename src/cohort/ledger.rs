//! The cohort ledger: the hot and the warm tier by cohort, entity and signal. It applies the same frames of the log as
//! the table of entities.
//!
//! Invariant: a state contains every event of its cohort exactly once, in both tiers. Readers get both or neither.
//!
//! In memory only. A panic between the tiers leaves the event in the hot tier alone, under a lock. No reader gets this
//! state: each later access to the shard returns `Panicked`. An open replays from a checkpoint.

use super::CohortEntity;
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

    /// Applies one event to the state of `entity` in `cohort`. Returns the number of window rings for which it was too
    /// late.
    ///
    /// # Errors
    /// `Error::UnknownSignal`, `Error::LimitExceeded`: nothing was changed. `Error::Panicked` if an earlier change of
    /// the same shard was not completed.
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

    /// The score of `entity` in `cohort`: see [`StateTable::score`].
    ///
    /// # Errors
    /// The errors of [`StateTable::score`].
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

    /// The windowed count of `entity` in `cohort`: see [`StateTable::count`].
    ///
    /// # Errors
    /// The errors of [`StateTable::count`].
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

    /// The table, for checkpoints, exports and statistics.
    pub(crate) fn states(&self) -> &StateTable<CohortEntity> {
        &self.states
    }

    /// The table, for the restore of a checkpoint.
    pub(crate) fn states_mut(&mut self) -> &mut StateTable<CohortEntity> {
        &mut self.states
    }
}
