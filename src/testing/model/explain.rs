//! Names the events that explain differences. The search tries states with some events missing, some events twice, or
//! some extra events.
//!
//! It runs only if a state is wrong. Each trial changes the log in one way. The search selects the trial that gives the
//! found content in the most differing places. If the change also alters places that do not differ, its events are only
//! partly missing or extra: [`DifferenceKind::Half`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::co_engagement::CoEngagement;
use super::compare::{ModelPlace, differing_co_engagement, states};
use super::difference::{Difference, DifferenceKind, EventId};
use super::state::{Key, KeyState, StateEvent};
use super::{Model, co_engagement_user, state_events};
use crate::testing::workload::{Event, Operation};
use crate::{Export, Schema, SignalStateExport};

/// The number of entries at the end of the log that are tried. A crash damages the last ones.
const LAST_LEN_MAX: usize = 400;
/// A state that differs in more places is not explained, because the search would take minutes. At most this many of
/// its differences are reported.
const DIFFERING_LEN_MAX: usize = 256;
/// The number of last forget frames that are tried as missing.
const FORGETS_LEN_MAX: usize = 16;

/// An event or a forget frame in the log. The index of a forget frame is 0.
#[derive(Debug, Clone, Copy)]
struct LogEntry<'a> {
    id: EventId,
    frame: &'a Operation,
}

/// A change of some entries of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogChange {
    Missing,
    /// The entries belong to frames that must not be in the state.
    Extra,
    Twice,
}

/// A change of some consecutive entries, and its effect.
struct Trial<'a> {
    change: LogChange,
    entries: &'a [LogEntry<'a>],
    /// The differing places in which the change gives the found content.
    explained: BTreeSet<ModelPlace>,
    /// The places that the change alters although they do not differ.
    contradicted: BTreeSet<ModelPlace>,
}

/// A wrong state, and the log from which it should follow.
struct Search<'a> {
    model: &'a Model,
    found: &'a Export,
    found_states: BTreeMap<Key, &'a SignalStateExport>,
    differing: BTreeSet<ModelPlace>,
    differing_keys: BTreeSet<Key>,
    /// The last entries of the log, and co-engagement before them.
    log: Vec<LogEntry<'a>>,
    start: CoEngagement,
    /// The entries of frames that must not be in the state.
    extra: Vec<LogEntry<'a>>,
}

impl Model {
    /// The differences between `found` and this model. Collections are not compared. The frames `others` must not be in
    /// the state, but their events may explain a difference. Their numbers follow those of this model's frames.
    pub(in crate::testing) fn compare_frames(
        &self,
        found: &Export,
        others: &[Arc<Operation>],
    ) -> Vec<Difference> {
        let differing = self.differing_places(found);
        if differing.is_empty() {
            return Vec::new();
        }
        let mut reported = differing.chunk_by(ModelPlace::is_reported_with);
        if differing.len() > DIFFERING_LEN_MAX {
            let expected = self.export();
            let reported = reported.by_ref().take(DIFFERING_LEN_MAX);
            let differences = reported.map(|places| self.difference(places[0], &expected, found));
            return differences.collect();
        }
        let search = Search::new(self, found, others, &differing);
        let (trial, explanation) = search.explain();
        let expected = self.export();
        let mut differences = Vec::new();
        for places in reported {
            let mut difference = self.difference(places[0], &expected, found);
            if let Some(explanation) = &explanation {
                difference.found = format!("{} ({explanation})", difference.found);
            }
            let explains = |trial: &&Trial<'_>| places.iter().any(|place| trial.explained.contains(place));
            let before = differences.len();
            if let Some(trial) = trial.as_ref().filter(explains) {
                let entries = trial
                    .entries
                    .iter()
                    .filter(|entry| search.changes_place(entry, places[0]));
                differences.extend(entries.map(|entry| Difference {
                    kind: search.kind_of(trial, entry),
                    event: Some(entry.id),
                    ..difference.clone()
                }));
            }
            if differences.len() == before {
                differences.push(difference);
            }
        }
        differences
    }
}

impl<'a> Search<'a> {
    fn new(
        model: &'a Model,
        found: &'a Export,
        others: &'a [Arc<Operation>],
        differing: &[ModelPlace],
    ) -> Self {
        let mut earlier = entries(model.history().iter(), 0);
        let log = earlier.split_off(earlier.len().saturating_sub(LAST_LEN_MAX));
        let mut start = CoEngagement::clone(&model.initial.co_engagement);
        apply_log(model, &mut start, &earlier);
        Self {
            model,
            found,
            found_states: states(found).collect(),
            differing: differing.iter().copied().collect(),
            differing_keys: differing.iter().filter_map(|place| place.key()).collect(),
            log,
            start,
            extra: entries(others.iter(), model.history().len()),
        }
    }

    /// Returns the trial that explains the state, or an explanation as text.
    fn explain(&self) -> (Option<Trial<'_>>, Option<String>) {
        let missing_forget = self.find_missing_forget();
        if missing_forget.is_some() {
            return (None, missing_forget);
        }
        let trial = self.best_trial();
        if trial.as_ref().is_none_or(|trial| !self.explains_all(trial)) && self.differing_keys.is_empty() {
            let swapped_events = self.find_swapped_events();
            if swapped_events.is_some() {
                return (None, swapped_events);
            }
        }
        (trial, None)
    }

    /// Finds the forget frame without which the log gives the found state, and returns it as text.
    fn find_missing_forget(&self) -> Option<String> {
        let forgets = self.log.iter().rev().filter(|entry| entry.event().is_none());
        forgets.take(FORGETS_LEN_MAX).find_map(|LogEntry { id, frame }| {
            let mut without = self.model.without_frames();
            let frames = (1..).zip(self.model.history().iter());
            let others = frames.filter(|(number, _)| *number != id.sequence);
            others.for_each(|(_, frame)| without.apply_frame(frame));
            let text = || format!("as if frame {} ({frame}) were missing", id.sequence);
            without.matches_frames(self.found).then(text)
        })
    }

    /// Finds two neighbouring entries whose swap gives the found co-engagement, and returns them as text.
    fn find_swapped_events(&self) -> Option<String> {
        let mut steps = self.log.clone();
        steps.retain(|entry| entry.event().is_none() || entry.changes_co_engagement(self.model));
        (1..steps.len()).rev().find_map(|second| {
            let mut swapped = steps.clone();
            swapped.swap(second - 1, second);
            let text = || format!("as if {} came before {}", steps[second].id, steps[second - 1].id);
            self.differing_co_engagement_after(&swapped).is_empty().then(text)
        })
    }

    /// The trial that explains the most places.
    fn best_trial(&self) -> Option<Trial<'_>> {
        let changes_differing_key = |entry: &&LogEntry<'_>| {
            let mut keys = entry.state_events().map(|(key, _)| key);
            keys.any(|key| self.differing_keys.contains(&key))
        };
        let suspects = self.log.iter().chain(&self.extra).filter(changes_differing_key);
        let suspects: BTreeSet<EventId> = suspects.map(|entry| entry.id).collect();
        let is_suspected = |(_, entries): &(LogChange, &[LogEntry<'_>])| {
            let [first, last] = [0, entries.len() - 1].map(|at| entries[at].id);
            suspects.range(first..=last).next().is_some()
        };
        // Changes that can explain a difference in the tiers come first: usually one of them explains all differences.
        let (likely, mut others): (Vec<_>, Vec<_>) = self.changes().into_iter().partition(is_suspected);
        if !self.co_engagement_is_wrong() {
            others.clear();
        }
        let mut best: Option<Trial<'_>> = None;
        let rank = |trial: &Trial<'_>| (trial.explained.len(), Reverse(trial.contradicted.len()));
        for (change, entries) in likely.into_iter().chain(others) {
            let Some(trial) = self.try_change(change, entries) else {
                continue;
            };
            let explains_all = self.explains_all(&trial);
            if best.as_ref().is_none_or(|best| rank(&trial) > rank(best)) {
                best = Some(trial);
            }
            if explains_all {
                break;
            }
        }
        best
    }

    /// All changes to try. The likeliest kind comes first, and within a kind the latest entries.
    fn changes(&self) -> Vec<(LogChange, &[LogEntry<'a>])> {
        let frames = || self.log.chunk_by(LogEntry::is_of_same_frame).rev();
        let ends = || {
            let lens = frames().scan(0, |len, frame| {
                *len += frame.len();
                Some(*len)
            });
            lens.map(|len| &self.log[self.log.len() - len..])
        };
        let extra = self.extra.chunk_by(LogEntry::is_of_same_frame);
        let parts_of_extra = extra.flat_map(|frame| {
            let beginnings = (1..=frame.len()).rev().map(|len| &frame[..len]);
            beginnings.chain((1..frame.len()).map(|from| &frame[from..]))
        });
        let missing = self.log.chunks(1).rev().chain(frames()).chain(ends());
        // A long frame has too many parts and is tried only as a whole.
        let has_few = self.extra.len() <= LAST_LEN_MAX;
        let parts = self
            .extra
            .chunks(1)
            .rev()
            .chain(parts_of_extra)
            .filter(|_| has_few);
        let whole = self
            .extra
            .chunk_by(LogEntry::is_of_same_frame)
            .filter(|_| !has_few);
        let extra = parts.chain(whole);
        let twice = self.log.chunks(1).rev().chain(ends());
        let missing = missing.map(|entries| (LogChange::Missing, entries));
        let extra = extra.map(|entries| (LogChange::Extra, entries));
        let twice = twice.map(|entries| (LogChange::Twice, entries));
        missing.chain(extra).chain(twice).collect()
    }

    /// The effect of a change, or `None` if it explains no place.
    fn try_change<'s>(&'s self, change: LogChange, entries: &'s [LogEntry<'a>]) -> Option<Trial<'s>> {
        let keys = entries
            .iter()
            .flat_map(LogEntry::state_events)
            .map(|(key, _)| key);
        let keys: BTreeSet<Key> = keys.collect();
        let changes_co_engagement = entries
            .iter()
            .any(|entry| entry.changes_co_engagement(self.model));
        let mut remaining = self.differing.clone();
        if changes_co_engagement && self.co_engagement_is_wrong() {
            self.change_co_engagement(&mut remaining, change, entries);
        }
        if remaining.is_superset(&self.differing) && keys.is_disjoint(&self.differing_keys) {
            return None;
        }
        for key in keys {
            remaining.retain(|place| place.key() != Some(key));
            let state = self.changed_state(key, change, entries);
            let found = self.found_states.get(&key).copied();
            remaining.extend(self.model.differing_places_of_key(key, state.as_ref(), found));
        }
        if changes_co_engagement && !self.co_engagement_is_wrong() && !remaining.is_superset(&self.differing)
        {
            self.change_co_engagement(&mut remaining, change, entries);
        }
        let explained: BTreeSet<_> = self.differing.difference(&remaining).copied().collect();
        (!explained.is_empty()).then(|| Trial {
            change,
            entries,
            explained,
            contradicted: remaining.difference(&self.differing).copied().collect(),
        })
    }

    fn co_engagement_is_wrong(&self) -> bool {
        self.differing.iter().any(|place| place.key().is_none())
    }

    /// Replaces the places of co-engagement in `remaining` by those that differ after the change. Does nothing if the
    /// change leaves one of the differing places unexplained.
    fn change_co_engagement(
        &self,
        remaining: &mut BTreeSet<ModelPlace>,
        change: LogChange,
        entries: &[LogEntry<'a>],
    ) {
        let differing = self.differing_co_engagement_after(&self.changed_log(change, entries));
        if differing.iter().all(|place| !self.differing.contains(place)) {
            remaining.retain(|place| place.key().is_some());
            remaining.extend(differing);
        }
    }

    /// The state of a key after a change. `None` if the key has no events.
    fn changed_state(&self, key: Key, change: LogChange, entries: &[LogEntry<'_>]) -> Option<KeyState> {
        let state = self.model.states.get(&key);
        let mut events = state.map_or_else(Vec::new, |state| state.events().to_vec());
        let is_changed = |event: &StateEvent| contains(entries, event.id);
        match change {
            LogChange::Missing => events.retain(|event| !is_changed(event)),
            LogChange::Twice => events.extend(events.clone().iter().filter(|event| is_changed(event))),
            LogChange::Extra => {
                let extra = entries.iter().flat_map(LogEntry::state_events);
                events.extend(extra.filter(|(other, _)| *other == key).map(|(_, event)| event));
            }
        }
        (!events.is_empty()).then(|| KeyState::of(events))
    }

    /// The entries of the log after a change.
    fn changed_log(&self, change: LogChange, entries: &[LogEntry<'a>]) -> Vec<LogEntry<'a>> {
        let mut log = self.log.clone();
        match change {
            LogChange::Missing => log.retain(|entry| entry.event().is_none() || !contains(entries, entry.id)),
            LogChange::Extra => log.extend(entries),
            LogChange::Twice => {
                let end = log.iter().rposition(|entry| contains(entries, entry.id));
                let end = end.map_or(0, |last| last + 1);
                log.splice(end..end, entries.iter().copied());
            }
        }
        log
    }

    /// The places of co-engagement that differ after another log.
    fn differing_co_engagement_after(&self, log: &[LogEntry<'_>]) -> Vec<ModelPlace> {
        let mut co_engagement = self.start.clone();
        apply_log(self.model, &mut co_engagement, log);
        differing_co_engagement(&co_engagement, self.found)
    }

    fn explains_all(&self, trial: &Trial<'_>) -> bool {
        trial.explained == self.differing && trial.contradicted.is_empty()
    }

    /// The kind of difference that an entry of the trial explains.
    fn kind_of(&self, trial: &Trial<'_>, entry: &LogEntry<'_>) -> DifferenceKind {
        let mut frame = self.extra.iter().filter(|other| entry.is_of_same_frame(other));
        match trial.change {
            LogChange::Twice => DifferenceKind::Doubled,
            _ if self.is_contradicted(trial, entry) => DifferenceKind::Half,
            LogChange::Missing => DifferenceKind::Lost,
            LogChange::Extra if frame.any(|other| !contains(trial.entries, other.id)) => DifferenceKind::Half,
            LogChange::Extra => DifferenceKind::Wrong,
        }
    }

    /// Returns true if the entry changes a place that does not differ.
    fn is_contradicted(&self, trial: &Trial<'_>, entry: &LogEntry<'_>) -> bool {
        let mut contradicted = trial.contradicted.iter();
        contradicted.any(|&place| self.changes_place(entry, place))
    }

    fn changes_place(&self, entry: &LogEntry<'_>, place: ModelPlace) -> bool {
        match place.key() {
            Some(key) => entry.state_events().any(|(other, _)| other == key),
            None => entry.changes_co_engagement(self.model),
        }
    }
}

impl<'a> LogEntry<'a> {
    fn event(&self) -> Option<&'a Event> {
        match self.frame {
            Operation::Record { events, .. } => events.get(self.id.index),
            _ => None,
        }
    }

    fn state_events(&self) -> impl Iterator<Item = (Key, StateEvent)> + use<'a> {
        let id = self.id;
        self.event()
            .into_iter()
            .flat_map(move |event| state_events(id, event))
    }

    fn changes_co_engagement(&self, model: &Model) -> bool {
        self.event()
            .is_some_and(|event| co_engagement_user(&model.schema, event).is_some())
    }

    fn is_of_same_frame(&self, other: &Self) -> bool {
        self.id.sequence == other.id.sequence
    }
}

/// Returns true if the event is one of these entries, which are sorted by id.
fn contains(entries: &[LogEntry<'_>], id: EventId) -> bool {
    entries.binary_search_by_key(&id, |entry| entry.id).is_ok()
}

/// The entries of frames. The first frame has the number `frames_before + 1`.
fn entries<'a>(frames: impl Iterator<Item = &'a Arc<Operation>>, frames_before: usize) -> Vec<LogEntry<'a>> {
    let numbered = (frames_before as u64 + 1..).zip(frames);
    let entries = numbered.flat_map(|(sequence, frame)| {
        let len = match frame.as_ref() {
            Operation::Record { events, .. } => events.len(),
            _ => 1,
        };
        (0..len).map(move |index| LogEntry {
            id: EventId { sequence, index },
            frame,
        })
    });
    entries.collect()
}

/// Applies the entries of a log to co-engagement.
fn apply_log(model: &Model, co_engagement: &mut CoEngagement, log: &[LogEntry<'_>]) {
    for entry in log {
        match (entry.frame, entry.event()) {
            (_, Some(event)) => {
                if let Some(user) = co_engagement_user(&model.schema, event) {
                    co_engagement.record(user, event.entity, event.weight, event.at_ms);
                }
            }
            (Operation::ForgetEntity(item), _) => co_engagement.forget_item(*item),
            (Operation::ForgetUser(user), _) => co_engagement.forget_user(*user),
            (Operation::Reopen(reopening), _) => {
                let schema = Schema::new().co_engagement(co_engagement.config);
                let changed = reopening.changed_schema(schema);
                co_engagement.set_bounds(*changed.co_engagement_config());
            }
            _ => {}
        }
    }
}
