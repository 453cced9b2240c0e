//! Judging a recovered state: is it a legal one, and if not, what is wrong with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::candidates::Placed;
use super::{Counts, Death, Guarantee, Oracle, Prefix, Verdict, events_len};
use crate::testing::model::{Difference, DifferenceKind, EventId, Model, Structure, Subject};
use crate::testing::workload::Operation;
use crate::{Error, Export, Receipt, RecoveryReport};

/// Of more legal states than this the one that is nearest to an illegal one is not looked for.
const NEAREST_LEN_MAX: usize = 8;
/// More orders of the same frames than this are tried only after a look at what is the same for all of them.
const FEW_ORDERS: usize = 2;

/// What was found of the frames.
struct FramesFound {
    /// By their index, in order.
    order: Vec<usize>,
    /// How many settled frames are there.
    settled_len: usize,
    /// How many events the guaranteed frames have that are not there as a whole.
    absent_events: u64,
    differences: Vec<Difference>,
}

impl FramesFound {
    fn legal(oracle: &Oracle, order: Vec<usize>) -> Self {
        Self {
            order,
            settled_len: oracle.settled.len(),
            absent_events: 0,
            differences: Vec::new(),
        }
    }
}

impl Oracle {
    /// As [`check`](Self::check), of an exported state and the last sequence number, if it is known.
    pub fn check_export(&self, death: Death, found: &Export, last_sequence: Option<u64>) -> Verdict {
        let all_guaranteed = death == Death::ProcessCrash || self.guarantee == Guarantee::Acknowledged;
        let frames = self.check_frames(death, found, last_sequence);
        let changes = self.changes.check(found, all_guaranteed);
        let mut differences = self.findings.clone();
        differences.extend(frames.differences);
        differences.extend(changes.differences);
        let settled = &self.settled[..frames.settled_len];
        let calls = frames.order.iter().map(|&index| &self.frames[index]);
        let of_settled = settled
            .iter()
            .map(|frame| (frame.sequence, events_len(&frame.operation)));
        let of_calls = calls.map(|frame| (frame.sequence, events_len(&frame.operation)));
        let (mut sequence, mut events) = (0, frames.absent_events);
        for (number, events_len) in of_settled.chain(of_calls) {
            sequence = number.unwrap_or(sequence);
            events += events_len;
        }
        Verdict {
            counts: self.counts(&differences, events),
            prefix: Prefix {
                frames: settled.len() + frames.order.len(),
                sequence,
                collection_changes: changes.found.len(),
            },
            differences,
            frames_found: frames.order,
            changes_found: changes.found,
            last_sequence,
        }
    }

    /// Compares the report of a database that was opened after its death with the frames that `verdict` found there: it must
    /// say of each receipt whether the call survived.
    pub(super) fn check_receipts(&self, report: &RecoveryReport, verdict: &mut Verdict) {
        let Some(opening) = self.opening.filter(|&opening| opening != report.opening) else {
            return;
        };
        let mut is_found = vec![false; self.frames.len()];
        for &index in &verdict.frames_found {
            is_found[index] = true;
        }
        for (index, is_found) in is_found.into_iter().enumerate() {
            let Some(sequence) = self.frames[index].sequence else {
                continue;
            };
            let survived = report.survived(Receipt::new(opening, sequence));
            if survived != Some(is_found) {
                verdict.differences.push(Difference {
                    structure: Structure::Log,
                    subject: Subject::Database,
                    expected: format!("a report that receipt {sequence} survived: {:?}", Some(is_found)),
                    found: format!("{survived:?}"),
                    kind: DifferenceKind::Wrong,
                    event: None,
                });
            }
        }
    }

    /// The verdict on a database that cannot be read.
    pub(super) fn unreadable(&self, error: &Error) -> Verdict {
        let difference = Difference {
            structure: Structure::Log,
            subject: Subject::Database,
            expected: "a database that can be read".to_owned(),
            found: error.to_string(),
            kind: DifferenceKind::Wrong,
            event: None,
        };
        Verdict {
            counts: self.counts(&[], 0),
            differences: vec![difference],
            prefix: Prefix::default(),
            frames_found: Vec::new(),
            changes_found: Vec::new(),
            last_sequence: None,
        }
    }

    /// `events` is how many are to be there.
    fn counts(&self, differences: &[Difference], events: u64) -> Counts {
        let mut faults: BTreeMap<EventId, DifferenceKind> = BTreeMap::new();
        for difference in differences {
            if let Some(event) = difference.event {
                faults.insert(event, difference.kind);
            }
        }
        let of = |fault: DifferenceKind| faults.values().filter(|&&found| found == fault).count() as u64;
        let lost = of(DifferenceKind::Lost);
        Counts {
            acknowledged: self.acknowledged_events,
            recovered: events.saturating_sub(lost),
            lost,
            doubled: of(DifferenceKind::Doubled),
            half: of(DifferenceKind::Half),
        }
    }

    fn check_frames(&self, death: Death, found: &Export, last_sequence: Option<u64>) -> FramesFound {
        let placed = self.placed(death);
        let last = last_sequence.filter(|_| placed.numbered);
        let ends = self.ends(&placed, last);
        for &end in &ends {
            if let Some(order) = self.legal_order(&placed, end, last, found) {
                return FramesFound::legal(self, order);
            }
        }
        if let Some(last) = last
            && let Some(found) = self.legal_but_for_number(&placed, last, found)
        {
            return found;
        }
        if let Some(found) = self.shorter(&placed, found) {
            return found;
        }
        self.nearest(&placed, &ends, last, found)
    }

    /// How many known frames a legal state may hold: one number if the last sequence number tells, the most first.
    fn ends(&self, placed: &Placed, last: Option<u64>) -> Vec<usize> {
        let ends = placed.guaranteed_len..=placed.known.len();
        match last {
            Some(last) => {
                let end = placed.known.partition_point(|&(number, _)| number <= last);
                let is_enough = ends.contains(&end) && last >= self.taken_sequence;
                if is_enough { vec![end] } else { Vec::new() }
            }
            None => ends.rev().collect(),
        }
    }

    /// The order in which the first `end` known frames and some of those in flight give what was found.
    fn legal_order(
        &self,
        placed: &Placed,
        end: usize,
        last: Option<u64>,
        found: &Export,
    ) -> Option<Vec<usize>> {
        for placing in self.placings(placed, end, last) {
            let orders = placing.orders();
            if orders.len() > FEW_ORDERS && !self.may_match(placed, &orders[0], found) {
                continue;
            }
            let mut orders = orders.into_iter();
            if let Some(order) = orders.find(|order| self.model_of(order).matches_frames(found)) {
                return Some(order);
            }
        }
        None
    }

    /// Whether some order of the same frames may give what was found: the tiers do not depend on the order of events,
    /// so what they do not allow, no order does.
    fn may_match(&self, placed: &Placed, order: &[usize], found: &Export) -> bool {
        let is_record = |&index: &usize| matches!(*self.frames[index].operation, Operation::Record { .. });
        let commutes = self.no_forget_after(placed) && placed.open.iter().all(is_record);
        !commutes || self.model_of(order).matches_states(found)
    }

    /// Whether nothing was forgotten since the first frame in flight was begun.
    fn no_forget_after(&self, placed: &Placed) -> bool {
        let first = placed
            .open
            .iter()
            .map(|&index| self.frames[index].begun_after)
            .min();
        let mut later = placed.known.iter().filter(|&&(number, _)| Some(number) > first);
        later.all(|&(_, index)| matches!(*self.frames[index].operation, Operation::Record { .. }))
    }

    /// A legal state under a last sequence number that does not fit it.
    fn legal_but_for_number(&self, placed: &Placed, last: u64, found: &Export) -> Option<FramesFound> {
        let ends = (placed.guaranteed_len..=placed.known.len()).rev();
        let order = ends
            .into_iter()
            .find_map(|end| self.legal_order(placed, end, None, found))?;
        let number = order.last().and_then(|&index| self.frames[index].sequence);
        Some(FramesFound {
            differences: vec![Difference {
                structure: Structure::Log,
                subject: Subject::Database,
                expected: format!("a last sequence number that fits the state, which ends with {number:?}"),
                found: last.to_string(),
                kind: DifferenceKind::Wrong,
                event: None,
            }],
            ..FramesFound::legal(self, order)
        })
    }

    /// A state of fewer frames than are guaranteed: every event of the others is lost.
    fn shorter(&self, placed: &Placed, found: &Export) -> Option<FramesFound> {
        let guaranteed: Vec<usize> = placed.known[..placed.guaranteed_len]
            .iter()
            .map(|&(_, index)| index)
            .collect();
        let order = self.operations(self.settled.len(), &guaranteed);
        let mut model = self.base.emptied();
        let mut len = model.matches_frames(found).then_some(0);
        for (before, operation) in order.iter().enumerate() {
            model.apply_frame(operation);
            if model.matches_frames(found) {
                len = Some(before + 1);
            }
        }
        let len = len?;
        let mut differences = Vec::new();
        for (ordinal, operation) in order.iter().enumerate().skip(len) {
            let sequence = self.sequence_of(ordinal, &guaranteed);
            differences.extend(model.lost(operation, sequence, len));
        }
        let settled_len = len.min(self.settled.len());
        Some(FramesFound {
            order: guaranteed[..len - settled_len].to_vec(),
            settled_len,
            absent_events: order[len..].iter().map(|operation| events_len(operation)).sum(),
            differences,
        })
    }

    /// The legal state with the fewest differences, and those.
    fn nearest(&self, placed: &Placed, ends: &[usize], last: Option<u64>, found: &Export) -> FramesFound {
        let guaranteed = [placed.guaranteed_len];
        let ends = if ends.is_empty() { &guaranteed[..] } else { ends };
        let mut nearest: Vec<(usize, Vec<usize>)> = Vec::new();
        let placings = ends.iter().flat_map(|&end| self.placings(placed, end, last));
        for placing in placings.take(NEAREST_LEN_MAX) {
            let Some(order) = placing.orders().into_iter().next() else {
                continue;
            };
            let len = self.model_of(&order).differences_len(found);
            nearest.retain(|(least, _)| *least <= len);
            if nearest.iter().all(|(least, _)| *least == len) {
                nearest.push((len, order));
            }
        }
        // Of those that are equally near the one that explains the most.
        let explained = nearest
            .into_iter()
            .map(|(_, order)| self.explained(placed, order, found));
        let explains = |found: &FramesFound| found.differences.iter().filter(|it| it.event.is_some()).count();
        explained
            .rev()
            .max_by_key(explains)
            .unwrap_or_else(|| self.explained(placed, Vec::new(), found))
    }

    /// How `found` differs from the state after the frames of `order`.
    fn explained(&self, placed: &Placed, order: Vec<usize>, found: &Export) -> FramesFound {
        let absent: Vec<usize> = (0..self.frames.len())
            .filter(|index| !order.contains(index))
            .collect();
        let others: Vec<_> = absent
            .iter()
            .map(|&index| Arc::clone(&self.frames[index].operation))
            .collect();
        let mut differences = self.model_of(&order).compare_frames(found, &others);
        let all = [&order[..], &absent[..]].concat();
        let guaranteed = &placed.known[..placed.guaranteed_len];
        for difference in &mut differences {
            let Some(event) = &mut difference.event else {
                continue;
            };
            let place = event.sequence as usize - 1;
            event.sequence = self.sequence_of(place, &all).unwrap_or(0);
            let call = place.checked_sub(self.settled.len()).map(|at| all[at]);
            let is_promised = call.is_none_or(|call| guaranteed.iter().any(|&(_, index)| index == call));
            if difference.kind == DifferenceKind::Lost && !is_promised {
                // The rest of its frame is there.
                difference.kind = DifferenceKind::Half;
            }
        }
        FramesFound {
            differences,
            ..FramesFound::legal(self, order)
        }
    }

    /// The operations of some settled frames and some calls.
    fn operations(&self, settled_len: usize, order: &[usize]) -> Vec<Arc<Operation>> {
        let settled = self.settled[..settled_len].iter().map(|frame| &frame.operation);
        let calls = order.iter().map(|&index| &self.frames[index].operation);
        settled.chain(calls).map(Arc::clone).collect()
    }

    /// The sequence number of the frame at a place among the settled ones and those of `order`.
    fn sequence_of(&self, place: usize, order: &[usize]) -> Option<u64> {
        match self.settled.get(place) {
            Some(settled) => settled.sequence,
            None => self.frames[*order.get(place - self.settled.len())?].sequence,
        }
    }

    /// The state after the settled frames and these.
    fn model_of(&self, order: &[usize]) -> Cow<'_, Model> {
        self.build(&self.operations(self.settled.len(), order))
    }

    /// The state after these frames, from the nearest one that is at hand.
    pub(super) fn build(&self, order: &[Arc<Operation>]) -> Cow<'_, Model> {
        let followed = self.timeline.as_ref().map(|timeline| timeline.follow(order));
        let at_hand = followed.into_iter().chain([&self.head, &self.base]);
        let begins = |model: &&Model| {
            let history = model.history();
            history.len() <= order.len() && history.iter().zip(order).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let nearest = at_hand.filter(begins).max_by_key(|model| model.frames_len());
        let mut model = match nearest {
            Some(model) => Cow::Borrowed(model),
            None => Cow::Owned(self.base.emptied()),
        };
        for operation in &order[model.frames_len()..] {
            model.to_mut().apply_frame(operation);
        }
        model
    }
}
