//! Reads through the handle.
//!
//! A read changes nothing on disk. A read of one entity holds a lock only for the work for this entity; an export, the
//! statistics and reads of collections hold a lock longer.

use std::sync::atomic::Ordering;

use super::collections::{CollectionIndex, Members};
use super::handle::TidalDb;
use super::report::Statistics;
use crate::entities::CoEngagementIndex;
use crate::{CohortId, EntityId, Error, SignalId};

impl TidalDb {
    /// The score of an entity for one half-life of a signal, decayed to `now_ms`: the sum over its events of
    /// `weight * 2^(-(now_ms - at_ms) / half_life_ms)`. Dimensionless; 0 without events.
    ///
    /// A `now_ms` before the newest event counts as the time of that event. Two orders of the same `n` events give
    /// results that differ by at most `n * 2^-52` of the sum of the absolute contributions: under 1e-9 of it up to 2^22
    /// events. Forward decay: Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009. The bound is that of plain summation:
    /// Higham, "Accuracy and Stability of Numerical Algorithms", SIAM 2002, section 4.2.
    ///
    /// # Errors
    /// `UnknownSignal`; `InvalidInput` for the half-life's index; `Poisoned` after a panic in the middle of an
    /// operation; `Closed`.
    pub fn score(
        &self,
        entity: EntityId,
        signal: SignalId,
        half_life_index: usize,
        now_ms: i64,
    ) -> Result<f64, Error> {
        self.read(|| {
            self.shared
                .ledger
                .state
                .signals
                .score(entity, signal, half_life_index, now_ms)
        })
    }

    /// The number of events of an entity in `buckets_len` buckets of one window ring. The last of these buckets is the
    /// bucket of `now_ms`. Buckets are aligned to the Unix epoch. Weights do not count. A bucket saturates at
    /// `u32::MAX`.
    ///
    /// The count is complete if the bucket of `now_ms` is the bucket of the newest event, the bucket before it, or any
    /// later one: the ring retains one bucket more than it was declared with. For an older `now_ms`, buckets older than
    /// the retained ones count as empty.
    ///
    /// # Errors
    /// `UnknownSignal`; `InvalidInput` for the index of the ring, or for more buckets than the ring was declared with;
    /// `Poisoned`; `Closed`.
    pub fn windowed_count(
        &self,
        entity: EntityId,
        signal: SignalId,
        ring_index: usize,
        buckets_len: u32,
        now_ms: i64,
    ) -> Result<u64, Error> {
        self.read(|| {
            self.shared
                .ledger
                .state
                .signals
                .count(entity, signal, ring_index, buckets_len, now_ms)
        })
    }

    /// The [`score`](Self::score) of the events that named the cohort.
    ///
    /// # Errors
    /// Those of [`score`](Self::score).
    pub fn cohort_score(
        &self,
        cohort: CohortId,
        entity: EntityId,
        signal: SignalId,
        half_life_index: usize,
        now_ms: i64,
    ) -> Result<f64, Error> {
        self.read(|| {
            self.shared
                .ledger
                .state
                .cohorts
                .score(cohort, entity, signal, half_life_index, now_ms)
        })
    }

    /// The [`windowed_count`](Self::windowed_count) of the events that named the cohort. The newest bucket of the ring
    /// is that of the newest such event.
    ///
    /// # Errors
    /// Those of [`windowed_count`](Self::windowed_count).
    pub fn cohort_windowed_count(
        &self,
        cohort: CohortId,
        entity: EntityId,
        signal: SignalId,
        ring_index: usize,
        buckets_len: u32,
        now_ms: i64,
    ) -> Result<u64, Error> {
        let cohorts = &self.shared.ledger.state.cohorts;
        self.read(|| cohorts.count(cohort, entity, signal, ring_index, buckets_len, now_ms))
    }

    /// At most `limit` items that the same users engaged with positively, and the weights of these edges decayed to
    /// `now_ms`: by weight descending, then by id ascending.
    ///
    /// Space-Saving bounds the edges of an item (Metwally, Agrawal, El Abbadi, ICDT 2005). After an item has had more
    /// edges than the bound, a weight may be overestimated.
    ///
    /// # Errors
    /// `Poisoned` after a panic in the middle of an operation; `Closed`.
    pub fn related(&self, item: EntityId, limit: usize, now_ms: i64) -> Result<Vec<(EntityId, f64)>, Error> {
        let state = &self.shared.ledger.state;
        self.read(|| state.read_co_engagement(|index| index.related(item, limit, now_ms)))
    }

    /// The names of all collections, in byte order.
    ///
    /// # Errors
    /// `Poisoned` after a panic in the middle of a change; `Closed`.
    pub fn collections(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.read(|| {
            let index = self.shared.collections.read();
            Ok(index.get()?.names().map(<[u8]>::to_vec).collect())
        })
    }

    /// Returns true if `entity` is a member of the collection.
    ///
    /// # Errors
    /// `UnknownCollection`; `Poisoned` after a panic in the middle of a change; `Closed`.
    pub fn collection_contains(&self, name: impl AsRef<[u8]>, entity: EntityId) -> Result<bool, Error> {
        self.with_members(name.as_ref(), |members| members.contains(entity.0))
    }

    /// The number of members of the collection.
    ///
    /// # Errors
    /// As [`collection_contains`](Self::collection_contains).
    pub fn collection_len(&self, name: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.with_members(name.as_ref(), Members::len)
    }

    /// The members of the collection at the time of this call, ascending.
    ///
    /// # Errors
    /// As [`collection_contains`](Self::collection_contains).
    pub fn collection_members(&self, name: impl AsRef<[u8]>) -> Result<Vec<EntityId>, Error> {
        self.with_members(name.as_ref(), entities)
    }

    /// The entities in both collections, ascending.
    ///
    /// # Errors
    /// As [`collection_contains`](Self::collection_contains).
    pub fn collection_and(
        &self,
        left: impl AsRef<[u8]>,
        right: impl AsRef<[u8]>,
    ) -> Result<Vec<EntityId>, Error> {
        self.combine(left.as_ref(), right.as_ref(), |left, right| left && right)
    }

    /// The entities in either collection, ascending.
    ///
    /// # Errors
    /// As [`collection_contains`](Self::collection_contains).
    pub fn collection_or(
        &self,
        left: impl AsRef<[u8]>,
        right: impl AsRef<[u8]>,
    ) -> Result<Vec<EntityId>, Error> {
        self.combine(left.as_ref(), right.as_ref(), |left, right| left || right)
    }

    /// The entities in the collection `left` that are not in `right`, ascending.
    ///
    /// # Errors
    /// As [`collection_contains`](Self::collection_contains).
    pub fn collection_difference(
        &self,
        left: impl AsRef<[u8]>,
        right: impl AsRef<[u8]>,
    ) -> Result<Vec<EntityId>, Error> {
        self.combine(left.as_ref(), right.as_ref(), |left, right| left && !right)
    }

    /// The sequence number of the last written frame; 0 before the first.
    pub fn last_sequence(&self) -> u64 {
        self.shared.ledger.log.last_sequence()
    }

    /// The last sequence number up to which every event survives a power loss, because it is synced in the log or in a
    /// flushed checkpoint.
    pub fn durable_sequence(&self) -> u64 {
        self.shared
            .ledger
            .log
            .durable_sequence()
            .max(self.shared.checkpointer.covered())
    }

    /// The current statistics of the handle.
    ///
    /// # Errors
    /// `Poisoned` after a panic in the middle of an operation.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        let ledger = &self.shared.ledger;
        let growth = self.shared.checkpointer.growth(ledger);
        Ok(Statistics {
            last_sequence: self.last_sequence(),
            durable_sequence: self.durable_sequence(),
            checkpoint_sequence: self.shared.checkpointer.covered(),
            log_bytes: ledger.log.log_bytes(),
            log_segments_len: growth.segments_len + 1,
            log_bytes_since_checkpoint: growth.log_bytes,
            state_bytes_since_checkpoint: growth.state_bytes,
            late_drops: ledger.state.late_drops(),
            events_set_back: self.shared.events_set_back.load(Ordering::Relaxed),
            newest_event_ms: ledger.state.newest_event_ms(),
            states_len: self.end_reads_if_panicked(ledger.state.signals.len())?,
            cohort_states_len: self.end_reads_if_panicked(ledger.state.cohorts.states().len())?,
            tombstones_len: self
                .end_reads_if_panicked(ledger.state.read_co_engagement(CoEngagementIndex::tombstones_len))?,
            collections_bytes: self.end_reads_if_panicked(
                self.shared
                    .collections
                    .read()
                    .get()
                    .map(CollectionIndex::heap_bytes),
            )?,
            states_bytes: self.end_reads_if_panicked(ledger.state.signals.heap_bytes())?
                + self.end_reads_if_panicked(ledger.state.cohorts.states().heap_bytes())?,
            storage_index_bytes: self.end_reads_if_panicked(self.shared.storage.index_bytes())?,
            poison: ledger.poison.cause(),
        })
    }

    /// Runs a read unless reads have ended.
    pub(super) fn read<T>(&self, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.shared.ledger.check_open()?;
        self.shared.ledger.poison.check_read()?;
        self.end_reads_if_panicked(read())
    }

    /// Ends all reads if the result is `Panicked`: a change of an aggregate was not completed.
    fn end_reads_if_panicked<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match error {
            Error::Panicked { .. } => self.shared.ledger.poison.fail_unreadable(error),
            other => other,
        })
    }

    fn with_members<T>(&self, name: &[u8], read: impl FnOnce(&Members) -> T) -> Result<T, Error> {
        self.read(|| {
            let index = self.shared.collections.read();
            Ok(read(index.get()?.members(name)?))
        })
    }

    /// The entities in either collection for which `is_in` returns true, ascending. `is_in` takes two values: true if
    /// the entity is in `left`, and true if it is in `right`.
    fn combine(
        &self,
        left: &[u8],
        right: &[u8],
        is_in: impl Fn(bool, bool) -> bool,
    ) -> Result<Vec<EntityId>, Error> {
        self.read(|| {
            let index = self.shared.collections.read();
            let index = index.get()?;
            let mut left = index.members(left)?.iter().peekable();
            let mut right = index.members(right)?.iter().peekable();
            let mut entities = Vec::new();
            while let Some(id) = left.peek().into_iter().chain(right.peek()).min().copied() {
                let is_id = |member: &u64| *member == id;
                if is_in(left.next_if(is_id).is_some(), right.next_if(is_id).is_some()) {
                    entities.push(EntityId(id));
                }
            }
            Ok(entities)
        })
    }
}

pub(super) fn entities(members: &Members) -> Vec<EntityId> {
    members.iter().map(EntityId).collect()
}
