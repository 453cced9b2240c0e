//! The orders of the calls on one collection that explain every result: the linearizations of the calls (Herlihy and Wing,
//! TOPLAS 1990).
//!
//! A call takes effect at one moment between its beginning and its end. The search goes through the beginnings and ends in
//! time. It holds each possible state of the collection together with the running calls that took effect already, and a
//! call takes effect only if another call that ends needs it (Lowe, "Testing for linearizability", 2017). So its time grows
//! with the number of calls that overlap, and not with the length of the history.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use crate::EntityId;
use crate::testing::model::{CollectionMembers, apply_collection_change};
use crate::testing::workload::Operation;

/// The largest number of possible states at one time. Beyond it the search has no result.
const STATES_LEN_MAX: usize = 4096;
/// The largest number of states that a message names.
const NAMED_STATES_LEN: usize = 4;

/// The result of a call that changes a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::testing) enum ChangeResult {
    /// Success: the call changed the collection.
    Changed,
    /// Success without a change: the added entity was a member, or the removed one was none.
    Unchanged,
    /// A refusal: the collection exists.
    Exists,
    /// A refusal: the collection does not exist.
    Unknown,
}

/// A call as it concerns one collection.
#[derive(Debug, Clone, Copy)]
pub(super) struct CollectionCall<'a> {
    pub(super) action: CollectionAction<'a>,
    /// The number of calls that had ended when this one began.
    pub(super) ended_len_at_begin: u64,
    /// The number of calls that had ended when this one ended, this one included. `u64::MAX` for a call in flight.
    pub(super) ended_len_at_end: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum CollectionAction<'a> {
    /// A change that took effect or was refused. Without a known result it may take effect in every state.
    Change {
        operation: &'a Operation,
        result: Option<ChangeResult>,
    },
    /// A change that may have taken effect.
    PossibleChange(&'a Operation),
    /// A read of the names of all collections. True if the name of this collection was among them.
    Names(bool),
    /// A read of the members. `None` if the read was refused, because the collection does not exist.
    Members(Option<&'a [EntityId]>),
}

/// A call whose result does not fit any order.
#[derive(Debug)]
pub(super) struct UnexplainedCall {
    /// The index of the call in the history.
    pub(super) at: usize,
    /// The members of the collection in the states in which the call could take effect; `None` if it does not exist.
    states: Vec<Option<Vec<u64>>>,
}

/// The outcome of a search.
#[derive(Debug)]
pub(super) enum Linearizations {
    /// The possible states after all calls, each with an order of the calls that leads to it.
    Found(Vec<(CollectionMembers, Vec<usize>)>),
    Unexplained(UnexplainedCall),
    /// More states than the limit are possible.
    TooMany,
}

/// A possible state at some time: the collection, and the running calls that took effect, ascending.
type PossibleState = (CollectionMembers, Vec<usize>);

/// Searches the orders of `calls` on the collection `name`, which are its only calls since it had the content `base`.
pub(super) fn linearize(
    name: &[u8],
    base: &CollectionMembers,
    calls: &[CollectionCall<'_>],
) -> Linearizations {
    let content = base
        .get_key_value(name)
        .map(|(name, members)| (name.clone(), members.clone()));
    let mut search = LinearizationSearch {
        calls,
        running: Vec::new(),
    };
    let base: CollectionMembers = content.into_iter().collect();
    let mut states = BTreeMap::from([((base, Vec::new()), Vec::new())]);
    for (at, is_end) in in_time(calls) {
        if !is_end {
            search.running.push(at);
            continue;
        }
        let Some(all) = search.reachable(&states, |taken| taken.contains(&at)) else {
            return Linearizations::TooMany;
        };
        let may_lack = matches!(calls[at].action, CollectionAction::PossibleChange(_));
        let without: Vec<_> = if may_lack {
            states.into_iter().collect()
        } else {
            Vec::new()
        };
        let is_taken = |((_, taken), _): &(PossibleState, Vec<usize>)| taken.contains(&at);
        let (with, before): (Vec<_>, Vec<_>) = all.into_iter().partition(is_taken);
        search.running.retain(|&other| other != at);
        states = BTreeMap::new();
        for ((state, mut taken), order) in without.into_iter().chain(with) {
            taken.retain(|&other| other != at);
            states.entry((state, taken)).or_insert(order);
        }
        if states.is_empty() {
            let mut members: Vec<_> = before
                .iter()
                .map(|((state, _), _)| state.get(name).map(|members| members.iter().copied().collect()))
                .collect();
            members.sort_unstable();
            members.dedup();
            let states = members;
            return Linearizations::Unexplained(UnexplainedCall { at, states });
        }
    }
    let Some(all) = search.reachable(&states, |_| false) else {
        return Linearizations::TooMany;
    };
    Linearizations::Found(
        all.into_iter()
            .map(|((state, _), order)| (state, order))
            .collect(),
    )
}

/// The beginning and the end of each call in the order of time, each with the index of the call. The end of a call in
/// flight is left out.
fn in_time(calls: &[CollectionCall<'_>]) -> impl Iterator<Item = (usize, bool)> {
    let times = calls.iter().enumerate().flat_map(|(at, call)| {
        let end = (call.ended_len_at_end, false, at);
        [(call.ended_len_at_begin, true, at), end]
    });
    let mut times: Vec<_> = times.filter(|(time, ..)| *time < u64::MAX).collect();
    // Calls that began after the same number of ends began after the last of them.
    times.sort_unstable();
    times.into_iter().map(|(_, is_begin, at)| (at, !is_begin))
}

struct LinearizationSearch<'a> {
    calls: &'a [CollectionCall<'a>],
    /// The calls that have begun and not ended.
    running: Vec<usize>,
}

impl LinearizationSearch<'_> {
    /// The states that are possible from `states` after some running calls took effect, each with an order of all calls up
    /// to it. The search does not continue from a state for which `is_last` is true. `None` if there are too many.
    fn reachable(
        &self,
        states: &BTreeMap<PossibleState, Vec<usize>>,
        is_last: impl Fn(&[usize]) -> bool,
    ) -> Option<BTreeMap<PossibleState, Vec<usize>>> {
        let mut all = states.clone();
        let mut new: Vec<PossibleState> = states.keys().cloned().collect();
        while let Some(from) = new.pop() {
            let (state, taken) = &from;
            if is_last(taken) {
                continue;
            }
            for &at in self.running.iter().filter(|at| !taken.contains(at)) {
                let Some(state) = self.calls[at].action.state_after(state) else {
                    continue;
                };
                let mut taken = taken.clone();
                taken.insert(taken.partition_point(|&other| other < at), at);
                let order = [&all[&from][..], &[at]].concat();
                if let Entry::Vacant(entry) = all.entry((state, taken)) {
                    new.push(entry.key().clone());
                    entry.insert(order);
                }
            }
            if all.len() > STATES_LEN_MAX {
                return None;
            }
        }
        Some(all)
    }
}

impl CollectionAction<'_> {
    /// The collection after the call. `None` if the result of the call is not possible in this state. The state has at most
    /// this collection.
    fn state_after(&self, state: &CollectionMembers) -> Option<CollectionMembers> {
        let members = state.values().next();
        let (operation, result) = match *self {
            Self::Names(is_named) => return (members.is_some() == is_named).then(|| state.clone()),
            Self::Members(found) => {
                let is_same = match (members, found) {
                    (Some(members), Some(found)) => members.iter().eq(found.iter().map(|member| &member.0)),
                    (members, found) => members.is_none() && found.is_none(),
                };
                return is_same.then(|| state.clone());
            }
            Self::Change { operation, result } => (operation, result),
            Self::PossibleChange(operation) => (operation, None),
        };
        let expected = match (operation, members) {
            (Operation::CreateCollection(_), None) => ChangeResult::Changed,
            (Operation::CreateCollection(_), Some(_)) => ChangeResult::Exists,
            (_, None) => ChangeResult::Unknown,
            (Operation::AddToCollection(_, entity), Some(members)) if members.contains(&entity.0) => {
                ChangeResult::Unchanged
            }
            (Operation::RemoveFromCollection(_, entity), Some(members)) if !members.contains(&entity.0) => {
                ChangeResult::Unchanged
            }
            (_, Some(_)) => ChangeResult::Changed,
        };
        if result.is_some_and(|result| result != expected) {
            return None;
        }
        let mut after = state.clone();
        apply_collection_change(&mut after, operation);
        Some(after)
    }
}

impl fmt::Display for UnexplainedCall {
    /// The states as the end of a sentence about the collection.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, members) in self.states.iter().take(NAMED_STATES_LEN).enumerate() {
            if index > 0 {
                f.write_str(" or ")?;
            }
            match members.as_deref() {
                None => f.write_str("does not exist")?,
                Some([]) => f.write_str("is empty")?,
                Some(members) => write!(f, "has the members {members:?}")?,
            }
        }
        let further = self.states.len().saturating_sub(NAMED_STATES_LEN);
        if further > 0 {
            write!(f, " or has one of {further} further contents")?;
        }
        Ok(())
    }
}
