//! Compares a model with an exported state, place by place. It changes neither of them.

use std::cmp::Ordering;
use std::iter;

use super::co_engagement::{CoEngagement, has_same_edges, is_same_ring};
use super::difference::{Difference, DifferenceKind, Structure, Subject};
use super::state::{Key, KeyState, StateValues};
use super::{CollectionMembers, Model, collection_exports};
use crate::{EntityId, Export, SignalStateExport, UserId};

/// The smallest part of a state that can differ alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ModelPlace {
    /// A value in a tier of a key, by its index. In the hot tier index 0 is the time of the newest event, and the
    /// scores follow it. In the warm tier each index is a window.
    State(Key, Structure, usize),
    /// The ring of a user.
    Ring(u64),
    /// The edges of an item.
    Edges(u64),
    /// The order in which the limits drop users and items. Not compared if a ring or an edge differs.
    Recency,
}

impl ModelPlace {
    pub(super) fn key(self) -> Option<Key> {
        match self {
            Self::State(key, ..) => Some(key),
            _ => None,
        }
    }

    fn structure(self) -> Structure {
        match self {
            Self::State(_, structure, _) => structure,
            Self::Ring(_) => Structure::UserRings,
            Self::Edges(_) => Structure::Edges,
            Self::Recency => Structure::Recency,
        }
    }

    /// Returns true if the two places are reported as one difference: all scores of a key, or all its windows.
    pub(super) fn is_reported_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::State(key, tier, _), Self::State(other_key, other_tier, _)) => {
                (key, tier) == (other_key, other_tier)
            }
            _ => self == other,
        }
    }

    /// The content of the place and of the places that are reported with it.
    fn text(self, export: &Export) -> String {
        let ids = |items: &[EntityId]| items.iter().map(|item| item.0).collect::<Vec<_>>();
        let text = match self {
            Self::State(key, structure, _) => {
                let state = states(export).find(|(other, _)| *other == key);
                state.map(|(_, state)| {
                    if matches!(structure, Structure::Hot | Structure::CohortHot) {
                        return format!("scores {:?} at {}", state.scores, state.time_ms);
                    }
                    let windows = state.windows.iter().map(|ring| &ring.buckets);
                    format!("windows {:?}", windows.collect::<Vec<_>>())
                })
            }
            Self::Ring(user) => {
                let ring = export.user_rings.iter().find(|ring| ring.user.0 == user);
                ring.map(|ring| format!("{:?}", ids(&ring.items)))
            }
            Self::Edges(item) => {
                let related = export.related.iter().find(|related| related.item.0 == item);
                related.map(|related| {
                    let edges: Vec<_> = related.edges.iter().map(|&(id, weight)| (id.0, weight)).collect();
                    format!("{edges:?} at {}", related.time_ms)
                })
            }
            Self::Recency => {
                let users: Vec<_> = export.users_by_recency.iter().map(|user| user.0).collect();
                Some(format!(
                    "users {users:?}, items {:?}",
                    ids(&export.items_by_recency)
                ))
            }
        };
        text.unwrap_or_else(|| "nothing".to_owned())
    }
}

/// Joins two sequences that are sorted by key. Yields each key with the value of each sequence.
fn join<K: Ord, A, B>(
    expected: impl Iterator<Item = (K, A)>,
    found: impl Iterator<Item = (K, B)>,
) -> impl Iterator<Item = (K, Option<A>, Option<B>)> {
    let (mut expected, mut found) = (expected.peekable(), found.peekable());
    iter::from_fn(move || {
        let order = match (expected.peek(), found.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let a = expected.next_if(|_| order.is_le());
        let b = found.next_if(|_| order.is_ge());
        match (a, b) {
            (Some((key, a)), b) => Some((key, Some(a), b.map(|(_, b)| b))),
            (None, b) => b.map(|(key, b)| (key, None, Some(b))),
        }
    })
}

/// The states of an export in the order of their keys.
pub(super) fn states(found: &Export) -> impl Iterator<Item = (Key, &SignalStateExport)> {
    let with_key = |cohort, state| {
        let &SignalStateExport { entity, signal, .. } = state;
        let key = Key {
            cohort,
            entity,
            signal,
        };
        (key, state)
    };
    let signals = found.signals.iter().map(move |state| with_key(None, state));
    let cohorts = found.cohorts.iter();
    signals.chain(cohorts.map(move |cohort| with_key(Some(cohort.cohort), &cohort.state)))
}

/// The indices at which two lists differ. An index that only the longer list has is one of them.
fn differing_indices<A, B>(
    a: &[A],
    b: &[B],
    is_same: impl Fn(&A, &B) -> bool,
) -> impl Iterator<Item = usize> {
    let differs = move |&index: &usize| {
        let both = a.get(index).zip(b.get(index));
        !both.is_some_and(|(a, b)| is_same(a, b))
    };
    (0..a.len().max(b.len())).filter(differs)
}

/// The places of co-engagement that differ: rings and edges, or if all of them agree, the order of recency.
pub(super) fn differing_co_engagement(expected: &CoEngagement, found: &Export) -> Vec<ModelPlace> {
    let rings = expected.rings().map(|(user, items)| (user.0, items));
    let found_rings = found.user_rings.iter().map(|ring| (ring.user.0, ring));
    let rings = join(rings, found_rings).filter_map(|(user, expected, found)| {
        let is_same = expected
            .zip(found)
            .is_some_and(|(expected, found)| is_same_ring(expected, found));
        (!is_same).then_some(ModelPlace::Ring(user))
    });
    let related = expected.related().map(|related| (related.item.0, related));
    let found_related = found.related.iter().map(|related| (related.item.0, related));
    let related = join(related, found_related).filter_map(|(item, expected, found)| {
        let is_same = expected
            .zip(found)
            .is_some_and(|(expected, found)| has_same_edges(&expected, found));
        (!is_same).then_some(ModelPlace::Edges(item))
    });
    let mut places: Vec<ModelPlace> = rings.chain(related).collect();
    let users = found.users_by_recency.iter().map(|user| user.0);
    let items = found.items_by_recency.iter().map(|item| item.0);
    let is_same_order = expected.users_by_recency().eq(users) && expected.items_by_recency().eq(items);
    // If a ring or an edge differs, the order differs too.
    if places.is_empty() && !is_same_order {
        places.push(ModelPlace::Recency);
    }
    places
}

impl Model {
    /// The places in which the state of a key differs. Scores are compared at the time of the found state.
    pub(super) fn differing_places_of_key(
        &self,
        key: Key,
        expected: Option<&KeyState>,
        found: Option<&SignalStateExport>,
    ) -> Vec<ModelPlace> {
        let (hot, warm) = match key.cohort {
            None => (Structure::Hot, Structure::Warm),
            Some(_) => (Structure::CohortHot, Structure::CohortWarm),
        };
        let hot = |index| ModelPlace::State(key, hot, index);
        let warm = |index| ModelPlace::State(key, warm, index);
        let Some(signal) = self.signal(key.signal) else {
            return found.map(|_| hot(0)).into_iter().collect();
        };
        let (Some(state), Some(found)) = (expected, found) else {
            let is_same = expected.is_none() && found.is_none();
            let scores = (0..=signal.half_lives_ms().len()).map(hot);
            let all = scores.chain((0..signal.window_rings().len()).map(warm));
            return all.filter(|_| !is_same).collect();
        };
        let expected = state.values(signal);
        let at_found = (expected.time_ms != found.time_ms)
            .then(|| StateValues::at(state.events(), found.time_ms, signal));
        let scores = &at_found.as_ref().unwrap_or(expected).scores;
        let scores = differing_indices(scores, &found.scores, |score, &found| score.matches(found));
        let windows = differing_indices(&expected.windows, &found.windows, |a, b| a == b);
        let time = at_found.is_some().then_some(0);
        let scores = time.into_iter().chain(scores.map(|index| index + 1));
        scores.map(hot).chain(windows.map(warm)).collect()
    }

    fn differing_places_of_states(&self, found: &Export) -> impl Iterator<Item = ModelPlace> {
        let expected = self.states.iter().map(|(&key, state)| (key, state.as_ref()));
        join(expected, states(found))
            .flat_map(|(key, expected, found)| self.differing_places_of_key(key, expected, found))
    }

    /// Returns true if all tiers of `found` agree with this model, global tiers and cohort tiers.
    pub(in crate::testing) fn matches_states(&self, found: &Export) -> bool {
        self.differing_places_of_states(found).next().is_none()
    }

    /// Returns true if `found` agrees with this model. Collections are not compared.
    pub(in crate::testing) fn matches_frames(&self, found: &Export) -> bool {
        self.matches_states(found) && differing_co_engagement(&self.co_engagement, found).is_empty()
    }

    /// The places where `found` differs, in order. Collections are not compared.
    pub(super) fn differing_places(&self, found: &Export) -> Vec<ModelPlace> {
        let co_engagement = differing_co_engagement(&self.co_engagement, found);
        self.differing_places_of_states(found)
            .chain(co_engagement)
            .collect()
    }

    /// The number of differences, without a search for their explanation. Collections are not compared.
    pub(in crate::testing) fn differences_len(&self, found: &Export) -> usize {
        let places = self.differing_places(found);
        places.chunk_by(ModelPlace::is_reported_with).count()
    }

    /// The difference at a place, without its explanation.
    pub(super) fn difference(&self, place: ModelPlace, expected: &Export, found: &Export) -> Difference {
        Difference {
            structure: place.structure(),
            subject: match place {
                ModelPlace::State(key, ..) => self.subject(key),
                ModelPlace::Ring(user) => Subject::User(UserId(user)),
                ModelPlace::Edges(item) => Subject::Item(EntityId(item)),
                ModelPlace::Recency => Subject::Database,
            },
            expected: place.text(expected),
            found: place.text(found),
            kind: DifferenceKind::Wrong,
            event: None,
        }
    }

    pub(super) fn subject(&self, key: Key) -> Subject {
        let signal = match self.signal(key.signal) {
            Some(signal) => String::from_utf8_lossy(signal.name()).into_owned(),
            None => key.signal.to_string(),
        };
        Subject::State {
            cohort: key.cohort,
            entity: key.entity,
            signal,
        }
    }
}

/// Returns true if `found` has exactly these collections.
pub(in crate::testing) fn matches_collections(collections: &CollectionMembers, found: &Export) -> bool {
    collection_exports(collections) == found.collections
}

/// The differences between these collections and those of `found`. A missing collection or member is lost; every other
/// difference is wrong.
pub(in crate::testing) fn compare_collections(
    collections: &CollectionMembers,
    found: &Export,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let found = found.collections.iter().map(|it| (&it.name, &it.members));
    for (name, expected, found) in join(collections.iter(), found) {
        let mut add = |expected: String, found: String, kind| {
            differences.push(Difference {
                structure: Structure::Collection,
                subject: Subject::Collection(name.clone()),
                kind,
                ..Difference::of_log(expected, found)
            });
        };
        let members_len = |len: usize| format!("{len} members");
        let none = || "no collection".to_owned();
        match (expected, found) {
            (Some(expected), Some(found)) => {
                let expected = expected.iter().map(|&member| (member, ()));
                let found = found.iter().map(|member| (member.0, ()));
                for (member, expected, found) in join(expected, found) {
                    let (present, absent) = (format!("member {member}"), format!("no member {member}"));
                    match (expected, found) {
                        (_, None) => add(present, absent, DifferenceKind::Lost),
                        (None, _) => add(absent, present, DifferenceKind::Wrong),
                        _ => {}
                    }
                }
            }
            (Some(expected), None) => add(members_len(expected.len()), none(), DifferenceKind::Lost),
            (None, found) => add(
                none(),
                members_len(found.map_or(0, Vec::len)),
                DifferenceKind::Wrong,
            ),
        }
    }
    differences
}
