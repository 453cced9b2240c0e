//! The legal collections after changes by several threads: the linearizations of the changes (Herlihy and Wing, TOPLAS
//! 1990), without the changes that a crash may have lost.
//!
//! A change that ended before another one began took effect before it. Changes that overlap in time may have taken
//! effect in either order. A state that lacks an acknowledged change lacks every change that began after its
//! acknowledgement. A state may lack each change with an unknown outcome.
//!
//! The state of a collection depends only on the order of its own changes. An order for each collection extends to an
//! order of all changes, so each collection is searched alone. A search chooses the changes from the last one to the
//! first one. Most changes need no choice: if a change can be the last one without a restriction of the changes before
//! it, every legal order has an equal order in which it is the last one.
//!
//! Changes with a known [result](ChangeResult) are legal only in an order in which each result is possible, so
//! [`linearize`] searches their orders. A refusal is part of it unless changes are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use super::linearization::{ChangeResult, CollectionAction, CollectionCall, Linearizations, linearize};
use super::results::collection_of;
use crate::testing::model::CollectionMembers;
use crate::testing::workload::Operation;
use crate::{EntityId, Export};

/// The largest number of sets of lost changes that are tried. Beyond it a legal state is reported as wrong.
const LOST_SETS_LEN_MAX: usize = 4096;
/// The largest number of branches of a search. Beyond it a legal state is reported as wrong.
const BRANCHES_LEN_MAX: usize = 4096;
/// The largest number of legal states among which the nearest one to an illegal state is searched. Beyond it the message
/// may describe a larger difference than necessary.
const CANDIDATES_LEN_MAX: usize = 4096;
/// The largest number of changes of a collection with an unknown outcome of which every subset is tried. A state with the
/// effect of a further one is reported as wrong, although it is legal.
const UNKNOWN_LEN_MAX: usize = 10;

/// The presence of a change in a state after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangePresence {
    /// The change was acknowledged, and the crash cannot have lost it. Every legal state has it.
    Guaranteed,
    /// The change was acknowledged, but the crash may have lost it. Changes that began after its acknowledgement are in the
    /// state only if it is.
    Acknowledged,
    /// The change failed with an unknown outcome or is in flight.
    Unknown,
}

/// A change of a collection.
#[derive(Debug, Clone, Copy)]
pub(super) struct CollectionChange<'a> {
    /// The index of the call.
    pub(super) call: usize,
    pub(super) operation: &'a Operation,
    pub(super) presence: ChangePresence,
    /// `None` if the result is not known.
    pub(super) result: Option<ChangeResult>,
    /// The number of calls that had ended when this one began.
    pub(super) ended_len_at_begin: u64,
    /// The number of calls that had ended when this one ended, this one included. `u64::MAX` for a call in flight.
    pub(super) ended_len_at_end: u64,
}

impl CollectionChange<'_> {
    fn is_acknowledged(&self) -> bool {
        self.presence != ChangePresence::Unknown
    }

    fn collection(&self) -> &[u8] {
        match collection_of(self.operation) {
            Some(name) => name,
            None => unreachable!("the operation changes a collection"),
        }
    }

    fn as_call(&self) -> CollectionCall<'_> {
        let (operation, result) = (self.operation, self.result);
        CollectionCall {
            action: if self.is_acknowledged() {
                CollectionAction::Change { operation, result }
            } else {
                CollectionAction::PossibleChange(operation)
            },
            ended_len_at_begin: self.ended_len_at_begin,
            ended_len_at_end: self.ended_len_at_end,
        }
    }
}

/// The changes of collections since the last reopening, which left the collections `base`.
#[derive(Debug)]
pub(super) struct ChangeHistory<'a> {
    base: &'a CollectionMembers,
    /// Sorted by end.
    changes: Vec<CollectionChange<'a>>,
    /// Changes that were refused with a known result.
    refusals: Vec<CollectionChange<'a>>,
}

/// The members of each collection of a found state.
type FoundMembers<'a> = BTreeMap<&'a [u8], BTreeSet<u64>>;

impl<'a> ChangeHistory<'a> {
    pub(super) fn new(
        base: &'a CollectionMembers,
        mut changes: Vec<CollectionChange<'a>>,
        refusals: Vec<CollectionChange<'a>>,
    ) -> Self {
        changes.sort_by_key(|change| (change.ended_len_at_end, change.ended_len_at_begin));
        Self {
            base,
            changes,
            refusals,
        }
    }

    /// The calls of all acknowledged changes, in the order of their acknowledgements.
    pub(super) fn acknowledged(&self) -> Vec<usize> {
        let acknowledged = self.changes.iter().filter(|change| change.is_acknowledged());
        acknowledged.map(|change| change.call).collect()
    }

    /// The calls of a legal state that equals `found`, those of each collection in order. The state lacks as few
    /// acknowledged changes as possible.
    pub(super) fn matching(&self, found: &Export) -> Option<Vec<usize>> {
        let found = found_members(found);
        let mut sets = self.lost_sets().take(LOST_SETS_LEN_MAX);
        sets.find_map(|lost| {
            let changes = self.by_collection(&lost);
            let names = self.base.keys().map(Vec::as_slice).chain(found.keys().copied());
            let names: BTreeSet<&[u8]> = names.chain(changes.keys().copied()).collect();
            let orders = names.into_iter().map(|name| {
                let changes = changes.get(name).map_or(&[][..], Vec::as_slice);
                if changes.iter().any(|change| change.result.is_some()) {
                    match self.linearized(name, changes, lost.is_empty()) {
                        Linearizations::Found(orders) => {
                            let mut orders = orders.into_iter();
                            let (_, order) = orders.find(|(state, _)| state.get(name) == found.get(name))?;
                            // The refusals come after the changes.
                            let effects = order.into_iter().filter_map(|at| changes.get(at));
                            return Some(effects.map(|change| change.call).collect());
                        }
                        Linearizations::Unexplained(_) => return None,
                        Linearizations::TooMany => {}
                    }
                }
                let mut subsets = subsets(changes);
                subsets.find_map(|changes| self.search(name, &found).matching(changes))
            });
            Some(orders.collect::<Option<Vec<_>>>()?.concat())
        })
    }

    /// The orders of the changes of one collection that give every result, and if `with_refusals` every refusal too. A call
    /// is its position in `changes`; the refusals follow.
    fn linearized(
        &self,
        name: &[u8],
        changes: &[CollectionChange<'_>],
        with_refusals: bool,
    ) -> Linearizations {
        let is_part = |refusal: &&CollectionChange<'_>| with_refusals && refusal.collection() == name;
        let all = changes.iter().chain(self.refusals.iter().filter(is_part));
        let calls: Vec<_> = all.map(CollectionChange::as_call).collect();
        linearize(name, self.base, &calls)
    }

    /// Returns true if the result of a change is known.
    pub(super) fn has_results(&self) -> bool {
        self.changes.iter().any(|change| change.result.is_some())
    }

    /// The legal states among which the nearest one to an illegal state is searched, each by its calls. The calls of
    /// each collection are in the order that follows `found` as long as possible.
    pub(super) fn candidates(&self, found: &Export) -> impl Iterator<Item = Vec<usize>> {
        let found = found_members(found);
        let candidates = self.lost_sets().flat_map(move |lost| {
            let changes: Vec<_> = self.by_collection(&lost).into_values().flatten().collect();
            let orders: Vec<_> = subsets(&changes)
                .map(|changes| self.nearest(&changes, &found))
                .collect();
            orders
        });
        candidates.take(CANDIDATES_LEN_MAX)
    }

    fn nearest(&self, changes: &[CollectionChange<'_>], found: &FoundMembers<'_>) -> Vec<usize> {
        let of_collection = |changes: &[CollectionChange<'_>]| {
            let name = changes[0].collection();
            self.search(name, found).nearest(changes.to_vec())
        };
        let collections = changes.chunk_by(|one, other| one.collection() == other.collection());
        collections.flat_map(of_collection).collect()
    }

    fn search<'s>(&'s self, name: &[u8], found: &'s FoundMembers<'_>) -> OrderSearch<'s> {
        OrderSearch {
            base: self.base.get(name),
            found: found.get(name),
            branches_left: BRANCHES_LEN_MAX,
        }
    }

    /// The sets of acknowledged changes that a crash may have lost, in ascending order of their lengths. Each change is
    /// its position in `changes`.
    fn lost_sets(&self) -> impl Iterator<Item = Vec<usize>> {
        let levels = iter::successors(Some(BTreeSet::from([Vec::new()])), |sets| {
            let larger: BTreeSet<_> = sets
                .iter()
                .flat_map(|lost| self.with_another_lost(lost))
                .collect();
            (!larger.is_empty()).then_some(larger)
        });
        levels.flatten()
    }

    /// The sets with one more lost change. It is followed by no acknowledged change of the state.
    fn with_another_lost(&self, lost: &[usize]) -> Vec<Vec<usize>> {
        let is_present = |at: usize, change: &CollectionChange<'_>| {
            change.is_acknowledged() && lost.binary_search(&at).is_err()
        };
        let changes = self.changes.iter().enumerate();
        let present = changes.rev().filter(|(at, change)| is_present(*at, change));
        let last = last_of(present, |(_, change)| change);
        let may_be_lost = last.filter(|(_, change)| change.presence == ChangePresence::Acknowledged);
        let with = may_be_lost.map(|(at, _)| {
            let place = lost.partition_point(|&other| other < at);
            [&lost[..place], &[at], &lost[place..]].concat()
        });
        with.collect()
    }

    /// The changes that may be in a state without the changes `lost`, each collection's sorted by end.
    fn by_collection(&self, lost: &[usize]) -> BTreeMap<&[u8], Vec<CollectionChange<'a>>> {
        // The lost changes are sorted by end.
        let first_lost_end = lost
            .first()
            .map_or(u64::MAX, |&at| self.changes[at].ended_len_at_end);
        let mut collections: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (at, change) in self.changes.iter().enumerate() {
            let is_lost = || change.ended_len_at_end >= first_lost_end && lost.binary_search(&at).is_ok();
            if change.ended_len_at_begin < first_lost_end && !is_lost() {
                collections.entry(change.collection()).or_default().push(*change);
            }
        }
        collections
    }
}

fn found_members(found: &Export) -> FoundMembers<'_> {
    let members = |members: &[EntityId]| members.iter().map(|member| member.0).collect();
    let collections = found.collections.iter();
    collections
        .map(|it| (&it.name[..], members(&it.members)))
        .collect()
}

/// The changes with each subset of those with an unknown outcome, the empty subset first.
fn subsets<'a>(changes: &[CollectionChange<'a>]) -> impl Iterator<Item = Vec<CollectionChange<'a>>> {
    let unknown = changes.iter().filter(|change| !change.is_acknowledged());
    let unknown: Vec<usize> = unknown.map(|change| change.call).take(UNKNOWN_LEN_MAX).collect();
    (0..1_usize << unknown.len()).map(move |subset| {
        let is_chosen = |change: &&CollectionChange<'_>| {
            let place = unknown.iter().position(|&call| call == change.call);
            change.is_acknowledged() || place.is_some_and(|place| subset >> place & 1 == 1)
        };
        changes.iter().filter(is_chosen).copied().collect()
    })
}

/// The changes that no other one follows in time. `changes` are in descending order of their ends.
fn last_of<'c, T>(
    changes: impl Iterator<Item = T>,
    change_of: impl Fn(&T) -> &'c CollectionChange<'c>,
) -> impl Iterator<Item = T> {
    let mut begun = 0;
    changes.take_while(move |item| {
        let change = change_of(item);
        let is_last = change.ended_len_at_end > begun;
        begun = begun.max(change.ended_len_at_begin);
        is_last
    })
}

/// The states of a collection before the changes that a search has placed already, from which these changes lead to
/// the found state.
#[derive(Debug, Clone)]
struct StatesBefore {
    /// True if the collection may be absent.
    absent: bool,
    /// True if the collection may exist. It then has the found members, apart from `free`.
    present: bool,
    /// The members whose presence is not important.
    free: BTreeSet<u64>,
}

/// A search for the order of the changes of one collection that lead from the members `base` to the members `found`.
struct OrderSearch<'a> {
    base: Option<&'a BTreeSet<u64>>,
    found: Option<&'a BTreeSet<u64>>,
    branches_left: usize,
}

impl OrderSearch<'_> {
    /// The calls of `changes` in an order that leads to the found members. `changes` are sorted by end.
    fn matching(&mut self, changes: Vec<CollectionChange<'_>>) -> Option<Vec<usize>> {
        self.search(changes, self.found_state(), true)
    }

    /// The calls of `changes` in an order whose last changes lead to the found members as long as possible.
    fn nearest(&mut self, changes: Vec<CollectionChange<'_>>) -> Vec<usize> {
        if changes.is_sorted_by(|one, other| one.ended_len_at_end <= other.ended_len_at_begin) {
            // One thread has one order.
            return changes.iter().map(|change| change.call).collect();
        }
        let order = self.search(changes, self.found_state(), false);
        order.unwrap_or_default()
    }

    fn found_state(&self) -> StatesBefore {
        StatesBefore {
            absent: self.found.is_none(),
            present: self.found.is_some(),
            free: BTreeSet::new(),
        }
    }

    /// Places the changes of `rest` from the last one to the first one. Without `must_match` it always finds an order.
    fn search(
        &mut self,
        mut rest: Vec<CollectionChange<'_>>,
        mut states: StatesBefore,
        must_match: bool,
    ) -> Option<Vec<usize>> {
        let mut reversed = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            let last = last_of(rest.iter().enumerate().rev(), |(_, change)| change);
            let last: Vec<usize> = last.map(|(at, _)| at).collect();
            let fits = |at: &&usize| self.states_before(&states, rest[**at].operation) != (false, false);
            let fitting: Vec<usize> = last.iter().filter(fits).copied().collect();
            let is_certain = |at: &&usize| self.is_certain(&states, rest[**at].operation);
            let chosen = match (fitting.iter().find(is_certain), &fitting[..]) {
                (Some(&at), _) | (None, &[at]) => at,
                (None, &[at, ..]) if !must_match => at,
                (None, []) if !must_match => last[0],
                (None, places) => {
                    let mut order = places.iter().find_map(|&at| {
                        self.branches_left = self.branches_left.checked_sub(1)?;
                        let (mut rest, mut states) = (rest.clone(), states.clone());
                        let change = rest.remove(at);
                        self.place(&mut states, change.operation);
                        let mut order = self.search(rest, states, must_match)?;
                        order.push(change.call);
                        Some(order)
                    })?;
                    order.extend(reversed.into_iter().rev());
                    return Some(order);
                }
            };
            let change = rest.remove(chosen);
            reversed.push(change.call);
            if matches!(change.operation, Operation::DeleteCollection(_)) {
                // The changes before a deletion have no effect after it.
                rest.sort_by_key(|change| change.ended_len_at_begin);
                let order = rest.iter().map(|change| change.call);
                return Some(order.chain(reversed.into_iter().rev()).collect());
            }
            self.place(&mut states, change.operation);
        }
        let matches = !must_match || self.base_is_in(&states);
        matches.then(|| reversed.into_iter().rev().collect())
    }

    /// The values of `absent` and `present` in the states before `operation`, if `states` are those after it.
    fn states_before(&self, states: &StatesBefore, operation: &Operation) -> (bool, bool) {
        let is_found = |entity: &EntityId| self.found.is_some_and(|found| found.contains(&entity.0));
        let is_free = |entity: &EntityId| states.free.contains(&entity.0);
        match operation {
            Operation::CreateCollection(_) => {
                let may_be_empty = self.found.is_none_or(|found| found.is_subset(&states.free));
                (states.present && may_be_empty, states.present)
            }
            Operation::DeleteCollection(_) => (states.absent, states.absent),
            Operation::AddToCollection(_, entity) => {
                let fits = is_free(entity) || is_found(entity);
                (states.absent, states.present && fits)
            }
            Operation::RemoveFromCollection(_, entity) => {
                let fits = is_free(entity) || !is_found(entity);
                (states.absent, states.present && fits)
            }
            _ => unreachable!("the operation changes a collection"),
        }
    }

    /// Returns true if each order that leads to `states` still does so after `operation` became its last change.
    fn is_certain(&self, states: &StatesBefore, operation: &Operation) -> bool {
        let before = self.states_before(states, operation);
        match operation {
            // The creation of an existing collection changes nothing. Members that were added after the creation are
            // missing if the creation comes last.
            Operation::CreateCollection(_) | Operation::DeleteCollection(_) => before == (true, true),
            _ => before == (states.absent, states.present),
        }
    }

    /// Changes the states after `operation` to those before it. A deletion ends a search and is not placed.
    fn place(&self, states: &mut StatesBefore, operation: &Operation) {
        let before = self.states_before(states, operation);
        if before != (false, false) {
            (states.absent, states.present) = before;
        }
        if let Operation::AddToCollection(_, entity) | Operation::RemoveFromCollection(_, entity) = operation
        {
            states.free.insert(entity.0);
        }
    }

    /// Returns true if `states` contain the state before all changes.
    fn base_is_in(&self, states: &StatesBefore) -> bool {
        match (self.base, self.found) {
            (None, _) => states.absent,
            (Some(base), Some(found)) => {
                states.present
                    && base
                        .symmetric_difference(found)
                        .all(|member| states.free.contains(member))
            }
            (Some(_), None) => false,
        }
    }
}
