//! The aggregates in memory, and the application of an event to each. Recording and replay both use this module.
//!
//! Updates of the hot tier, the warm tier and the cohorts commute: they need no order between threads. Updates of
//! co-engagement do not commute. Its events are queued in log order. The first thread that gets the lock of the index
//! applies all of them.
//!
//! A crash loses this state. An open restores it from the checkpoint and the log.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::cohort::CohortSignalLedger;
use crate::entities::CoEngagementIndex;
use crate::intact::Intact;
use crate::limits::Limits;
use crate::schema::CoEngagementConfig;
use crate::signals::hot::TIME_NONE;
use crate::states::{Change, SignalShape, Slot, StateTable};
use crate::sync::{AtomicI64, AtomicU64, Mutex, get_mut, lock};
use crate::wal::payload::Forget;
use crate::{CohortId, EntityId, Error, Schema, SignalEvent, SignalId, UserId};

/// A positive event, for the co-engagement index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PositiveEvent {
    pub(crate) user: UserId,
    pub(crate) entity: EntityId,
    pub(crate) weight: f64,
    pub(crate) at_ms: i64,
}

/// All aggregates of a database except the collections.
#[derive(Debug)]
pub(crate) struct LedgerState {
    pub(crate) signals: StateTable<EntityId>,
    pub(crate) cohorts: CohortSignalLedger,
    co_engagement: Mutex<Intact<CoEngagementIndex>>,
    /// Positive events in log order that are not applied to the index yet.
    positives: Mutex<VecDeque<PositiveEvent>>,
    /// By the id of a signal: true if the signal is positive.
    positive_signals: Vec<bool>,
    late_drops: AtomicU64,
    /// The newest event time that was applied or restored; `TIME_NONE` before the first.
    newest_event_ms: AtomicI64,
    /// The changed bytes of the co-engagement index after its last change.
    co_engagement_changed_bytes: AtomicU64,
    forgetting_steps_len: usize,
}

impl LedgerState {
    /// Empty aggregates for a valid schema.
    pub(crate) fn new(schema: &Schema, limits: &Limits) -> Result<Self, Error> {
        let shapes: Vec<SignalShape> = schema
            .signals()
            .iter()
            .map(|signal| SignalShape {
                half_lives_ms: signal.half_lives_ms().to_vec(),
                rings: signal
                    .window_rings()
                    .iter()
                    .map(|ring| (ring.bucket_ms, ring.buckets))
                    .collect(),
            })
            .collect();
        let signals = StateTable::new(&shapes, limits);
        let co_engagement = CoEngagementIndex::new(*schema.co_engagement_config())?;
        Ok(Self {
            signals,
            cohorts: CohortSignalLedger::new(&shapes, limits),
            co_engagement: Mutex::new(Intact::new("apply", co_engagement)),
            positives: Mutex::new(VecDeque::new()),
            positive_signals: schema.signals().iter().map(crate::Signal::is_positive).collect(),
            late_drops: AtomicU64::new(0),
            newest_event_ms: AtomicI64::new(TIME_NONE),
            co_engagement_changed_bytes: AtomicU64::new(0),
            forgetting_steps_len: limits.forgetting_steps_len,
        })
    }

    /// Applies the events of one call to the hot and warm tier.
    pub(crate) fn apply_signals(&self, changes: &[Change<EntityId>]) -> Result<(), Error> {
        let mut newest_ms = TIME_NONE;
        let late = self
            .signals
            .with_slots(changes, |Slot { hot, warm, slot }, change| {
                hot.on_signal(slot, change.weight, change.at_ms);
                newest_ms = newest_ms.max(change.at_ms);
                warm.increment(slot, change.at_ms)
            })?;
        self.count_late(late);
        self.note_event_time(newest_ms);
        Ok(())
    }

    /// Applies one event to the aggregates of one of its cohorts.
    pub(crate) fn apply_cohort(
        &self,
        cohort: CohortId,
        entity: EntityId,
        signal: SignalId,
        weight: f64,
        at_ms: i64,
    ) -> Result<(), Error> {
        let late = self.cohorts.record(cohort, entity, signal, weight, at_ms)?;
        self.count_late(late);
        Ok(())
    }

    /// The event for the co-engagement index. `None` unless the signal is positive, the weight is above zero and the
    /// event names a user.
    pub(crate) fn positive_event(
        &self,
        entity: EntityId,
        signal: SignalId,
        user: Option<UserId>,
        weight: f64,
        at_ms: i64,
    ) -> Option<PositiveEvent> {
        let is_positive = weight > 0.0 && self.positive_signals.get(usize::from(signal.0)) == Some(&true);
        let user = user.filter(|_| is_positive)?;
        Some(PositiveEvent {
            user,
            entity,
            weight,
            at_ms,
        })
    }

    /// The positive events among `events`, in order.
    pub(crate) fn positives_of(&self, events: &[SignalEvent<'_>]) -> impl Iterator<Item = PositiveEvent> {
        let positive = |event: &SignalEvent<'_>| {
            self.positive_event(event.entity, event.signal, event.user, event.weight, event.at_ms)
        };
        events.iter().filter_map(positive)
    }

    /// Queues positive events. The caller calls this in log order.
    pub(crate) fn enqueue_positives(&self, positives: &[PositiveEvent]) {
        if positives.is_empty() {
            return;
        }
        lock(&self.positives).extend(positives);
    }

    /// Applies all queued positive events in log order, also those of other threads.
    pub(crate) fn apply_positives(&self) -> Result<(), Error> {
        self.change_co_engagement(|index| {
            loop {
                let next = lock(&self.positives).pop_front();
                let Some(PositiveEvent {
                    user,
                    entity,
                    weight,
                    at_ms,
                }) = next
                else {
                    return;
                };
                index.record_positive(user, entity, weight, at_ms);
            }
        })
    }

    /// Forgets an entity or a user for all readers. The caller holds the gate exclusively, so no event is being
    /// applied. The caller then calls [`finish_forget`](Self::finish_forget), before the next forget and before the
    /// next fence.
    pub(crate) fn begin_forget(&self, forget: Forget) -> Result<(), Error> {
        match forget {
            Forget::Entity(entity) => {
                self.signals.begin_forget(entity)?;
                self.cohorts.states().begin_forget(entity)?;
                let steps_len = self.forgetting_steps_len;
                self.change_co_engagement(|index| index.forget_item(entity, steps_len))
            }
            Forget::User(user) => self.change_co_engagement(|index| index.forget_user(user)),
        }
    }

    /// Removes the states of a forgotten entity in steps. Events can be applied between two steps.
    pub(crate) fn finish_forget(&self, forget: Forget) -> Result<(), Error> {
        if let Forget::Entity(entity) = forget {
            while self.signals.forget_some(entity)? > 0 {}
            while self.cohorts.states().forget_some(entity)? > 0 {}
        }
        Ok(())
    }

    /// Reduces co-engagement to the bounds of `config`, which has the same half-life. The caller makes a checkpoint
    /// before the next event.
    pub(crate) fn set_co_engagement_bounds(&self, config: CoEngagementConfig) -> Result<(), Error> {
        self.change_co_engagement(|index| index.set_bounds(config))
    }

    /// Changes the co-engagement index.
    ///
    /// # Errors
    /// `Panicked` if a thread panicked while it changed the index.
    pub(crate) fn change_co_engagement<R>(
        &self,
        change: impl FnOnce(&mut CoEngagementIndex) -> R,
    ) -> Result<R, Error> {
        let mut index = lock(&self.co_engagement);
        index.change(|index| {
            let changed = change(index);
            self.co_engagement_changed_bytes
                .store(index.changed_bytes(), Ordering::Relaxed);
            Ok(changed)
        })
    }

    /// The co-engagement index, before other threads can use it.
    pub(crate) fn co_engagement_mut(&mut self) -> &mut CoEngagementIndex {
        get_mut(&mut self.co_engagement).value_mut()
    }

    /// Reads the co-engagement index.
    ///
    /// # Errors
    /// `Panicked` if a thread panicked while it changed the index.
    pub(crate) fn read_co_engagement<R>(
        &self,
        read: impl FnOnce(&CoEngagementIndex) -> R,
    ) -> Result<R, Error> {
        Ok(read(lock(&self.co_engagement).get()?))
    }

    /// An upper bound of the bytes that the next checkpoint stores if no other change follows.
    pub(crate) fn changed_bytes(&self) -> u64 {
        self.signals.changed_bytes()
            + self.cohorts.states().changed_bytes()
            + self.co_engagement_changed_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that the events of a call can add to [`changed_bytes`](Self::changed_bytes).
    pub(crate) fn changed_bytes_max(&self, events: &[SignalEvent<'_>]) -> Result<u64, Error> {
        let cohorts_len = events.iter().map(|event| event.cohorts.len()).sum();
        let states = self.signals.changed_bytes_max(events.len())
            + self.cohorts.states().changed_bytes_max(cohorts_len);
        let positives_len = self.positives_of(events).count();
        if positives_len == 0 {
            return Ok(states);
        }
        Ok(states + self.read_co_engagement(|index| index.changed_bytes_max(positives_len))?)
    }

    /// The most bytes that this forget can add to [`changed_bytes`](Self::changed_bytes).
    pub(crate) fn forget_bytes_max(&self, forget: Forget) -> Result<u64, Error> {
        let steps_len = self.forgetting_steps_len;
        let co_engagement = self.read_co_engagement(|index| index.forget_bytes_max(steps_len))?;
        let Forget::Entity(entity) = forget else {
            return Ok(co_engagement);
        };
        let states = self.signals.forget_bytes_max(entity)?;
        Ok(states + self.cohorts.states().forget_bytes_max(entity)? + co_engagement)
    }

    /// Assigns all changes up to now to the next checkpoint, see [`StateTable::begin_fence`]. The caller holds the gate
    /// exclusively.
    pub(crate) fn begin_fence(&self) -> Result<(), Error> {
        self.signals.begin_fence()?;
        self.cohorts.states().begin_fence()?;
        self.change_co_engagement(CoEngagementIndex::begin_fence)
    }

    /// The number of events that were too old for a window ring, summed over the rings. Replayed events count.
    pub(crate) fn late_drops(&self) -> u64 {
        self.late_drops.load(Ordering::Relaxed)
    }

    /// The newest event time that was applied or restored. Forgetting does not lower it.
    pub(crate) fn newest_event_ms(&self) -> Option<i64> {
        let newest_ms = self.newest_event_ms.load(Ordering::Relaxed);
        (newest_ms != TIME_NONE).then_some(newest_ms)
    }

    /// Notes the newest time of some events.
    pub(crate) fn note_event_time(&self, newest_ms: i64) {
        // Written only if it is newer, so that the cache line stays in the caches of all cores.
        if newest_ms > self.newest_event_ms.load(Ordering::Relaxed) {
            self.newest_event_ms.fetch_max(newest_ms, Ordering::Relaxed);
        }
    }

    fn count_late(&self, late: u32) {
        if late > 0 {
            self.late_drops.fetch_add(u64::from(late), Ordering::Relaxed);
        }
    }
}
