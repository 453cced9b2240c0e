//! The naive model: the expected content of a database after a sequence of operations, by the documented rules alone.
//!
//! The model stores every event and computes scores, windows, collections and co-engagement from the events. The
//! computed values of a key are stored until the next event of the key, and clones share them. So a model of each
//! prefix of a workload is cheap.
//!
//! Invariant: the model is in memory and calls no engine code for its rules, except the arithmetic of a single gain of
//! [co-engagement](self::co_engagement).
//!
//! The sequence number of an event in the model is the position of its frame in the history, from 1. The sequence
//! numbers of a database also count markers. The [oracle](super::oracle) translates between the two.

pub(crate) mod co_engagement;
mod compare;
mod difference;
mod explain;
mod list;
mod part;
pub(crate) mod state;
#[cfg(test)]
mod tests;

pub(super) use compare::{compare_collections, matches_collections};
pub use difference::{Difference, DifferenceKind, EventId, Structure, Subject};
pub(super) use list::List;
pub(crate) use part::StatePart;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::workload::{Event, Operation};
use crate::{CohortStateExport, SignalStateExport};
use crate::{CollectionExport, EntityId, Export, Schema, Signal, SignalId, UserId};
use co_engagement::CoEngagement;
use state::{Key, KeyState, StateEvent};

/// Collections by name.
pub(super) type CollectionMembers = BTreeMap<Vec<u8>, BTreeSet<u64>>;

/// The content of a database with a schema after some operations.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    schema: Arc<Schema>,
    initial: Arc<InitialState>,
    states: BTreeMap<Key, Arc<KeyState>>,
    collections: Arc<CollectionMembers>,
    co_engagement: Arc<CoEngagement>,
    history: List<Arc<Operation>>,
}

/// The state before the first operation of the history, apart from collections.
#[derive(Debug, Clone)]
struct InitialState {
    schema: Arc<Schema>,
    states: BTreeMap<Key, Arc<KeyState>>,
    co_engagement: Arc<CoEngagement>,
}

impl Model {
    /// The model of an empty database.
    pub(crate) fn new(schema: &Schema) -> Self {
        Self::at(Arc::new(InitialState {
            schema: Arc::new(schema.clone()),
            states: BTreeMap::new(),
            co_engagement: Arc::new(CoEngagement::new(*schema.co_engagement_config())),
        }))
    }

    /// The model of an initial state, without collections.
    fn at(initial: Arc<InitialState>) -> Self {
        Self {
            schema: Arc::clone(&initial.schema),
            states: initial.states.clone(),
            co_engagement: Arc::clone(&initial.co_engagement),
            collections: Arc::default(),
            history: List::from_iter([]),
            initial,
        }
    }

    /// Applies an operation that succeeded. An operation that [must be refused](Operation::must_be_refused) changes
    /// nothing.
    pub(crate) fn apply(&mut self, operation: &Operation) {
        if operation.must_be_refused() {
            return;
        }
        if operation.is_frame() || matches!(operation, Operation::Reopen(_)) {
            self.apply_frame(&Arc::new(operation.as_recorded().into_owned()));
        } else if operation.is_collection_change() {
            apply_collection_change(Arc::make_mut(&mut self.collections), operation);
        }
    }

    /// Applies an operation that succeeded, but does not add it to the history. So explanations of differences do not
    /// name it.
    pub(crate) fn apply_without_history(&mut self, operation: &Operation) {
        if operation.is_frame() {
            self.change_by(&operation.as_recorded(), 0);
        } else {
            self.apply(operation);
        }
    }

    /// The state before the first frame of the history, and the same collections.
    pub(super) fn without_frames(&self) -> Self {
        Self {
            collections: Arc::clone(&self.collections),
            ..Self::at(Arc::clone(&self.initial))
        }
    }

    pub(super) fn collections(&self) -> &CollectionMembers {
        &self.collections
    }

    /// The applied frames and changes of the schema, in order.
    pub(super) fn history(&self) -> &List<Arc<Operation>> {
        &self.history
    }

    /// Applies a frame in the form of the log, or the changes of the schema in a reopening, without copying it.
    pub(super) fn apply_frame(&mut self, operation: &Arc<Operation>) {
        self.history.push(Arc::clone(operation));
        self.change_by(operation, self.history.len() as u64);
    }

    /// Changes the state by a frame, or by the changes of the schema in a reopening. Its events get the number
    /// `sequence`.
    fn change_by(&mut self, operation: &Operation, sequence: u64) {
        match operation {
            Operation::Record { events, .. } => {
                for (index, event) in events.iter().enumerate() {
                    self.record(EventId { sequence, index }, event);
                }
            }
            Operation::ForgetEntity(entity) => self.states.retain(|key, _| key.entity != *entity),
            Operation::Reopen(reopening) => {
                let schema = reopening.changed_schema(Schema::clone(&self.schema));
                let config = *schema.co_engagement_config();
                if config != *self.schema.co_engagement_config() {
                    Arc::make_mut(&mut self.co_engagement).set_bounds(config);
                }
                self.schema = Arc::new(schema);
            }
            _ => {}
        }
        if self.changes_co_engagement(operation) {
            change_co_engagement(Arc::make_mut(&mut self.co_engagement), &self.schema, operation);
        }
    }

    fn record(&mut self, id: EventId, event: &Event) {
        for (key, state_event) in state_events(id, event) {
            Arc::make_mut(self.states.entry(key).or_default()).add(state_event);
        }
    }

    /// Returns true if the frame may change co-engagement.
    pub(super) fn changes_co_engagement(&self, frame: &Operation) -> bool {
        match frame {
            Operation::Record { events, .. } => {
                let mut events = events.iter();
                events.any(|event| co_engagement_user(&self.schema, event).is_some())
            }
            Operation::ForgetEntity(_) | Operation::ForgetUser(_) => true,
            _ => false,
        }
    }

    /// All related items of `item` at `now_ms`, each with its weight, after further frames.
    pub(super) fn related_after<'f>(
        &self,
        frames: impl Iterator<Item = &'f Operation>,
        item: EntityId,
        now_ms: i64,
    ) -> Vec<(EntityId, f64)> {
        let mut co_engagement = Arc::clone(&self.co_engagement);
        for frame in frames {
            change_co_engagement(Arc::make_mut(&mut co_engagement), &self.schema, frame);
        }
        co_engagement.related_at(item, now_ms)
    }

    /// The events of an entity and a signal.
    pub(super) fn events(&self, entity: EntityId, signal: SignalId) -> &[StateEvent] {
        let key = Key {
            cohort: None,
            entity,
            signal,
        };
        self.states.get(&key).map_or(&[], |state| state.events())
    }

    /// The export of a database with this content.
    pub(crate) fn export(&self) -> Export {
        let mut export = Export::default();
        for (&key, state) in &self.states {
            let Some(signal) = self.signal(key.signal) else {
                continue;
            };
            let state: SignalStateExport = state.values(signal).export(key);
            match key.cohort {
                None => export.signals.push(state),
                Some(cohort) => export.cohorts.push(CohortStateExport { cohort, state }),
            }
        }
        export.collections = collection_exports(&self.collections);
        self.co_engagement.export(&mut export);
        export
    }

    /// Returns true if `found` is this state. Quicker than [`compare`](Self::compare) for a state that differs.
    #[cfg(test)]
    pub(crate) fn matches(&self, found: &Export) -> bool {
        self.matches_frames(found) && matches_collections(&self.collections, found)
    }

    /// The differences between `found` and this state. Each names the event whose absence or second presence explains
    /// it, if such an event exists.
    ///
    /// A score of `n` events may deviate by `(n + 16) * 2^-52` of the sum of their absolute contributions, and the
    /// weight of an edge by 1e-9 of itself. All other values must be equal.
    pub(crate) fn compare(&self, found: &Export) -> Vec<Difference> {
        let mut differences = self.compare_frames(found, &[]);
        differences.extend(compare_collections(&self.collections, found));
        differences
    }

    /// The differences for a frame or a change of the schema that is lost as a whole. The found state is the one after
    /// `frames_len` frames and changes of the schema.
    pub(super) fn differences_of_lost_frame(
        &self,
        frame: &Operation,
        sequence: Option<u64>,
        frames_len: usize,
    ) -> Vec<Difference> {
        let found = format!("the state after {frames_len} frames");
        let sequence = sequence.unwrap_or(0);
        let Operation::Record { events, .. } = frame else {
            return vec![Difference {
                kind: DifferenceKind::Lost,
                ..Difference::of_log(format!("frame {sequence} ({frame})"), found)
            }];
        };
        let lost = |(index, event): (usize, &Event)| Difference {
            structure: Structure::Hot,
            subject: self.subject(Key {
                cohort: None,
                entity: event.entity,
                signal: event.signal,
            }),
            kind: DifferenceKind::Lost,
            event: Some(EventId { sequence, index }),
            ..Difference::of_log(format!("the event {event}"), found.clone())
        };
        events.iter().enumerate().map(lost).collect()
    }

    pub(super) fn signal(&self, id: SignalId) -> Option<&Signal> {
        self.schema.get(id)
    }
}

/// The collections as a database exports them.
fn collection_exports(collections: &CollectionMembers) -> Vec<CollectionExport> {
    let export = |(name, members): (&Vec<u8>, &BTreeSet<u64>)| CollectionExport {
        name: name.clone(),
        members: members.iter().copied().map(EntityId).collect(),
    };
    collections.iter().map(export).collect()
}

/// Applies a change of a collection that succeeded.
pub(super) fn apply_collection_change(collections: &mut CollectionMembers, operation: &Operation) {
    match operation {
        Operation::CreateCollection(name) => {
            collections.entry(name.clone()).or_default();
        }
        Operation::DeleteCollection(name) => {
            collections.remove(name);
        }
        Operation::AddToCollection(name, entity) => {
            if let Some(members) = collections.get_mut(name) {
                members.insert(entity.0);
            }
        }
        Operation::RemoveFromCollection(name, entity) => {
            if let Some(members) = collections.get_mut(name) {
                members.remove(&entity.0);
            }
        }
        _ => {}
    }
}

/// Applies the part of a frame that changes co-engagement.
fn change_co_engagement(co_engagement: &mut CoEngagement, schema: &Schema, frame: &Operation) {
    match frame {
        Operation::Record { events, .. } => {
            for event in events {
                if let Some(user) = co_engagement_user(schema, event) {
                    co_engagement.record(user, event.entity, event.weight, event.at_ms);
                }
            }
        }
        Operation::ForgetEntity(entity) => co_engagement.forget_item(*entity),
        Operation::ForgetUser(user) => co_engagement.forget_user(*user),
        _ => {}
    }
}

/// The keys whose states an event changes, each with the event as the state stores it.
fn state_events(id: EventId, event: &Event) -> impl Iterator<Item = (Key, StateEvent)> {
    let state_event = StateEvent {
        id,
        weight: event.weight,
        at_ms: event.at_ms,
    };
    let cohorts = std::iter::once(None).chain(event.cohorts.iter().copied().map(Some));
    cohorts.map(move |cohort| {
        let key = Key {
            cohort,
            entity: event.entity,
            signal: event.signal,
        };
        (key, state_event)
    })
}

/// The user of the event if the event changes co-engagement, otherwise `None`.
fn co_engagement_user(schema: &Schema, event: &Event) -> Option<UserId> {
    let is_positive = event.weight > 0.0 && schema.get(event.signal).is_some_and(Signal::is_positive);
    event.user.filter(|_| is_positive)
}
