//! The warm tier: counts of events in windows of time, of the slots of one signal in one shard.
//!
//! A ring divides time into buckets of a fixed length, numbered from the Unix epoch, and retains the counts of the
//! newest buckets. A ring declared with `b` buckets retains `b + 1`: a window of `b` buckets is still complete when an
//! event of the next bucket has moved the ring. A client's clock that is a little ahead causes such an event at the end
//! of every bucket.
//!
//! A slot has, per ring, the number of its newest bucket and one saturating count per retained bucket. The count of
//! bucket `n` is at position `n mod (b + 1)`. A slot without events has the earliest bucket as its newest, and zeros.
//!
//! Invariant: a position holds the count of the only retained bucket with this position. A move to a newer bucket
//! zeroes the positions of all skipped buckets, so that a count is never read for another bucket. An event older than
//! the retained buckets is not counted in its ring, and is reported as late. The content of a ring does not depend on
//! the order of the events; the number of late events does.
//!
//! In memory only: a crash leaves nothing of it.

use std::sync::Arc;

use crate::cells::Cells;
use crate::decay::Divisor;
use crate::limits;

/// The shape of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingShape {
    bucket_ms: Divisor,
    /// The number of retained buckets: one more than the ring was declared with.
    retained: Divisor,
    /// The number of the bucket at the beginning of time.
    earliest: i64,
    /// Where this ring begins in the cells of a slot.
    first_cell: usize,
}

/// The number of the newest bucket takes the first two cells of a ring, the lower half first; its counts follow.
const NEWEST_CELLS: usize = 2;

impl RingShape {
    /// The rings of a signal, each given by its bucket length in milliseconds and its number of buckets.
    pub(crate) fn prepare(rings: &[(u64, u32)]) -> Arc<[Self]> {
        assert!(rings.len() <= limits::RINGS_MAX);
        let mut first_cell = 0;
        let prepare = |&(bucket_ms, buckets): &(u64, u32)| {
            assert!((1..=limits::DURATION_MS_MAX).contains(&bucket_ms));
            assert!((1..=limits::RING_BUCKETS_MAX).contains(&(buckets as usize)));
            let divisor = Divisor::new(bucket_ms);
            let ring = Self {
                bucket_ms: divisor,
                earliest: divisor.div(i64::MIN),
                retained: Divisor::new(u64::from(buckets) + 1),
                first_cell,
            };
            first_cell += NEWEST_CELLS + ring.retained_len();
            ring
        };
        rings.iter().map(prepare).collect()
    }

    /// The largest number of buckets of a window: the number that the ring was declared with.
    pub(crate) fn buckets_len(&self) -> usize {
        self.retained_len() - 1
    }

    /// The number of buckets that a slot has a count of.
    pub(crate) fn retained_len(&self) -> usize {
        self.retained.get() as usize
    }

    /// The number of the bucket that holds `t_ms`.
    #[inline]
    pub(crate) fn bucket(&self, t_ms: i64) -> i64 {
        self.bucket_ms.div(t_ms)
    }

    /// The position of bucket `number` among the counts of the ring.
    #[inline]
    pub(crate) fn position(&self, number: i64) -> usize {
        self.retained.div_rem(number).1 as usize
    }

    /// The newest bucket and the counts of this ring in the cells of a slot.
    #[inline]
    pub(crate) fn read<'a>(&self, cells: &'a [u32]) -> (i64, &'a [u32]) {
        let cells = &cells[self.first_cell..][..NEWEST_CELLS + self.retained_len()];
        let (newest, counts) = cells.split_at(NEWEST_CELLS);
        (newest_number(newest), counts)
    }

    /// The cells of the newest bucket and the counts of this ring in the cells of a slot, for changes.
    #[inline]
    pub(crate) fn read_mut<'a>(&self, cells: &'a mut [u32]) -> (&'a mut [u32], &'a mut [u32]) {
        let cells = &mut cells[self.first_cell..][..NEWEST_CELLS + self.retained_len()];
        cells.split_at_mut(NEWEST_CELLS)
    }
}

/// The number in the first cells of a ring.
#[inline]
fn newest_number(newest: &[u32]) -> i64 {
    (u64::from(newest[0]) | u64::from(newest[1]) << 32) as i64
}

/// Writes a number into the first cells of a ring.
#[inline]
pub(crate) fn set_newest(newest: &mut [u32], number: i64) {
    newest[0] = number as u32;
    newest[1] = ((number as u64) >> 32) as u32;
}

/// The number of cells of a slot.
pub(crate) fn cells_len(rings: &[RingShape]) -> usize {
    rings.iter().map(|ring| NEWEST_CELLS + ring.retained_len()).sum()
}

/// The changes of the rings of a slot by an event, or by several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RingChanges {
    /// The number of rings for which the event was too late.
    pub(crate) late_len: u32,
    /// The number of counted buckets that were empty before.
    pub(crate) filled_len: u32,
}

impl std::ops::AddAssign for RingChanges {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.late_len += other.late_len;
        self.filled_len += other.filled_len;
    }
}

/// The windowed counts of the slots of one signal in one shard.
#[derive(Debug)]
pub(crate) struct WarmTier {
    rings: Arc<[RingShape]>,
    /// For each slot its rings. They are adjacent, so an event costs few cache misses.
    cells: Cells<u32>,
}

impl WarmTier {
    /// A tier without slots.
    pub(crate) fn new(rings: Arc<[RingShape]>) -> Self {
        Self {
            cells: Cells::new(cells_len(&rings)),
            rings,
        }
    }

    /// Adds `additional_len` slots without events.
    pub(crate) fn grow(&mut self, additional_len: usize) {
        for _ in 0..additional_len {
            set_earliest(&self.rings, self.cells.push_row(0));
        }
    }

    /// Reserves memory for `additional_len` more slots, but at most to the end of the page of the next slot.
    pub(crate) fn reserve(&mut self, additional_len: usize) {
        self.cells.reserve(additional_len);
    }

    /// Forgets the events of `slot`.
    pub(crate) fn clear(&mut self, slot: usize) {
        let cells = self.cells.row_mut(slot);
        cells.fill(0);
        set_earliest(&self.rings, cells);
    }

    /// Counts an event at `at_ms` in every ring of `slot`.
    #[inline]
    pub(crate) fn increment(&mut self, slot: usize, at_ms: i64) -> RingChanges {
        let cells = self.cells.row_mut(slot);
        let mut ring_changes = RingChanges::default();
        for ring in &*self.rings {
            let (newest_cells, counts) = ring.read_mut(cells);
            let newest = newest_number(newest_cells);
            let number = ring.bucket(at_ms);
            let position = ring.position(number);
            if number > newest {
                zero_skipped(counts, position, number.abs_diff(newest));
                set_newest(newest_cells, number);
            } else if number.abs_diff(newest) >= counts.len() as u64 {
                ring_changes.late_len += 1;
                continue;
            }
            let count = &mut counts[position];
            ring_changes.filled_len += u32::from(*count == 0);
            *count = count.saturating_add(1);
        }
        ring_changes
    }

    /// The number of buckets of `slot` that are not empty.
    pub(crate) fn filled_len(&self, slot: usize) -> usize {
        let row = self.row(slot);
        let filled = |ring: &RingShape| ring.read(row).1.iter().filter(|&&count| count != 0).count();
        self.rings.iter().map(filled).sum()
    }

    /// Reads a word of every cache line of `slot`.
    #[inline]
    pub(crate) fn prefetch(&self, slot: usize) -> u32 {
        const LINE_CELLS: usize = 64 / size_of::<u32>();
        let every_line = self.row(slot).iter().step_by(LINE_CELLS);
        every_line.fold(0, |prefetched, cell| prefetched ^ cell)
    }

    /// The number of events in the `buckets_len` buckets that end with the bucket of `now_ms`. `buckets_len` is at most
    /// the number that the ring was declared with. A bucket that is not retained counts as empty. This happens only to
    /// a window that ends two or more buckets before the newest one.
    pub(crate) fn count(&self, slot: usize, ring_index: usize, buckets_len: u32, now_ms: i64) -> u64 {
        let ring = &self.rings[ring_index];
        let (newest, counts) = ring.read(self.row(slot));
        assert!(buckets_len as usize <= ring.buckets_len());
        let now = ring.bucket(now_ms);
        // The buckets of the window that the ring retains, from `first` to `last`, both included.
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

    /// The retained buckets of a ring that are not empty: their numbers, ascending, and their counts.
    pub(crate) fn buckets(&self, slot: usize, ring_index: usize) -> Vec<(i64, u32)> {
        let ring = &self.rings[ring_index];
        let (newest, counts) = ring.read(self.row(slot));
        let first = newest.saturating_sub(counts.len() as i64 - 1);
        let held_len = counts.iter().filter(|&&count| count != 0).count();
        let mut held = Vec::with_capacity(held_len);
        // From the position of the first bucket to the end, then from the beginning.
        let (after, from_first) = counts.split_at(ring.position(first));
        let numbered = (first..=newest).zip(from_first.iter().chain(after));
        held.extend(
            numbered
                .filter(|&(_, &count)| count != 0)
                .map(|(number, &count)| (number, count)),
        );
        held
    }

    /// The cells of a slot.
    pub(crate) fn row(&self, slot: usize) -> &[u32] {
        self.cells.row(slot)
    }

    /// The cells of a slot, to be filled.
    pub(crate) fn row_mut(&mut self, slot: usize) -> &mut [u32] {
        self.cells.row_mut(slot)
    }

    /// The cells of the slots of a page.
    pub(crate) fn page(&self, page: usize) -> &[u32] {
        self.cells.page(page)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.cells.heap_bytes()
    }
}

/// Makes the earliest bucket the newest one in every ring of a slot without counts.
fn set_earliest(rings: &[RingShape], cells: &mut [u32]) {
    for ring in rings {
        set_newest(ring.read_mut(cells).0, ring.earliest);
    }
}

/// Zeroes the `skipped` positions that end with `position`, at most the whole ring.
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
