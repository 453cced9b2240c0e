//! The slots of each entity, for keys of which an entity can have many.
//!
//! Each entity has a chain of slots, the newest one first. An index gives the newest slot, and each slot has the number of the
//! slot that was added before it. Forgetting the entity removes all its slots, the newest first. Nothing else removes a slot.
//!
//! In memory only: a crash leaves nothing of a chain, and an open builds all chains anew.

use super::index::Index;
use crate::EntityId;
use crate::signals::allocated_bytes;

/// No slot has this number.
const END: u32 = u32::MAX;

/// The chains of one signal in one shard: see the [module](self).
#[derive(Debug)]
pub(super) struct Chains {
    newest: Index<EntityId>,
    /// By slot: the slot that was added to its chain before it, or [`END`]. Has no meaning for a slot that is in no chain.
    before: Vec<u32>,
}

impl Chains {
    pub(super) fn new() -> Self {
        Self {
            newest: Index::new(),
            before: Vec::new(),
        }
    }

    /// The newest slot of `entity`.
    pub(super) fn newest(&self, entity: EntityId) -> Option<u32> {
        self.newest.get(entity)
    }

    /// Makes `slot`, which is in no chain, the newest of `entity`.
    pub(super) fn push(&mut self, entity: EntityId, slot: u32) {
        let place = slot as usize;
        if place >= self.before.len() {
            self.before.resize(place + 1, END);
        }
        self.before[place] = self.newest.set(entity, slot).unwrap_or(END);
    }

    /// Removes `slot`, which is the newest one of `entity`, from its chain.
    pub(super) fn pop(&mut self, entity: EntityId, slot: u32) {
        debug_assert_eq!(self.newest(entity), Some(slot));
        match self.before[slot as usize] {
            END => self.newest.remove(entity),
            before => drop(self.newest.set(entity, before)),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.newest.heap_bytes() + allocated_bytes(&self.before)
    }
}
