//! The states of one signal in one shard: its keys, their slots in both tiers, and the pages that changed.
//!
//! [`PAGE_SLOTS`] slots are a page. A page is the unit of dirty tracking, of a fence and of a checkpoint. A new key
//! always gets the lowest free slot, so a restored shard continues exactly like the shard that was saved. A slot of the
//! last page has no memory before its first use, because many signals have only one or two keys in a shard.
//!
//! Invariant: a key in the index, the bit of its slot in `occupied` and the key at the slot in `keys` agree. A free
//! slot holds the default key and no events. A page whose content differs from its content at the last fence is dirty.
//! While a fence is open, a page in `pending` still has its content at the beginning of the fence.
//!
//! In memory only: a crash leaves nothing of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::chains::Chains;
use super::copies::{PageCopies, PageSlices};
use super::index::Index;
use super::key::StateKey;
use super::shape::Shape;
use super::stored::{self, StoredBytes};
use crate::cells::{PAGE_SLOTS, allocated_bytes, reserve_slots};
use crate::signals::hot::HotTier;
use crate::signals::warm::WarmTier;
use crate::{EntityId, Error, SignalId};

/// The states of one signal in one shard.
#[derive(Debug)]
pub(super) struct SignalStates<K> {
    index: Index<K>,
    /// Empty if an entity can have one key only: see [`StateKey::only_key_of`].
    chains: Chains,
    /// The keys of all slots up to the last one that was ever used. The other slots of its page have no memory yet.
    keys: Vec<K>,
    /// One bit per slot, a word per page.
    occupied: Vec<u32>,
    /// The slots with memory that are not occupied.
    free: BinaryHeap<Reverse<u32>>,
    pub(super) hot: HotTier,
    pub(super) warm: WarmTier,
    /// One bit per page. `dirty` and `pending` have the same length.
    dirty: Vec<u64>,
    pending: Vec<u64>,
    /// By page: the most bytes that its last copy takes when stored. 0 for a page without a copy.
    page_bytes: Vec<u32>,
    stored_slot_bytes_max: u64,
    /// The counts of the whole table.
    bytes: Arc<StoredBytes>,
}

const _: () = assert!(PAGE_SLOTS == u32::BITS as usize);

impl<K: StateKey> SignalStates<K> {
    pub(super) fn new(shape: &Shape, bytes: &Arc<StoredBytes>) -> Self {
        Self {
            stored_slot_bytes_max: shape.stored_slot_bytes_max,
            bytes: Arc::clone(bytes),
            index: Index::new(),
            chains: Chains::new(),
            keys: Vec::new(),
            occupied: Vec::new(),
            free: BinaryHeap::new(),
            hot: HotTier::new(Arc::clone(&shape.half_lives)),
            warm: WarmTier::new(Arc::clone(&shape.rings)),
            dirty: Vec::new(),
            pending: Vec::new(),
            page_bytes: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn slot(&self, key: K) -> Option<usize> {
        self.index.get(key).map(|slot| slot as usize)
    }

    /// One of the slots of `entity`.
    pub(super) fn slot_of(&self, entity: EntityId) -> Option<usize> {
        match K::only_key_of(entity) {
            Some(key) => self.slot(key),
            None => self.chains.newest(entity).map(|slot| slot as usize),
        }
    }

    pub(super) fn states_len(&self, entity: EntityId) -> usize {
        match K::only_key_of(entity) {
            Some(key) => self.slot(key).into_iter().len(),
            None => self.chains.len(entity),
        }
    }

    /// Reads the place in the index of each of the `len` newest slots of `entity`, so that the processor loads all of
    /// them at the same time.
    pub(super) fn prefetch_newest(&self, entity: EntityId, len: usize) -> u32 {
        let slots = self.chains.slots(entity).take(len);
        slots.fold(0, |prefetched, slot| {
            prefetched ^ self.index.prefetch(self.keys[slot as usize])
        })
    }

    /// Gives `slot` to `key`. Returns false and changes nothing if the key has a slot already.
    fn insert(&mut self, key: K, slot: usize) -> bool {
        let is_new = self.index.insert(key, slot as u32);
        if is_new && K::only_key_of(key.entity()).is_none() {
            self.chains.push(key.entity(), slot as u32);
        }
        is_new
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The occupied slots and their keys, in the order of the slots.
    pub(super) fn occupied_keys(&self) -> impl Iterator<Item = (usize, K)> {
        let numbered = self.keys.iter().copied().enumerate();
        numbered.filter(|&(slot, _)| self.is_occupied(slot))
    }

    #[inline]
    fn is_occupied(&self, slot: usize) -> bool {
        self.occupied[slot / PAGE_SLOTS] & occupied_bit(slot) != 0
    }

    /// The lowest free slot. If no slot is free, it is on a new page.
    #[cold]
    pub(super) fn lowest_free(&mut self) -> Result<usize, Error> {
        if let Some(&Reverse(slot)) = self.free.peek() {
            return Ok(slot as usize);
        }
        let slot = self.keys.len();
        if slot == self.occupied.len() * PAGE_SLOTS {
            let slots_len = slot + PAGE_SLOTS;
            if u32::try_from(slots_len).is_err() {
                return Err(Error::LimitExceeded {
                    what: "states of one signal in one shard",
                    limit: u32::MAX.into(),
                    found: slots_len as u64,
                });
            }
            self.push_page_bits(0);
        }
        self.push_slot();
        Ok(slot)
    }

    /// Gives the lowest free slot to `key`.
    #[cold]
    pub(super) fn occupy(&mut self, slot: usize, key: K) {
        let popped = self.free.pop();
        debug_assert!(
            popped.map_or(slot + 1 == self.keys.len(), |Reverse(lowest)| lowest as usize
                == slot)
        );
        let inserted = self.insert(key, slot);
        debug_assert!(inserted, "a key that has no slot");
        self.keys[slot] = key;
        self.occupied[slot / PAGE_SLOTS] |= occupied_bit(slot);
        self.bytes.add_changed(self.stored_slot_bytes_max);
    }

    /// Frees a slot that [`slot_of`](Self::slot_of) returned.
    pub(super) fn free(&mut self, slot: usize) {
        let key = self.keys[slot];
        self.index.remove(key);
        if K::only_key_of(key.entity()).is_none() {
            self.chains.pop(key.entity(), slot as u32);
        }
        self.keys[slot] = K::default();
        self.occupied[slot / PAGE_SLOTS] &= !occupied_bit(slot);
        self.hot.clear(slot);
        self.warm.clear(slot);
        self.free.push(Reverse(slot as u32));
    }

    /// Adds memory for the next slot. Does not add the slot to the free slots.
    fn push_slot(&mut self) {
        reserve_slots(&mut self.keys, 1);
        self.keys.push(K::default());
        self.hot.grow(1);
        self.warm.grow(1);
    }

    /// Adds memory for all slots before `slot`, and adds these slots to the free slots.
    fn push_free_before(&mut self, slot: usize) {
        while self.keys.len() < slot {
            self.free.push(Reverse(self.keys.len() as u32));
            self.push_slot();
        }
    }

    /// Begins to restore the next page of a checkpoint. Its occupied slots follow in ascending order.
    pub(super) fn begin_page(&mut self, page: u32, occupied: u32) -> Result<(), &'static str> {
        let page = page as usize;
        if page != self.occupied.len() {
            return Err("the pages of a shard are not numbered from zero without a gap");
        }
        let first_slot = page * PAGE_SLOTS;
        if u32::try_from(first_slot + PAGE_SLOTS).is_err() {
            return Err("a slot number over 32 bits");
        }
        // All pages except the last have memory for every slot.
        self.push_free_before(first_slot);
        self.push_page_bits(occupied);
        let slots_len = (u32::BITS - occupied.leading_zeros()) as usize;
        reserve_slots(&mut self.keys, slots_len);
        self.hot.reserve(slots_len);
        self.warm.reserve(slots_len);
        self.index.reserve(occupied.count_ones() as usize);
        Ok(())
    }

    /// Gives slot number `slot` of the page that was begun last to `key`. Returns the cells of the slot, which have no
    /// events.
    pub(super) fn restore_slot(
        &mut self,
        slot: usize,
        key: K,
    ) -> Result<(&mut [u64], &mut [u32]), &'static str> {
        let slot = (self.occupied.len() - 1) * PAGE_SLOTS + slot;
        self.push_free_before(slot);
        self.push_slot();
        self.keys[slot] = key;
        if !self.insert(key, slot) {
            return Err("a key has two slots");
        }
        Ok((self.hot.row_mut(slot), self.warm.row_mut(slot)))
    }

    /// Ends the page that was begun last. `filled_len` of its buckets are not empty.
    pub(super) fn end_page(&mut self, filled_len: u64) {
        self.resize_page(self.page_bytes.len() - 1, filled_len);
    }

    /// Updates the most bytes that a page takes when stored. `filled_len` of its buckets are not empty.
    fn resize_page(&mut self, page: usize, filled_len: u64) {
        let slots_len = u64::from(self.occupied[page].count_ones());
        let bytes = stored::PAGE_BYTES_MAX
            + slots_len * self.stored_slot_bytes_max
            + filled_len * stored::BUCKET_BYTES_MAX;
        let before = std::mem::replace(&mut self.page_bytes[page], bytes as u32);
        self.bytes.resize_page(before, bytes as u32);
    }

    /// Makes the dirty pages those that the fence captures. From now on the pages that change are dirty.
    pub(super) fn open_fence(&mut self) {
        std::mem::swap(&mut self.dirty, &mut self.pending);
    }

    fn push_page_bits(&mut self, occupied: u32) {
        self.occupied.push(occupied);
        self.page_bytes.push(0);
        let words_len = self.occupied.len().div_ceil(u64::BITS as usize);
        self.dirty.resize(words_len, 0);
        self.pending.resize(words_len, 0);
    }

    /// The caller calls this before it changes a slot of `page`. Copies the page to `copies` if a fence has captured it
    /// and it is not copied yet.
    #[inline]
    pub(super) fn will_change(&mut self, page: usize, signal: SignalId, copies: &mut PageCopies<K>) {
        let (word, bit) = (page / u64::BITS as usize, 1_u64 << (page % u64::BITS as usize));
        if self.pending[word] & bit != 0 {
            self.pending[word] &= !bit;
            self.copy_page(page, signal, copies);
        }
        // Written only if it is not set, so that the cache line stays in the caches of all cores.
        if self.dirty[word] & bit == 0 {
            self.dirty[word] |= bit;
            // A new page has no copy yet, so its bytes are 0.
            let bytes = u64::from(self.page_bytes[page]).max(stored::PAGE_BYTES_MAX);
            self.bytes.add_changed(bytes);
        }
    }

    /// Copies at most `pages_max` pending pages, and returns their number.
    pub(super) fn take_pending(
        &mut self,
        signal: SignalId,
        out: &mut PageCopies<K>,
        pages_max: usize,
    ) -> usize {
        let mut taken_len = 0;
        for word in 0..self.pending.len() {
            while self.pending[word] != 0 && taken_len < pages_max {
                let bit = self.pending[word].trailing_zeros();
                self.pending[word] &= self.pending[word] - 1;
                self.copy_page(word * u64::BITS as usize + bit as usize, signal, out);
                taken_len += 1;
            }
        }
        taken_len
    }

    #[cold]
    fn copy_page(&mut self, page: usize, signal: SignalId, out: &mut PageCopies<K>) {
        let first_slot = page * PAGE_SLOTS;
        let slots_len = PAGE_SLOTS.min(self.keys.len() - first_slot);
        // A free slot has no buckets that are not empty.
        let filled_len = (first_slot..first_slot + slots_len).map(|slot| self.warm.filled_len(slot));
        self.resize_page(page, filled_len.sum::<usize>() as u64);
        let slices = PageSlices {
            occupied: self.occupied[page],
            keys: &self.keys[first_slot..][..slots_len],
            hot: self.hot.page(page),
            warm: self.warm.page(page),
        };
        out.push(signal, page as u32, &slices);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.index.heap_bytes()
            + self.chains.heap_bytes()
            + allocated_bytes(&self.keys)
            + allocated_bytes(&self.occupied)
            + self.free.capacity() * size_of::<u32>()
            + self.hot.heap_bytes()
            + self.warm.heap_bytes()
            + allocated_bytes(&self.dirty)
            + allocated_bytes(&self.pending)
            + allocated_bytes(&self.page_bytes)
    }
}

#[inline]
fn occupied_bit(slot: usize) -> u32 {
    1 << (slot % PAGE_SLOTS)
}
