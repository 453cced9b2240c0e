//! Names the events that explain differences: tries the state without some events, with some twice, or with some extra.
//!
//! Only runs when a state is wrong. Each trial changes the events of the log in one way; the one that gives the found
//! state in the most differing places is taken. A change that shows also in places that do not differ explains events that
//! are there by half.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::co_engagement::CoEngagement;
use super::compare::{ModelPlace, differing_co_engagement, states};
use super::difference::{Difference, DifferenceKind, EventId};
use super::state::{Key, KeyState, StateEvent};
use super::{Model, feeding_user, kept};
use crate::testing::workload::{Event, Operation};
use crate::{Export, Schema, SignalStateExport};

/// How many of the last entries of the log are tried: a crash damages the last ones.
const LAST_LEN_MAX: usize = 400;
/// A state that is wrong in more places is not explained, because the search would take minutes. As many of its differences
/// are given.
const WRONG_LEN_MAX: usize = 256;
/// How many of the last forget frames are suspected.
const FORGETS_LEN_MAX: usize = 16;

/// An event or a forget frame in the log. The latter's index is 0.
#[derive(Debug, Clone, Copy)]
struct LogEntry<'a> {
    id: EventId,
    frame: &'a Operation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogChange {
    Missing,
    /// They are of frames that are not to be there.
    Extra,
    Twice,
}

/// A change of some entries in a row, and its effect.
struct Trial<'a> {
    change: LogChange,
    entries: &'a [LogEntry<'a>],
    /// The differing places where it gives the state that was found.
    explained: BTreeSet<ModelPlace>,
    /// The places where it shows although they do not differ.
    spared: BTreeSet<ModelPlace>,
}

/// A wrong state and the log that it should follow from.
struct Search<'a> {
    model: &'a Model,
    found: &'a Export,
    found_states: BTreeMap<Key, &'a SignalStateExport>,
    wrong: BTreeSet<ModelPlace>,
    wrong_keys: BTreeSet<Key>,
    /// The last entries of the log, and co-engagement before them.
    there: Vec<LogEntry<'a>>,
    start: CoEngagement,
    /// The entries of frames that should not be there.
    extra: Vec<LogEntry<'a>>,
}

impl Model {
    /// How `found` differs, apart from collections. Events of the frames `others` may be there though they should not;
    /// they are numbered on from this model's frames.
    pub(in crate::testing) fn compare_frames(
        &self,
        found: &Export,
        others: &[Arc<Operation>],
    ) -> Vec<Difference> {
        let wrong = self.differing(found);
        if wrong.is_empty() {
            return Vec::new();
        }
        let mut reported = wrong.chunk_by(ModelPlace::is_reported_with);
        if wrong.len() > WRONG_LEN_MAX {
            let expected = self.export();
            let reported = reported.by_ref().take(WRONG_LEN_MAX);
            let differences = reported.map(|places| self.difference(places[0], &expected, found));
            return differences.collect();
        }
        let search = Search::new(self, found, others, &wrong);
        let (trial, note) = search.explain();
        let expected = self.export();
        let mut differences = Vec::new();
        for places in reported {
            let mut difference = self.difference(places[0], &expected, found);
            if let Some(note) = &note {
                difference.found = format!("{} ({note})", difference.found);
            }
            let explains = |trial: &&Trial<'_>| places.iter().any(|place| trial.explained.contains(place));
            let before = differences.len();
            if let Some(trial) = trial.as_ref().filter(explains) {
                let entries = trial
                    .entries
                    .iter()
                    .filter(|entry| search.has_part(entry, places[0]));
                differences.extend(entries.map(|entry| Difference {
                    kind: search.fault(trial, entry),
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
    fn new(model: &'a Model, found: &'a Export, others: &'a [Arc<Operation>], wrong: &[ModelPlace]) -> Self {
        let mut there = entries(model.history().iter(), 0);
        let last = there.split_off(there.len().saturating_sub(LAST_LEN_MAX));
        let mut start = CoEngagement::clone(&model.beginning.co_engagement);
        play(model, &mut start, &there);
        Self {
            model,
            found,
            found_states: states(found).collect(),
            wrong: wrong.iter().copied().collect(),
            wrong_keys: wrong.iter().filter_map(|place| place.key()).collect(),
            there: last,
            start,
            extra: entries(others.iter(), model.history().len()),
        }
    }

    /// The trial that explains the state, or a note.
    fn explain(&self) -> (Option<Trial<'_>>, Option<String>) {
        let by_forget = self.explain_by_forget();
        if by_forget.is_some() {
            return (None, by_forget);
        }
        let trial = self.best_trial();
        if trial.as_ref().is_none_or(|trial| !self.is_perfect(trial)) && self.wrong_keys.is_empty() {
            let by_order = self.explain_by_order();
            if by_order.is_some() {
                return (None, by_order);
            }
        }
        (trial, None)
    }

    /// Whether the state is as if one forget frame were missing.
    fn explain_by_forget(&self) -> Option<String> {
        let forgets = self.there.iter().rev().filter(|entry| entry.event().is_none());
        forgets.take(FORGETS_LEN_MAX).find_map(|LogEntry { id, frame }| {
            let mut without = self.model.without_frames();
            let frames = (1..).zip(self.model.history().iter());
            let others = frames.filter(|(number, _)| *number != id.sequence);
            others.for_each(|(_, frame)| without.apply_frame(frame));
            let note = || format!("as if frame {} ({frame}) were missing", id.sequence);
            without.matches_frames(self.found).then(note)
        })
    }

    /// Whether co-engagement is as if two neighbours had come in the other order.
    fn explain_by_order(&self) -> Option<String> {
        let mut steps = self.there.clone();
        steps.retain(|entry| entry.event().is_none() || entry.feeds(self.model));
        (1..steps.len()).rev().find_map(|second| {
            let mut swapped = steps.clone();
            swapped.swap(second - 1, second);
            let note = || format!("as if {} came before {}", steps[second].id, steps[second - 1].id);
            self.co_engagement_differs(&swapped).is_empty().then(note)
        })
    }

    /// The trial that explains the most.
    fn best_trial(&self) -> Option<Trial<'_>> {
        let has_part = |entry: &&LogEntry<'_>| entry.kept().any(|(key, _)| self.wrong_keys.contains(&key));
        let suspects = self.there.iter().chain(&self.extra).filter(has_part);
        let suspects: BTreeSet<EventId> = suspects.map(|entry| entry.id).collect();
        let is_suspected = |(_, entries): &(LogChange, &[LogEntry<'_>])| {
            let [first, last] = [0, entries.len() - 1].map(|at| entries[at].id);
            suspects.range(first..=last).next().is_some()
        };
        // Those that can explain something in the tiers come first: mostly one of them explains all.
        let (likely, mut others): (Vec<_>, Vec<_>) = self.changes().into_iter().partition(is_suspected);
        if !self.co_engagement_is_wrong() {
            others.clear();
        }
        let mut best: Option<Trial<'_>> = None;
        let rank = |trial: &Trial<'_>| (trial.explained.len(), Reverse(trial.spared.len()));
        for (change, entries) in likely.into_iter().chain(others) {
            let Some(trial) = self.attempt(change, entries) else {
                continue;
            };
            let is_perfect = self.is_perfect(&trial);
            if best.as_ref().is_none_or(|best| rank(&trial) > rank(best)) {
                best = Some(trial);
            }
            if is_perfect {
                break;
            }
        }
        best
    }

    /// All changes that are tried, the likeliest first and the latest first.
    fn changes(&self) -> Vec<(LogChange, &[LogEntry<'a>])> {
        let frames = || self.there.chunk_by(LogEntry::is_of_same_frame).rev();
        let ends = || {
            let lens = frames().scan(0, |len, frame| {
                *len += frame.len();
                Some(*len)
            });
            lens.map(|len| &self.there[self.there.len() - len..])
        };
        let extra = self.extra.chunk_by(LogEntry::is_of_same_frame);
        let parts_of_extra = extra.flat_map(|frame| {
            let beginnings = (1..=frame.len()).rev().map(|len| &frame[..len]);
            beginnings.chain((1..frame.len()).map(|from| &frame[from..]))
        });
        let missing = self.there.chunks(1).rev().chain(frames()).chain(ends());
        // A long frame has too many parts: it is tried as a whole.
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
        let twice = self.there.chunks(1).rev().chain(ends());
        let missing = missing.map(|entries| (LogChange::Missing, entries));
        let extra = extra.map(|entries| (LogChange::Extra, entries));
        let twice = twice.map(|entries| (LogChange::Twice, entries));
        missing.chain(extra).chain(twice).collect()
    }

    /// The effect of a change, if it explains anything.
    fn attempt<'s>(&'s self, change: LogChange, entries: &'s [LogEntry<'a>]) -> Option<Trial<'s>> {
        let keys = entries.iter().flat_map(LogEntry::kept).map(|(key, _)| key);
        let keys: BTreeSet<Key> = keys.collect();
        let feeds = entries.iter().any(|entry| entry.feeds(self.model));
        let mut left = self.wrong.clone();
        if feeds && self.co_engagement_is_wrong() {
            self.change_co_engagement(&mut left, change, entries);
        }
        if left.is_superset(&self.wrong) && keys.is_disjoint(&self.wrong_keys) {
            return None;
        }
        for key in keys {
            left.retain(|place| place.key() != Some(key));
            let state = self.changed_state(key, change, entries);
            let found = self.found_states.get(&key).copied();
            left.extend(self.model.differing_parts(key, state.as_ref(), found));
        }
        if feeds && !self.co_engagement_is_wrong() && !left.is_superset(&self.wrong) {
            self.change_co_engagement(&mut left, change, entries);
        }
        let explained: BTreeSet<_> = self.wrong.difference(&left).copied().collect();
        (!explained.is_empty()).then(|| Trial {
            change,
            entries,
            explained,
            spared: left.difference(&self.wrong).copied().collect(),
        })
    }

    fn co_engagement_is_wrong(&self) -> bool {
        self.wrong.iter().any(|place| place.key().is_none())
    }

    /// Replaces the places of co-engagement by those that differ after a change, if it explains all of them.
    fn change_co_engagement(
        &self,
        left: &mut BTreeSet<ModelPlace>,
        change: LogChange,
        entries: &[LogEntry<'a>],
    ) {
        let differing = self.co_engagement_differs(&self.changed_log(change, entries));
        if differing.iter().all(|place| !self.wrong.contains(place)) {
            left.retain(|place| place.key().is_some());
            left.extend(differing);
        }
    }

    /// The state of a key after a change; `None` without events.
    fn changed_state(&self, key: Key, change: LogChange, entries: &[LogEntry<'_>]) -> Option<KeyState> {
        let state = self.model.states.get(&key);
        let mut events = state.map_or_else(Vec::new, |state| state.events().to_vec());
        let is_changed = |kept: &StateEvent| contains(entries, kept.event);
        match change {
            LogChange::Missing => events.retain(|kept| !is_changed(kept)),
            LogChange::Twice => events.extend(events.clone().iter().filter(|kept| is_changed(kept))),
            LogChange::Extra => {
                let extra = entries.iter().flat_map(LogEntry::kept);
                events.extend(extra.filter(|(other, _)| *other == key).map(|(_, kept)| kept));
            }
        }
        (!events.is_empty()).then(|| KeyState::of(events))
    }

    /// The entries of the log after a change.
    fn changed_log(&self, change: LogChange, entries: &[LogEntry<'a>]) -> Vec<LogEntry<'a>> {
        let mut log = self.there.clone();
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
    fn co_engagement_differs(&self, log: &[LogEntry<'_>]) -> Vec<ModelPlace> {
        let mut played = self.start.clone();
        play(self.model, &mut played, log);
        differing_co_engagement(&played, self.found)
    }

    fn is_perfect(&self, trial: &Trial<'_>) -> bool {
        trial.explained == self.wrong && trial.spared.is_empty()
    }

    /// The fate of an event of a trial.
    fn fault(&self, trial: &Trial<'_>, entry: &LogEntry<'_>) -> DifferenceKind {
        let mut frame = self.extra.iter().filter(|other| entry.is_of_same_frame(other));
        match trial.change {
            LogChange::Twice => DifferenceKind::Doubled,
            _ if trial.spared.iter().any(|&place| self.has_part(entry, place)) => DifferenceKind::Half,
            LogChange::Missing => DifferenceKind::Lost,
            LogChange::Extra if frame.any(|other| !contains(trial.entries, other.id)) => DifferenceKind::Half,
            LogChange::Extra => DifferenceKind::Wrong,
        }
    }

    fn has_part(&self, entry: &LogEntry<'_>, place: ModelPlace) -> bool {
        match place.key() {
            Some(key) => entry.kept().any(|(other, _)| other == key),
            None => entry.feeds(self.model),
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

    fn kept(&self) -> impl Iterator<Item = (Key, StateEvent)> + use<'a> {
        let id = self.id;
        self.event().into_iter().flat_map(move |event| kept(id, event))
    }

    fn feeds(&self, model: &Model) -> bool {
        self.event()
            .is_some_and(|event| feeding_user(&model.schema, event).is_some())
    }

    fn is_of_same_frame(&self, other: &Self) -> bool {
        self.id.sequence == other.id.sequence
    }
}

/// Returns true if the event is one of these entries, which are in a row.
fn contains(entries: &[LogEntry<'_>], id: EventId) -> bool {
    entries.binary_search_by_key(&id, |entry| entry.id).is_ok()
}

/// The entries of frames that are numbered on from `frames_before`.
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

fn play(model: &Model, co_engagement: &mut CoEngagement, log: &[LogEntry<'_>]) {
    for entry in log {
        match (entry.frame, entry.event()) {
            (_, Some(event)) => {
                if let Some(user) = feeding_user(&model.schema, event) {
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
