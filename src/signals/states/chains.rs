//! The slots of each entity, for keys of which an entity can have many.
//!
//! A chain for each entity, from its newest slot to its oldest one: an index leads to the newest, and each slot has the number
//! of the one before. Slots are removed only from the newest on, by forgetting, which removes all of an entity's.
//!
//! In memory only: a crash leaves nothing of it.

use super::index::Index;
use crate::EntityId;
use crate::signals::allocated_bytes;

/// No slot has this number.
const END: u32 = u32::MAX;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Chains {
    newest: Index<EntityId>,
    /// By slot: the slot before it in its chain. Without a meaning for a slot in no chain.
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

    /// Removes the newest slot of `entity` from its chain. There is one.
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
