//! From a key to its slot, in one cache miss where the standard map takes two.
//!
//! Open addressing with linear probing, keys and slots side by side (Knuth, The Art of Computer Programming, volume 3,
//! section 6.4: algorithm L to insert, algorithm R to remove, which leaves no marks behind). At most three quarters of
//! the places are taken, so a search is short; it wraps around the end.
//!
//! Invariant: from the home of a key, the place its hash says, up to the place where it is, no place is vacant.
//!
//! In memory only: a crash leaves nothing of it.

use std::hash::BuildHasher;

use super::key::{KeyHash, StateKey};
use crate::limits::INDEX_PLACES_MIN;

/// No slot has this number: that is seen to where slots are made.
pub(super) const VACANT: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
pub(super) struct IndexPlace<K> {
    pub(super) key: K,
    pub(super) slot: u32,
}

impl<K: StateKey> IndexPlace<K> {
    fn vacant() -> Self {
        Self {
            key: K::default(),
            slot: VACANT,
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Index<K> {
    /// A power of two of them, or none.
    pub(super) places: Box<[IndexPlace<K>]>,
    pub(super) len: usize,
}

impl<K: StateKey> Index<K> {
    pub(super) fn new() -> Self {
        Self {
            places: Box::default(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot of `key`.
    #[inline]
    pub(super) fn get(&self, key: K) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let place = &self.places[self.find(key)];
        (place.slot != VACANT).then_some(place.slot)
    }

    /// Reads the home of `key`. There are places.
    #[inline]
    pub(super) fn touch(&self, key: K) -> u32 {
        self.places[self.home(key)].slot
    }

    /// Gives `slot` to `key`. False, and nothing is changed, if it has one.
    pub(super) fn insert(&mut self, key: K, slot: u32) -> bool {
        debug_assert_ne!(slot, VACANT);
        self.reserve(1);
        let place = self.find(key);
        let place = &mut self.places[place];
        if place.slot != VACANT {
            return false;
        }
        *place = IndexPlace { key, slot };
        self.len += 1;
        true
    }

    /// Gives `slot` to `key`. Returns the slot that the key had before.
    pub(super) fn set(&mut self, key: K, slot: u32) -> Option<u32> {
        debug_assert_ne!(slot, VACANT);
        self.reserve(1);
        let place = self.find(key);
        let before = std::mem::replace(&mut self.places[place], IndexPlace { key, slot }).slot;
        self.len += usize::from(before == VACANT);
        (before != VACANT).then_some(before)
    }

    /// Takes its slot from `key`, if it has one.
    pub(super) fn remove(&mut self, key: K) {
        if self.len == 0 {
            return;
        }
        let mut gap = self.find(key);
        if self.places[gap].slot == VACANT {
            return;
        }
        let mut next = gap;
        loop {
            next = self.after(next);
            let place = self.places[next];
            if place.slot == VACANT {
                break;
            }
            // A key whose home lies behind the gap is still found; any other one moves into the gap.
            if self.distance(self.home(place.key), next) >= self.distance(gap, next) {
                self.places[gap] = place;
                gap = next;
            }
        }
        self.places[gap] = IndexPlace::vacant();
        self.len -= 1;
    }

    /// Makes room for `additional_len` more keys.
    pub(super) fn reserve(&mut self, additional_len: usize) {
        // Three quarters full at the most.
        let places_len = ((self.len + additional_len) * 4).div_ceil(3).next_power_of_two();
        if places_len > self.places.len() {
            self.grow(places_len.max(INDEX_PLACES_MIN));
        }
    }

    #[cold]
    fn grow(&mut self, places_len: usize) {
        let places = vec![IndexPlace::vacant(); places_len].into_boxed_slice();
        for place in std::mem::replace(&mut self.places, places) {
            if place.slot != VACANT {
                let found = self.find(place.key);
                self.places[found] = place;
            }
        }
    }

    /// The place of `key`, or the vacant one where it would be put. There are places, and one of them is vacant.
    #[inline]
    pub(super) fn find(&self, key: K) -> usize {
        let mut place = self.home(key);
        while self.places[place].slot != VACANT && self.places[place].key != key {
            place = self.after(place);
        }
        place
    }

    #[inline]
    fn home(&self, key: K) -> usize {
        KeyHash.hash_one(key) as usize & (self.places.len() - 1)
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    /// How many steps it is from a place to another one, going on and around.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.places)
    }
}
