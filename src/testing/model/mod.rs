//! The naive model: what a database must hold after a sequence of operations, by the documented rules alone.
//!
//! It keeps every event and computes scores, windows, collections and co-engagement from them anew. What it computed
//! for a key is kept until the key gets another event, and shared by clones, so that a model of each prefix of a
//! workload is cheap to have.
//!
//! Events are numbered by the order in which the model was given their frames, from 1; a database's sequence numbers
//! count markers too. The [oracle](super::oracle) translates.

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
use state::{Computed, Key, KeyState, StateEvent};

/// Collections by name.
pub(super) type CollectionMembers = BTreeMap<Vec<u8>, BTreeSet<u64>>;

/// What a database of a schema holds after some operations.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    schema: Arc<Schema>,
    beginning: Arc<InitialState>,
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
    /// An empty database.
    pub(crate) fn new(schema: &Schema) -> Self {
        Self::at(Arc::new(InitialState {
            schema: Arc::new(schema.clone()),
            states: BTreeMap::new(),
            co_engagement: Arc::new(CoEngagement::new(*schema.co_engagement_config())),
        }))
    }

    /// The beginning, without collections.
    fn at(beginning: Arc<InitialState>) -> Self {
        Self {
            schema: Arc::clone(&beginning.schema),
            states: beginning.states.clone(),
            co_engagement: Arc::clone(&beginning.co_engagement),
            collections: Arc::default(),
            history: List::from_iter([]),
            beginning,
        }
    }

    /// Applies an operation that succeeded. One that [must be refused](Operation::must_be_refused) changes nothing.
    pub(crate) fn apply(&mut self, operation: &Operation) {
        if operation.must_be_refused() {
            return;
        }
        if operation.is_frame() || matches!(operation, Operation::Reopen(_)) {
            self.apply_frame(&Arc::new(operation.as_recorded().into_owned()));
        } else if operation.is_collection_change() {
            change(Arc::make_mut(&mut self.collections), operation);
        }
    }

    /// Applies an operation that succeeded, without adding it to the history. Explanations of differences do not name it.
    pub(crate) fn settle(&mut self, operation: &Operation) {
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
            ..Self::at(Arc::clone(&self.beginning))
        }
    }

    pub(super) fn collections(&self) -> &CollectionMembers {
        &self.collections
    }

    /// The frames and changes of the schema that were applied, in order.
    pub(super) fn history(&self) -> &List<Arc<Operation>> {
        &self.history
    }

    /// Applies a frame in the form of the log, or the changes of the schema in a reopening, without a copy of it.
    pub(super) fn apply_frame(&mut self, operation: &Arc<Operation>) {
        self.history.push(Arc::clone(operation));
        self.change_by(operation, self.history.len() as u64);
    }

    /// Changes the state by a frame, or by the changes of the schema in a reopening. `sequence` is the number of its events.
    fn change_by(&mut self, operation: &Operation, sequence: u64) {
        match operation {
            Operation::Record { events, .. } => {
                for (index, event) in events.iter().enumerate() {
                    self.record(EventId { sequence, index }, event);
                }
            }
            Operation::ForgetEntity(entity) => {
                self.states.retain(|key, _| key.entity != *entity);
                Arc::make_mut(&mut self.co_engagement).forget_item(*entity);
            }
            Operation::ForgetUser(user) => Arc::make_mut(&mut self.co_engagement).forget_user(*user),
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
    }

    fn record(&mut self, id: EventId, event: &Event) {
        for (key, kept) in kept(id, event) {
            Arc::make_mut(self.states.entry(key).or_default()).add(kept);
        }
        if let Some(user) = feeding_user(&self.schema, event) {
            let co_engagement = Arc::make_mut(&mut self.co_engagement);
            co_engagement.record(user, event.entity, event.weight, event.at_ms);
        }
    }

    /// What a database would export.
    pub(crate) fn export(&self) -> Export {
        let mut export = Export::default();
        for (&key, state) in &self.states {
            let Some(computed) = self.computed(key, state) else {
                continue;
            };
            let state: SignalStateExport = computed.export(key);
            match key.cohort {
                None => export.signals.push(state),
                Some(cohort) => export.cohorts.push(CohortStateExport { cohort, state }),
            }
        }
        export.collections = collection_exports(&self.collections);
        self.co_engagement.export(&mut export);
        export
    }

    /// Whether `found` is this state. Quicker than [`compare`](Self::compare) where it is not.
    #[cfg(test)]
    pub(crate) fn matches(&self, found: &Export) -> bool {
        self.matches_frames(found) && matches_collections(&self.collections, found)
    }

    /// How `found` differs from this state: scores of `n` events by more than `(n + 16) * 2^-52` of the sum of their
    /// absolute contributions, weights of edges by more than 1e-9, all else at all. Each difference names the event whose
    /// absence or second presence explains it, if one does.
    pub(crate) fn compare(&self, found: &Export) -> Vec<Difference> {
        let mut differences = self.compare_frames(found, &[]);
        differences.extend(compare_collections(&self.collections, found));
        differences
    }

    /// The differences of a frame or a change of the schema that is lost as a whole, in a state of `frames_len` frames and
    /// changes.
    pub(super) fn lost(
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

    /// What is kept of `key`. `None` if the schema does not know its signal.
    fn computed<'a>(&self, key: Key, state: &'a KeyState) -> Option<&'a Computed> {
        Some(state.computed(self.signal(key.signal)?))
    }

    fn signal(&self, id: SignalId) -> Option<&Signal> {
        self.schema.get(id)
    }
}

/// Collections as a database exports them.
fn collection_exports(collections: &CollectionMembers) -> Vec<CollectionExport> {
    let export = |(name, members): (&Vec<u8>, &BTreeSet<u64>)| CollectionExport {
        name: name.clone(),
        members: members.iter().copied().map(EntityId).collect(),
    };
    collections.iter().map(export).collect()
}

/// Applies a change of a collection that succeeded.
pub(super) fn change(collections: &mut CollectionMembers, operation: &Operation) {
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

/// The states an event goes to, and how it goes there.
fn kept(id: EventId, event: &Event) -> impl Iterator<Item = (Key, StateEvent)> {
    let kept = StateEvent {
        event: id,
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
        (key, kept)
    })
}

/// The user of an event that changes co-engagement.
fn feeding_user(schema: &Schema, event: &Event) -> Option<UserId> {
    let is_positive = event.weight > 0.0 && schema.get(event.signal).is_some_and(Signal::is_positive);
    event.user.filter(|_| is_positive)
}
