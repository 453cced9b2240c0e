//! Which event explains a difference: tries what the state would be without one, or with one twice.
//!
//! Only runs when a state is wrong. Each difference is explained where it is; then an event that is missed in some
//! places and present in others is told from one that is missed everywhere.

mod alter;
mod co_engagement;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compare::{compare_co_engagement, states};
use super::difference::{Difference, EventId, Fault, Tier};
use super::state::{Computed, Kept, Key};
use super::{Model, kept};
use crate::testing::workload::Operation;
use crate::{Export, SignalStateExport};

/// Beyond this many wrong places of the tiers the rest is not explained: so much is not the work of a few events.
const PLACES_LEN_MAX: usize = 64;
/// How many of the last forget frames are suspected.
const FORGETS_LEN_MAX: usize = 16;

/// What happened to an event, as seen from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Missing,
    Twice,
    /// It is of a frame that is not to be there.
    Extra,
}

/// What a place tells of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sight {
    event: EventId,
    kind: Kind,
    /// It is so for a part of the place only: one score of several, one of two edges.
    partial: bool,
}

/// Where an event has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    State(Key, Tier),
    CoEngagement,
}

impl Model {
    /// How `found` differs, apart from collections. Events of the frames `others` may be there though they should not;
    /// they are numbered on from this model's frames.
    pub(in crate::testing) fn compare_frames(
        &self,
        found: &Export,
        others: &[Arc<Operation>],
    ) -> Vec<Difference> {
        let differing = self.differing_states(found);
        let co_engagement = compare_co_engagement(&self.co_engagement, found);
        if differing.is_empty() && co_engagement.is_empty() {
            return Vec::new();
        }
        let found_states: BTreeMap<Key, &SignalStateExport> = states(found).collect();
        let mut raw: Vec<(Place, Difference)> = Vec::new();
        for &(key, tier) in &differing {
            let found = found_states.get(&key).copied();
            raw.push((Place::State(key, tier), self.state_difference(key, tier, found)));
        }
        raw.extend(
            co_engagement
                .into_iter()
                .map(|difference| (Place::CoEngagement, difference)),
        );
        if let Some(note) = self.explain_by_forget(found) {
            let noted = |(_, difference): (Place, Difference)| with_note(difference, &note);
            return raw.into_iter().map(noted).collect();
        }
        let sights = self.explain_places(&raw, found, &found_states, others);
        self.assemble(raw, &sights, others)
    }

    /// The sights of each raw difference.
    fn explain_places(
        &self,
        raw: &[(Place, Difference)],
        found: &Export,
        found_states: &BTreeMap<Key, &SignalStateExport>,
        others: &[Arc<Operation>],
    ) -> Vec<(Vec<Sight>, Option<String>)> {
        let extras = self.extras(others);
        let mut sights: Vec<(Vec<Sight>, Option<String>)> = Vec::new();
        let mut hint: Option<(Key, Vec<Sight>)> = None;
        for (place, _) in raw {
            let Place::State(key, tier) = *place else { break };
            if sights.len() >= PLACES_LEN_MAX {
                sights.push((Vec::new(), None));
                continue;
            }
            let known = hint
                .take()
                .filter(|(hinted, _)| *hinted == key)
                .map(|(_, sights)| sights);
            let extras = extras.get(&key).map_or(&[][..], Vec::as_slice);
            let found = found_states.get(&key).copied();
            let seen = self.explain_state(key, tier, found, extras, &known.unwrap_or_default());
            hint = Some((key, seen.clone()));
            sights.push((seen, None));
        }
        let co_engagement = sights.len()..raw.len();
        if !co_engagement.is_empty() {
            let suspects: BTreeSet<Sight> = sights.iter().flat_map(|(seen, _)| seen).copied().collect();
            let explained = self.explain_co_engagement(found, others, &suspects);
            sights.extend(co_engagement.map(|_| explained.clone()));
        }
        sights
    }

    /// The events of frames that should not be there, by key.
    fn extras(&self, others: &[Arc<Operation>]) -> BTreeMap<Key, Vec<Kept>> {
        let mut extras: BTreeMap<Key, Vec<Kept>> = BTreeMap::new();
        for (id, event) in events(others, self.frames_len()) {
            for (key, kept) in kept(id, event) {
                extras.entry(key).or_default().push(kept);
            }
        }
        extras
    }

    /// Whether the state is as if one forget frame were missing, or applied again at the end.
    fn explain_by_forget(&self, found: &Export) -> Option<String> {
        let forgets = self.history().iter().enumerate().rev();
        let forgets = forgets.filter(|(_, frame)| !matches!(frame.as_ref(), Operation::Record { .. }));
        for (index, frame) in forgets.take(FORGETS_LEN_MAX) {
            let mut without = Self::new(&self.schema);
            for (other, frame) in self.history().iter().enumerate() {
                if other != index {
                    without.apply_frame(frame);
                }
            }
            if without.matches_frames(found) {
                return Some(format!("as if frame {} ({frame}) were missing", index + 1));
            }
            let mut again = self.clone();
            again.apply_frame(frame);
            if again.matches_frames(found) {
                return Some(format!(
                    "as if frame {} ({frame}) came again at the end",
                    index + 1
                ));
            }
        }
        None
    }

    /// Gives each difference its events and its verdict.
    fn assemble(
        &self,
        raw: Vec<(Place, Difference)>,
        sights: &[(Vec<Sight>, Option<String>)],
        others: &[Arc<Operation>],
    ) -> Vec<Difference> {
        let mut seen_at: BTreeMap<(EventId, Kind), BTreeSet<Place>> = BTreeMap::new();
        let mut partial: BTreeSet<(EventId, Kind)> = BTreeSet::new();
        for ((place, _), (seen, _)) in raw.iter().zip(sights) {
            for sight in seen {
                seen_at
                    .entry((sight.event, sight.kind))
                    .or_default()
                    .insert(*place);
                if sight.partial {
                    partial.insert((sight.event, sight.kind));
                }
            }
        }
        let unexplained: BTreeSet<Place> = raw
            .iter()
            .zip(sights)
            .filter(|(_, (seen, _))| seen.is_empty())
            .map(|((place, _), _)| *place)
            .collect();
        let differs_in_co_engagement = raw.iter().any(|(place, _)| *place == Place::CoEngagement);
        let fault = |event: EventId, kind: Kind| {
            let seen = &seen_at[&(event, kind)];
            // Several events may explain the same of co-engagement: one that is not named may be missing there too.
            let is_open = |place: &Place| {
                unexplained.contains(place) || (*place == Place::CoEngagement && differs_in_co_engagement)
            };
            let elsewhere = || {
                let places = self.places_of(event, kind, others);
                places
                    .iter()
                    .any(|place| !seen.contains(place) && !is_open(place))
            };
            match kind {
                Kind::Twice => Fault::Doubled,
                _ if partial.contains(&(event, kind)) || elsewhere() => Fault::Half,
                Kind::Missing => Fault::Lost,
                Kind::Extra if self.has_absent_sibling(event, &seen_at, others) => Fault::Half,
                Kind::Extra => Fault::Wrong,
            }
        };
        let faults: BTreeMap<(EventId, Kind), Fault> = seen_at
            .keys()
            .map(|&(event, kind)| ((event, kind), fault(event, kind)))
            .collect();
        let mut differences = Vec::new();
        for ((_, difference), (seen, note)) in raw.into_iter().zip(sights) {
            let difference = match note {
                Some(note) => with_note(difference, note),
                None => difference,
            };
            if seen.is_empty() {
                differences.push(difference);
                continue;
            }
            differences.extend(seen.iter().map(|sight| Difference {
                verdict: faults[&(sight.event, sight.kind)],
                event: Some(sight.event),
                ..difference.clone()
            }));
        }
        differences
    }

    /// Whether another event of the frame is not there at all.
    fn has_absent_sibling(
        &self,
        event: EventId,
        seen_at: &BTreeMap<(EventId, Kind), BTreeSet<Place>>,
        others: &[Arc<Operation>],
    ) -> bool {
        let siblings = events(others, self.frames_len()).filter(|(id, _)| id.sequence == event.sequence);
        siblings
            .into_iter()
            .any(|(id, _)| !seen_at.contains_key(&(id, Kind::Extra)))
    }

    /// Where an event shows: where it being missing, or there beside the others, changes something.
    fn places_of(&self, event: EventId, kind: Kind, others: &[Arc<Operation>]) -> BTreeSet<Place> {
        let mut places = self.places_in_tiers(event, kind, others);
        if kind == Kind::Missing && self.shows_in_co_engagement(event) {
            places.insert(Place::CoEngagement);
        }
        places
    }

    fn places_in_tiers(&self, event: EventId, kind: Kind, others: &[Arc<Operation>]) -> BTreeSet<Place> {
        let mut places = BTreeSet::new();
        let all = events(self.history(), 0).chain(events(others, self.frames_len()));
        for (id, logged) in all.filter(|(id, _)| *id == event) {
            for (key, entry) in kept(id, logged) {
                let Some(signal) = self.signal(key.signal) else {
                    continue;
                };
                let with: Vec<Kept> = self
                    .states
                    .get(&key)
                    .map_or(Vec::new(), |state| state.events().to_vec());
                let mut without = with.clone();
                match kind {
                    Kind::Extra => without.push(entry),
                    Kind::Missing | Kind::Twice => without.retain(|kept| kept.event != id),
                }
                // Forgotten since: it shows nowhere.
                if with.len() == without.len() {
                    continue;
                }
                let with = (!with.is_empty()).then(|| Computed::of(&with, signal));
                let without = (!without.is_empty()).then(|| Computed::of(&without, signal).export(key));
                let both = with.as_ref().zip(without.as_ref());
                if !both.is_some_and(|(with, without)| with.is_hot(without)) {
                    places.insert(Place::State(key, Tier::Hot));
                }
                if !both.map_or(signal.window_rings().is_empty(), |(with, without)| {
                    with.is_warm(without)
                }) {
                    places.insert(Place::State(key, Tier::Warm));
                }
            }
        }
        places
    }
}

fn with_note(difference: Difference, note: &str) -> Difference {
    Difference {
        found: format!("{} ({note})", difference.found),
        ..difference
    }
}

/// The events of frames that are numbered on from `frames_before`.
fn events(
    frames: &[Arc<Operation>],
    frames_before: usize,
) -> impl Iterator<Item = (EventId, &crate::testing::workload::Event)> {
    let numbered = (frames_before as u64 + 1..).zip(frames);
    numbered.flat_map(|(sequence, frame)| {
        let events = match frame.as_ref() {
            Operation::Record { events, .. } => events.as_slice(),
            _ => &[],
        };
        let id = move |index| EventId { sequence, index };
        events
            .iter()
            .enumerate()
            .map(move |(index, event)| (id(index), event))
    })
}
