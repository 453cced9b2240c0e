//! Explains co-engagement: plays it again without an event, with one twice, with two in another order.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::co_engagement::CoEngagement;
use super::super::compare::compare_co_engagement;
use super::super::difference::{Difference, EventId, Subject};
use super::super::{Model, feed, feeds_co_engagement};
use super::{Kind, Sight, events};
use crate::testing::workload::{Event, Operation};
use crate::{EntityId, Export, UserId};

/// How many steps from the end are tried: what a crash does wrong, it does there.
const STEPS_LEN_MAX: usize = 400;

/// What changes co-engagement.
#[derive(Clone, Copy)]
enum Step<'a> {
    Feed(EventId, &'a Event),
    ForgetItem(EntityId),
    ForgetUser(UserId),
}

/// What may have happened instead.
type Guess = (Vec<Sight>, Option<String>);

impl Model {
    /// What the rings and edges of `found` tell of events, or a note; neither if nothing explains them.
    pub(super) fn explain_co_engagement(
        &self,
        found: &Export,
        others: &[Arc<Operation>],
        suspects: &BTreeSet<Sight>,
    ) -> Guess {
        let steps = self.steps();
        let first = steps.len().saturating_sub(STEPS_LEN_MAX);
        let mut start = CoEngagement::new(*self.schema.co_engagement_config());
        play(&mut start, &steps[..first]);
        let replay = Replay {
            start,
            steps: &steps[first..],
            differing: subjects(&compare_co_engagement(&self.co_engagement, found)),
            found,
        };
        let mut in_part: Option<Guess> = None;
        let mut implausible: Option<Guess> = None;
        let mut extras = Vec::new();
        for (id, event) in events(others, self.frames_len()) {
            if feeds_co_engagement(&self.schema, event) {
                extras.push(Step::Feed(id, event));
            }
        }
        for (changed, guess) in replay.guesses(&extras, suspects) {
            match replay.judge(&changed) {
                Explains::All if self.is_plausible(&guess, others, suspects) => return guess,
                // Several events that count twice here and once elsewhere are a coincidence.
                Explains::All if guess.0.len() == 1 || is_missing(&guess) => {
                    implausible = implausible.or(Some(guess));
                }
                Explains::APart if in_part.is_none() && guess.0.len() == 1 => {
                    let partial = |sight: Sight| Sight {
                        partial: true,
                        ..sight
                    };
                    in_part = Some((guess.0.into_iter().map(partial).collect(), None));
                }
                _ => {}
            }
        }
        implausible.or(in_part).unwrap_or_default()
    }

    /// Whether what is guessed shows in no place of the tiers that is as it should be.
    fn is_plausible(&self, guess: &Guess, others: &[Arc<Operation>], suspects: &BTreeSet<Sight>) -> bool {
        guess.0.iter().all(|sight| {
            suspects
                .iter()
                .any(|suspect| (suspect.event, suspect.kind) == (sight.event, sight.kind))
                || self.places_in_tiers(sight.event, sight.kind, others).is_empty()
        })
    }

    /// Whether co-engagement would be another without the event.
    pub(super) fn shows_in_co_engagement(&self, event: EventId) -> bool {
        let steps = self.steps();
        let is_event = |step: &Step<'_>| matches!(step, Step::Feed(id, _) if *id == event);
        if !steps.iter().any(is_event) {
            return false;
        }
        let rest: Vec<_> = steps.into_iter().filter(|step| !is_event(step)).collect();
        let mut without = CoEngagement::new(*self.schema.co_engagement_config());
        play(&mut without, &rest);
        let mut expected = Export::default();
        self.co_engagement.export(&mut expected);
        !compare_co_engagement(&without, &expected).is_empty()
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        for (sequence, frame) in (1..).zip(self.history()) {
            match frame.as_ref() {
                Operation::Record { events, .. } => {
                    for (index, event) in events.iter().enumerate() {
                        if feeds_co_engagement(&self.schema, event) {
                            steps.push(Step::Feed(EventId { sequence, index }, event));
                        }
                    }
                }
                Operation::ForgetEntity(entity) => steps.push(Step::ForgetItem(*entity)),
                Operation::ForgetUser(user) => steps.push(Step::ForgetUser(*user)),
                _ => {}
            }
        }
        steps
    }
}

enum Explains {
    All,
    /// Every wrong place is as guessed, but some place that the guess changes is not.
    APart,
    Nothing,
}

struct Replay<'a> {
    /// The state before `steps`.
    start: CoEngagement,
    steps: &'a [Step<'a>],
    /// Where the found state differs from the expected one.
    differing: BTreeSet<Subject>,
    found: &'a Export,
}

impl<'a> Replay<'a> {
    fn judge(&self, changed: &[Step<'_>]) -> Explains {
        let mut played = self.start.clone();
        play(&mut played, changed);
        let left = subjects(&compare_co_engagement(&played, self.found));
        if left.is_empty() {
            Explains::All
        } else if left.is_disjoint(&self.differing) {
            Explains::APart
        } else {
            Explains::Nothing
        }
    }

    /// Changed lists of steps, the likeliest first.
    fn guesses(
        &self,
        extras: &[Step<'a>],
        suspects: &BTreeSet<Sight>,
    ) -> impl Iterator<Item = (Vec<Step<'a>>, Guess)> {
        let steps = self.steps;
        let suspected = (!suspects.is_empty()).then(|| self.suspected(extras, suspects));
        let latest_first = || (0..steps.len()).rev();
        let missing = latest_first().filter_map(move |index| {
            let Step::Feed(event, _) = steps[index] else {
                return None;
            };
            Some((without(steps, index), one(event, Kind::Missing)))
        });
        let frames: BTreeSet<u64> = steps.iter().filter_map(frame_of).collect();
        let missing_frames = frames.into_iter().rev().map(move |frame| {
            let (gone, rest): (Vec<_>, Vec<_>) = steps.iter().partition(|step| frame_of(step) == Some(frame));
            (rest, all(&gone, Kind::Missing))
        });
        let replayed = latest_first().map(move |index| {
            let again = &steps[index..];
            ([steps, again].concat(), all(again, Kind::Twice))
        });
        let twice = latest_first().filter_map(move |index| {
            let Step::Feed(event, _) = steps[index] else {
                return None;
            };
            let mut changed = steps.to_vec();
            changed.insert(index, steps[index]);
            Some((changed, one(event, Kind::Twice)))
        });
        let swapped = latest_first().skip(1).filter_map(move |index| {
            let (Step::Feed(first, _), Step::Feed(second, _)) = (steps[index], steps[index + 1]) else {
                return None;
            };
            let mut changed = steps.to_vec();
            changed.swap(index, index + 1);
            Some((
                changed,
                (Vec::new(), Some(format!("as if {second} came before {first}"))),
            ))
        });
        let extra = extras.iter().copied().filter_map(move |step| {
            let Step::Feed(event, _) = step else { return None };
            Some(([steps, &[step]].concat(), one(event, Kind::Extra)))
        });
        suspected
            .into_iter()
            .chain(missing)
            .chain(missing_frames)
            .chain(swapped)
            .chain(extra)
            .chain(twice)
            .chain(replayed)
    }

    /// What the tiers told happened here too.
    fn suspected(&self, extras: &[Step<'a>], suspects: &BTreeSet<Sight>) -> (Vec<Step<'a>>, Guess) {
        let kinds_of = |step: &Step<'_>| {
            let Step::Feed(event, _) = *step else {
                return Vec::new();
            };
            let of_event = suspects.iter().filter(move |sight| sight.event == event);
            of_event.map(|sight| sight.kind).collect()
        };
        let mut changed = Vec::new();
        let mut sights = BTreeSet::new();
        for step in self.steps.iter().chain(extras) {
            let kinds = kinds_of(step);
            let is_extra = matches!(step, Step::Feed(id, _) if extras.iter().any(|extra| matches!(extra, Step::Feed(other, _) if other == id)));
            let times = if is_extra {
                usize::from(kinds.contains(&Kind::Extra))
            } else {
                usize::from(!kinds.contains(&Kind::Missing)) + usize::from(kinds.contains(&Kind::Twice))
            };
            changed.extend(std::iter::repeat_n(*step, times));
            if let Step::Feed(event, _) = *step {
                sights.extend(kinds.iter().map(|&kind| Sight {
                    event,
                    kind,
                    partial: false,
                }));
            }
        }
        (changed, (sights.into_iter().collect(), None))
    }
}

fn is_missing(guess: &Guess) -> bool {
    guess.0.iter().all(|sight| sight.kind == Kind::Missing)
}

fn frame_of(step: &Step<'_>) -> Option<u64> {
    match step {
        Step::Feed(event, _) => Some(event.sequence),
        _ => None,
    }
}

/// The guess that the events of `steps` are all so.
fn all(steps: &[Step<'_>], kind: Kind) -> Guess {
    let sights = steps.iter().filter_map(|step| match step {
        Step::Feed(event, _) => Some(Sight {
            event: *event,
            kind,
            partial: false,
        }),
        _ => None,
    });
    (sights.collect(), None)
}

fn one(event: EventId, kind: Kind) -> Guess {
    let sight = Sight {
        event,
        kind,
        partial: false,
    };
    (vec![sight], None)
}

fn without<'a>(steps: &[Step<'a>], index: usize) -> Vec<Step<'a>> {
    [&steps[..index], &steps[index + 1..]].concat()
}

fn play(co_engagement: &mut CoEngagement, steps: &[Step<'_>]) {
    for step in steps {
        match step {
            Step::Feed(_, event) => feed(co_engagement, event),
            Step::ForgetItem(item) => co_engagement.forget_item(*item),
            Step::ForgetUser(user) => co_engagement.forget_user(*user),
        }
    }
}

fn subjects(differences: &[Difference]) -> BTreeSet<Subject> {
    differences
        .iter()
        .map(|difference| difference.subject.clone())
        .collect()
}
