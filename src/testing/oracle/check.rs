//! Checks a recovered state: finds the legal state that it equals, or the differences from the nearest legal state. A
//! check changes neither the oracle nor the database.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::changes::{ChangeHistory, ChangePresence, CollectionChange};
use super::orders::LegalOrders;
use super::{CallProgress, Counts, CrashKind, Guarantee, Oracle, Prefix, Verdict, events_len};
use crate::testing::model::{
    CollectionMembers, Difference, DifferenceKind, EventId, Model, Structure, apply_collection_change,
    compare_collections, matches_collections,
};
use crate::testing::workload::Operation;
use crate::{Export, Receipt, RecoveryReport, TidalDb};

/// The number of legal states among which the nearest one to an illegal state is searched.
const NEAREST_LEN_MAX: usize = 8;
/// More orders of the same frames than this are tried only after a comparison of the tiers, which are equal for all
/// orders.
const FEW_ORDERS: usize = 2;

/// The order of calls that equals a recovered state or is nearest to it, and the remaining differences.
struct NearestOrder {
    order: Vec<usize>,
    /// The number of events of guaranteed frames that are missing as a whole.
    absent_events: u64,
    differences: Vec<Difference>,
}

impl NearestOrder {
    fn new(order: Vec<usize>, differences: Vec<Difference>) -> Self {
        Self {
            order,
            absent_events: 0,
            differences,
        }
    }
}

impl Oracle {
    /// Checks the state of a database that was opened after a crash.
    pub fn check(&self, crash: CrashKind, recovered: &TidalDb) -> Verdict {
        match recovered.export() {
            Ok(found) => {
                let report = recovered.recovery_report();
                self.check_recovered(crash, &found, None, recovered.last_sequence(), report)
            }
            Err(error) => Verdict {
                differences: vec![Difference::of_log("a readable database", error.to_string())],
                counts: self.counts(&[], 0),
                prefix: Prefix::default(),
                recovered_calls: Vec::new(),
                last_sequence: 0,
            },
        }
    }

    /// Checks an exported state like [`check`](Self::check), with the last sequence number and the report of the
    /// opening. `split` is the result of [`split`](Self::split) for this state, if the caller has it already.
    pub(crate) fn check_recovered(
        &self,
        crash: CrashKind,
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
            Some((found, rest)) => self.check_part(crash, found, Some(*rest), last),
            None => self.check_export(crash, found, last),
        };
        // An open with changed bounds ends with the marker of a checkpoint, which need not be durable.
        verdict.last_sequence = last_sequence.min(report.last_sequence);
        if verdict.is_ok() {
            self.check_receipts(report, &mut verdict);
        }
        verdict
    }

    /// Checks an exported state like [`check`](Self::check), with the last sequence number and without the receipts.
    pub fn check_export(&self, crash: CrashKind, found: &Export, last_sequence: u64) -> Verdict {
        match self.split(found) {
            Some((found, rest)) => self.check_part(crash, &found, Some(rest), last_sequence),
            None => self.check_part(crash, found, None, last_sequence),
        }
    }

    /// The part of a state and a hash of the rest, if the models of the oracle hold only a part.
    pub(in crate::testing) fn split(&self, found: &Export) -> Option<(Export, u64)> {
        self.part.as_ref().map(|(part, _)| part.split(found))
    }

    fn check_part(&self, crash: CrashKind, found: &Export, rest: Option<u64>, last_sequence: u64) -> Verdict {
        let mut findings = self.findings.clone();
        if self.part.as_ref().map(|(_, rest)| *rest) != rest {
            let expected = "unchanged state of all keys, users and items that no call uses";
            findings.push(Difference::of_log(
                expected,
                "changed state of such a key, user or item",
            ));
        }
        let frames = self.check_frames(crash, found, last_sequence);
        let changes = self.check_changes(crash, found);
        let differences = [findings, frames.differences, changes.differences].concat();
        let frame_calls = || frames.order.iter().map(|&index| &self.calls[index]);
        let events: u64 = frame_calls().map(|call| events_len(&call.operation)).sum();
        Verdict {
            counts: self.counts(&differences, events + frames.absent_events),
            prefix: Prefix {
                frames: frame_calls().filter(|call| call.operation.is_frame()).count(),
                sequence: frame_calls().rev().find_map(|call| call.sequence).unwrap_or(0),
                collection_changes: changes.order.len(),
            },
            differences,
            recovered_calls: [frames.order, changes.order].concat(),
            last_sequence,
        }
    }

    /// Compares the report of a database that was opened after a crash with the recovered frames of `verdict`. For each
    /// receipt the report must state correctly if its call survived.
    fn check_receipts(&self, report: &RecoveryReport, verdict: &mut Verdict) {
        let Some(opening) = self.opening.filter(|&opening| opening != report.opening) else {
            return;
        };
        let mut is_recovered = vec![false; self.calls.len()];
        for &index in &verdict.recovered_calls {
            is_recovered[index] = true;
        }
        for (index, is_recovered) in is_recovered.into_iter().enumerate().skip(self.recovered_len) {
            let Some(sequence) = self.calls[index].sequence else {
                continue;
            };
            let survived = report.survived(Receipt::new(opening, sequence));
            if survived != Some(is_recovered) {
                let text = |survived| match survived {
                    Some(true) => format!("the report that call {sequence} survived"),
                    Some(false) => format!("the report that call {sequence} did not survive"),
                    None => format!("no report on call {sequence}"),
                };
                let difference = Difference::of_log(text(Some(is_recovered)), text(survived));
                verdict.differences.push(difference);
            }
        }
    }

    /// The counts of a verdict. `events` is the expected number of recovered events.
    fn counts(&self, differences: &[Difference], events: u64) -> Counts {
        let events_and_kinds = differences.iter().filter_map(|it| Some((it.event?, it.kind)));
        let kinds: BTreeMap<EventId, DifferenceKind> = events_and_kinds.collect();
        let count = |kind: DifferenceKind| kinds.values().filter(|&&other| other == kind).count() as u64;
        let lost = count(DifferenceKind::Lost);
        Counts {
            acknowledged: self.acknowledged_events,
            recovered: events.saturating_sub(lost),
            lost,
            doubled: count(DifferenceKind::Doubled),
            half: count(DifferenceKind::Half),
        }
    }

    /// Returns true if the call survives the crash. A sync covers the first `durable` ended calls.
    fn is_guaranteed(&self, crash: CrashKind, progress: CallProgress, durable: u64) -> bool {
        let CallProgress::Acknowledged(end) = progress else {
            return false;
        };
        let loses_power = crash == CrashKind::PowerLoss || self.after_power_loss;
        !loses_power || self.guarantee == Guarantee::Acknowledged || end <= durable
    }

    /// The verdict on a state that contains every acknowledged call and no other call. It assumes that changes of a
    /// collection took effect in the order of their acknowledgements, because it knows no recovered state.
    pub(in crate::testing) fn promised(&self, last_sequence: u64) -> Verdict {
        let orders = self.frame_orders(CrashKind::ProcessCrash);
        let mut subsets = orders.by_subset(orders.guaranteed_len, None);
        let frames = subsets.next().into_iter().flatten().next().unwrap_or_default();
        let changes = self.change_history(CrashKind::ProcessCrash).acknowledged();
        Verdict {
            differences: Vec::new(),
            counts: Counts::default(),
            prefix: Prefix::default(),
            recovered_calls: [frames, changes].concat(),
            last_sequence,
        }
    }

    /// The changes of collections since the last reopening.
    fn change_history(&self, crash: CrashKind) -> ChangeHistory<'_> {
        let calls = self.calls.iter().enumerate().skip(self.recovered_len);
        let changes = calls.filter(|(_, call)| call.operation.is_collection_change());
        let changes =
            changes.filter(|(_, call)| call.progress != CallProgress::Refused || call.change.is_some());
        let changes = changes.map(|(index, call)| {
            let is_guaranteed = self.is_guaranteed(crash, call.progress, self.durable_changes);
            let refused_at = call.change.map(|(_, end)| end);
            let (presence, ended_len_at_end) = match call.progress {
                CallProgress::Refused => (ChangePresence::Guaranteed, refused_at.unwrap_or(u64::MAX)),
                CallProgress::Acknowledged(end) if is_guaranteed => (ChangePresence::Guaranteed, end),
                CallProgress::Acknowledged(end) => (ChangePresence::Acknowledged, end),
                CallProgress::Failed(end) => (ChangePresence::Unknown, end),
                CallProgress::InFlight => (ChangePresence::Unknown, u64::MAX),
            };
            CollectionChange {
                call: index,
                operation: &call.operation,
                presence,
                result: call.change.map(|(result, _)| result),
                ended_len_at_begin: call.begun_after_end,
                ended_len_at_end,
            }
        });
        let is_effect =
            |change: &CollectionChange<'_>| self.calls[change.call].progress != CallProgress::Refused;
        let (changes, refusals) = changes.partition(is_effect);
        ChangeHistory::new(self.base.collections(), changes, refusals)
    }

    /// The legal changes that equal the found collections, or the differences from the nearest legal collections.
    fn check_changes(&self, crash: CrashKind, found: &Export) -> NearestOrder {
        let history = self.change_history(crash);
        let matching = history.matching(found);
        let matches = |order: &Vec<usize>| matches_collections(&self.collections_after(order), found);
        if let Some(order) = matching.filter(matches) {
            return NearestOrder::new(order, Vec::new());
        }
        let candidates = history.candidates(found);
        let differences = candidates.map(|order| compare_collections(&self.collections_after(&order), found));
        let mut nearest = differences.min_by_key(Vec::len).unwrap_or_default();
        if nearest.is_empty() && history.has_results() {
            nearest.push(Difference {
                structure: Structure::Collection,
                ..Difference::of_log(
                    "the collections after an order of the changes that gives the result of each",
                    "the collections after another order",
                )
            });
        }
        NearestOrder::new(history.acknowledged(), nearest)
    }

    /// The collections after these changes.
    fn collections_after(&self, order: &[usize]) -> CollectionMembers {
        let mut collections = self.base.collections().clone();
        for &index in order {
            apply_collection_change(&mut collections, &self.calls[index].operation);
        }
        collections
    }

    /// The legal orders of the frames. The numbers are their sequence numbers.
    fn frame_orders(&self, crash: CrashKind) -> LegalOrders {
        let (mut numbered, mut unnumbered) = (Vec::with_capacity(self.calls.len()), Vec::new());
        for (index, call) in self.possible_calls(Operation::is_frame) {
            match call.sequence {
                Some(number) => numbered.push((number, index)),
                None => unnumbered.push((index, call.begun_after_sequence)),
            }
        }
        numbered.sort_unstable();
        let is_guaranteed = |&(number, index): &(u64, usize)| {
            number <= self.durable_sequence
                || self.is_guaranteed(crash, self.calls[index].progress, self.durable_frames)
        };
        LegalOrders {
            recovered_len: self.recovered_len,
            recovered_sequence: self.recovered_sequence,
            guaranteed_len: numbered
                .iter()
                .rposition(is_guaranteed)
                .map_or(0, |last| last + 1),
            numbered,
            unnumbered,
            schema_change: self.schema_change,
        }
    }

    fn check_frames(&self, crash: CrashKind, found: &Export, last: u64) -> NearestOrder {
        let orders = self.frame_orders(crash);
        let len = orders.numbered.partition_point(|&(number, _)| number <= last);
        let has_guaranteed = len >= orders.guaranteed_len && last >= self.recovered_sequence;
        if has_guaranteed && let Some(order) = self.legal_order(&orders, len, Some(last), found) {
            return NearestOrder::new(order, Vec::new());
        }
        let mut lens = orders.numbered_lens();
        if let Some(order) = lens.find_map(|len| self.legal_order(&orders, len, None, found)) {
            let number = order.iter().rev().find_map(|&index| self.calls[index].sequence);
            // An open with a changed schema makes a checkpoint. Its marker may have the number of a lost frame.
            if orders.schema_change.is_some() && number.unwrap_or(self.recovered_sequence) <= last {
                return NearestOrder::new(order, Vec::new());
            }
            let number = number.unwrap_or(self.recovered_sequence);
            let expected =
                format!("the last sequence number {number}, the last frame of the recovered state");
            return NearestOrder::new(order, vec![Difference::of_log(expected, last.to_string())]);
        }
        let len = if has_guaranteed {
            len
        } else {
            orders.guaranteed_len
        };
        self.shorter_order(&orders, found)
            .unwrap_or_else(|| self.nearest_order(&orders, len, last, found))
    }

    /// The order in which the first `len` numbered frames and some of the unnumbered frames give the found state.
    fn legal_order(
        &self,
        orders: &LegalOrders,
        len: usize,
        last: Option<u64>,
        found: &Export,
    ) -> Option<Vec<usize>> {
        // The tiers do not depend on the order of events. If the tiers after one order differ, they differ after every
        // order.
        let may_match =
            |order: &[usize]| !self.has_only_records(orders) || self.state_after(order).matches_states(found);
        orders.by_subset(len, last).find_map(|orders| {
            if orders.len() > FEW_ORDERS && !may_match(&orders[0]) {
                return None;
            }
            orders
                .into_iter()
                .find(|order| self.state_after(order).matches_frames(found))
        })
    }

    /// Returns true if every frame since the start of the first unnumbered frame records events, so that none forgets.
    fn has_only_records(&self, orders: &LegalOrders) -> bool {
        let first = orders.unnumbered.iter().map(|&(_, begun)| begun).min();
        let later = orders
            .numbered
            .iter()
            .filter(|&&(number, _)| Some(number) > first);
        let mut unordered = later
            .map(|&(_, index)| index)
            .chain(orders.unnumbered.iter().map(|&(index, _)| index));
        unordered.all(|index| matches!(*self.calls[index].operation, Operation::Record { .. }))
    }

    /// The order of a found state with fewer frames than guaranteed. Every event of the missing frames is lost, and so
    /// are the recovered changes of the schema after them.
    fn shorter_order(&self, orders: &LegalOrders, found: &Export) -> Option<NearestOrder> {
        let guaranteed = orders.numbered[..orders.guaranteed_len]
            .iter()
            .map(|&(_, index)| index);
        let mut order: Vec<usize> = (0..self.recovered_len).chain(guaranteed).collect();
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
            .flat_map(|call| model.differences_of_lost_frame(&call.operation, call.sequence, order.len()));
        Some(NearestOrder {
            differences: differences.collect(),
            absent_events: lost.map(|call| events_len(&call.operation)).sum(),
            order,
        })
    }

    /// The legal order with the fewest differences. Among equals it is the order whose differences name the most
    /// events.
    fn nearest_order(&self, orders: &LegalOrders, len: usize, last: u64, found: &Export) -> NearestOrder {
        let subsets = orders
            .by_subset(len, Some(last))
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
        let explained = nearest.map(|(_, order)| self.explain_order(orders, order, found));
        let named_events = |it: &NearestOrder| it.differences.iter().filter(|it| it.event.is_some()).count();
        match explained.max_by_key(named_events) {
            Some(nearest) => nearest,
            None => unreachable!("the empty subset of the unnumbered frames always has an order"),
        }
    }

    /// The explained differences between `found` and the state after the frames of `order`.
    fn explain_order(&self, orders: &LegalOrders, order: Vec<usize>, found: &Export) -> NearestOrder {
        let is_absent = |index: &usize| self.calls[*index].operation.is_frame() && !order.contains(index);
        let absent: Vec<usize> = (0..self.calls.len()).filter(is_absent).collect();
        let others = absent
            .iter()
            .map(|&index| Arc::clone(&self.calls[index].operation));
        let mut differences = self
            .state_after(&order)
            .compare_frames(found, &others.collect::<Vec<_>>());
        let all = [&order[..], &absent[..]].concat();
        let guaranteed = &orders.numbered[..orders.guaranteed_len];
        for difference in &mut differences {
            let Some(event) = &mut difference.event else {
                continue;
            };
            let index = all[event.sequence as usize - 1];
            event.sequence = self.calls[index].sequence.unwrap_or(0);
            let is_guaranteed =
                index < self.recovered_len || guaranteed.iter().any(|&(_, other)| other == index);
            if difference.kind == DifferenceKind::Lost && !is_guaranteed {
                // The other events of its frame are in the state.
                difference.kind = DifferenceKind::Half;
            }
        }
        NearestOrder::new(order, differences)
    }

    /// The state after these frames, computed from the nearest stored state.
    pub(super) fn state_after(&self, order: &[usize]) -> Cow<'_, Model> {
        let frame = |index: &usize| &self.calls[*index].operation;
        let is_prefix = |model: &&Model| {
            let history = model.history();
            history.len() <= order.len()
                && history
                    .iter()
                    .zip(order)
                    .all(|(applied, index)| Arc::ptr_eq(applied, frame(index)))
        };
        let mut model = match [&self.head, &self.base].into_iter().find(is_prefix) {
            Some(model) => Cow::Borrowed(model),
            None => Cow::Owned(self.base.without_frames()),
        };
        for index in &order[model.history().len()..] {
            model.to_mut().apply_frame(frame(index));
        }
        model
    }
}
