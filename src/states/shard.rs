//! One shard of a state table: the states of each signal, the fence of the running checkpoint, and the forget in progress.
//!
//! A forget of an entity first hides its states from readers, and then frees their slots in steps. If an event changes
//! the same entity meanwhile, the change frees the remaining slots first.
//!
//! Invariant: the changes of a shard since the beginning of a fence are in no page that the fence captures.
//!
//! In memory only: a crash leaves nothing of it.

use std::sync::Arc;

use super::copies::PageCopies;
use super::key::StateKey;
use super::page;
use super::shape::Shape;
use super::signal_states::SignalStates;
use super::stored::StoredBytes;
use crate::cells::PAGE_SLOTS;
use crate::signals::hot::HotTier;
use crate::signals::warm::WarmTier;
use crate::{EntityId, Error, SignalId};

/// The progress of the shard with a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    /// No fence: `pending` is empty.
    None,
    /// The fence has begun, and nothing has changed since: it captures the dirty pages.
    Begun,
    /// `pending` has the captured pages that are not copied yet. `dirty` has the pages that changed since the fence.
    Open,
}

/// One slot of both tiers, in a locked shard.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the tiers use the same name")]
pub(crate) struct Slot<'a> {
    pub(crate) hot: &'a mut HotTier,
    pub(crate) warm: &'a mut WarmTier,
    pub(crate) slot: usize,
}

/// The states of all signals in one shard.
#[derive(Debug)]
pub(super) struct Shard<K> {
    /// By signal. Created for the first key, because a schema may have many signals with few keys.
    signals: Box<[Option<Box<SignalStates<K>>>]>,
    fence: Fence,
    /// Copies of pages that writers have changed since the fence, before the checkpoint took them.
    copies: PageCopies<K>,
    /// The entity that is being forgotten. Its states that are not removed yet are hidden from readers.
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

    /// The states of `signal`; `None` if no key has one.
    #[inline]
    pub(super) fn signal(&self, signal: SignalId) -> Option<&SignalStates<K>> {
        self.signals.get(usize::from(signal.0))?.as_deref()
    }

    pub(super) fn signals(&self) -> impl Iterator<Item = (SignalId, &SignalStates<K>)> {
        let numbered = self.signals.iter().enumerate();
        numbered.filter_map(|(i, states)| Some((SignalId(i as u16), states.as_deref()?)))
    }

    /// The states of `signal`, which is in the schema, and the slot of `key`, for a change. A missing slot is created.
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

    /// Reads the first words that a change of the slot needs, so that the processor loads them before the change.
    #[inline]
    pub(super) fn prefetch(&self, signal: SignalId, slot: usize) -> u64 {
        let states = self.signal(signal);
        states.map_or(0, |states| {
            states.hot.prefetch(slot) ^ u64::from(states.warm.prefetch(slot))
        })
    }

    /// A slot that [`slot_to_change`](Self::slot_to_change) has returned.
    #[inline]
    pub(super) fn slot_mut(&mut self, signal: SignalId, slot: usize) -> Slot<'_> {
        let Some(states) = &mut self.signals[usize::from(signal.0)] else {
            unreachable!("the slot belongs to a signal with states")
        };
        Slot {
            hot: &mut states.hot,
            warm: &mut states.warm,
            slot,
        }
    }

    /// The number of states of `entity`.
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

    /// Removes at most `slots_len_max` states of the entity that is being forgotten, and returns their number. Returns
    /// 0 if none was left: then the entity is forgotten.
    pub(super) fn forget(&mut self, slots_len_max: usize) -> usize {
        let Some(entity) = self.forgetting else { return 0 };
        if self.fence == Fence::Begun {
            self.open_fence();
        }
        let mut forgotten_len = 0;
        for (i, states) in self.signals.iter_mut().enumerate() {
            let Some(states) = states else { continue };
            std::hint::black_box(states.prefetch_newest(entity, slots_len_max - forgotten_len));
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

    /// Copies to `out` at most `pages_max` of the pages that the fence captures. Returns `None` if pages may be left.
    /// Otherwise ends the fence, and returns the copies that writers made.
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

    /// Adds the page that `value` holds, as an unchanged one. It must be the page after the last one of its signal.
    /// Returns its newest event time.
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

    /// Makes the dirty pages those that the fence captures. From now on the pages that change are dirty.
    fn open_fence(&mut self) {
        for states in self.signals.iter_mut().flatten() {
            states.open_fence();
        }
        self.fence = Fence::Open;
    }
}
