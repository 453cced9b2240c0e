//! The slots of each entity, for keys of which an entity can have many.
//!
//! Each entity has a chain of slots, the newest one first. An index maps the entity to its newest slot. Each slot has
//! the number of the slot that was added before it, and the number of slots from itself to the oldest. A forget of the
//! entity removes all its slots, the newest first. No other operation removes a slot.
//!
//! In memory only: a crash leaves nothing of a chain, and an open builds all chains again.

use std::iter;

use super::index::Index;
use crate::EntityId;
use crate::cells::allocated_bytes;

/// No slot has this number.
const END: u32 = u32::MAX;

/// The chains of one signal in one shard: see the [module](self).
#[derive(Debug)]
pub(super) struct Chains {
    newest: Index<EntityId>,
    /// By slot. The link of a slot without a chain is not used.
    links: Vec<Link>,
}

/// The place of a slot in its chain.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// The slot that was added to the chain before this one, or [`END`].
    before: u32,
    /// The number of slots from this one to the oldest.
    len: u32,
}

impl Chains {
    pub(super) fn new() -> Self {
        Self {
            newest: Index::new(),
            links: Vec::new(),
        }
    }

    /// The newest slot of `entity`.
    pub(super) fn newest(&self, entity: EntityId) -> Option<u32> {
        self.newest.get(entity)
    }

    /// The slots of `entity`, from its newest to its oldest.
    pub(super) fn slots(&self, entity: EntityId) -> impl Iterator<Item = u32> {
        let before = |&slot: &u32| Some(self.links[slot as usize].before).filter(|&before| before != END);
        iter::successors(self.newest(entity), before)
    }

    /// The number of slots of `entity`.
    pub(super) fn len(&self, entity: EntityId) -> usize {
        let newest = self.newest(entity);
        newest.map_or(0, |slot| self.links[slot as usize].len as usize)
    }

    /// Makes `slot`, which is in no chain, the newest of `entity`.
    pub(super) fn push(&mut self, entity: EntityId, slot: u32) {
        let place = slot as usize;
        if place >= self.links.len() {
            self.links.resize(place + 1, Link { before: END, len: 0 });
        }
        let len = self.len(entity) as u32 + 1;
        let before = self.newest.set(entity, slot).unwrap_or(END);
        self.links[place] = Link { before, len };
    }

    /// Removes `slot`, which is the newest one of `entity`, from its chain.
    pub(super) fn pop(&mut self, entity: EntityId, slot: u32) {
        debug_assert_eq!(self.newest(entity), Some(slot));
        match self.links[slot as usize].before {
            END => self.newest.remove(entity),
            before => drop(self.newest.set(entity, before)),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.newest.heap_bytes() + allocated_bytes(&self.links)
    }
}
