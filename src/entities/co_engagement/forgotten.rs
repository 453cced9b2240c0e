//! The forgotten items whose entries, in edges and rings, are not all removed yet.
//!
//! No index maps an item to the records that hold it. So a forget of an item leaves a tombstone with the number of this
//! forget. Each record has the number of forgets before its last change. An entry is forgotten iff the tombstone of its
//! item has a higher number: the record had the entry at that change, and the item was forgotten later. Reads leave
//! forgotten entries out, and a change of a record removes them first. So the state does not depend on the progress of
//! the removal.
//!
//! The removal visits all records step by step, in the order of their last touch, oldest first. This is a pass. A touch
//! removes the forgotten entries of the record too. So at the end of a pass no entry is left that was forgotten before
//! its beginning. Then the tombstones from before the beginning are removed, also step by step.
//!
//! Invariant: each forgotten entry that is still in a record has a tombstone. A checkpoint stores records and
//! tombstones of the same fence, so the invariant holds on disk too, also after a crash. An open removes the forgotten
//! entries of each record that it reads, and then all tombstones. The next checkpoint stores these removals.

use super::codec::Ordinals;
use super::node::Node;
use super::table::{Entries, Stamped, Table};
use crate::entities::user_ring::UserRing;

/// The tombstones by item, and the progress of the removal. The touch of a tombstone is the number of its forget.
#[derive(Debug)]
pub(super) struct ForgottenItems {
    tombstones: Table<()>,
    pass: Option<Pass>,
}

/// The progress of one pass through all records.
#[derive(Debug)]
struct Pass {
    /// The counters at the beginning of the pass.
    counters: Ordinals,
    /// The last touch and the id of the last records that were visited.
    users_after: Option<(u64, u64)>,
    nodes_after: Option<(u64, u64)>,
}

impl ForgottenItems {
    pub(super) fn new() -> Self {
        Self {
            tombstones: Table::new(),
            pass: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tombstones.len()
    }

    /// Returns true if the entry of `item` is forgotten, in a record whose last change was after `forgets` forgets.
    pub(super) fn is_forgotten(&self, item: u64, forgets: u64) -> bool {
        let tombstone = self.tombstones.get(item);
        tombstone.is_some_and(|tombstone| tombstone.touched > forgets)
    }

    /// A copy of the record without its forgotten entries.
    pub(super) fn cleaned<R: Entries>(&self, stamped: &Stamped<R>) -> R {
        let mut record = stamped.record.clone();
        self.clean(&mut record, stamped.forgets);
        record
    }

    /// Removes the forgotten entries of a record whose last change was after `forgets` forgets.
    pub(super) fn clean<R: Entries>(&self, record: &mut R, forgets: u64) {
        if self.len() > 0 {
            record.retain(|item| !self.is_forgotten(item, forgets));
        }
    }

    /// Removes the forgotten entries of the record `id`. `forgets` is the number of all forgets up to now. A record
    /// without forgotten entries stays unchanged.
    fn clean_in<R: Entries>(&self, table: &mut Table<R>, id: u64, forgets: u64) {
        let Some(stamped) = table.get(id).filter(|stamped| stamped.forgets < forgets) else {
            return;
        };
        let (before, cleaned) = (stamped.record.entries_len(), self.cleaned(stamped));
        let after = cleaned.entries_len();
        if after < before
            && let Some(stamped) = table.change(id)
        {
            (stamped.record, stamped.forgets) = (cleaned, forgets);
            table.note_resize(before, after, after);
        }
    }

    /// Restores the tombstone of a checkpoint. Returns false if the item has one already.
    pub(super) fn restore(&mut self, item: u64, forget: u64) -> bool {
        let stamped = Stamped {
            touched: forget,
            forgets: forget,
            record: (),
        };
        self.tombstones.restore(item, stamped)
    }

    /// Restores a record of a checkpoint that was made after `forgets` forgets, without the record's forgotten entries.
    /// Returns false if a record with that id exists already.
    pub(super) fn restore_in<R: Entries>(
        &self,
        table: &mut Table<R>,
        id: u64,
        stamped: Stamped<R>,
        forgets: u64,
    ) -> bool {
        let is_new = table.restore(id, stamped);
        self.clean_in(table, id, forgets);
        is_new
    }

    pub(super) fn tombstones(&self) -> &Table<()> {
        &self.tombstones
    }

    pub(super) fn tombstones_mut(&mut self) -> &mut Table<()> {
        &mut self.tombstones
    }

    /// Removes the oldest tombstone if the number of its forget is at most `forgets`. Returns false if it removed none.
    pub(super) fn remove_oldest(&mut self, forgets: u64) -> bool {
        let oldest = self.tombstones.oldest_after(None);
        let Some((_, item)) = oldest.filter(|&(forget, _)| forget <= forgets) else {
            return false;
        };
        self.tombstones.remove(item);
        true
    }

    /// Adds the tombstone of `item`, whose forget has the number `forget`.
    pub(super) fn add(&mut self, item: u64, forget: u64) {
        self.tombstones.change_or_create(item, forget, forget, || ());
        self.tombstones.touch(item, forget);
    }

    /// Removes the forgotten entries from the records that a positive event of `user` for `item` changes.
    pub(super) fn clean_for(
        &self,
        users: &mut Table<UserRing>,
        nodes: &mut Table<Node>,
        user: u64,
        item: u64,
        forgets: u64,
    ) {
        self.clean_in(users, user, forgets);
        self.clean_in(nodes, item, forgets);
        let ring = users.get(user).map_or(&[][..], |ring| ring.record.items());
        for &other in ring {
            self.clean_in(nodes, other, forgets);
        }
    }

    /// Takes at most `steps_len` steps of the removal. A step visits a record or removes a tombstone.
    pub(super) fn remove_some(
        &mut self,
        users: &mut Table<UserRing>,
        nodes: &mut Table<Node>,
        counters: Ordinals,
        steps_len: usize,
    ) {
        for _ in 0..steps_len {
            if self.len() == 0 {
                self.pass = None;
                return;
            }
            let mut pass = self.pass.take().unwrap_or(Pass {
                counters,
                users_after: None,
                nodes_after: None,
            });
            let end = pass.counters.ordinal;
            let is_step_done = self.visit(users, &mut pass.users_after, end, counters.forgets)
                || self.visit(nodes, &mut pass.nodes_after, end, counters.forgets)
                || self.remove_oldest(pass.counters.forgets);
            self.pass = is_step_done.then_some(pass);
        }
    }

    /// Removes the forgotten entries of the next record of a pass, if its last touch was before the event `end`.
    /// Returns false if no such record is left.
    fn visit<R: Entries>(
        &self,
        table: &mut Table<R>,
        after: &mut Option<(u64, u64)>,
        end: u64,
        forgets: u64,
    ) -> bool {
        let next = table.oldest_after(*after).filter(|&(touched, _)| touched < end);
        let Some((_, id)) = next else { return false };
        *after = next;
        self.clean_in(table, id, forgets);
        true
    }
}
