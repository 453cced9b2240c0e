//! A part of a state: the keys, users and items that some events can change. The rest is represented by a hash.
//!
//! The time to copy or compare a model of a part grows with the part, not with the database. Invariant: the events from
//! which a part was made do not change the rest, if co-engagement has room for every user and item. The order of
//! recency is compared within the part and within the rest, not between the two.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compare::states;
use super::state::Key;
use super::{CoEngagement, InitialState, List, Model, co_engagement_user, state_events};
use crate::codec::mix::mix;
use crate::testing::model::EventId;
use crate::testing::workload::Event;
use crate::{CohortStateExport, Export, RingExport, SignalStateExport};

/// The keys, users and items of a part. See the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct StatePart {
    keys: BTreeSet<Key>,
    users: BTreeSet<u64>,
    items: BTreeSet<u64>,
}

impl StatePart {
    /// The part of the state of `model` that `events` can change.
    pub(crate) fn of<'a>(model: &Model, events: impl Iterator<Item = &'a Event>) -> Self {
        let mut part = Self::default();
        for event in events {
            let id = EventId {
                sequence: 0,
                index: 0,
            };
            part.keys.extend(state_events(id, event).map(|(key, _)| key));
            if let Some(user) = co_engagement_user(&model.schema, event) {
                part.items.insert(event.entity.0);
                if part.users.insert(user.0)
                    && let Some(ring) = model.co_engagement.users.get(&user.0)
                {
                    part.items.extend(&ring.items);
                }
            }
        }
        part
    }

    /// Returns the part of an export, and a hash of the rest. All collections belong to the part.
    pub(crate) fn split(&self, found: &Export) -> (Export, u64) {
        let mut part = Export {
            collections: found.collections.clone(),
            ..Export::default()
        };
        let mut rest = 0;
        // Both sequences are sorted by key.
        let mut keys = self.keys.iter().peekable();
        for (key, state) in states(found) {
            while keys.next_if(|other| **other < key).is_some() {}
            if keys.peek() != Some(&&key) {
                rest = state_hash(mix(rest, key.cohort.map_or(0, |cohort| !cohort.0)), state);
                continue;
            }
            let state = state.clone();
            match key.cohort {
                None => part.signals.push(state),
                Some(cohort) => part.cohorts.push(CohortStateExport { cohort, state }),
            }
        }
        for ring in &found.user_rings {
            if self.users.contains(&ring.user.0) {
                part.user_rings.push(ring.clone());
            } else {
                rest = ring
                    .items
                    .iter()
                    .fold(mix(rest, ring.user.0), |rest, item| mix(rest, item.0));
            }
        }
        for related in &found.related {
            if self.items.contains(&related.item.0) {
                part.related.push(related.clone());
            } else {
                let start = mix(mix(rest, related.item.0), related.time_ms as u64);
                let edges = related.edges.iter();
                rest = edges.fold(start, |rest, (id, weight)| mix(mix(rest, id.0), weight.to_bits()));
            }
        }
        for user in &found.users_by_recency {
            if self.users.contains(&user.0) {
                part.users_by_recency.push(*user);
            } else {
                rest = mix(rest, user.0);
            }
        }
        for item in &found.items_by_recency {
            if self.items.contains(&item.0) {
                part.items_by_recency.push(*item);
            } else {
                rest = mix(rest, item.0);
            }
        }
        (part, rest)
    }
}

fn state_hash(rest: u64, state: &SignalStateExport) -> u64 {
    let start = mix(mix(rest, state.entity.0), u64::from(state.signal.0));
    let scores = state.scores.iter();
    let scored = scores.fold(mix(start, state.time_ms as u64), |rest, score| {
        mix(rest, score.to_bits())
    });
    let windows = state.windows.iter();
    windows.fold(scored, |rest, RingExport { buckets }| {
        let start = mix(rest, buckets.len() as u64);
        buckets.iter().fold(start, |rest, (number, count)| {
            mix(mix(rest, *number as u64), u64::from(*count))
        })
    })
}

impl Model {
    /// The model of a part, with the state of this model in that part. It has the schema and the collections of this
    /// model, and an empty history.
    pub(crate) fn part(&self, part: &StatePart) -> Self {
        let states = part
            .keys
            .iter()
            .filter_map(|key| Some((*key, Arc::clone(self.states.get(key)?))));
        let co_engagement = &self.co_engagement;
        let users = part.users.iter();
        let items = part.items.iter();
        let initial = Arc::new(InitialState {
            schema: Arc::clone(&self.schema),
            states: states.collect(),
            co_engagement: Arc::new(CoEngagement {
                config: co_engagement.config,
                ordinal: co_engagement.ordinal,
                users: users
                    .filter_map(|user| Some((*user, co_engagement.users.get(user)?.clone())))
                    .collect(),
                nodes: items
                    .filter_map(|item| Some((*item, co_engagement.nodes.get(item)?.clone())))
                    .collect(),
            }),
        });
        Self {
            schema: Arc::clone(&self.schema),
            states: initial.states.clone(),
            co_engagement: Arc::clone(&initial.co_engagement),
            collections: Arc::clone(&self.collections),
            history: List::from_iter([]),
            initial,
        }
    }
}
