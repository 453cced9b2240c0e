//! Names the events that explain differences: tries the state without some events, with some twice, or with some extra.
//!
//! Only runs when a state is wrong. Each trial changes the events of the log in one way. Of all trials the one that
//! gives the found state in the most differing places is taken, then the one that does so in the most of the rest, and
//! so on. A change that shows also in places that do not differ explains events that are there by half.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::co_engagement::CoEngagement;
use super::compare::{Place, differing_co_engagement, differing_parts, states};
use super::difference::{Difference, DifferenceKind, EventId};
use super::state::{Kept, Key, State};
use super::{Model, feed, feeds_co_engagement, kept};
use crate::testing::workload::{Event, Operation};
use crate::{Export, SignalStateExport};

/// Of more wrong keys than this the rest is not explained: so much is not the work of a few events.
const KEYS_LEN_MAX: usize = 64;
/// How many of the last entries of the log are tried in groups, and played again for co-engagement: a crash damages the
/// last ones.
const LAST_LEN_MAX: usize = 400;
/// Runs of lost frames that do not reach the end are tried among so many of the last ones.
const RUN_FRAMES_MAX: usize = 8;
/// How many of the last forget frames are suspected.
const FORGETS_LEN_MAX: usize = 16;

/// An event or a forget frame in the log. The latter's index is 0.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    id: EventId,
    frame: &'a Operation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Missing,
    /// They are of frames that are not to be there.
    Extra,
    Twice,
}

/// A change of the log: the same for all events from `first` to `last`.
#[derive(Debug, Clone, Copy)]
struct Change {
    kind: Kind,
    first: EventId,
    last: EventId,
}

/// A change and its effect.
struct Trial {
    change: Change,
    /// The differing places where it gives the state that was found.
    explained: BTreeSet<Place>,
    /// The places where it shows although they do not differ.
    spared: BTreeSet<Place>,
}

/// A wrong state and the log that it should follow from.
struct Search<'a> {
    model: &'a Model,
    found: &'a Export,
    found_states: BTreeMap<Key, &'a SignalStateExport>,
    wrong: BTreeSet<Place>,
    wrong_co_engagement: BTreeSet<Place>,
    /// The first of the keys that differ, and the events that have a part in one of them.
    wrong_keys: BTreeSet<Key>,
    suspects: BTreeSet<EventId>,
    there: Vec<Entry<'a>>,
    /// The entries of frames that should not be there.
    extra: Vec<Entry<'a>>,
    /// The last entries that change co-engagement, and its state before them.
    steps: Vec<Entry<'a>>,
    start: CoEngagement,
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
        let search = Search::new(self, found, others, &wrong);
        let (trials, note) = search.explain();
        let expected = self.export();
        let mut differences = Vec::new();
        for places in wrong.chunk_by(Place::is_reported_with) {
            let mut difference = self.difference(places[0], &expected, found);
            if let Some(note) = &note {
                difference.found = format!("{} ({note})", difference.found);
            }
            let mut faults: BTreeMap<EventId, DifferenceKind> = BTreeMap::new();
            let explains = |trial: &&Trial| places.iter().any(|place| trial.explained.contains(place));
            for trial in trials.iter().filter(explains) {
                for entry in search.entries_of(trial.change) {
                    if search.has_part(entry, places[0]) {
                        let fault = || search.fault(trial, entry, &trials);
                        faults.entry(entry.id).or_insert_with(fault);
                    }
                }
            }
            if faults.is_empty() {
                differences.push(difference);
                continue;
            }
            differences.extend(faults.into_iter().map(|(id, fault)| Difference {
                kind: fault,
                event: Some(id),
                ..difference.clone()
            }));
        }
        differences
    }
}

impl<'a> Search<'a> {
    fn new(model: &'a Model, found: &'a Export, others: &'a [Arc<Operation>], wrong: &[Place]) -> Self {
        let there = entries(model.history(), 0);
        let extra = entries(others, model.frames_len());
        let mut wrong_keys: BTreeSet<Key> = wrong.iter().filter_map(|place| place.key()).collect();
        if let Some(&rest) = wrong_keys.iter().nth(KEYS_LEN_MAX) {
            wrong_keys.split_off(&rest);
        }
        let has_part = |entry: &&Entry<'_>| entry.kept().any(|(key, _)| wrong_keys.contains(&key));
        let suspects = there.iter().chain(&extra).filter(has_part);
        let is_co_engagement = |place: &&Place| place.key().is_none();
        let mut start = CoEngagement::new(*model.schema.co_engagement_config());
        let mut steps = there.clone();
        steps.retain(|entry| entry.event().is_none() || entry.feeds(model));
        let last = steps.split_off(steps.len().saturating_sub(LAST_LEN_MAX));
        play(&mut start, &steps);
        Self {
            model,
            found,
            found_states: states(found).collect(),
            wrong: wrong.iter().copied().collect(),
            wrong_co_engagement: wrong.iter().filter(is_co_engagement).copied().collect(),
            suspects: suspects.map(|entry| entry.id).collect(),
            wrong_keys,
            there,
            extra,
            steps: last,
            start,
        }
    }

    /// The trials that explain the state, or a note.
    fn explain(&self) -> (Vec<Trial>, Option<String>) {
        let by_forget = self.explain_by_forget();
        if by_forget.is_some() {
            return (Vec::new(), by_forget);
        }
        let trials = self.best_trials();
        if self.wrong_keys.is_empty() && !trials.iter().any(|trial| self.is_perfect(trial)) {
            let by_order = self.explain_by_order();
            if by_order.is_some() {
                return (Vec::new(), by_order);
            }
        }
        (trials, None)
    }

    /// Whether the state is as if one forget frame were missing, or applied again at the end.
    fn explain_by_forget(&self) -> Option<String> {
        let frames = self.model.history();
        let forgets = frames.iter().enumerate().rev();
        let forgets = forgets.filter(|(_, frame)| !matches!(***frame, Operation::Record { .. }));
        for (index, frame) in forgets.take(FORGETS_LEN_MAX) {
            let number = index + 1;
            let mut without = self.model.emptied();
            let others = frames[..index].iter().chain(&frames[number..]);
            others.for_each(|frame| without.apply_frame(frame));
            if without.matches_frames(self.found) {
                return Some(format!("as if frame {number} ({frame}) were missing"));
            }
            let mut again = self.model.clone();
            again.apply_frame(frame);
            if again.matches_frames(self.found) {
                return Some(format!("as if frame {number} ({frame}) came again at the end"));
            }
        }
        None
    }

    /// Whether co-engagement is as if two neighbours had come in the other order.
    fn explain_by_order(&self) -> Option<String> {
        for first in (1..self.steps.len()).rev().map(|second| second - 1) {
            let mut swapped = self.steps.clone();
            swapped.swap(first, first + 1);
            if differing_co_engagement(&self.played(&swapped), self.found).is_empty() {
                let (first, second) = (self.steps[first].id, self.steps[first + 1].id);
                return Some(format!("as if {second} came before {first}"));
            }
        }
        None
    }

    /// The trials that explain the most, each of them something that those before it do not.
    fn best_trials(&self) -> Vec<Trial> {
        let mut trials = Vec::new();
        // Those that can explain something in the tiers come first: mostly one of them explains all.
        let changes = self.changes().into_iter();
        let (likely, mut others): (Vec<_>, Vec<_>) = changes.partition(|&change| self.is_suspected(change));
        if self.wrong_co_engagement.is_empty() {
            others.clear();
        }
        for change in likely.into_iter().chain(others) {
            let Some(trial) = self.try_change(change) else {
                continue;
            };
            if self.is_perfect(&trial) {
                return vec![trial];
            }
            trials.push(trial);
        }
        let mut open = self.wrong.clone();
        let mut best: Vec<Trial> = Vec::new();
        loop {
            let explains = |trial: &Trial| trial.explained.intersection(&open).count();
            // Of equals the last one is taken, which is the likeliest.
            let rank = |(_, trial): &(usize, &Trial)| (explains(trial), Reverse(trial.spared.len()));
            let next = trials.iter().enumerate().rev().max_by_key(rank);
            let Some((index, _)) = next.filter(|(_, trial)| explains(trial) > 0) else {
                break;
            };
            let trial = trials.remove(index);
            open.retain(|place| !trial.explained.contains(place));
            best.push(trial);
        }
        best
    }

    /// All changes that are tried, the likeliest first and the latest first.
    fn changes(&self) -> Vec<Change> {
        let last = &self.there[self.there.len().saturating_sub(LAST_LEN_MAX)..];
        let begins_frame = |&at: &usize| at == 0 || !last[at - 1].is_of_same_frame(&last[at]);
        let begins: Vec<usize> = (0..last.len()).filter(begins_frame).collect();
        let ends = || begins.iter().rev().map(|&from| &last[from..]);
        let frames = last.chunk_by(Entry::is_of_same_frame).rev();
        let late = &begins[begins.len().saturating_sub(RUN_FRAMES_MAX)..];
        let to_later = |&from: &usize| late.iter().filter(move |&&to| to > from).map(move |&to| from..to);
        let runs = late.iter().flat_map(to_later).map(|run| &last[run]);
        let extra = self.extra.chunk_by(Entry::is_of_same_frame);
        let parts_of_extra = extra.flat_map(|frame| {
            let beginnings = (1..=frame.len()).rev().map(|len| &frame[..len]);
            beginnings.chain((1..frame.len()).map(|from| &frame[from..]))
        });
        let of = |kind| move |run: &[Entry<'_>]| Change::of(kind, run);
        let mut changes: Vec<Change> = self.there.chunks(1).rev().map(of(Kind::Missing)).collect();
        changes.extend(frames.map(of(Kind::Missing)));
        changes.extend(ends().chain(runs).map(of(Kind::Missing)));
        changes.extend(self.extra.chunks(1).rev().map(of(Kind::Extra)));
        changes.extend(parts_of_extra.map(of(Kind::Extra)));
        changes.extend(self.there.chunks(1).rev().map(of(Kind::Twice)));
        changes.extend(ends().map(of(Kind::Twice)));
        changes
    }

    /// The effect of a change, if it explains anything.
    fn try_change(&self, change: Change) -> Option<Trial> {
        let mut explained = self.explained_in_tiers(change);
        let mut spared = BTreeSet::new();
        let feeds = |entry: &Entry<'_>| entry.feeds(self.model);
        if !(explained.is_empty() && self.wrong_co_engagement.is_empty())
            && self.entries_of(change).iter().any(feeds)
        {
            let mut steps = self.steps.clone();
            self.change(&mut steps, change);
            let played = self.played(&steps);
            let mut left = differing_co_engagement(&played, self.found).into_iter();
            if left.all(|place| !self.wrong_co_engagement.contains(&place)) {
                explained.extend(&self.wrong_co_engagement);
                let mut export = Export::default();
                played.export(&mut export);
                spared.extend(differing_co_engagement(&self.model.co_engagement, &export));
            }
        }
        if explained.is_empty() {
            return None;
        }
        spared.extend(self.shown_in_tiers(change));
        spared.retain(|place| !self.wrong.contains(place));
        Some(Trial {
            change,
            explained,
            spared,
        })
    }

    /// The differing places of the tiers where a change gives the state that was found.
    fn explained_in_tiers(&self, change: Change) -> BTreeSet<Place> {
        let mut explained = BTreeSet::new();
        if !self.is_suspected(change) {
            return explained;
        }
        for key in self.keys_of(change).intersection(&self.wrong_keys) {
            let found = self.found_states.get(key).copied();
            let left = self.differing(*key, self.changed_state(*key, change).as_ref(), found);
            let wrong = self.wrong.iter().filter(|place| place.key() == Some(*key));
            explained.extend(wrong.filter(|place| !left.contains(place)));
        }
        explained
    }

    /// The places of the tiers where a change shows.
    fn shown_in_tiers(&self, change: Change) -> BTreeSet<Place> {
        let shown = |key: &Key| {
            let expected = self.model.states.get(key).map(AsRef::as_ref);
            let changed = self.changed_state(*key, change);
            let changed = changed.zip(self.model.signal(key.signal));
            let changed = changed.map(|(state, signal)| state.computed(signal).export(*key));
            self.differing(*key, expected, changed.as_ref())
        };
        self.keys_of(change).iter().flat_map(shown).collect()
    }

    fn keys_of(&self, change: Change) -> BTreeSet<Key> {
        let entries = self.entries_of(change).iter();
        entries.flat_map(Entry::kept).map(|(key, _)| key).collect()
    }

    fn is_perfect(&self, trial: &Trial) -> bool {
        trial.explained == self.wrong && trial.spared.is_empty()
    }

    /// Whether an event of the change has a part in a key that differs.
    fn is_suspected(&self, change: Change) -> bool {
        self.suspects.range(change.first..=change.last).next().is_some()
    }

    /// What happened to an event of a trial.
    fn fault(&self, trial: &Trial, entry: &Entry<'_>, all: &[Trial]) -> DifferenceKind {
        let is_extra = |other: &Entry<'_>| {
            let mut extra = all.iter().filter(|trial| trial.change.kind == Kind::Extra);
            extra.any(|trial| trial.change.contains(other.id))
        };
        let mut frame = self.extra.iter().filter(|other| entry.is_of_same_frame(other));
        match trial.change.kind {
            Kind::Twice => DifferenceKind::Doubled,
            _ if trial.spared.iter().any(|&place| self.has_part(entry, place)) => DifferenceKind::Half,
            Kind::Missing => DifferenceKind::Lost,
            Kind::Extra if frame.any(|other| !is_extra(other)) => DifferenceKind::Half,
            Kind::Extra => DifferenceKind::Wrong,
        }
    }

    fn has_part(&self, entry: &Entry<'_>, place: Place) -> bool {
        match place.key() {
            Some(key) => entry.kept().any(|(other, _)| other == key),
            None => entry.feeds(self.model),
        }
    }

    fn differing(&self, key: Key, expected: Option<&State>, found: Option<&SignalStateExport>) -> Vec<Place> {
        let signal = self.model.signal(key.signal);
        signal.map_or_else(Vec::new, |signal| differing_parts(key, signal, expected, found))
    }

    /// The entries of a change, in order.
    fn entries_of(&self, change: Change) -> &[Entry<'a>] {
        let log = if change.kind == Kind::Extra {
            &self.extra
        } else {
            &self.there
        };
        let from = log.partition_point(|entry| entry.id < change.first);
        let to = log.partition_point(|entry| entry.id <= change.last);
        &log[from..to]
    }

    /// The state of a key after a change; `None` without events.
    fn changed_state(&self, key: Key, change: Change) -> Option<State> {
        let state = self.model.states.get(&key);
        let mut events = state.map_or_else(Vec::new, |state| state.events().to_vec());
        let is_changed = |kept: &Kept| change.contains(kept.event);
        match change.kind {
            Kind::Missing => events.retain(|kept| !is_changed(kept)),
            Kind::Twice => events.extend(events.clone().iter().filter(|kept| is_changed(kept))),
            Kind::Extra => {
                let extra = self.entries_of(change).iter().flat_map(Entry::kept);
                events.extend(extra.filter(|(other, _)| *other == key).map(|(_, kept)| kept));
            }
        }
        (!events.is_empty()).then(|| State::of(events))
    }

    /// Makes a change in the steps of co-engagement.
    fn change(&self, steps: &mut Vec<Entry<'a>>, change: Change) {
        let is_changed = |entry: &Entry<'_>| change.contains(entry.id);
        match change.kind {
            Kind::Missing => steps.retain(|entry| entry.event().is_none() || !is_changed(entry)),
            Kind::Extra => {
                let extra = self.entries_of(change).iter();
                steps.extend(extra.filter(|entry| entry.feeds(self.model)));
            }
            Kind::Twice => {
                let end = steps.iter().rposition(is_changed).map_or(0, |last| last + 1);
                let again: Vec<_> = steps.iter().copied().filter(is_changed).collect();
                steps.splice(end..end, again);
            }
        }
    }

    /// Co-engagement after other steps.
    fn played(&self, steps: &[Entry<'_>]) -> CoEngagement {
        let mut played = self.start.clone();
        play(&mut played, steps);
        played
    }
}

impl Change {
    /// A change of all entries of a run that is not empty.
    fn of(kind: Kind, run: &[Entry<'_>]) -> Self {
        Self {
            kind,
            first: run[0].id,
            last: run[run.len() - 1].id,
        }
    }

    fn contains(&self, id: EventId) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl<'a> Entry<'a> {
    fn event(&self) -> Option<&'a Event> {
        match self.frame {
            Operation::Record { events, .. } => events.get(self.id.index),
            _ => None,
        }
    }

    fn kept(&self) -> impl Iterator<Item = (Key, Kept)> + use<'a> {
        let id = self.id;
        self.event().into_iter().flat_map(move |event| kept(id, event))
    }

    fn feeds(&self, model: &Model) -> bool {
        self.event()
            .is_some_and(|event| feeds_co_engagement(&model.schema, event))
    }

    fn is_of_same_frame(&self, other: &Self) -> bool {
        self.id.sequence == other.id.sequence
    }
}

/// The entries of frames that are numbered on from `frames_before`.
fn entries(frames: &[Arc<Operation>], frames_before: usize) -> Vec<Entry<'_>> {
    let numbered = (frames_before as u64 + 1..).zip(frames);
    let entries = numbered.flat_map(|(sequence, frame)| {
        let len = match frame.as_ref() {
            Operation::Record { events, .. } => events.len(),
            _ => 1,
        };
        (0..len).map(move |index| Entry {
            id: EventId { sequence, index },
            frame,
        })
    });
    entries.collect()
}

fn play(co_engagement: &mut CoEngagement, steps: &[Entry<'_>]) {
    for step in steps {
        match (step.frame, step.event()) {
            (_, Some(event)) => feed(co_engagement, event),
            (Operation::ForgetEntity(item), _) => co_engagement.forget_item(*item),
            (Operation::ForgetUser(user), _) => co_engagement.forget_user(*user),
            _ => {}
        }
    }
}
