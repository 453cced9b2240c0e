//! State tables: from a key to its slot in the hot and the warm tier of a signal, in shards with a lock each.
//!
//! The global states of an entity and those of a cohort are two tables of one kind, which differ in their key. The
//! shard follows from the entity alone. A read of a slot holds the shard's lock for that slot only. A call that writes holds
//! it for its slots in that shard, 256 at the most. Nothing is allocated for an event whose key is known, but for
//! the copy of a page that a checkpoint is to take.
//!
//! A checkpoint captures a table by a fence. [`StateTable::begin_fence`] is called while no writer is active and only
//! leaves a flag in every shard. From then on a page that changed since the previous fence is copied before it changes
//! again: by the writer about to change it, or by the checkpoint, which collects all copies of a shard with
//! [`StateTable::take_fenced`]. So the checkpoint sees every page as of the fence while writers go on. A writer copies
//! the one page it needs, some 6 KB at the default shape, never a shard; what all writers copy is at most what changed
//! since the previous fence.
//!
//! Invariant: a reader never sees half an event. After a change of a shard that panicked or failed, each access to that
//! shard gives [`Error::Panicked`], at once.
//!
//! In memory only. A crash leaves what the last checkpoint stored; pages taken but not stored are lost with the rest.

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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::group::ByShard;
use self::shape::Shape;
use self::shard::Shard;
use self::signal_states::SignalStates;
use self::stored::StoredBytes;
use crate::limits::{self, GROUPED_CHANGES_LEN_MAX, Limits};
use crate::lock::{Intact, lock_brief};
use crate::signals::warm::Incremented;
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

/// A shard on cache lines of its own, so that two cores that work on neighbours do not share one.
#[derive(Debug)]
#[repr(align(128))]
struct LockedShard<K>(Mutex<Intact<Shard<K>>>);

/// All states of one kind of key. See the module's documentation.
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

    /// Calls `change` with the slot of `key`, and makes the slot if there is none. The shard is locked meanwhile, and the page is
    /// marked as changed. Returns the number of window rings for which the event was too late.
    ///
    /// # Errors
    /// `Error::UnknownSignal`: nothing was changed. `Error::LimitExceeded` if the shard is full, and `Error::Panicked` if a
    /// change of the same shard was not completed before: the shard is of no use any more.
    #[inline]
    pub(crate) fn with_slot(
        &self,
        key: K,
        signal: SignalId,
        change: impl FnOnce(Slot<'_>) -> Incremented,
    ) -> Result<u32, Error> {
        let shape = self.shape(signal)?;
        let incremented = self.lock(shard_of(key.entity())).change(|shard| {
            let (states, slot) = shard.slot_to_change(key, signal, shape)?;
            Ok(change(Slot {
                hot: &mut states.hot,
                warm: &mut states.warm,
                slot,
            }))
        })?;
        Ok(self.counted(incremented))
    }

    /// As [`with_slot`](Self::with_slot) for each of `changes`, shard by shard: those of one shard in their order.
    ///
    /// # Errors
    /// As there; some of the changes were made, and some keys may have got a slot and no event.
    pub(crate) fn with_slots(
        &self,
        changes: &[Change<K>],
        mut change: impl FnMut(Slot<'_>, &Change<K>) -> Incremented,
    ) -> Result<u32, Error> {
        if let [one] = changes {
            return self.with_slot(one.key, one.signal, |slot| change(slot, one));
        }
        let mut incremented = Incremented::default();
        let mut slots = [0; GROUPED_CHANGES_LEN_MAX];
        for changes in changes.chunks(self.grouped_len_max) {
            for (shard, group) in ByShard::of(changes).groups() {
                incremented += self.with_group(shard, changes, group, &mut slots, &mut change)?;
            }
        }
        Ok(self.counted(incremented))
    }

    /// As [`with_slots`](Self::with_slots), for those of `changes` that `group` numbers, all of one shard.
    fn with_group(
        &self,
        shard: usize,
        changes: &[Change<K>],
        group: &[u8],
        slots: &mut [u32; GROUPED_CHANGES_LEN_MAX],
        change: &mut impl FnMut(Slot<'_>, &Change<K>) -> Incremented,
    ) -> Result<Incremented, Error> {
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
            let touched = numbered().fold(0, |touched, (one, slot)| touched ^ shard.touch(one.signal, slot));
            std::hint::black_box(touched);
            let mut incremented = Incremented::default();
            for (one, slot) in numbered() {
                incremented += change(shard.slot_mut(one.signal, slot), one);
            }
            Ok(incremented)
        })
    }

    /// Counts the buckets that are no longer empty. Returns the number of rings for which the events were too late.
    #[inline]
    fn counted(&self, incremented: Incremented) -> u32 {
        if incremented.filled_len > 0 {
            let bytes = u64::from(incremented.filled_len) * stored::BUCKET_BYTES_MAX;
            self.bytes.add_changed(bytes);
        }
        incremented.late_len
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

    /// How many events of `key` there were in the `buckets_len` buckets that end with the one of `now_ms`.
    ///
    /// # Errors
    /// `Error::UnknownSignal`; `Error::InvalidInput` if the signal has no such ring, or the ring was declared with fewer
    /// buckets; `Error::Panicked`.
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

    /// Every state, sorted by key and signal: of one moment only while no writer is active.
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
                all.extend(keys.map(|(slot, key)| (key, signal, state(shape, states, slot))));
            }
        }
        all.sort_unstable_by_key(|&(key, signal, _)| (key, signal));
        Ok(all)
    }

    /// Hides every state of `entity` from readers. The caller then removes the states with [`forget_some`](Self::forget_some),
    /// before another entity is forgotten and before the next fence.
    ///
    /// # Errors
    /// `Error::Panicked`: nothing was changed.
    pub(crate) fn begin_forget(&self, entity: EntityId) -> Result<(), Error> {
        self.lock(shard_of(entity)).change(|shard| {
            shard.begin_forget(entity);
            Ok(())
        })
    }

    /// Removes some states of the entity that is being forgotten, and returns their number. 0 once none is left.
    ///
    /// # Errors
    /// `Error::Panicked`: the table is of no use.
    pub(crate) fn forget_some(&self, entity: EntityId) -> Result<usize, Error> {
        self.lock(shard_of(entity))
            .change(|shard| Ok(shard.forget(self.forgotten_slots_len_max)))
    }

    /// The number of states, with those that are being forgotten.
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

    /// How much forgetting `entity` can add to [`changed_bytes`](Self::changed_bytes): the pages of its states.
    ///
    /// # Errors
    /// `Error::Panicked`.
    pub(crate) fn forget_bytes_max(&self, entity: EntityId) -> Result<u64, Error> {
        let states_len = self.lock(shard_of(entity)).get()?.states_len(entity);
        Ok(self.bytes.changed_max(states_len as u64, 0))
    }

    /// The memory that is allocated.
    ///
    /// # Errors
    /// `Error::Panicked`.
    pub(crate) fn heap_bytes(&self) -> Result<usize, Error> {
        Ok(size_of_val(&*self.shards) + self.sum(Shard::heap_bytes)?)
    }

    /// Begins a fence: what changed up to now is what [`take_fenced`](Self::take_fenced) will give, shard by shard.
    ///
    /// The caller sees to it that no writer is active, and takes every shard before it begins the next fence.
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

    /// Replaces the content of `copies` by some pages of `shard` that changed before the fence, as of the fence, and tells
    /// whether there are more. None without a fence.
    ///
    /// A writer never waits for a whole shard to be copied, if the caller has something else to do between the calls: a
    /// lock that is taken again at once is hardly ever got by anyone else.
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

    /// An empty buffer for [`take_fenced`](Self::take_fenced), to be used again and again.
    pub(crate) fn page_copies(&self) -> PageCopies<K> {
        PageCopies::new(Arc::clone(&self.shapes))
    }

    /// Puts back a page that [`PageCopies::records`] gave. Gives the newest event time in it;
    /// [`TIME_NONE`](crate::signals::hot::TIME_NONE) without a state.
    ///
    /// To be called before anything else, with the records of a table in ascending order of their keys. What is
    /// restored is clean: the next fence does not give it.
    ///
    /// # Errors
    /// What is wrong with the record. The table is then of no use.
    pub(crate) fn restore_page(&mut self, key: &[u8], value: &[u8]) -> Result<i64, &'static str> {
        let place = page::PagePlace::decode::<K>(key)?;
        let shape = self.shapes.get(usize::from(place.signal.0));
        let shape = shape.ok_or("a page belongs to a signal that is not in the schema")?;
        let shard = self.shards.get_mut(usize::from(place.shard));
        let LockedShard(shard) = shard.ok_or("a page belongs to a shard that does not exist")?;
        let shard = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
        shard.value_mut().restore_page(place, value, shape)
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
fn state<K: StateKey>(shape: &Shape, states: &SignalStates<K>, slot: usize) -> State {
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
#[cfg(test)]
mod tests;
