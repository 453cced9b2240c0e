//! State tables: they map a key to its slot in the hot and the warm tier of a signal. A table has shards with one lock
//! each.
//!
//! The states of entities and the states of entities in cohorts are two tables of the same kind with different keys.
//! The shard follows from the entity alone. A read holds the lock of a shard for one slot only. A call that writes
//! holds the lock for its slots in the shard, at most 256. An event whose key has a slot allocates no memory, except
//! for the copy of a page for a checkpoint.
//!
//! A checkpoint captures a table by a fence. [`StateTable::begin_fence`] is called while no writer is active, and only
//! sets a flag in every shard. After that, a page that changed since the previous fence is copied before it changes
//! again. The writer that changes the page copies it, or the checkpoint, which collects all copies of a shard with
//! [`StateTable::take_fenced`]. So the checkpoint gets every page as of the fence while writers continue. A writer
//! copies only the page that it changes, about 6 KB at the default shape, never a shard. All writers together copy at
//! most the pages that changed since the previous fence.
//!
//! Invariant: a reader never gets half an event. After a change of a shard that panicked or failed, each access to that
//! shard returns [`Error::Panicked`] immediately.
//!
//! In memory only. A crash leaves the state of the last checkpoint; pages that were taken but not stored are lost.

mod chains;
mod copies;
mod group;
mod index;
mod key;
mod page;
mod shape;
mod shard;
mod signal_states;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::group::ByShard;
use self::shape::Shape;
use self::shard::Shard;
use self::signal_states::SignalStates;
use self::stored::StoredBytes;
use crate::intact::Intact;
use crate::limits::{self, GROUPED_CHANGES_LEN_MAX, Limits};
use crate::signals::warm::RingChanges;
use crate::sync::{Mutex, MutexGuard, get_mut, lock_brief};
use crate::{EntityId, Error, SignalId};

pub(crate) use self::copies::PageCopies;
pub(crate) use self::group::Change;
pub(crate) use self::key::{SHARDS, StateKey, shard_of};
pub(crate) use self::shape::SignalShape;
pub(crate) use self::shard::Slot;

/// The logical content of one state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// The newest event time.
    pub(crate) time_ms: i64,
    /// The scores as of that time, by half-life.
    pub(crate) scores: Vec<f64>,
    /// By ring: the buckets that are not empty, by number, ascending, and their counts.
    pub(crate) windows: Vec<Vec<(i64, u32)>>,
}

/// A shard on separate cache lines, so that two cores that use adjacent shards do not share one.
#[derive(Debug)]
#[repr(align(128))]
struct LockedShard<K>(Mutex<Intact<Shard<K>>>);

/// All states of one kind of key: see the [module](self).
#[derive(Debug)]
pub(crate) struct StateTable<K> {
    shapes: Arc<[Shape]>,
    shards: Box<[LockedShard<K>]>,
    bytes: Arc<StoredBytes>,
    /// The most bytes that a change can add to the stored form of its page, which may be a new one.
    growth_bytes_max: u64,
    grouped_len_max: usize,
    fenced_pages_len_max: usize,
    forgotten_slots_len_max: usize,
}

impl<K: StateKey> StateTable<K> {
    /// An empty table for signals of these shapes, in the order of their ids.
    pub(crate) fn new(shapes: &[SignalShape], limits: &Limits) -> Self {
        assert!(shapes.len() <= limits::SIGNALS_MAX);
        let shapes: Arc<[Shape]> = shapes.iter().map(Shape::new).collect();
        let growth_bytes_max = shapes.iter().map(Shape::growth_bytes_max).max().unwrap_or(0);
        let bytes = Arc::new(StoredBytes::default());
        let shard = |_| LockedShard(Mutex::new(Intact::new("apply", Shard::new(&shapes, &bytes))));
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            shapes,
            bytes,
            growth_bytes_max,
            grouped_len_max: limits.grouped_changes_len_max,
            fenced_pages_len_max: limits.fenced_pages_len_max,
            forgotten_slots_len_max: limits.forgotten_slots_len_max,
        }
    }

    /// Calls `change` with the slot of `key`, which is created if it is missing. Meanwhile the shard is locked. The
    /// page is marked as changed. Returns the number of window rings for which the event was too late.
    ///
    /// # Errors
    /// `Error::UnknownSignal`: nothing was changed. `Error::LimitExceeded` if the shard is full, and `Error::Panicked`
    /// if an earlier change of the same shard was not completed: the shard cannot be used any more.
    #[inline]
    pub(crate) fn with_slot(
        &self,
        key: K,
        signal: SignalId,
        change: impl FnOnce(Slot<'_>) -> RingChanges,
    ) -> Result<u32, Error> {
        let shape = self.shape(signal)?;
        let ring_changes = self.lock(shard_of(key.entity())).change(|shard| {
            let (states, slot) = shard.slot_to_change(key, signal, shape)?;
            Ok(change(Slot {
                hot: &mut states.hot,
                warm: &mut states.warm,
                slot,
            }))
        })?;
        Ok(self.count_filled(ring_changes))
    }

    /// Calls [`with_slot`](Self::with_slot) for each of `changes`, shard by shard. Changes of one shard keep their
    /// order.
    ///
    /// # Errors
    /// The errors of [`with_slot`](Self::with_slot). Some of the changes were made, and some keys may have a new slot
    /// without an event. After an error inside a shard, each later access to this shard returns `Panicked`.
    pub(crate) fn with_slots(
        &self,
        changes: &[Change<K>],
        mut change: impl FnMut(Slot<'_>, &Change<K>) -> RingChanges,
    ) -> Result<u32, Error> {
        if let [one] = changes {
            return self.with_slot(one.key, one.signal, |slot| change(slot, one));
        }
        let mut ring_changes = RingChanges::default();
        let mut slots = [0; GROUPED_CHANGES_LEN_MAX];
        for changes in changes.chunks(self.grouped_len_max) {
            for (shard, group) in ByShard::new(changes).groups() {
                ring_changes += self.with_group(shard, changes, group, &mut slots, &mut change)?;
            }
        }
        Ok(self.count_filled(ring_changes))
    }

    /// Makes the changes of one shard for [`with_slots`](Self::with_slots). `group` has their indexes in `changes`.
    fn with_group(
        &self,
        shard: usize,
        changes: &[Change<K>],
        group: &[u8],
        slots: &mut [u32; GROUPED_CHANGES_LEN_MAX],
        change: &mut impl FnMut(Slot<'_>, &Change<K>) -> RingChanges,
    ) -> Result<RingChanges, Error> {
        self.lock(shard).change(|shard| {
            for (slot, &i) in slots.iter_mut().zip(group) {
                let Change { key, signal, .. } = changes[usize::from(i)];
                let (_, found) = shard.slot_to_change(key, signal, self.shape(signal)?)?;
                *slot = found as u32;
            }
            let numbered = || {
                group
                    .iter()
                    .zip(slots.iter())
                    .map(|(&i, &slot)| (&changes[usize::from(i)], slot as usize))
            };
            let prefetched = numbered().fold(0, |prefetched, (one, slot)| {
                prefetched ^ shard.prefetch(one.signal, slot)
            });
            std::hint::black_box(prefetched);
            let mut ring_changes = RingChanges::default();
            for (one, slot) in numbered() {
                ring_changes += change(shard.slot_mut(one.signal, slot), one);
            }
            Ok(ring_changes)
        })
    }

    /// Counts the buckets that are no longer empty. Returns the number of rings for which the events were too late.
    #[inline]
    fn count_filled(&self, ring_changes: RingChanges) -> u32 {
        if ring_changes.filled_len > 0 {
            let bytes = u64::from(ring_changes.filled_len) * stored::BUCKET_BYTES_MAX;
            self.bytes.add_changed(bytes);
        }
        ring_changes.late_len
    }

    /// The score of `key` for one half-life, decayed to `now_ms`, or to its newest event if that is later. Zero without
    /// events.
    ///
    /// # Errors
    /// `Error::UnknownSignal`; `Error::InvalidInput` if the signal has no such half-life; `Error::Panicked`.
    pub(crate) fn score(
        &self,
        key: K,
        signal: SignalId,
        half_life_index: usize,
        now_ms: i64,
    ) -> Result<f64, Error> {
        if half_life_index >= self.shape(signal)?.half_lives.len() {
            return Err(Error::invalid(
                "half_life_index",
                half_life_index,
                "the signal has no such half-life",
            ));
        }
        let score = self.read(key, signal, |states, slot| {
            states.hot.score(slot, half_life_index, now_ms)
        })?;
        Ok(score.unwrap_or(0.0))
    }

    /// The number of events of `key` in the `buckets_len` buckets that end with the bucket of `now_ms`.
    ///
    /// # Errors
    /// `Error::UnknownSignal`; `Error::InvalidInput` if the signal has no such ring, or the ring was declared with
    /// fewer buckets; `Error::Panicked`.
    pub(crate) fn count(
        &self,
        key: K,
        signal: SignalId,
        ring_index: usize,
        buckets_len: u32,
        now_ms: i64,
    ) -> Result<u64, Error> {
        let Some(ring) = self.shape(signal)?.rings.get(ring_index) else {
            return Err(Error::invalid(
                "ring_index",
                ring_index,
                "the signal has no such window ring",
            ));
        };
        if buckets_len as usize > ring.buckets_len() {
            return Err(Error::invalid(
                "buckets_len",
                buckets_len,
                "the window ring has fewer buckets",
            ));
        }
        let count = self.read(key, signal, |states, slot| {
            states.warm.count(slot, ring_index, buckets_len, now_ms)
        })?;
        Ok(count.unwrap_or(0))
    }

    /// Every state, sorted by key and signal. All are of the same time only if no writer is active.
    ///
    /// # Errors
    /// `Error::Panicked`.
    pub(crate) fn export(&self) -> Result<Vec<(K, SignalId, State)>, Error> {
        let mut all = Vec::with_capacity(self.len()?);
        for shard in 0..SHARDS {
            let shard = self.lock(shard);
            let whole = shard.get()?;
            for (signal, states) in whole.signals() {
                let shape = self.shape(signal)?;
                let keys = states.occupied_keys();
                let keys = keys.filter(|&(_, key)| !whole.is_forgetting(key));
                all.extend(keys.map(|(slot, key)| (key, signal, state_of_slot(shape, states, slot))));
            }
        }
        all.sort_unstable_by_key(|&(key, signal, _)| (key, signal));
        Ok(all)
    }

    /// Hides every state of `entity` from readers. The caller then removes the states with
    /// [`forget_some`](Self::forget_some), before the next forget and before the next fence.
    ///
    /// # Errors
    /// `Error::Panicked`: nothing was changed.
    pub(crate) fn begin_forget(&self, entity: EntityId) -> Result<(), Error> {
        self.lock(shard_of(entity)).change(|shard| {
            shard.begin_forget(entity);
            Ok(())
        })
    }

    /// Removes some states of the entity that is being forgotten, and returns their number. Returns 0 when none is
    /// left.
    ///
    /// # Errors
    /// `Error::Panicked`: the table cannot be used any more.
    pub(crate) fn forget_some(&self, entity: EntityId) -> Result<usize, Error> {
        self.lock(shard_of(entity))
            .change(|shard| Ok(shard.forget(self.forgotten_slots_len_max)))
    }

    /// The number of states, including those that are being forgotten.
    ///
    /// # Errors
    /// `Error::Panicked`.
    pub(crate) fn len(&self) -> Result<usize, Error> {
        self.sum(|shard| shard.signals().map(|(_, states)| states.len()).sum())
    }

    /// An upper bound of the bytes that the pages of the next fence take when stored.
    pub(crate) fn changed_bytes(&self) -> u64 {
        self.bytes.changed()
    }

    /// The most bytes that `changes_len` changes can add to [`changed_bytes`](Self::changed_bytes).
    #[inline]
    pub(crate) fn changed_bytes_max(&self, changes_len: usize) -> u64 {
        match changes_len {
            0 => 0,
            _ => self.bytes.changed_max(changes_len as u64, self.growth_bytes_max),
        }
    }

    /// The most bytes that a forget of `entity` can add to [`changed_bytes`](Self::changed_bytes): the pages of its
    /// states.
    ///
    /// # Errors
    /// `Error::Panicked`.
    pub(crate) fn forget_bytes_max(&self, entity: EntityId) -> Result<u64, Error> {
        let states_len = self.lock(shard_of(entity)).get()?.states_len(entity);
        Ok(self.bytes.changed_max(states_len as u64, 0))
    }

    /// The allocated memory, in bytes.
    ///
    /// # Errors
    /// `Error::Panicked`.
    pub(crate) fn heap_bytes(&self) -> Result<usize, Error> {
        Ok(size_of_val(&*self.shards) + self.sum(Shard::heap_bytes)?)
    }

    /// Begins a fence: [`take_fenced`](Self::take_fenced) returns the pages that changed up to now, shard by shard.
    ///
    /// The caller ensures that no writer is active, and takes every shard before it begins the next fence.
    ///
    /// # Errors
    /// `Error::Panicked`: the table can no longer be captured.
    pub(crate) fn begin_fence(&self) -> Result<(), Error> {
        self.bytes.begin_fence();
        for shard in 0..SHARDS {
            let was_fenced = self.lock(shard).change(|shard| {
                let was_fenced = shard.is_fenced();
                if !was_fenced {
                    shard.begin_fence();
                }
                Ok(was_fenced)
            })?;
            assert!(
                !was_fenced,
                "a fence began before shard {shard} of the last one was taken"
            );
        }
        Ok(())
    }

    /// Replaces the content of `copies` by some pages of `shard` that changed before the fence, as of the fence.
    /// Returns true if more are left. Without a fence, `copies` becomes empty.
    ///
    /// A writer does not wait for the copy of a whole shard if the caller does other work between the calls. If the
    /// caller takes the lock again immediately, hardly any other thread gets it in between.
    ///
    /// # Errors
    /// `Error::Panicked`: the pages are incomplete.
    pub(crate) fn take_fenced(&self, shard: usize, copies: &mut PageCopies<K>) -> Result<bool, Error> {
        copies.clear();
        let by_writers = self
            .lock(shard)
            .change(|shard| Ok(shard.take_fenced(copies, self.fenced_pages_len_max)))?;
        let Some(by_writers) = by_writers else {
            return Ok(true);
        };
        copies.append(&by_writers);
        Ok(false)
    }

    /// An empty buffer for calls of [`take_fenced`](Self::take_fenced).
    pub(crate) fn page_copies(&self) -> PageCopies<K> {
        PageCopies::new(Arc::clone(&self.shapes))
    }

    /// Restores a page from a record of [`PageCopies::records`]. Returns the newest event time in it, or
    /// [`TIME_NONE`](crate::signals::hot::TIME_NONE) without a state.
    ///
    /// The caller restores all records of a table in ascending order of their keys, before any other call. A restored
    /// page counts as unchanged: the next fence does not capture it.
    ///
    /// # Errors
    /// The fault of the record. The table cannot be used then.
    pub(crate) fn restore_page(&mut self, key: &[u8], value: &[u8]) -> Result<i64, &'static str> {
        let place = page::PagePlace::decode::<K>(key)?;
        let shape = self.shapes.get(usize::from(place.signal.0));
        let shape = shape.ok_or("a page belongs to a signal that is not in the schema")?;
        let shard = self.shards.get_mut(usize::from(place.shard));
        let LockedShard(shard) = shard.ok_or("a page belongs to a shard that does not exist")?;
        get_mut(shard).value_mut().restore_page(place, value, shape)
    }

    fn shape(&self, signal: SignalId) -> Result<&Shape, Error> {
        self.shapes
            .get(usize::from(signal.0))
            .ok_or_else(|| Error::UnknownSignal {
                signal: signal.to_string(),
            })
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Intact<Shard<K>>> {
        let LockedShard(shard) = &self.shards[shard];
        lock_brief(shard)
    }

    fn read<R>(
        &self,
        key: K,
        signal: SignalId,
        read: impl FnOnce(&SignalStates<K>, usize) -> R,
    ) -> Result<Option<R>, Error> {
        let shard = self.lock(shard_of(key.entity()));
        let shard = shard.get()?;
        let states = shard.signal(signal).filter(|_| !shard.is_forgetting(key));
        let found = states.and_then(|states| Some((states, states.slot(key)?)));
        Ok(found.map(|(states, slot)| read(states, slot)))
    }

    fn sum(&self, of: impl Fn(&Shard<K>) -> usize) -> Result<usize, Error> {
        (0..SHARDS).map(|shard| Ok(of(self.lock(shard).get()?))).sum()
    }
}

/// The logical content of a slot.
fn state_of_slot<K: StateKey>(shape: &Shape, states: &SignalStates<K>, slot: usize) -> State {
    let time_ms = states.hot.time_ms(slot);
    let scores = 0..shape.half_lives.len();
    State {
        time_ms,
        scores: scores.map(|i| states.hot.score(slot, i, time_ms)).collect(),
        windows: (0..shape.rings.len())
            .map(|i| states.warm.buckets(slot, i))
            .collect(),
    }
}
