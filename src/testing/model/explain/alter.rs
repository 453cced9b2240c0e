//! Explains one tier of one key: which changes to its list of events give what was found.

use super::super::Model;
use super::super::difference::{EventId, Tier};
use super::super::state::{Computed, Kept, Key};
use super::{Kind, Sight};
use crate::{Signal, SignalStateExport};

/// Beyond this many events of a key, pairs and runs that do not reach the end are not tried.
const EVENTS_LEN_MAX: usize = 64;

/// A tier of a key as it was found, and how to tell whether a list of events gives it.
struct Tried<'a> {
    signal: &'a Signal,
    tier: Tier,
    found: Option<&'a SignalStateExport>,
}

impl Tried<'_> {
    fn is(&self, events: &[Kept]) -> bool {
        let Some(found) = self.found else {
            return events.is_empty();
        };
        if events.is_empty() {
            return false;
        }
        let computed = Computed::of(events, self.signal);
        match self.tier {
            Tier::Hot => computed.is_hot(found),
            Tier::Warm => computed.is_warm(found),
        }
    }
}

impl Model {
    /// What one tier of `key` tells of events; nothing if no change of few events explains it. `known` is what
    /// the other tier of the same key told.
    pub(super) fn explain_state(
        &self,
        key: Key,
        tier: Tier,
        found: Option<&SignalStateExport>,
        extras: &[Kept],
        known: &[Sight],
    ) -> Vec<Sight> {
        let Some(signal) = self.signal(key.signal) else {
            return Vec::new();
        };
        let tried = Tried { signal, tier, found };
        let events = self.states.get(&key).map_or(&[][..], |state| state.events());
        known_changes(&tried, events, extras, known)
            .or_else(|| single_event(&tried, events, extras))
            .or_else(|| one_score_of_several(&tried, events))
            .or_else(|| run_of_events(&tried, events))
            .or_else(|| two_events(&tried, events))
            .unwrap_or_default()
    }
}

fn sight(event: EventId, kind: Kind) -> Sight {
    Sight {
        event,
        kind,
        partial: false,
    }
}

/// Distinct events, the latest first.
fn latest_first(events: &[Kept]) -> Vec<EventId> {
    let mut ids: Vec<EventId> = events.iter().map(|kept| kept.event).collect();
    ids.dedup();
    ids.reverse();
    ids
}

fn without(events: &[Kept], id: EventId) -> Vec<Kept> {
    events.iter().copied().filter(|kept| kept.event != id).collect()
}

fn with_twice(events: &[Kept], id: EventId) -> Vec<Kept> {
    let again = events.iter().copied().filter(|kept| kept.event == id);
    events.iter().copied().chain(again).collect()
}

fn known_changes(tried: &Tried<'_>, events: &[Kept], extras: &[Kept], known: &[Sight]) -> Option<Vec<Sight>> {
    let mut changed = events.to_vec();
    for sight in known {
        match sight.kind {
            Kind::Missing => changed = without(&changed, sight.event),
            Kind::Twice => changed = with_twice(&changed, sight.event),
            Kind::Extra => changed.extend(extras.iter().filter(|kept| kept.event == sight.event)),
        }
    }
    (!known.is_empty() && tried.is(&changed)).then(|| known.to_vec())
}

fn single_event(tried: &Tried<'_>, events: &[Kept], extras: &[Kept]) -> Option<Vec<Sight>> {
    for id in latest_first(events) {
        if tried.is(&without(events, id)) {
            return Some(vec![sight(id, Kind::Missing)]);
        }
    }
    for id in latest_first(events) {
        if tried.is(&with_twice(events, id)) {
            return Some(vec![sight(id, Kind::Twice)]);
        }
    }
    for id in latest_first(extras) {
        let added = extras.iter().filter(|kept| kept.event == id);
        let changed: Vec<Kept> = events.iter().chain(added).copied().collect();
        if tried.is(&changed) {
            return Some(vec![sight(id, Kind::Extra)]);
        }
    }
    None
}

/// An event that is in some of the scores.
fn one_score_of_several(tried: &Tried<'_>, events: &[Kept]) -> Option<Vec<Sight>> {
    let found = tried.found.filter(|_| tried.tier == Tier::Hot)?;
    let with = Computed::at(events, found.time_ms, tried.signal);
    let id = latest_first(events).into_iter().find(|&id| {
        let without = Computed::at(&without(events, id), found.time_ms, tried.signal);
        let scores = with.scores.iter().zip(&without.scores).zip(&found.scores);
        with.scores.len() == found.scores.len()
            && scores
                .into_iter()
                .all(|((with, without), &found)| with.is(found) || without.is(found))
    })?;
    Some(vec![Sight {
        event: id,
        kind: Kind::Missing,
        partial: true,
    }])
}

/// Neighbours in order that are all missing, or all there twice: the shortest run, those that reach the end first.
fn run_of_events(tried: &Tried<'_>, events: &[Kept]) -> Option<Vec<Sight>> {
    let len = events.len();
    let all_runs = len <= EVENTS_LEN_MAX;
    for run_len in 1..=len {
        let first_start = if all_runs { 0 } else { len - run_len };
        for start in (first_start..=len - run_len).rev() {
            let (before, rest) = events.split_at(start);
            let (run, after) = rest.split_at(run_len);
            let missing = [before, after].concat();
            let twice = [events, run].concat();
            for (changed, kind) in [(missing, Kind::Missing), (twice, Kind::Twice)] {
                if !tried.is(&changed) {
                    continue;
                }
                let mut sights: Vec<Sight> = run.iter().map(|kept| sight(kept.event, kind)).collect();
                sights.dedup();
                for sight in &mut sights {
                    // One that came to this key twice, by a cohort named twice, and is missed once.
                    sight.partial = before.iter().chain(after).any(|kept| kept.event == sight.event);
                }
                return Some(sights);
            }
        }
    }
    None
}

fn two_events(tried: &Tried<'_>, events: &[Kept]) -> Option<Vec<Sight>> {
    let ids = latest_first(events);
    if ids.len() > EVENTS_LEN_MAX {
        return None;
    }
    for (index, &first) in ids.iter().enumerate() {
        for &second in &ids[index + 1..] {
            if tried.is(&without(&without(events, first), second)) {
                return Some(vec![sight(first, Kind::Missing), sight(second, Kind::Missing)]);
            }
        }
    }
    None
}
