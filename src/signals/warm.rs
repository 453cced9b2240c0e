//! The warm tier: counts of events in windows of time, of the slots of one signal in one shard.
//!
//! A ring cuts time into buckets of a fixed length, numbered from the Unix epoch, and keeps the counts of the
//! newest few. A slot has, per ring, the number of its newest bucket and one saturating count per bucket; the count of
//! bucket `n` is at position `n mod buckets`. A slot without events has the earliest bucket as its newest, and zeros.
//!
//! Invariant: a position holds the count of the one bucket among the newest `buckets` that belongs there. Going to a
//! newer bucket zeroes the positions of all that were skipped, so that a bucket is never read for another one's
//! number. An event older than its ring is dropped from it and reported. What a ring holds does not depend on the
//! order of the events; how many were late does.
//!
//! In memory only: a crash leaves nothing of it.

use std::sync::Arc;

use super::{allocated_bytes, reserve_eighth};
use crate::decay::Divisor;
use crate::limits;

/// The shape of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ring {
    bucket_ms: Divisor,
    buckets: Divisor,
    /// Where the counts of this ring begin among those of a slot.
    first_count: usize,
}

impl Ring {
    /// The rings of a signal, each given by its bucket length in milliseconds and its number of buckets.
    pub(crate) fn prepare(rings: &[(u64, u32)]) -> Arc<[Self]> {
        assert!(rings.len() <= limits::RINGS_MAX);
        let mut first_count = 0;
        let prepare = |&(bucket_ms, buckets): &(u64, u32)| {
            assert!((1..=limits::DURATION_MS_MAX).contains(&bucket_ms));
            assert!((1..=limits::RING_BUCKETS_MAX).contains(&(buckets as usize)));
            let ring = Self {
                bucket_ms: Divisor::new(bucket_ms),
                buckets: Divisor::new(buckets.into()),
                first_count,
            };
            first_count += buckets as usize;
            ring
        };
        rings.iter().map(prepare).collect()
    }

    pub(crate) fn buckets_len(&self) -> usize {
        self.buckets.get() as usize
    }

    /// The number of the bucket that holds `t_ms`.
    #[inline]
    pub(crate) fn bucket(&self, t_ms: i64) -> i64 {
        self.bucket_ms.div(t_ms)
    }

    /// Where bucket `number` is kept among the ring's counts.
    #[inline]
    pub(crate) fn position(&self, number: i64) -> usize {
        self.buckets.div_rem(number).1 as usize
    }

    /// The counts of this ring among those of a slot.
    pub(crate) fn of<'a>(&self, counts: &'a [u32]) -> &'a [u32] {
        &counts[self.first_count..][..self.buckets_len()]
    }

    #[inline]
    pub(crate) fn of_mut<'a>(&self, counts: &'a mut [u32]) -> &'a mut [u32] {
        &mut counts[self.first_count..][..self.buckets_len()]
    }
}

/// How many counts a slot has in all of `rings`.
pub(crate) fn counts_len(rings: &[Ring]) -> usize {
    rings.iter().map(Ring::buckets_len).sum()
}

/// The windowed counts of the slots of one signal in one shard.
#[derive(Debug)]
pub(crate) struct WarmTier {
    rings: Arc<[Ring]>,
    counts_len: usize,
    /// The number of the newest bucket, one per ring for each slot.
    newest: Vec<i64>,
    /// `counts_len` for each slot, ring after ring.
    counts: Vec<u32>,
}

impl WarmTier {
    /// A tier without slots.
    pub(crate) fn new(rings: Arc<[Ring]>) -> Self {
        Self {
            counts_len: counts_len(&rings),
            rings,
            newest: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// Adds `additional_len` slots without events.
    pub(crate) fn grow(&mut self, additional_len: usize) {
        let counts_len = additional_len * self.counts_len;
        reserve_eighth(&mut self.newest, additional_len * self.rings.len());
        reserve_eighth(&mut self.counts, counts_len);
        for _ in 0..additional_len {
            self.newest
                .extend(self.rings.iter().map(|ring| ring.bucket(i64::MIN)));
        }
        self.counts.resize(self.counts.len() + counts_len, 0);
    }

    /// Forgets the events of `slot`.
    pub(crate) fn clear(&mut self, slot: usize) {
        for (i, ring) in self.rings.iter().enumerate() {
            self.newest[slot * self.rings.len() + i] = ring.bucket(i64::MIN);
        }
        self.counts[slot * self.counts_len..][..self.counts_len].fill(0);
    }

    /// Counts an event at `at_ms` in every ring of `slot`, and returns how many rings it was too late for.
    #[inline]
    pub(crate) fn increment(&mut self, slot: usize, at_ms: i64) -> u32 {
        let newest = &mut self.newest[slot * self.rings.len()..][..self.rings.len()];
        let counts = &mut self.counts[slot * self.counts_len..][..self.counts_len];
        let mut late_len = 0;
        for (ring, newest) in self.rings.iter().zip(newest) {
            let counts = ring.of_mut(counts);
            let number = ring.bucket(at_ms);
            let position = ring.position(number);
            if number > *newest {
                zero_skipped(counts, position, number.abs_diff(*newest));
                *newest = number;
            } else if number.abs_diff(*newest) >= counts.len() as u64 {
                late_len += 1;
                continue;
            }
            counts[position] = counts[position].saturating_add(1);
        }
        late_len
    }

    /// How many events there were in the `buckets_len` buckets that end with the one of `now_ms`, at most as many as
    /// the ring has.
    pub(crate) fn count(&self, slot: usize, ring_index: usize, buckets_len: u32, now_ms: i64) -> u64 {
        let ring = &self.rings[ring_index];
        let counts = ring.of(&self.counts[slot * self.counts_len..][..self.counts_len]);
        assert!(buckets_len as usize <= counts.len());
        let newest = self.newest[slot * self.rings.len() + ring_index];
        let now = ring.bucket(now_ms);
        // Those of the window that the ring holds. Both ranges include their ends.
        let first = now
            .saturating_sub(i64::from(buckets_len) - 1)
            .max(newest.saturating_sub(counts.len() as i64 - 1));
        let last = now.min(newest);
        if buckets_len == 0 || first > last {
            return 0;
        }
        let held_len = last.abs_diff(first) as usize + 1;
        let from_first = counts.iter().cycle().skip(ring.position(first));
        from_first.take(held_len).map(|&count| u64::from(count)).sum()
    }

    /// The buckets of a ring that are not empty, by number, ascending, and their counts.
    pub(crate) fn buckets(&self, slot: usize, ring_index: usize) -> Vec<(i64, u32)> {
        let ring = &self.rings[ring_index];
        let counts = ring.of(&self.counts[slot * self.counts_len..][..self.counts_len]);
        let newest = self.newest[slot * self.rings.len() + ring_index];
        let first = newest.saturating_sub(counts.len() as i64 - 1);
        let numbered = (first..=newest).map(|number| (number, counts[ring.position(number)]));
        numbered.filter(|&(_, count)| count != 0).collect()
    }

    /// The newest buckets and the counts of consecutive slots.
    pub(super) fn raw(&self, first_slot: usize, slots_len: usize) -> (&[i64], &[u32]) {
        let rings_len = self.rings.len();
        (
            &self.newest[first_slot * rings_len..][..slots_len * rings_len],
            &self.counts[first_slot * self.counts_len..][..slots_len * self.counts_len],
        )
    }

    /// Replaces consecutive slots by what [`raw`](Self::raw) gave.
    pub(super) fn set_raw(&mut self, first_slot: usize, newest: &[i64], counts: &[u32]) {
        self.newest[first_slot * self.rings.len()..][..newest.len()].copy_from_slice(newest);
        self.counts[first_slot * self.counts_len..][..counts.len()].copy_from_slice(counts);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        allocated_bytes(&self.newest) + allocated_bytes(&self.counts)
    }
}

/// Zeroes the `skipped` positions that end with `position`, the whole ring at most.
fn zero_skipped(counts: &mut [u32], position: usize, skipped: u64) {
    let skipped = skipped.min(counts.len() as u64) as usize;
    let end = position + 1;
    if skipped <= end {
        counts[end - skipped..end].fill(0);
    } else {
        counts[..end].fill(0);
        let wrapped = counts.len() - (skipped - end);
        counts[wrapped..].fill(0);
    }
}

#[cfg(test)]
mod tests;
