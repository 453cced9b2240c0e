//! Checks the values that reads returned, also of reads that overlap other calls in time.
//!
//! A read sees every call that was acknowledged before the read began, and no call that began after the read ended. It may
//! see each other call or not. So a score has a least and a greatest legal value. Related items must be those after some
//! of the other calls, applied in the order of their sequence numbers. The collections are checked together with the
//! results of their changes; see [`results`](super::results).

use super::found_read::OracleRead;
use super::{CallProgress, Oracle, OracleCall};
use crate::EntityId;
use crate::testing::model::state::{StateEvent, decayed};
use crate::testing::workload::{Event, Operation};

/// The largest difference of a weight from a legal one, relative to it, and of a score from a legal one, relative to the
/// sum of the absolute contributions.
const TOLERANCE: f64 = 1e-6;
/// The largest number of frames that a read may see or not of which every subset is tried. Beyond it the related items are
/// not checked.
const POSSIBLE_LEN_MAX: usize = 10;

/// The presence of a call in the state that a read sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadPresence {
    Present,
    Possible,
    Absent,
}

impl OracleRead {
    fn presence(&self, call: &OracleCall) -> ReadPresence {
        match call.progress {
            CallProgress::Refused => ReadPresence::Absent,
            _ if call.begun_after_end >= self.ended_len_at_end => ReadPresence::Absent,
            CallProgress::Acknowledged(end) if end <= self.ended_len_at_begin => ReadPresence::Present,
            _ => ReadPresence::Possible,
        }
    }
}

impl OracleCall {
    /// Returns true if the other frame took effect before this one, in every order.
    fn surely_follows(&self, other: &Self) -> bool {
        match (self.sequence, other.sequence) {
            (Some(own), Some(other)) => own > other,
            _ => other.ended_len().is_some_and(|end| end <= self.begun_after_end),
        }
    }

    /// Returns true if the other frame may have taken effect before this one.
    fn may_follow(&self, other: &Self) -> bool {
        !other.surely_follows(self)
    }

    /// The number of calls that had ended when this one ended with an effect, or with an unknown outcome.
    fn ended_len(&self) -> Option<u64> {
        match self.progress {
            CallProgress::Acknowledged(end) | CallProgress::Failed(end) => Some(end),
            CallProgress::InFlight | CallProgress::Refused => None,
        }
    }
}

impl Oracle {
    /// The difference of the values of a read from the legal ones, except those of collections. `None` if they are legal.
    pub(super) fn wrong_read(&self, read: &OracleRead) -> Option<String> {
        self.wrong_score(read).or_else(|| self.wrong_related(read))
    }

    /// The frames that the read may see, each with its presence.
    fn frames_of<'a>(&'a self, read: &'a OracleRead) -> impl Iterator<Item = (ReadPresence, &'a OracleCall)> {
        let frames = self.possible_calls(Operation::is_frame);
        let frames = frames.map(|(_, call)| (read.presence(call), call));
        frames.filter(|(presence, _)| *presence != ReadPresence::Absent)
    }

    fn wrong_score(&self, read: &OracleRead) -> Option<String> {
        let found = &*read.found;
        let half_life_ms = *self.base.signal(found.signal)?.half_lives_ms().first()?;
        let forgets: Vec<_> = self
            .frames_of(read)
            .filter(|(_, call)| *call.operation == Operation::ForgetEntity(found.entity))
            .collect();
        let mut events: Vec<(bool, f64, i64)> = Vec::new();
        let mut add = |presence, call: Option<&OracleCall>, weight: f64, at_ms: i64| {
            let is_lost = |(presence, forget): &(ReadPresence, &OracleCall)| {
                *presence == ReadPresence::Present && call.is_none_or(|call| forget.surely_follows(call))
            };
            let may_be_lost =
                |(_, forget): &(ReadPresence, &OracleCall)| call.is_none_or(|call| forget.may_follow(call));
            if !forgets.iter().any(is_lost) {
                let is_present = presence == ReadPresence::Present && !forgets.iter().any(may_be_lost);
                events.push((is_present, weight, at_ms));
            }
        };
        for &StateEvent { weight, at_ms, .. } in self.base.events(found.entity, found.signal) {
            add(ReadPresence::Present, None, weight, at_ms);
        }
        for (presence, call) in self.frames_of(read) {
            if let Operation::Record { events, .. } = &*call.operation {
                let of_key = |event: &&Event| (event.entity, event.signal) == (found.entity, found.signal);
                for event in events.iter().filter(of_key) {
                    add(presence, Some(call), event.weight, event.at_ms);
                }
            }
        }
        let (least, greatest, tolerance) = score_bounds(&events, found.now_ms, half_life_ms);
        let is_legal = found.score >= least - tolerance && found.score <= greatest + tolerance;
        (!is_legal).then(|| {
            format!(
                "read:{} returned the score {}, but the calls that it can see give a score from {least} to {greatest}",
                found.entity, found.score
            )
        })
    }

    fn wrong_related(&self, read: &OracleRead) -> Option<String> {
        let found = &*read.found;
        let frames = self.frames_of(read);
        let mut frames: Vec<_> = frames
            .filter(|(_, call)| self.base.changes_co_engagement(&call.operation))
            .collect();
        if frames.iter().any(|(_, call)| call.sequence.is_none()) {
            // Its place among the other frames is unknown.
            return None;
        }
        frames.sort_unstable_by_key(|(_, call)| call.sequence);
        let is_possible = |(presence, _): &&(ReadPresence, &OracleCall)| *presence == ReadPresence::Possible;
        let possible_len = frames.iter().filter(is_possible).count();
        if possible_len > POSSIBLE_LEN_MAX {
            return None;
        }
        let mut expected = Vec::new();
        for subset in 0..1_u32 << possible_len {
            let mut number = 0;
            let seen = frames.iter().filter(|(presence, _)| {
                let is_possible = *presence == ReadPresence::Possible;
                number += u32::from(is_possible);
                !is_possible || subset >> (number - 1) & 1 == 1
            });
            let seen = seen.map(|(_, call)| &*call.operation);
            let related = self.base.related_after(seen, found.entity, found.now_ms);
            if are_heaviest(&found.related, found.related_len_max, &related) {
                return None;
            }
            expected = related;
        }
        Some(format!(
            "read:{} returned the related items {}, which no set of the calls that it can see gives; all of them give {}",
            found.entity,
            related_text(&found.related),
            related_text(&expected)
        ))
    }
}

/// The least and the greatest legal score of some events, and the tolerance. Each event has its weight and its time, and
/// is true if the read surely sees it.
fn score_bounds(events: &[(bool, f64, i64)], now_ms: i64, half_life_ms: u64) -> (f64, f64, f64) {
    // A score is that at the time of the newest event, if this time is later. So an event that the read may see or not
    // also changes the contributions of others.
    let newest_of = |events: &mut dyn Iterator<Item = &(bool, f64, i64)>| {
        events.map(|&(_, _, at_ms)| at_ms).fold(now_ms, i64::max)
    };
    let latest_ms = newest_of(&mut events.iter());
    let earliest_ms = newest_of(&mut events.iter().filter(|(is_present, ..)| *is_present));
    let (mut least, mut greatest, mut absolute) = (0.0, 0.0, 0.0);
    for &(is_present, weight, at_ms) in events {
        let at = |time_ms: i64| {
            let age_ms = i128::from(time_ms) - i128::from(at_ms);
            decayed(weight, age_ms, half_life_ms.into())
        };
        let (large, small) = (at(earliest_ms.max(at_ms)), at(latest_ms));
        let small = if is_present { small } else { 0.0 };
        least += large.min(small);
        greatest += large.max(small);
        absolute += large.abs();
    }
    (least, greatest, TOLERANCE * absolute + f64::MIN_POSITIVE)
}

/// Returns true if `found` are the `len_max` heaviest of `related`, by weight descending and then by id ascending. Edges
/// that have decayed to zero may be missing.
fn are_heaviest(found: &[(EntityId, f64)], len_max: usize, related: &[(EntityId, f64)]) -> bool {
    let is_near = |one: f64, other: f64| (one - other).abs() <= TOLERANCE * other.abs() + f64::MIN_POSITIVE;
    let is_sorted = found.is_sorted_by(|one, other| (-one.1, one.0) < (-other.1, other.0));
    let is_related = |(item, weight): &(EntityId, f64)| {
        let mut related = related.iter();
        related.any(|(other, expected)| item == other && is_near(*weight, *expected))
    };
    // An edge may be left out if it is too light.
    let least = match found.last() {
        Some((_, weight)) if found.len() == len_max => *weight,
        _ => 0.0,
    };
    let may_lack = |(item, weight): &(EntityId, f64)| {
        let is_found = found.iter().any(|(other, _)| other == item);
        is_found || *weight <= least || is_near(least, *weight)
    };
    found.len() <= len_max && is_sorted && found.iter().all(is_related) && related.iter().all(may_lack)
}

fn related_text(related: &[(EntityId, f64)]) -> String {
    let items: Vec<_> = related
        .iter()
        .map(|(item, weight)| format!("{item} ({weight})"))
        .collect();
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(", ")
    }
}
