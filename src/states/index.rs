//! A map from a key to its slot. A lookup takes one cache miss; the standard map takes two.
//!
//! Open addressing with linear probing, each key next to its slot (Knuth, The Art of Computer Programming, volume 3,
//! section 6.4: algorithm L to insert, algorithm R to remove, which leaves no marks). At most three quarters of the
//! places are occupied, so a search is short. A search wraps around at the end.
//!
//! Invariant: the hash of a key gives its first place. From there to the actual place of the key no place is vacant.
//!
//! In memory only: a crash leaves nothing of it.

use std::hash::BuildHasher;

use super::key::{KeyHash, StateKey};
use crate::limits::INDEX_PLACES_MIN;

/// No slot has this number. The code that creates slots ensures this.
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

/// The map: see the [module](self).
#[derive(Debug)]
pub(super) struct Index<K> {
    /// Their number is a power of two, or zero.
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

    /// Reads the first place of `key`. The index must have places.
    #[inline]
    pub(super) fn prefetch(&self, key: K) -> u32 {
        self.places[self.first_place(key)].slot
    }

    /// Gives `slot` to `key`. Returns false and changes nothing if the key has a slot.
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

    /// Removes `key`, if it has a slot.
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
            // A key whose first place is after the gap is still found. Any other key moves into the gap.
            if self.distance(self.first_place(place.key), next) >= self.distance(gap, next) {
                self.places[gap] = place;
                gap = next;
            }
        }
        self.places[gap] = IndexPlace::vacant();
        self.len -= 1;
    }

    /// Reserves places for `additional_len` more keys.
    pub(super) fn reserve(&mut self, additional_len: usize) {
        // At most three quarters are occupied.
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

    /// The place of `key`, or the vacant place for it. The index must have a vacant place.
    #[inline]
    pub(super) fn find(&self, key: K) -> usize {
        let mut place = self.first_place(key);
        while self.places[place].slot != VACANT && self.places[place].key != key {
            place = self.after(place);
        }
        place
    }

    /// The place that the hash of `key` gives.
    #[inline]
    fn first_place(&self, key: K) -> usize {
        KeyHash.hash_one(key) as usize & (self.places.len() - 1)
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    /// The number of steps from one place to another, around the end if necessary.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.places)
    }
}
