//! Records by id, with the order of their last touches, and with the changes since the last checkpoint.
//!
//! Owns the choice of the record that is dropped at a limit, the set of records that a checkpoint copies, and the bytes
//! that records take when stored. Invariant: `recency` holds exactly one entry for each record, and `entries_len`
//! counts the entries of all records. In memory only.
//!
//! A checkpoint takes the state as of a fence while writers continue. `begin_fence` assigns the records that changed so
//! far to the checkpoint, shard by shard and without a visit to any record. `take_fenced` copies these records later,
//! one shard at a time. In between, the first change of a record in a shard that is not yet taken copies the record
//! first, so no later state is taken. A removal is a change, and is taken as `None`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use crate::limits::CHANGED_LEN_MIN;

/// The number of parts in which a fence is taken.
pub(crate) const FENCE_SHARDS: usize = 64;

/// A record whose entries name items.
pub(super) trait Entries: Clone {
    fn entries_len(&self) -> usize;

    /// Removes the entries of items for which `keep` returns false.
    fn retain(&mut self, keep: impl FnMut(u64) -> bool);

    /// An upper bound of the bytes that a record with so many entries takes in a checkpoint.
    fn stored_bytes(entries_len: usize) -> u64;
}

/// A record, and the counters at its last touch and at its last change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stamped<R> {
    /// The ordinal of the event that touched it last.
    pub(super) touched: u64,
    /// The number of forgets before the last change of its entries: see [`forgotten`](super::forgotten).
    pub(super) forgets: u64,
    pub(super) record: R,
}

#[derive(Debug)]
pub(super) struct TableSlot<R> {
    pub(super) stamped: Stamped<R>,
    /// The number of fences before its last change. It is noted as changed since the last fence iff this is the number
    /// of all fences.
    pub(super) changed_at_fence: u64,
}

#[derive(Debug)]
pub(super) struct TableShard<R> {
    /// Ids created, changed or removed since the last fence. An id can be in it several times.
    pub(super) changed: Vec<u64>,
    /// The ids that the last fence captured; `None` after they were taken.
    fenced: Option<Vec<u64>>,
    /// Copies of the records that changed since the fence and are not taken yet, with their content at the fence.
    /// `None` if a record did not exist.
    copies: HashMap<u64, Option<Stamped<R>>>,
}

impl<R: Entries> TableShard<R> {
    /// The caller calls this before it creates a record, removes it, or changes it for the first time after the fence.
    fn before_change(&mut self, id: u64, before: Option<&Stamped<R>>) {
        if self.fenced.is_some() {
            self.copies.entry(id).or_insert_with(|| before.cloned());
        }
        if self.changed.len() == self.changed.capacity() {
            // A record that is created and removed often has many entries. Only one is needed.
            self.changed.sort_unstable();
            self.changed.dedup();
            self.changed.reserve(self.changed.len().max(CHANGED_LEN_MIN));
        }
        self.changed.push(id);
    }
}

#[derive(Debug)]
pub(super) struct Table<R> {
    pub(super) slots: HashMap<u64, TableSlot<R>>,
    /// Pairs of last touch and id. The first one is dropped first.
    pub(super) recency: BTreeSet<(u64, u64)>,
    pub(super) shards: Vec<TableShard<R>>,
    pub(super) fences: u64,
    /// An upper bound of the stored bytes that the next fence captures. A record that was created and removed counts
    /// twice.
    changed_bytes: u64,
    /// The entries of all records.
    pub(super) entries_len: usize,
    /// The most entries that any record has ever had at the end of a call.
    pub(super) longest: usize,
}

impl<R: Entries> Table<R> {
    pub(super) fn new() -> Self {
        let shard = || TableShard {
            changed: Vec::new(),
            fenced: None,
            copies: HashMap::new(),
        };
        Self {
            slots: HashMap::new(),
            recency: BTreeSet::new(),
            shards: (0..FENCE_SHARDS).map(|_| shard()).collect(),
            fences: 1,
            changed_bytes: 0,
            entries_len: 0,
            longest: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// An upper bound of the bytes that the next fence captures, as stored.
    pub(super) fn changed_bytes(&self) -> u64 {
        self.changed_bytes
    }

    /// An upper bound of the bytes that all records take when stored.
    pub(super) fn stored_bytes(&self) -> u64 {
        let entry_bytes = R::stored_bytes(1) - R::stored_bytes(0);
        self.slots.len() as u64 * R::stored_bytes(0) + self.entries_len as u64 * entry_bytes
    }

    /// The most entries that any record has ever had at the end of a call.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn get(&self, id: u64) -> Option<&Stamped<R>> {
        self.slots.get(&id).map(|slot| &slot.stamped)
    }

    /// The last touch and the id of the record with the oldest last touch, of all records or of those after `after`.
    pub(super) fn oldest_after(&self, after: Option<(u64, u64)>) -> Option<(u64, u64)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.recency.range((from, Bound::Unbounded)).next().copied()
    }

    /// The ordinal of the latest touch of any record.
    pub(super) fn last_touched(&self) -> Option<u64> {
        self.recency.last().map(|&(touched, _)| touched)
    }

    /// Every record with its id, by id.
    pub(super) fn sorted(&self) -> Vec<(u64, &Stamped<R>)> {
        let mut all: Vec<_> = self.slots.iter().map(|(&id, slot)| (id, &slot.stamped)).collect();
        all.sort_unstable_by_key(|&(id, _)| id);
        all
    }

    /// The ids of the records for which `is_match` returns true, ascending.
    pub(super) fn ids_where(&self, is_match: impl Fn(&R) -> bool) -> Vec<u64> {
        self.sorted()
            .into_iter()
            .filter(|(_, stamped)| is_match(&stamped.record))
            .map(|(id, _)| id)
            .collect()
    }

    /// The record, for a change; `None` if it does not exist. After a change of the number of its entries the caller
    /// calls [`note_resize`](Self::note_resize).
    pub(super) fn change(&mut self, id: u64) -> Option<&mut Stamped<R>> {
        let slot = self.slots.get_mut(&id)?;
        if slot.changed_at_fence != self.fences {
            self.shards[shard_of(id)].before_change(id, Some(&slot.stamped));
            slot.changed_at_fence = self.fences;
            self.changed_bytes += R::stored_bytes(slot.stamped.record.entries_len());
        }
        Some(&mut slot.stamped)
    }

    /// The record, for a change after `forgets` forgets. A missing record is made by `create`, and the event `ordinal`
    /// touches it. The caller has removed its forgotten entries before, and calls [`note_resize`](Self::note_resize)
    /// afterwards.
    pub(super) fn change_or_create(
        &mut self,
        id: u64,
        ordinal: u64,
        forgets: u64,
        create: impl FnOnce() -> R,
    ) -> &mut R {
        let shard = &mut self.shards[shard_of(id)];
        match self.slots.entry(id) {
            Entry::Occupied(entry) => {
                let slot = entry.into_mut();
                if slot.changed_at_fence != self.fences {
                    shard.before_change(id, Some(&slot.stamped));
                    slot.changed_at_fence = self.fences;
                    self.changed_bytes += R::stored_bytes(slot.stamped.record.entries_len());
                }
                slot.stamped.forgets = forgets;
                &mut slot.stamped.record
            }
            Entry::Vacant(entry) => {
                shard.before_change(id, None);
                self.changed_bytes += R::stored_bytes(0);
                self.recency.insert((ordinal, id));
                let stamped = Stamped {
                    touched: ordinal,
                    forgets,
                    record: create(),
                };
                &mut entry
                    .insert(TableSlot {
                        stamped,
                        changed_at_fence: self.fences,
                    })
                    .stamped
                    .record
            }
        }
    }

    /// Notes that the changed records had `before` entries together and now have `after`, and that the longest has
    /// `longest`.
    pub(super) fn note_resize(&mut self, before: usize, after: usize, longest: usize) {
        self.changed_bytes += R::stored_bytes(after.saturating_sub(before)) - R::stored_bytes(0);
        self.entries_len = self.entries_len + after - before;
        self.longest = self.longest.max(longest);
    }

    /// Notes that the event `ordinal` touched the record, if it exists.
    pub(super) fn touch(&mut self, id: u64, ordinal: u64) {
        if self.change(id).is_none() {
            return;
        }
        if let Some(slot) = self.slots.get_mut(&id) {
            self.recency.remove(&(slot.stamped.touched, id));
            self.recency.insert((ordinal, id));
            slot.stamped.touched = ordinal;
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(slot) = self.slots.remove(&id) {
            self.recency.remove(&(slot.stamped.touched, id));
            self.shards[shard_of(id)].before_change(id, Some(&slot.stamped));
            self.changed_bytes += R::stored_bytes(0);
            self.entries_len -= slot.stamped.record.entries_len();
        }
    }

    /// Removes the records with the oldest last touch until at most `len_max` are left; of equally old ones those with
    /// the smallest ids.
    pub(super) fn drop_oldest(&mut self, len_max: u64) {
        while self.slots.len() as u64 > len_max {
            let Some(&(_, id)) = self.recency.first() else {
                return;
            };
            self.remove(id);
        }
    }

    /// Restores a record of a checkpoint. Returns false if a record with that id exists already.
    pub(super) fn restore(&mut self, id: u64, stamped: Stamped<R>) -> bool {
        let Entry::Vacant(entry) = self.slots.entry(id) else {
            return false;
        };
        self.recency.insert((stamped.touched, id));
        self.entries_len += stamped.record.entries_len();
        self.longest = self.longest.max(stamped.record.entries_len());
        entry.insert(TableSlot {
            stamped,
            changed_at_fence: 0,
        });
        true
    }

    /// Begins a fence: the next `take_fenced` of each shard takes all records that changed so far. This includes
    /// records of an earlier fence that were not taken.
    pub(super) fn begin_fence(&mut self) {
        self.fences += 1;
        self.changed_bytes = 0;
        for shard in &mut self.shards {
            let mut fenced = std::mem::take(&mut shard.changed);
            fenced.extend(shard.fenced.take().unwrap_or_default());
            shard.fenced = Some(fenced);
            shard.copies.clear();
        }
    }

    /// The records of one shard that changed up to the fence, with their content at the fence, by id; `None` for a
    /// record that did not exist. Empty without a fence, and after the shard was taken.
    pub(super) fn take_fenced(&mut self, shard: usize) -> Vec<(u64, Option<Stamped<R>>)> {
        let shard = &mut self.shards[shard];
        let mut ids = shard.fenced.take().unwrap_or_default();
        ids.sort_unstable();
        ids.dedup();
        let mut copies = std::mem::take(&mut shard.copies);
        let mut state = |id| match copies.remove(&id) {
            Some(before) => before,
            None => self.slots.get(&id).map(|slot| slot.stamped.clone()),
        };
        ids.into_iter().map(|id| (id, state(id))).collect()
    }
}

/// The shard of an id: the top bits of a multiplicative hash (Knuth, volume 3, section 6.4).
pub(super) fn shard_of(id: u64) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    const SHIFT: u32 = u64::BITS - FENCE_SHARDS.ilog2();
    (id.wrapping_mul(GOLDEN) >> SHIFT) as usize
}

const _: () = assert!(FENCE_SHARDS.is_power_of_two());
