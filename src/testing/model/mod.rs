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
mod history;
pub(crate) mod state;
#[cfg(test)]
mod tests;

pub(super) use compare::{compare_collections, matches_collections};
pub use difference::{CoEngagementPart, Difference, DifferenceKind, EventId, Structure, Subject, Tier};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::workload::{Event, Operation};
use crate::{CohortStateExport, SignalStateExport};
use crate::{CollectionExport, EntityId, Export, Schema, Signal, SignalId};
use co_engagement::CoEngagement;
use history::History;
use state::{Computed, Kept, Key, State};

/// Collections by name.
pub(super) type Collections = BTreeMap<Vec<u8>, BTreeSet<u64>>;

/// What a database of a schema holds after some operations.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    schema: Arc<Schema>,
    states: BTreeMap<Key, Arc<State>>,
    collections: Arc<Collections>,
    co_engagement: Arc<CoEngagement>,
    history: History,
}

impl Model {
    /// An empty database.
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            schema: Arc::new(schema.clone()),
            states: BTreeMap::new(),
            collections: Arc::default(),
            co_engagement: Arc::new(CoEngagement::new(*schema.co_engagement_config())),
            history: History::default(),
        }
    }

    /// Applies an operation that succeeded. One that [must be refused](Operation::must_be_refused) changes nothing.
    pub(crate) fn apply(&mut self, operation: &Operation) {
        if operation.must_be_refused() {
            return;
        }
        if operation.is_frame() {
            self.apply_frame(&Arc::new(operation.as_recorded().into_owned()));
        } else if operation.is_collection_change() {
            change(Arc::make_mut(&mut self.collections), operation);
        }
    }

    /// How many frames were applied.
    pub(crate) fn frames_len(&self) -> usize {
        self.history.frames().len()
    }

    /// Shares the list of the frames that are expected from the first one on.
    pub(super) fn expect(&mut self, frames: Arc<Vec<Arc<Operation>>>) {
        debug_assert_eq!(self.frames_len(), 0, "nothing was applied yet");
        self.history = History::beginning(frames);
    }

    /// An empty database of the same schema.
    pub(super) fn emptied(&self) -> Self {
        Self {
            schema: Arc::clone(&self.schema),
            states: BTreeMap::new(),
            collections: Arc::default(),
            co_engagement: Arc::new(CoEngagement::new(*self.schema.co_engagement_config())),
            history: History::default(),
        }
    }

    /// Computes what follows from the events now, so that clones need not.
    pub(super) fn compute(&self) {
        for (&key, state) in &self.states {
            self.computed(key, state);
        }
    }

    pub(super) fn history(&self) -> &[Arc<Operation>] {
        self.history.frames()
    }

    /// Applies a frame, as the log has it, without copying it.
    pub(super) fn apply_frame(&mut self, operation: &Arc<Operation>) {
        self.history.push(operation);
        match operation.as_ref() {
            Operation::Record { events, .. } => {
                for (index, event) in events.iter().enumerate() {
                    let id = EventId {
                        sequence: self.frames_len() as u64,
                        index,
                    };
                    self.record(id, event);
                }
            }
            Operation::ForgetEntity(entity) => {
                self.states.retain(|key, _| key.entity != *entity);
                Arc::make_mut(&mut self.co_engagement).forget_item(*entity);
            }
            Operation::ForgetUser(user) => Arc::make_mut(&mut self.co_engagement).forget_user(*user),
            _ => {}
        }
    }

    fn record(&mut self, id: EventId, event: &Event) {
        for (key, kept) in kept(id, event) {
            Arc::make_mut(self.states.entry(key).or_default()).add(kept);
        }
        if feeds_co_engagement(&self.schema, event) {
            feed(Arc::make_mut(&mut self.co_engagement), event);
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
        let entities = |ids: &BTreeSet<u64>| ids.iter().copied().map(EntityId).collect();
        export.collections = self
            .collections
            .iter()
            .map(|(name, members)| CollectionExport {
                name: name.clone(),
                members: entities(members),
            })
            .collect();
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

    /// The differences of a frame that is lost as a whole, in a state of `frames_len` frames.
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
                structure: Structure::Log,
                subject: Subject::Database,
                expected: format!("frame {sequence} ({frame})"),
                found,
                kind: DifferenceKind::Lost,
                event: None,
            }];
        };
        let lost = |(index, event): (usize, &Event)| Difference {
            structure: Structure::Hot,
            subject: self.subject(Key {
                cohort: None,
                entity: event.entity,
                signal: event.signal,
            }),
            expected: format!("the event {event}"),
            found: found.clone(),
            kind: DifferenceKind::Lost,
            event: Some(EventId { sequence, index }),
        };
        events.iter().enumerate().map(lost).collect()
    }

    /// What is kept of `key`. `None` if the schema does not know its signal.
    fn computed<'a>(&self, key: Key, state: &'a State) -> Option<&'a Computed> {
        Some(state.computed(self.signal(key.signal)?))
    }

    fn signal(&self, id: SignalId) -> Option<&Signal> {
        self.schema.get(id)
    }
}

/// Applies a change of a collection that succeeded.
pub(super) fn change(collections: &mut Collections, operation: &Operation) {
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
fn kept(id: EventId, event: &Event) -> impl Iterator<Item = (Key, Kept)> {
    let kept = Kept {
        event: id,
        weight: event.weight,
        at_ms: event.at_ms,
    };
    let (entity, signal) = (event.entity, event.signal);
    let cohorts = std::iter::once(None).chain(event.cohorts.iter().copied().map(Some));
    cohorts.map(move |cohort| {
        let key = Key {
            cohort,
            entity,
            signal,
        };
        (key, kept)
    })
}

fn feeds_co_engagement(schema: &Schema, event: &Event) -> bool {
    event.user.is_some() && event.weight > 0.0 && schema.get(event.signal).is_some_and(Signal::is_positive)
}

fn feed(co_engagement: &mut CoEngagement, event: &Event) {
    if let Some(user) = event.user {
        co_engagement.record(user, event.entity, event.weight, event.at_ms);
    }
}
