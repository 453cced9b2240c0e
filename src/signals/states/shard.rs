//! One shard of a state table: the slots of its keys, signal by signal, and which pages changed.
//!
//! Slots come in pages of [`PAGE_SLOTS`]; a page is the unit of dirty tracking, of a fence and of a checkpoint. The
//! lowest free slot is always the next to be given out, so that a restored shard goes on exactly as the one that was
//! saved would have. A slot of the last page has no memory until it is first used: many signals have a key or two in a
//! shard.
//!
//! Forgetting an entity first hides its states from readers and then frees their slots, some at a time. If the same entity is
//! changed meanwhile, the change frees the rest first.
//!
//! Invariant: a key in the index, its slot's bit in `occupied` and the key at the slot in `keys` say the same. A free
//! slot holds the default key and no events. A page whose content differs from what the last fence captured is dirty.
//! While a fence is open, a page in `pending` still holds what it held when the fence began.
//!
//! In memory only: a crash leaves nothing of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::chains::Chains;
use super::copies::{PageCopies, PageSlices};
use super::index::Index;
use super::key::StateKey;
use super::stored::StoredBytes;
use super::{PAGE_SLOTS, Shape, Slot, page};
use crate::signals::hot::HotTier;
use crate::signals::warm::WarmTier;
use crate::signals::{allocated_bytes, reserve_slots};
use crate::{EntityId, Error, SignalId};

/// How far the shard is with a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    /// There is none: `pending` is empty.
    None,
    /// Begun, and nothing was changed since: the fence captures the dirty pages.
    Begun,
    /// `pending` has the captured pages that are not copied yet. `dirty` has the pages that changed since the fence.
    Open,
}

/// The states of all signals in one shard.
#[derive(Debug)]
pub(super) struct Shard<K> {
    /// By signal; made when the first key comes, because a schema may have many signals that are hardly used.
    signals: Box<[Option<Box<SignalStates<K>>>]>,
    fence: Fence,
    /// Pages that a writer was about to change before the checkpoint took them.
    copies: PageCopies<K>,
    /// The entity that is being forgotten. Readers do not see those of its states that are not removed yet.
    forgetting: Option<EntityId>,
    /// The counts of the whole table.
    bytes: Arc<StoredBytes>,
}

impl<K: StateKey> Shard<K> {
    pub(super) fn new(shapes: &Arc<[Shape]>, bytes: &Arc<StoredBytes>) -> Self {
        Self {
            signals: shapes.iter().map(|_| None).collect(),
            fence: Fence::None,
            copies: PageCopies::new(Arc::clone(shapes)),
            forgetting: None,
            bytes: Arc::clone(bytes),
        }
    }

    /// The states of `signal`, if any key has one.
    #[inline]
    pub(super) fn signal(&self, signal: SignalId) -> Option<&SignalStates<K>> {
        self.signals.get(usize::from(signal.0))?.as_deref()
    }

    pub(super) fn signals(&self) -> impl Iterator<Item = (SignalId, &SignalStates<K>)> {
        let numbered = self.signals.iter().enumerate();
        numbered.filter_map(|(i, states)| Some((SignalId(i as u16), states.as_deref()?)))
    }

    /// The states of `signal`, which is in the schema, and the slot of `key`, made if there is none, about to change.
    #[inline]
    pub(super) fn slot_to_change(
        &mut self,
        key: K,
        signal: SignalId,
        shape: &Shape,
    ) -> Result<(&mut SignalStates<K>, usize), Error> {
        if self.fence == Fence::Begun {
            self.open_fence();
        }
        if self.forgetting == Some(key.entity()) {
            while self.forget(usize::MAX) > 0 {}
        }
        let states = self.signals[usize::from(signal.0)]
            .get_or_insert_with(|| Box::new(SignalStates::new(shape, &self.bytes)));
        let slot = if let Some(slot) = states.slot(key) {
            states.will_change(slot / PAGE_SLOTS, signal, &mut self.copies);
            slot
        } else {
            let slot = states.lowest_free()?;
            states.will_change(slot / PAGE_SLOTS, signal, &mut self.copies);
            states.occupy(slot, key);
            slot
        };
        Ok((states, slot))
    }

    /// Reads of a slot that exists the words that its changes need first, so that all are on their way when the slot is changed.
    #[inline]
    pub(super) fn touch(&self, signal: SignalId, slot: usize) -> u64 {
        let states = self.signal(signal);
        states.map_or(0, |states| {
            states.hot.touch(slot) ^ u64::from(states.warm.touch(slot))
        })
    }

    /// A slot that [`slot_to_change`](Self::slot_to_change) gave before.
    #[inline]
    pub(super) fn slot_mut(&mut self, signal: SignalId, slot: usize) -> Slot<'_> {
        let Some(states) = &mut self.signals[usize::from(signal.0)] else {
            unreachable!("a slot that was given belongs to a signal with states")
        };
        Slot {
            hot: &mut states.hot,
            warm: &mut states.warm,
            slot,
        }
    }

    /// How many states `entity` has.
    pub(super) fn states_len(&self, entity: EntityId) -> usize {
        let states = self.signals.iter().flatten();
        states.map(|states| states.states_len(entity)).sum()
    }

    /// Hides the states of `entity` from readers. [`forget`](Self::forget) then removes them.
    pub(super) fn begin_forget(&mut self, entity: EntityId) {
        debug_assert_eq!(self.forgetting, None, "one entity at a time");
        self.forgetting = Some(entity);
    }

    /// Returns true if the state of `key` is hidden from readers, because its entity is being forgotten.
    #[inline]
    pub(super) fn is_forgetting(&self, key: K) -> bool {
        self.forgetting == Some(key.entity())
    }

    /// Removes at most `slots_len_max` states of the entity that is being forgotten, and returns their number. 0 if none was
    /// left: the entity is forgotten.
    pub(super) fn forget(&mut self, slots_len_max: usize) -> usize {
        let Some(entity) = self.forgetting else { return 0 };
        if self.fence == Fence::Begun {
            self.open_fence();
        }
        let mut forgotten_len = 0;
        for (i, states) in self.signals.iter_mut().enumerate() {
            let Some(states) = states else { continue };
            std::hint::black_box(states.touch_newest(entity, slots_len_max - forgotten_len));
            while let Some(slot) = states.slot_of(entity) {
                if forgotten_len == slots_len_max {
                    return forgotten_len;
                }
                states.will_change(slot / PAGE_SLOTS, SignalId(i as u16), &mut self.copies);
                states.free(slot);
                forgotten_len += 1;
            }
        }
        if forgotten_len == 0 {
            self.forgetting = None;
        }
        forgotten_len
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.fence != Fence::None
    }

    pub(super) fn begin_fence(&mut self) {
        self.fence = Fence::Begun;
    }

    /// Copies to `out` at most `pages_max` of the pages the fence captures. Ends the fence when none is left, and gives
    /// what writers copied meanwhile.
    pub(super) fn take_fenced(&mut self, out: &mut PageCopies<K>, pages_max: usize) -> Option<PageCopies<K>> {
        if self.fence == Fence::Begun {
            self.open_fence();
        }
        let mut left = pages_max;
        for (i, states) in self.signals.iter_mut().enumerate() {
            let Some(states) = states else { continue };
            left -= states.take_pending(SignalId(i as u16), out, left);
            if left == 0 {
                return None;
            }
        }
        self.fence = Fence::None;
        Some(self.copies.take())
    }

    /// Adds the page that `value` holds, clean. It must be the one after the last of its signal. Gives its newest event time.
    pub(super) fn restore_page(
        &mut self,
        place: page::PagePlace,
        value: &[u8],
        shape: &Shape,
    ) -> Result<i64, &'static str> {
        let states = self.signals[usize::from(place.signal.0)]
            .get_or_insert_with(|| Box::new(SignalStates::new(shape, &self.bytes)));
        page::decode(shape, place, value, states)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let states = self.signals.iter().flatten().map(|states| states.heap_bytes());
        size_of_val(&*self.signals) + states.sum::<usize>() + self.copies.heap_bytes()
    }

    fn open_fence(&mut self) {
        for states in self.signals.iter_mut().flatten() {
            std::mem::swap(&mut states.dirty, &mut states.pending);
        }
        self.fence = Fence::Open;
    }
}

/// The states of one signal in one shard.
#[derive(Debug)]
pub(super) struct SignalStates<K> {
    index: Index<K>,
    /// Empty if an entity can have one key only: see [`StateKey::only_of`].
    chains: Chains,
    /// Of every slot up to the last one that was ever used. The rest of its page has no memory yet.
    keys: Vec<K>,
    /// One bit per slot, a word per page.
    occupied: Vec<u32>,
    /// Those of the slots with memory that are not occupied.
    free: BinaryHeap<Reverse<u32>>,
    pub(super) hot: HotTier,
    pub(super) warm: WarmTier,
    /// One bit per page, both of the same length.
    dirty: Vec<u64>,
    pending: Vec<u64>,
    /// By page: the most bytes that its last copy takes when stored.
    page_bytes: Vec<u32>,
    stored_slot_bytes_max: u64,
    /// The counts of the whole table.
    bytes: Arc<StoredBytes>,
}

const _: () = assert!(PAGE_SLOTS == u32::BITS as usize);

impl<K: StateKey> SignalStates<K> {
    fn new(shape: &Shape, bytes: &Arc<StoredBytes>) -> Self {
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
    fn slot_of(&self, entity: EntityId) -> Option<usize> {
        match K::only_of(entity) {
            Some(key) => self.slot(key),
            None => self.chains.newest(entity).map(|slot| slot as usize),
        }
    }

    fn states_len(&self, entity: EntityId) -> usize {
        match K::only_of(entity) {
            Some(key) => self.slot(key).into_iter().len(),
            None => self.chains.len(entity),
        }
    }

    /// Reads the place in the index of each of the `len` slots of `entity` to be removed first, so that all are on their way
    /// to the processor at once.
    fn touch_newest(&self, entity: EntityId, len: usize) -> u32 {
        let slots = self.chains.slots(entity).take(len);
        slots.fold(0, |touched, slot| {
            touched ^ self.index.touch(self.keys[slot as usize])
        })
    }

    /// Gives `slot` to `key`. Returns false and changes nothing if the key has a slot already.
    fn insert(&mut self, key: K, slot: usize) -> bool {
        let is_new = self.index.insert(key, slot as u32);
        if is_new && K::only_of(key.entity()).is_none() {
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

    /// The lowest free slot, on a new page if there is none.
    #[cold]
    fn lowest_free(&mut self) -> Result<usize, Error> {
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
    fn occupy(&mut self, slot: usize, key: K) {
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
    fn free(&mut self, slot: usize) {
        let key = self.keys[slot];
        self.index.remove(key);
        if K::only_of(key.entity()).is_none() {
            self.chains.pop(key.entity(), slot as u32);
        }
        self.keys[slot] = K::default();
        self.occupied[slot / PAGE_SLOTS] &= !occupied_bit(slot);
        self.hot.clear(slot);
        self.warm.clear(slot);
        self.free.push(Reverse(slot as u32));
    }

    /// Gives memory to the next slot. It is not in the free list.
    fn push_slot(&mut self) {
        reserve_slots(&mut self.keys, 1);
        self.keys.push(K::default());
        self.hot.grow(1);
        self.warm.grow(1);
    }

    /// Gives memory to all slots before `slot`, as free ones.
    fn push_free_before(&mut self, slot: usize) {
        while self.keys.len() < slot {
            self.free.push(Reverse(self.keys.len() as u32));
            self.push_slot();
        }
    }

    /// Begins the next page of a checkpoint, whose occupied slots follow in order.
    pub(super) fn begin_page(&mut self, page: u32, occupied: u32) -> Result<(), &'static str> {
        let page = page as usize;
        if page != self.occupied.len() {
            return Err("the pages of a shard are not numbered from zero without a gap");
        }
        let first_slot = page * PAGE_SLOTS;
        if u32::try_from(first_slot + PAGE_SLOTS).is_err() {
            return Err("a slot number over 32 bits");
        }
        // All pages but the last have memory for every slot.
        self.push_free_before(first_slot);
        self.push_page_bits(occupied);
        let slots_len = (u32::BITS - occupied.leading_zeros()) as usize;
        reserve_slots(&mut self.keys, slots_len);
        self.hot.reserve(slots_len);
        self.warm.reserve(slots_len);
        self.index.reserve(occupied.count_ones() as usize);
        Ok(())
    }

    /// Gives the slot at a place of the page that was begun last to `key`; gives its cells, without events.
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
        let bytes = page::STORED_PAGE_BYTES_MAX
            + slots_len * self.stored_slot_bytes_max
            + filled_len * page::STORED_BUCKET_BYTES_MAX;
        let before = std::mem::replace(&mut self.page_bytes[page], bytes as u32);
        self.bytes.resize_page(before, bytes as u32);
    }

    fn push_page_bits(&mut self, occupied: u32) {
        self.occupied.push(occupied);
        self.page_bytes.push(0);
        let words_len = self.occupied.len().div_ceil(u64::BITS as usize);
        self.dirty.resize(words_len, 0);
        self.pending.resize(words_len, 0);
    }

    /// To be called before a slot of `page` changes: what a fence captured of it goes to `copies` first.
    #[inline]
    fn will_change(&mut self, page: usize, signal: SignalId, copies: &mut PageCopies<K>) {
        let (word, bit) = (page / u64::BITS as usize, 1_u64 << (page % u64::BITS as usize));
        if self.pending[word] & bit != 0 {
            self.pending[word] &= !bit;
            self.copy_page(page, signal, copies);
        }
        // Not written when it is set already, so that the line stays in every core's cache.
        if self.dirty[word] & bit == 0 {
            self.dirty[word] |= bit;
            // A new page has no copy yet, so its bytes are 0.
            let bytes = u64::from(self.page_bytes[page]).max(page::STORED_PAGE_BYTES_MAX);
            self.bytes.add_changed(bytes);
        }
    }

    /// Copies at most `pages_max` pending pages, and returns how many.
    fn take_pending(&mut self, signal: SignalId, out: &mut PageCopies<K>, pages_max: usize) -> usize {
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

    fn heap_bytes(&self) -> usize {
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
