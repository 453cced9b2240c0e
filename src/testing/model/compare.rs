//! Comparing a model with an exported state, structure by structure.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::co_engagement::{CoEngagement, is_related, is_ring};
use super::difference::{CoEngagementPart, Difference, Fault, Structure, Subject, Tier};
use super::state::{Computed, Key};
use super::{Collections, Model};
use crate::{CollectionExport, Export, RelatedExport, SignalStateExport, UserRingExport};

/// Walks two sorted sequences and gives each key with what either has of it, until told to stop.
pub(super) fn join<K: Ord + Clone, A, B>(
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

/// Goes on as long as the two are equal.
fn while_equal(equal: bool) -> ControlFlow<()> {
    if equal {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
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

impl Model {
    fn computed_states(&self) -> impl Iterator<Item = (Key, &Computed)> {
        let states = self.states.iter();
        states.filter_map(|(&key, state)| Some((key, self.computed(key, state)?)))
    }

    /// Whether the tiers of `found`, the cohorts' too, are this state's.
    pub(in crate::testing) fn matches_states(&self, found: &Export) -> bool {
        join(self.computed_states(), states(found), |_, expected, found| {
            let equal = match (expected, found) {
                (Some(expected), Some(found)) => expected.is_hot(found) && expected.is_warm(found),
                _ => false,
            };
            while_equal(equal)
        })
        .is_continue()
    }

    pub(in crate::testing) fn matches_co_engagement(&self, found: &Export) -> bool {
        matches_co_engagement(&self.co_engagement, found)
    }

    /// The keys whose states differ, and in which tiers.
    pub(super) fn differing_states(&self, found: &Export) -> Vec<(Key, Tier)> {
        let mut differing = Vec::new();
        let ended = join(self.computed_states(), states(found), |key, expected, found| {
            let both = expected.zip(found);
            if !both.is_some_and(|(expected, found)| expected.is_hot(found)) {
                differing.push((key, Tier::Hot));
            }
            // A state without window rings is never missed in the warm tier.
            let has_rings = self
                .signal(key.signal)
                .is_some_and(|signal| !signal.window_rings().is_empty());
            if !both.map_or(!has_rings, |(expected, found)| expected.is_warm(found)) {
                differing.push((key, Tier::Warm));
            }
            ControlFlow::Continue(())
        });
        debug_assert!(ended.is_continue());
        differing
    }

    /// The difference of one tier of one key, without an explanation.
    pub(super) fn state_difference(
        &self,
        key: Key,
        tier: Tier,
        found: Option<&SignalStateExport>,
    ) -> Difference {
        let expected = self
            .states
            .get(&key)
            .and_then(|state| Some(self.computed(key, state)?.export(key)));
        let text = |state: Option<&SignalStateExport>| match (state, tier) {
            (None, _) => "nothing".to_owned(),
            (Some(state), Tier::Hot) => format!("scores {:?} at {}", state.scores, state.time_ms),
            (Some(state), Tier::Warm) => {
                let windows = state.windows.iter().map(|ring| &ring.buckets);
                format!("windows {:?}", windows.collect::<Vec<_>>())
            }
        };
        Difference {
            structure: structure(key, tier),
            subject: self.subject(key),
            expected: text(expected.as_ref()),
            found: text(found),
            verdict: Fault::Wrong,
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

pub(super) fn structure(key: Key, tier: Tier) -> Structure {
    match (key.cohort, tier) {
        (None, Tier::Hot) => Structure::Hot,
        (None, Tier::Warm) => Structure::Warm,
        (Some(_), tier) => Structure::Cohort(tier),
    }
}

fn found_rings(found: &Export) -> impl Iterator<Item = (u64, &UserRingExport)> {
    found.user_rings.iter().map(|ring| (ring.user.0, ring))
}

fn found_related(found: &Export) -> impl Iterator<Item = (u64, &RelatedExport)> {
    found.related.iter().map(|related| (related.item.0, related))
}

pub(super) fn matches_co_engagement(co_engagement: &CoEngagement, found: &Export) -> bool {
    let rings = co_engagement.rings().map(|(user, items)| (user.0, items));
    let same_rings = join(rings, found_rings(found), |_, expected, found| {
        while_equal(
            expected
                .zip(found)
                .is_some_and(|(expected, found)| is_ring(expected, found)),
        )
    });
    let related = co_engagement.related().map(|related| (related.item.0, related));
    let same_related = || {
        join(related, found_related(found), |_, expected, found| {
            let equal = |(expected, found): (RelatedExport, &RelatedExport)| is_related(&expected, found);
            while_equal(expected.zip(found).is_some_and(equal))
        })
    };
    same_rings.is_continue() && same_related().is_continue() && matches_recency(co_engagement, found)
}

fn matches_recency(co_engagement: &CoEngagement, found: &Export) -> bool {
    let users = found.users_by_recency.iter().map(|user| user.0);
    let items = found.items_by_recency.iter().map(|item| item.0);
    co_engagement.users_by_recency().eq(users) && co_engagement.items_by_recency().eq(items)
}

/// The rings and items that differ, and if none does the order in which they go, without an explanation.
pub(super) fn compare_co_engagement(co_engagement: &CoEngagement, found: &Export) -> Vec<Difference> {
    let mut differences = Vec::new();
    let difference = |part, subject, expected: Option<String>, found: Option<String>| Difference {
        structure: Structure::CoEngagement(part),
        subject,
        expected: expected.unwrap_or_else(|| "nothing".to_owned()),
        found: found.unwrap_or_else(|| "nothing".to_owned()),
        verdict: Fault::Wrong,
        event: None,
    };
    let rings = co_engagement.rings().map(|(user, items)| (user.0, items));
    let ended = join(rings, found_rings(found), |user, expected, found| {
        if !expected
            .zip(found)
            .is_some_and(|(expected, found)| is_ring(expected, found))
        {
            differences.push(difference(
                CoEngagementPart::Ring,
                Subject::User(crate::UserId(user)),
                expected.map(|items| format!("{items:?}")),
                found.map(|ring| format!("{:?}", ring.items.iter().map(|item| item.0).collect::<Vec<_>>())),
            ));
        }
        ControlFlow::Continue(())
    });
    debug_assert!(ended.is_continue());
    let related = co_engagement.related().map(|related| (related.item.0, related));
    let text = |related: &RelatedExport| {
        let edges: Vec<_> = related.edges.iter().map(|&(id, weight)| (id.0, weight)).collect();
        format!("{edges:?} at {}", related.time_ms)
    };
    let ended = join(related, found_related(found), |item, expected, found| {
        let same = expected
            .as_ref()
            .zip(found)
            .is_some_and(|(expected, found)| is_related(expected, found));
        if !same {
            differences.push(difference(
                CoEngagementPart::Edges,
                Subject::Item(crate::EntityId(item)),
                expected.as_ref().map(text),
                found.map(text),
            ));
        }
        ControlFlow::Continue(())
    });
    debug_assert!(ended.is_continue());
    // What differs there has another order too.
    if differences.is_empty() && !matches_recency(co_engagement, found) {
        let mut expected = Export::default();
        co_engagement.export(&mut expected);
        let text = |export: &Export| {
            let users: Vec<_> = export.users_by_recency.iter().map(|user| user.0).collect();
            let items: Vec<_> = export.items_by_recency.iter().map(|item| item.0).collect();
            format!("users {users:?}, items {items:?}")
        };
        differences.push(difference(
            CoEngagementPart::Recency,
            Subject::Database,
            Some(text(&expected)),
            Some(text(found)),
        ));
    }
    differences
}

fn found_collections(found: &Export) -> impl Iterator<Item = (&Vec<u8>, &CollectionExport)> {
    found
        .collections
        .iter()
        .map(|collection| (&collection.name, collection))
}

/// Whether the collections of `found` are these.
pub(in crate::testing) fn matches_collections(collections: &Collections, found: &Export) -> bool {
    join(
        collections.iter(),
        found_collections(found),
        |_, expected, found| {
            let equal = match (expected, found) {
                (Some(expected), Some(found)) => {
                    expected.iter().eq(found.members.iter().map(|member| &member.0))
                }
                _ => false,
            };
            while_equal(equal)
        },
    )
    .is_continue()
}

/// How the collections of `found` differ from these: what is missing is lost, all else wrong.
pub(in crate::testing) fn compare_collections(collections: &Collections, found: &Export) -> Vec<Difference> {
    let mut differences = Vec::new();
    let ended = join(
        collections.iter(),
        found_collections(found),
        |name, expected, found| {
            let difference = |expected: String, found: String, verdict| Difference {
                structure: Structure::Collection,
                subject: Subject::Collection(name.clone()),
                expected,
                found,
                verdict,
                event: None,
            };
            let no_collection = || "no collection".to_owned();
            match (expected, found) {
                (Some(expected), Some(found)) => {
                    let members = expected.iter().copied().map(|member| (member, ()));
                    let found = found.members.iter().map(|member| (member.0, ()));
                    return join(members, found, |member, expected, found| {
                        let (is, is_not) = (format!("member {member}"), format!("no member {member}"));
                        match (expected, found) {
                            (Some(()), None) => differences.push(difference(is, is_not, Fault::Lost)),
                            (None, Some(())) => differences.push(difference(is_not, is, Fault::Wrong)),
                            _ => {}
                        }
                        ControlFlow::Continue(())
                    });
                }
                (Some(expected), None) => {
                    let text = format!("{} members", expected.len());
                    differences.push(difference(text, no_collection(), Fault::Lost));
                }
                (None, Some(found)) => {
                    let text = format!("{} members", found.members.len());
                    differences.push(difference(no_collection(), text, Fault::Wrong));
                }
                (None, None) => {}
            }
            ControlFlow::Continue(())
        },
    );
    debug_assert!(ended.is_continue());
    differences
}
