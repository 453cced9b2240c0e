//! Comparing a model with an exported state, place by place.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::co_engagement::{CoEngagement, is_related, is_ring};
use super::difference::{CoEngagementPart, Difference, DifferenceKind, Structure, Subject, Tier};
use super::state::{Computed, Key, State};
use super::{Collections, Model};
use crate::{CollectionExport, EntityId, Export, Signal, SignalStateExport, UserId};

/// The smallest part of a state that can differ on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    State(Key, StatePart),
    /// The ring of a user.
    Ring(u64),
    /// The edges of an item.
    Edges(u64),
    /// The order in which users and items go at their limits. Not compared where a ring or an edge differs.
    Recency,
}

/// A part of the state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StatePart {
    Time,
    /// Of a half-life, by its index.
    Score(usize),
    /// Of a ring, by its index.
    Window(usize),
}

impl Place {
    pub(super) fn key(self) -> Option<Key> {
        match self {
            Self::State(key, _) => Some(key),
            _ => None,
        }
    }

    fn tier(part: StatePart) -> Tier {
        match part {
            StatePart::Time | StatePart::Score(_) => Tier::Hot,
            StatePart::Window(_) => Tier::Warm,
        }
    }

    fn structure(self) -> Structure {
        match self {
            Self::State(key, part) => match (key.cohort, Self::tier(part)) {
                (None, Tier::Hot) => Structure::Hot,
                (None, Tier::Warm) => Structure::Warm,
                (Some(_), tier) => Structure::Cohort(tier),
            },
            Self::Ring(_) => Structure::CoEngagement(CoEngagementPart::Ring),
            Self::Edges(_) => Structure::CoEngagement(CoEngagementPart::Edges),
            Self::Recency => Structure::CoEngagement(CoEngagementPart::Recency),
        }
    }

    /// Whether the two places are reported as one difference: the scores of a key are, and its windows.
    pub(super) fn is_reported_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::State(key, part), Self::State(other_key, other_part)) => {
                key == other_key && Self::tier(*part) == Self::tier(*other_part)
            }
            _ => self == other,
        }
    }

    /// The content of the place, and of those that are reported with it.
    fn text(self, export: &Export) -> String {
        let text = match self {
            Self::State(key, part) => {
                let state = states(export).find(|(other, _)| *other == key);
                state.map(|(_, state)| match Self::tier(part) {
                    Tier::Hot => format!("scores {:?} at {}", state.scores, state.time_ms),
                    Tier::Warm => {
                        let windows = state.windows.iter().map(|ring| &ring.buckets);
                        format!("windows {:?}", windows.collect::<Vec<_>>())
                    }
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
                let items = ids(&export.items_by_recency);
                Some(format!("users {users:?}, items {items:?}"))
            }
        };
        text.unwrap_or_else(|| "nothing".to_owned())
    }
}

fn ids(entities: &[EntityId]) -> Vec<u64> {
    entities.iter().map(|entity| entity.0).collect()
}

/// Walks two sorted sequences and gives each key with what either has of it, until told to stop.
fn join<K: Ord + Clone, A, B>(
    expected: impl Iterator<Item = (K, A)>,
    found: impl Iterator<Item = (K, B)>,
    mut each: impl FnMut(K, Option<A>, Option<B>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (mut expected, mut found) = (expected.peekable(), found.peekable());
    loop {
        let order = match (expected.peek(), found.peek()) {
            (None, None) => return ControlFlow::Continue(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let a = if order.is_le() { expected.next() } else { None };
        let b = if order.is_ge() { found.next() } else { None };
        let key = match (&a, &b) {
            (Some((key, _)), _) | (None, Some((key, _))) => key.clone(),
            (None, None) => return ControlFlow::Continue(()),
        };
        each(key, a.map(|(_, a)| a), b.map(|(_, b)| b))?;
    }
}

/// The states of an export in the order of their keys.
pub(super) fn states(found: &Export) -> impl Iterator<Item = (Key, &SignalStateExport)> {
    let key = |cohort, state: &SignalStateExport| Key {
        cohort,
        entity: state.entity,
        signal: state.signal,
    };
    let signals = found.signals.iter().map(move |state| (key(None, state), state));
    let cohorts = found.cohorts.iter();
    signals.chain(cohorts.map(move |cohort| (key(Some(cohort.cohort), &cohort.state), &cohort.state)))
}

/// Gives each part in which the state of a key differs. Scores are compared at the time of the state that was found.
fn each_part(
    signal: &Signal,
    expected: Option<&State>,
    found: Option<&SignalStateExport>,
    mut each: impl FnMut(StatePart) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (Some(state), Some(found)) = (expected, found) else {
        if expected.is_none() && found.is_none() {
            return ControlFlow::Continue(());
        }
        each(StatePart::Time)?;
        (0..signal.half_lives_ms().len()).try_for_each(|index| each(StatePart::Score(index)))?;
        return (0..signal.window_rings().len()).try_for_each(|index| each(StatePart::Window(index)));
    };
    let expected = state.computed(signal);
    let mut scores = &expected.scores;
    let at_found;
    if expected.time_ms != found.time_ms {
        each(StatePart::Time)?;
        at_found = Computed::at(state.events(), found.time_ms, signal);
        scores = &at_found.scores;
    }
    for index in 0..scores.len().max(found.scores.len()) {
        let both = scores.get(index).zip(found.scores.get(index));
        if !both.is_some_and(|(score, &found)| score.is(found)) {
            each(StatePart::Score(index))?;
        }
    }
    for index in 0..expected.windows.len().max(found.windows.len()) {
        if expected.windows.get(index) != found.windows.get(index) {
            each(StatePart::Window(index))?;
        }
    }
    ControlFlow::Continue(())
}

/// The places in which the state of a key differs.
pub(super) fn differing_parts(
    key: Key,
    signal: &Signal,
    expected: Option<&State>,
    found: Option<&SignalStateExport>,
) -> Vec<Place> {
    let mut places = Vec::new();
    let ended = each_part(signal, expected, found, |part| {
        places.push(Place::State(key, part));
        ControlFlow::Continue(())
    });
    debug_assert!(ended.is_continue());
    places
}

/// Gives each place in which the rings and edges differ, or if none does the order in which they go.
fn each_place_of_co_engagement(
    expected: &CoEngagement,
    found: &Export,
    mut each: impl FnMut(Place) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut differs = false;
    let mut check = |place, is_same| {
        if is_same {
            return ControlFlow::Continue(());
        }
        differs = true;
        each(place)
    };
    let rings = expected.rings().map(|(user, items)| (user.0, items));
    let found_rings = found.user_rings.iter().map(|ring| (ring.user.0, ring));
    join(rings, found_rings, |user, expected, found| {
        let both = expected.zip(found);
        check(
            Place::Ring(user),
            both.is_some_and(|(expected, found)| is_ring(expected, found)),
        )
    })?;
    let related = expected.related().map(|related| (related.item.0, related));
    let found_related = found.related.iter().map(|related| (related.item.0, related));
    join(related, found_related, |item, expected, found| {
        let both = expected.zip(found);
        check(
            Place::Edges(item),
            both.is_some_and(|(expected, found)| is_related(&expected, found)),
        )
    })?;
    let users = found.users_by_recency.iter().map(|user| user.0);
    let items = found.items_by_recency.iter().map(|item| item.0);
    // Where a ring or an edge differs the order does too.
    let is_same = expected.users_by_recency().eq(users) && expected.items_by_recency().eq(items);
    if differs || is_same {
        return ControlFlow::Continue(());
    }
    each(Place::Recency)
}

/// The places in which the rings, edges and their order differ.
pub(super) fn differing_co_engagement(expected: &CoEngagement, found: &Export) -> Vec<Place> {
    let mut places = Vec::new();
    let ended = each_place_of_co_engagement(expected, found, |place| {
        places.push(place);
        ControlFlow::Continue(())
    });
    debug_assert!(ended.is_continue());
    places
}

impl Model {
    fn each_place_of_states(
        &self,
        found: &Export,
        mut each: impl FnMut(Place) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let expected = self.states.iter().map(|(&key, state)| (key, state.as_ref()));
        join(expected, states(found), |key, expected, found| {
            match self.signal(key.signal) {
                Some(signal) => each_part(signal, expected, found, |part| each(Place::State(key, part))),
                None if found.is_some() => each(Place::State(key, StatePart::Time)),
                None => ControlFlow::Continue(()),
            }
        })
    }

    /// Whether the tiers of `found`, the cohorts' too, are this state's.
    pub(in crate::testing) fn matches_states(&self, found: &Export) -> bool {
        self.each_place_of_states(found, |_| ControlFlow::Break(()))
            .is_continue()
    }

    /// Whether `found` is this state, apart from collections.
    pub(in crate::testing) fn matches_frames(&self, found: &Export) -> bool {
        self.matches_states(found)
            && each_place_of_co_engagement(&self.co_engagement, found, |_| ControlFlow::Break(()))
                .is_continue()
    }

    /// The places where `found` differs, apart from collections, in order.
    pub(super) fn differing(&self, found: &Export) -> Vec<Place> {
        let mut places = Vec::new();
        let ended = self.each_place_of_states(found, |place| {
            places.push(place);
            ControlFlow::Continue(())
        });
        debug_assert!(ended.is_continue());
        places.extend(differing_co_engagement(&self.co_engagement, found));
        places
    }

    /// How many differences there are, apart from collections, without asking why.
    pub(in crate::testing) fn differences_len(&self, found: &Export) -> usize {
        self.differing(found).chunk_by(Place::is_reported_with).count()
    }

    /// The difference at a place, without an explanation.
    pub(super) fn difference(&self, place: Place, expected: &Export, found: &Export) -> Difference {
        Difference {
            structure: place.structure(),
            subject: match place {
                Place::State(key, _) => self.subject(key),
                Place::Ring(user) => Subject::User(UserId(user)),
                Place::Edges(item) => Subject::Item(EntityId(item)),
                Place::Recency => Subject::Database,
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

/// Whether the collections of `found` are these.
pub(in crate::testing) fn matches_collections(collections: &Collections, found: &Export) -> bool {
    let found = found.collections.iter();
    collections.len() == found.len()
        && collections.iter().zip(found).all(|((name, members), found)| {
            *name == found.name && members.iter().eq(found.members.iter().map(|member| &member.0))
        })
}

/// How the collections of `found` differ from these: what is missing is lost, all else wrong.
pub(in crate::testing) fn compare_collections(collections: &Collections, found: &Export) -> Vec<Difference> {
    let mut differences = Vec::new();
    let by_name = |collection: &'_ CollectionExport| collection.name.clone();
    let found = found
        .collections
        .iter()
        .map(|collection| (by_name(collection), collection));
    let expected = collections.iter().map(|(name, members)| (name.clone(), members));
    let ended = join(expected, found, |name, expected, found| {
        let difference = |expected: String, found: String, kind| Difference {
            structure: Structure::Collection,
            subject: Subject::Collection(name.clone()),
            expected,
            found,
            kind,
            event: None,
        };
        let no_collection = || "no collection".to_owned();
        match (expected, found) {
            (Some(expected), Some(found)) => {
                let members = expected.iter().map(|&member| (member, ()));
                let found = found.members.iter().map(|member| (member.0, ()));
                return join(members, found, |member, expected, found| {
                    let (is, is_not) = (format!("member {member}"), format!("no member {member}"));
                    match (expected, found) {
                        (Some(()), None) => differences.push(difference(is, is_not, DifferenceKind::Lost)),
                        (None, Some(())) => differences.push(difference(is_not, is, DifferenceKind::Wrong)),
                        _ => {}
                    }
                    ControlFlow::Continue(())
                });
            }
            (Some(expected), None) => {
                let text = format!("{} members", expected.len());
                differences.push(difference(text, no_collection(), DifferenceKind::Lost));
            }
            (None, Some(found)) => {
                let text = format!("{} members", found.members.len());
                differences.push(difference(no_collection(), text, DifferenceKind::Wrong));
            }
            (None, None) => {}
        }
        ControlFlow::Continue(())
    });
    debug_assert!(ended.is_continue());
    differences
}
