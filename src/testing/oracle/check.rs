//! Judging a recovered state: is it a legal one, and if not, what is wrong with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::orders::LegalOrders;
use super::{CallProgress, Counts, CrashKind, Guarantee, Oracle, Prefix, Verdict, events_len};
use crate::testing::model::{
    CollectionMembers, Difference, DifferenceKind, EventId, Model, change, compare_collections,
    matches_collections,
};
use crate::testing::workload::Operation;
use crate::{Export, Receipt, RecoveryReport, TidalDb};

/// Of more legal states than this the one that is nearest to an illegal one is not looked for.
const NEAREST_LEN_MAX: usize = 8;
/// More orders of the same frames than this are tried only after a look at what is the same for all of them.
const FEW_ORDERS: usize = 2;
/// More ways to place the changes of collections in flight than this are not tried.
const CHANGE_ORDERS_LEN_MAX: usize = 4096;
/// Between the numbers of two changes of collections: room for all that are in flight.
const CHANGE_STEP: u64 = 1 << 16;

/// The calls that are there, in order, and the differences that remain.
struct Found {
    order: Vec<usize>,
    /// How many events guaranteed frames have that are not there as a whole.
    absent_events: u64,
    differences: Vec<Difference>,
}

impl Found {
    fn new(order: Vec<usize>, differences: Vec<Difference>) -> Self {
        Self {
            order,
            absent_events: 0,
            differences,
        }
    }
}

impl Oracle {
    /// Says whether the state of a database that was opened after its death is a legal one.
    pub fn check(&self, death: CrashKind, recovered: &TidalDb) -> Verdict {
        match recovered.export() {
            Ok(found) => {
                let report = recovered.recovery_report();
                self.check_recovered(death, &found, None, recovered.last_sequence(), report)
            }
            Err(error) => Verdict {
                differences: vec![Difference::of_log(
                    "a database that can be read",
                    error.to_string(),
                )],
                counts: self.counts(&[], 0),
                prefix: Prefix::default(),
                found: Vec::new(),
                last_sequence: 0,
            },
        }
    }

    /// As [`check`](Self::check), of an exported state, the last sequence number and the report of the opening. `split` is the
    /// result of [`split`](Self::split) for this state, if the caller has it already.
    pub(crate) fn check_recovered(
        &self,
        death: CrashKind,
        found: &Export,
        split: Option<&(Export, u64)>,
        last_sequence: u64,
        report: &RecoveryReport,
    ) -> Verdict {
        let mut earlier = report.earlier_openings.iter();
        let before = earlier.find(|earlier| Some(earlier.opening) == self.opening);
        let last = match before {
            // The marker of the checkpoint that stored the schema may have the number of a lost frame.
            Some(before) if self.schema_change.is_some() => before.survived_sequence,
            _ => last_sequence,
        };
        let mut verdict = match split {
            Some((found, rest)) => self.check_part(death, found, Some(*rest), last),
            None => self.check_export(death, found, last),
        };
        // An open with other bounds ends with the marker of a checkpoint, which need not be durable.
        verdict.last_sequence = last_sequence.min(report.last_sequence);
        if verdict.is_ok() {
            self.check_receipts(report, &mut verdict);
        }
        verdict
    }

    /// As [`check`](Self::check), of an exported state and the last sequence number, without the receipts.
    pub fn check_export(&self, death: CrashKind, found: &Export, last_sequence: u64) -> Verdict {
        match self.split(found) {
            Some((found, rest)) => self.check_part(death, &found, Some(rest), last_sequence),
            None => self.check_part(death, found, None, last_sequence),
        }
    }

    /// The part of a state and a hash of the rest, if the oracle knows only a part.
    pub(in crate::testing) fn split(&self, found: &Export) -> Option<(Export, u64)> {
        self.part.as_ref().map(|(part, _)| part.split(found))
    }

    fn check_part(&self, death: CrashKind, found: &Export, rest: Option<u64>, last_sequence: u64) -> Verdict {
        let mut findings = self.findings.clone();
        if self.part.as_ref().map(|(_, rest)| *rest) != rest {
            let expected = "no change of any key, user or item that no call changed";
            findings.push(Difference::of_log(expected, "changes of some"));
        }
        let frames = self.check_frames(death, found, last_sequence);
        let changes = self.check_changes(death, found);
        let differences = [findings, frames.differences, changes.differences].concat();
        let mut found = frames.order;
        let of_frames = || found.iter().map(|&index| &self.calls[index]);
        let events: u64 = of_frames().map(|call| events_len(&call.operation)).sum();
        Verdict {
            counts: self.counts(&differences, events + frames.absent_events),
            prefix: Prefix {
                frames: of_frames().filter(|call| call.operation.is_frame()).count(),
                sequence: of_frames().rev().find_map(|call| call.sequence).unwrap_or(0),
                collection_changes: changes.order.len(),
            },
            differences,
            found: {
                found.extend(changes.order);
                found
            },
            last_sequence,
        }
    }

    /// Compares the report of a database that was opened after its death with the frames that `verdict` found there: it must
    /// say of each receipt whether the call survived.
    fn check_receipts(&self, report: &RecoveryReport, verdict: &mut Verdict) {
        let Some(opening) = self.opening.filter(|&opening| opening != report.opening) else {
            return;
        };
        let mut is_found = vec![false; self.calls.len()];
        for &index in &verdict.found {
            is_found[index] = true;
        }
        for (index, is_found) in is_found.into_iter().enumerate().skip(self.settled_len) {
            let Some(sequence) = self.calls[index].sequence else {
                continue;
            };
            let survived = report.survived(Receipt::new(opening, sequence));
            if survived != Some(is_found) {
                let expected = format!("a report that receipt {sequence} survived: {:?}", Some(is_found));
                let difference = Difference::of_log(expected, format!("{survived:?}"));
                verdict.differences.push(difference);
            }
        }
    }

    /// `events` is how many are to be there.
    fn counts(&self, differences: &[Difference], events: u64) -> Counts {
        let events_and_kinds = differences.iter().filter_map(|it| Some((it.event?, it.kind)));
        let faults: BTreeMap<EventId, DifferenceKind> = events_and_kinds.collect();
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

    fn is_guaranteed(&self, death: CrashKind, progress: CallProgress, durable: u64) -> bool {
        let CallProgress::Acknowledged(acknowledgement) = progress else {
            return false;
        };
        let power_is_lost = death == CrashKind::PowerLoss || self.power_is_lost;
        let all = !power_is_lost || self.guarantee == Guarantee::Acknowledged;
        all || acknowledgement <= durable
    }

    /// The verdict on a state that holds every acknowledged call and nothing else.
    pub(in crate::testing) fn promised(&self, last_sequence: u64) -> Verdict {
        let acknowledged = |orders: LegalOrders| -> Vec<usize> {
            let mut subsets = orders.by_subset(orders.guaranteed_len, None);
            subsets.next().into_iter().flatten().next().unwrap_or_default()
        };
        let frames = acknowledged(self.frame_orders(CrashKind::ProcessCrash));
        let changes = acknowledged(self.change_orders(CrashKind::ProcessCrash));
        Verdict {
            differences: Vec::new(),
            counts: Counts::default(),
            prefix: Prefix::default(),
            found: [frames, changes].concat(),
            last_sequence,
        }
    }

    /// The legal orders of the changes of collections: acknowledgements give their numbers.
    fn change_orders(&self, death: CrashKind) -> LegalOrders {
        let changes: Vec<_> = self.possible(Operation::is_collection_change).collect();
        let acknowledgement = |index: usize| match self.calls[index].progress {
            CallProgress::Acknowledged(acknowledgement) => Some(acknowledgement),
            _ => None,
        };
        let (mut acknowledged, open): (Vec<usize>, Vec<usize>) = changes
            .iter()
            .map(|(index, _)| *index)
            .partition(|&index| acknowledgement(index).is_some());
        acknowledged.sort_by_key(|&index| acknowledgement(index));
        let is_durable =
            |&index: &usize| self.is_guaranteed(death, self.calls[index].progress, self.durable_changes);
        let begun = |index: usize| {
            let begun_after = Some(self.calls[index].begun_after_acknowledgement);
            acknowledged.partition_point(|&other| acknowledgement(other) <= begun_after) as u64
        };
        LegalOrders {
            settled_len: 0,
            taken: 0,
            guaranteed_len: acknowledged.partition_point(is_durable),
            open: open
                .iter()
                .map(|&index| (index, begun(index) * CHANGE_STEP))
                .collect(),
            known: (1..)
                .map(|place| place * CHANGE_STEP)
                .zip(acknowledged.iter().copied())
                .collect(),
            schema_change: None,
        }
    }

    fn check_changes(&self, death: CrashKind, found: &Export) -> Found {
        let orders = self.change_orders(death);
        let all = || {
            let subsets = orders.ends().flat_map(|end| orders.by_subset(end, None));
            subsets.flatten().take(CHANGE_ORDERS_LEN_MAX)
        };
        if let Some(order) = all().find(|order| matches_collections(&self.collections(order), found)) {
            return Found::new(order, Vec::new());
        }
        let differences = all().map(|order| compare_collections(&self.collections(&order), found));
        let nearest = differences.min_by_key(Vec::len).unwrap_or_default();
        let acknowledged = orders.known.iter().map(|&(_, index)| index);
        Found::new(acknowledged.collect(), nearest)
    }

    /// The collections after these changes.
    fn collections(&self, order: &[usize]) -> CollectionMembers {
        let mut collections = self.base.collections().clone();
        for &index in order {
            change(&mut collections, &self.calls[index].operation);
        }
        collections
    }

    /// The legal orders of the frames: receipts give their numbers.
    fn frame_orders(&self, death: CrashKind) -> LegalOrders {
        let (mut known, mut open) = (Vec::with_capacity(self.calls.len()), Vec::new());
        for (index, call) in self.possible(Operation::is_frame) {
            match call.sequence {
                Some(number) => known.push((number, index)),
                None => open.push((index, call.begun_after_sequence)),
            }
        }
        known.sort_unstable();
        let is_guaranteed = |&(number, index): &(u64, usize)| {
            number <= self.durable_sequence
                || self.is_guaranteed(death, self.calls[index].progress, self.durable_acknowledgement)
        };
        LegalOrders {
            settled_len: self.settled_len,
            taken: self.taken_sequence,
            guaranteed_len: known.iter().rposition(is_guaranteed).map_or(0, |last| last + 1),
            known,
            open,
            schema_change: self.schema_change,
        }
    }

    fn check_frames(&self, death: CrashKind, found: &Export, last: u64) -> Found {
        let orders = self.frame_orders(death);
        let end = orders.known.partition_point(|&(number, _)| number <= last);
        let is_enough = end >= orders.guaranteed_len && last >= self.taken_sequence;
        if is_enough && let Some(order) = self.legal_order(&orders, end, Some(last), found) {
            return Found::new(order, Vec::new());
        }
        if let Some(order) = orders
            .ends()
            .find_map(|end| self.legal_order(&orders, end, None, found))
        {
            let number = order.iter().rev().find_map(|&index| self.calls[index].sequence);
            // An open with another schema makes a checkpoint. Its marker may have the number of a lost frame.
            if orders.schema_change.is_some() && number.unwrap_or(self.taken_sequence) <= last {
                return Found::new(order, Vec::new());
            }
            let expected = format!("a last sequence number that fits the state, which ends with {number:?}");
            return Found::new(order, vec![Difference::of_log(expected, last.to_string())]);
        }
        let end = if is_enough { end } else { orders.guaranteed_len };
        self.shorter(&orders, found)
            .unwrap_or_else(|| self.nearest(&orders, end, last, found))
    }

    /// The order in which the first `end` known frames and some of those in flight give what was found.
    fn legal_order(
        &self,
        orders: &LegalOrders,
        end: usize,
        last: Option<u64>,
        found: &Export,
    ) -> Option<Vec<usize>> {
        // The tiers do not depend on the order of events: what they do not allow, no order does.
        let may_match =
            |order: &[usize]| !self.commutes(orders) || self.state_after(order).matches_states(found);
        orders.by_subset(end, last).find_map(|orders| {
            if orders.len() > FEW_ORDERS && !may_match(&orders[0]) {
                return None;
            }
            orders
                .into_iter()
                .find(|order| self.state_after(order).matches_frames(found))
        })
    }

    /// Returns true if nothing was forgotten since the first frame in flight was begun.
    fn commutes(&self, orders: &LegalOrders) -> bool {
        let first = orders.open.iter().map(|&(_, begun)| begun).min();
        let later = orders.known.iter().filter(|&&(number, _)| Some(number) > first);
        let mut unordered = later
            .map(|&(_, index)| index)
            .chain(orders.open.iter().map(|&(index, _)| index));
        unordered.all(|index| matches!(*self.calls[index].operation, Operation::Record { .. }))
    }

    /// A state with fewer frames than guaranteed: every event of the missing frames is lost, and so are the settled changes of
    /// the schema after them.
    fn shorter(&self, orders: &LegalOrders, found: &Export) -> Option<Found> {
        let guaranteed = orders.known[..orders.guaranteed_len]
            .iter()
            .map(|&(_, index)| index);
        let mut order: Vec<usize> = (0..self.settled_len).chain(guaranteed).collect();
        let mut model = self.base.without_frames();
        let matches = |model: &Model| {
            let mut model = Cow::Borrowed(model);
            if let Some(index) = orders.schema_change {
                model.to_mut().apply_frame(&self.calls[index].operation);
            }
            model.matches_frames(found)
        };
        let mut len = matches(&model).then_some(0);
        for (before, &index) in order.iter().enumerate() {
            model.apply_frame(&self.calls[index].operation);
            if matches(&model) {
                len = Some(before + 1);
            }
        }
        let lost = order.split_off(len?);
        let lost = lost.iter().map(|&index| &self.calls[index]);
        let differences = lost
            .clone()
            .flat_map(|call| model.lost(&call.operation, call.sequence, order.len()));
        Some(Found {
            differences: differences.collect(),
            absent_events: lost.map(|call| events_len(&call.operation)).sum(),
            order,
        })
    }

    /// The legal state with the fewest differences, of equals the one that explains the most, and these.
    fn nearest(&self, orders: &LegalOrders, end: usize, last: u64, found: &Export) -> Found {
        let subsets = orders
            .by_subset(end, Some(last))
            .filter_map(|orders| orders.into_iter().next());
        let candidates = subsets
            .take(NEAREST_LEN_MAX)
            .map(|order| (self.state_after(&order).differences_len(found), order));
        let candidates: Vec<(usize, Vec<usize>)> = candidates.collect();
        let least = candidates.iter().map(|(len, _)| *len).min();
        let nearest = candidates
            .into_iter()
            .rev()
            .filter(|(len, _)| Some(*len) == least);
        let explained = nearest.map(|(_, order)| self.explained(orders, order, found));
        let explains = |found: &Found| found.differences.iter().filter(|it| it.event.is_some()).count();
        match explained.max_by_key(explains) {
            Some(found) => found,
            None => unreachable!("no frame in flight is a subset, too"),
        }
    }

    /// How `found` differs from the state after the frames of `order`.
    fn explained(&self, orders: &LegalOrders, order: Vec<usize>, found: &Export) -> Found {
        let is_absent = |index: &usize| self.calls[*index].operation.is_frame() && !order.contains(index);
        let absent: Vec<usize> = (0..self.calls.len()).filter(is_absent).collect();
        let others = absent
            .iter()
            .map(|&index| Arc::clone(&self.calls[index].operation));
        let mut differences = self
            .state_after(&order)
            .compare_frames(found, &others.collect::<Vec<_>>());
        let all = [&order[..], &absent[..]].concat();
        let guaranteed = &orders.known[..orders.guaranteed_len];
        for difference in &mut differences {
            let Some(event) = &mut difference.event else {
                continue;
            };
            let index = all[event.sequence as usize - 1];
            event.sequence = self.calls[index].sequence.unwrap_or(0);
            let is_promised = index < self.settled_len || guaranteed.iter().any(|&(_, known)| known == index);
            if difference.kind == DifferenceKind::Lost && !is_promised {
                // The rest of its frame is there.
                difference.kind = DifferenceKind::Half;
            }
        }
        Found::new(order, differences)
    }

    /// The state after these frames, from the nearest one that is at hand.
    pub(super) fn state_after(&self, order: &[usize]) -> Cow<'_, Model> {
        let frame = |index: &usize| &self.calls[*index].operation;
        let begins = |model: &&Model| {
            let history = model.history();
            history.len() <= order.len()
                && history
                    .iter()
                    .zip(order)
                    .all(|(applied, index)| Arc::ptr_eq(applied, frame(index)))
        };
        let mut model = match [&self.head, &self.base].into_iter().find(begins) {
            Some(model) => Cow::Borrowed(model),
            None => Cow::Owned(self.base.without_frames()),
        };
        for index in &order[model.history().len()..] {
            model.to_mut().apply_frame(frame(index));
        }
        model
    }
}
