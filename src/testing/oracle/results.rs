//! Checks the results of calls against each other: the results of changes of collections, and the values of reads.
//!
//! The results must be those of an order of the calls in which a call that ended before another one began comes first. A
//! state of several collections is checked for each collection alone, because histories that have an order for each object
//! have an order of all calls (Herlihy and Wing, TOPLAS 1990).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::found_read::{FoundRead, OracleRead, ReadBegin};
use super::linearization::{
    ChangeResult, CollectionAction, CollectionCall, Linearizations, UnexplainedCall, linearize,
};
use super::{CallProgress, OpId, Oracle, OracleCall};
use crate::testing::workload::Operation;
use crate::{Error, Receipt};

impl Oracle {
    /// Records the result of a call like [`ended`](Self::ended), and that of a change of a collection in detail.
    pub(in crate::testing) fn ended_with(
        &mut self,
        id: OpId,
        result: &Result<Option<Receipt>, Error>,
        change: Option<ChangeResult>,
    ) {
        self.ended(id, result);
        if let Some(index) = self.index_of(id) {
            self.calls[index].change = change.map(|change| (change, self.ended_len));
        }
    }

    /// Records that a read begins. Call this before the read.
    pub(in crate::testing) fn begin_read(&self) -> ReadBegin {
        ReadBegin(self.ended_len)
    }

    /// Records the values that a read returned.
    pub(in crate::testing) fn read_ended(&mut self, begin: ReadBegin, found: &Arc<FoundRead>) {
        self.ended_len += 1;
        self.reads.push(OracleRead {
            found: Arc::clone(found),
            ended_len_at_begin: begin.0,
            ended_len_at_end: self.ended_len,
        });
    }

    /// A result since the last reopening that no order of the calls explains, as text. `None` if every result is legal.
    pub(in crate::testing) fn wrong_result(&self) -> Option<String> {
        let mut names = self.collection_names().into_iter();
        names
            .find_map(|name| self.wrong_result_of(name))
            .or_else(|| self.reads.iter().find_map(|read| self.wrong_read(read)))
    }

    /// The names of all collections that exist, or that a call names.
    fn collection_names(&self) -> BTreeSet<&[u8]> {
        let base = self.base.collections().keys();
        let calls = self.calls.iter().skip(self.recovered_len);
        let changed = calls.filter_map(|call| collection_of(&call.operation));
        let read = self.reads.iter().flat_map(|read| {
            let members = read.found.members.iter().map(|(name, _)| name);
            read.found.names.iter().chain(members)
        });
        let named = base.chain(read).map(Vec::as_slice);
        named.chain(changed).collect()
    }

    fn wrong_result_of(&self, name: &[u8]) -> Option<String> {
        let mut texts = Vec::new();
        let mut calls = Vec::new();
        let changes = self.calls.iter().skip(self.recovered_len);
        for call in changes.filter(|call| collection_of(&call.operation) == Some(name)) {
            if let Some(change) = change_of(call) {
                calls.push(change);
                texts.push(CallText::Change(
                    &call.operation,
                    call.change.map(|(result, _)| result),
                ));
            }
        }
        for read in &self.reads {
            let mut add = |action| {
                calls.push(CollectionCall {
                    action,
                    ended_len_at_begin: read.ended_len_at_begin,
                    ended_len_at_end: read.ended_len_at_end,
                });
                texts.push(CallText::Read(read));
            };
            let is_named = read.found.names.iter().any(|other| other == name);
            add(CollectionAction::Names(is_named));
            let of_name = read.found.members.iter().filter(|(other, _)| other == name);
            of_name.for_each(|(_, members)| add(CollectionAction::Members(members.as_deref())));
        }
        match linearize(name, self.base.collections(), &calls) {
            Linearizations::Unexplained(call) => {
                Some(texts[call.at].unexplained(name, &calls[call.at].action, &call))
            }
            Linearizations::Found(_) | Linearizations::TooMany => None,
        }
    }
}

/// A change as a search of its collection needs it. `None` for a change that was refused for a reason outside the
/// collection.
fn change_of(call: &OracleCall) -> Option<CollectionCall<'_>> {
    let operation = &*call.operation;
    let result = call.change.map(|(result, _)| result);
    let (action, ended_len_at_end) = match (call.progress, call.change) {
        (CallProgress::Acknowledged(end), _) | (CallProgress::Refused, Some((_, end))) => {
            (CollectionAction::Change { operation, result }, end)
        }
        (CallProgress::Refused, None) => return None,
        (CallProgress::Failed(end), _) => (CollectionAction::PossibleChange(operation), end),
        (CallProgress::InFlight, _) => (CollectionAction::PossibleChange(operation), u64::MAX),
    };
    Some(CollectionCall {
        action,
        ended_len_at_begin: call.begun_after_end,
        ended_len_at_end,
    })
}

/// The collection that the operation changes.
pub(super) fn collection_of(operation: &Operation) -> Option<&[u8]> {
    match operation {
        Operation::CreateCollection(name)
        | Operation::DeleteCollection(name)
        | Operation::AddToCollection(name, _)
        | Operation::RemoveFromCollection(name, _) => Some(name),
        _ => None,
    }
}

/// A call and its result, for messages.
enum CallText<'a> {
    Change(&'a Operation, Option<ChangeResult>),
    Read(&'a OracleRead),
}

impl CallText<'_> {
    fn unexplained(&self, name: &[u8], action: &CollectionAction<'_>, call: &UnexplainedCall) -> String {
        let name = name.escape_ascii();
        let result = match (self, action) {
            (Self::Change(operation, result), _) => {
                let result = match (operation, result) {
                    (Operation::AddToCollection(..) | Operation::RemoveFromCollection(..), Some(result)) => {
                        match result {
                            ChangeResult::Changed => "Ok(true)",
                            ChangeResult::Unchanged => "Ok(false)",
                            ChangeResult::Exists => "CollectionExists",
                            ChangeResult::Unknown => "UnknownCollection",
                        }
                    }
                    (_, Some(ChangeResult::Exists)) => "CollectionExists",
                    (_, Some(ChangeResult::Unknown)) => "UnknownCollection",
                    _ => "Ok",
                };
                format!("{operation} returned {result}")
            }
            (Self::Read(read), CollectionAction::Members(Some(members))) => {
                let members: Vec<u64> = members.iter().map(|member| member.0).collect();
                format!(
                    "read:{} returned the members {members:?} of \"{name}\"",
                    read.found.entity
                )
            }
            (Self::Read(read), CollectionAction::Names(true)) => {
                format!("read:{} returned names with \"{name}\"", read.found.entity)
            }
            (Self::Read(read), CollectionAction::Names(false)) => {
                format!("read:{} returned names without \"{name}\"", read.found.entity)
            }
            (Self::Read(read), _) => {
                format!(
                    "read:{} returned UnknownCollection for \"{name}\"",
                    read.found.entity
                )
            }
        };
        format!(
            "{result}, but no order of the calls gives this result and the earlier ones: when the call can take effect, \
             the collection \"{name}\" {call}"
        )
    }
}
