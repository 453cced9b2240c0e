//! The warm tier: counts of events in windows of time, of the slots of one signal in one shard.
//!
//! A ring cuts time into buckets of a fixed length, numbered from the Unix epoch, and keeps the counts of the
//! newest few. A ring declared with `b` buckets keeps `b + 1`: a window of `b` buckets is still whole when an event of
//! the bucket after it has moved the ring. A client's clock that is a little ahead brings such an event at the end of
//! every bucket. A slot has, per ring, the number of its newest bucket and one saturating count per kept bucket; the
//! count of bucket `n` is at position `n mod (b + 1)`. A slot without events has the earliest bucket as its newest, and
//! zeros.
//!
//! Invariant: a position holds the count of the one bucket among the kept ones that belongs there. Going to a newer
//! bucket zeroes the positions of all that were skipped, so that a bucket is never read for another one's number. An
//! event older than the kept buckets is dropped from its ring and reported. The content of a ring does not depend on the
//! order of the events; the number of late ones does.
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
    /// How many buckets are kept: one more than the ring was declared with.
    kept: Divisor,
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
                kept: Divisor::new(u64::from(buckets) + 1),
                first_cell,
            };
            first_cell += NEWEST_CELLS + ring.kept_len();
            ring
        };
        rings.iter().map(prepare).collect()
    }

    /// How many buckets a window may have: those that the ring was declared with.
    pub(crate) fn buckets_len(&self) -> usize {
        self.kept_len() - 1
    }

    /// How many buckets a slot has a count of.
    pub(crate) fn kept_len(&self) -> usize {
        self.kept.get() as usize
    }

    /// The number of the bucket that holds `t_ms`.
    #[inline]
    pub(crate) fn bucket(&self, t_ms: i64) -> i64 {
        self.bucket_ms.div(t_ms)
    }

    /// Where bucket `number` is kept among the ring's counts.
    #[inline]
    pub(crate) fn position(&self, number: i64) -> usize {
        self.kept.div_rem(number).1 as usize
    }

    /// The newest bucket and the counts of this ring in the cells of a slot.
    #[inline]
    pub(crate) fn read<'a>(&self, cells: &'a [u32]) -> (i64, &'a [u32]) {
        let cells = &cells[self.first_cell..][..NEWEST_CELLS + self.kept_len()];
        let (newest, counts) = cells.split_at(NEWEST_CELLS);
        (join(newest), counts)
    }

    /// As [`read`](Self::read), to be changed.
    #[inline]
    pub(crate) fn read_mut<'a>(&self, cells: &'a mut [u32]) -> (&'a mut [u32], &'a mut [u32]) {
        let cells = &mut cells[self.first_cell..][..NEWEST_CELLS + self.kept_len()];
        cells.split_at_mut(NEWEST_CELLS)
    }
}

/// The number in the first cells of a ring.
#[inline]
fn join(newest: &[u32]) -> i64 {
    (u64::from(newest[0]) | u64::from(newest[1]) << 32) as i64
}

/// Puts a number into the first cells of a ring.
#[inline]
pub(crate) fn set_newest(newest: &mut [u32], number: i64) {
    newest[0] = number as u32;
    newest[1] = ((number as u64) >> 32) as u32;
}

/// How many cells a slot takes.
pub(crate) fn cells_len(rings: &[RingShape]) -> usize {
    rings.iter().map(|ring| NEWEST_CELLS + ring.kept_len()).sum()
}

/// The changes of the rings of a slot by an event, or by several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Incremented {
    /// The number of rings for which the event was too late.
    pub(crate) late_len: u32,
    /// The number of counted buckets that were empty before.
    pub(crate) filled_len: u32,
}

impl std::ops::AddAssign for Incremented {
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
    /// For each slot its rings, one after the other: side by side, an event costs few cache misses.
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

    /// Makes room for as many more slots, but not beyond the page of the next one.
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
    pub(crate) fn increment(&mut self, slot: usize, at_ms: i64) -> Incremented {
        let cells = self.cells.row_mut(slot);
        let mut incremented = Incremented::default();
        for ring in &*self.rings {
            let (newest_cells, counts) = ring.read_mut(cells);
            let newest = join(newest_cells);
            let number = ring.bucket(at_ms);
            let position = ring.position(number);
            if number > newest {
                zero_skipped(counts, position, number.abs_diff(newest));
                set_newest(newest_cells, number);
            } else if number.abs_diff(newest) >= counts.len() as u64 {
                incremented.late_len += 1;
                continue;
            }
            let count = &mut counts[position];
            incremented.filled_len += u32::from(*count == 0);
            *count = count.saturating_add(1);
        }
        incremented
    }

    /// The number of buckets of `slot` that are not empty.
    pub(crate) fn filled_len(&self, slot: usize) -> usize {
        let row = self.row(slot);
        let filled = |ring: &RingShape| ring.read(row).1.iter().filter(|&&count| count != 0).count();
        self.rings.iter().map(filled).sum()
    }

    /// Reads a word of every cache line of `slot`.
    #[inline]
    pub(crate) fn touch(&self, slot: usize) -> u32 {
        const LINE_CELLS: usize = 64 / size_of::<u32>();
        let every_line = self.row(slot).iter().step_by(LINE_CELLS);
        every_line.fold(0, |touched, cell| touched ^ cell)
    }

    /// How many events there were in the `buckets_len` buckets that end with the one of `now_ms`, at most as many as
    /// the ring was declared with. A bucket that is no longer kept counts as empty, which happens only to a window that
    /// ends two buckets or more before the newest one.
    pub(crate) fn count(&self, slot: usize, ring_index: usize, buckets_len: u32, now_ms: i64) -> u64 {
        let ring = &self.rings[ring_index];
        let (newest, counts) = ring.read(self.row(slot));
        assert!(buckets_len as usize <= ring.buckets_len());
        let now = ring.bucket(now_ms);
        // Those of the window that the ring keeps. Both ranges include their ends.
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

    /// The kept buckets of a ring that are not empty, by number, ascending, and their counts.
    pub(crate) fn buckets(&self, slot: usize, ring_index: usize) -> Vec<(i64, u32)> {
        let ring = &self.rings[ring_index];
        let (newest, counts) = ring.read(self.row(slot));
        let first = newest.saturating_sub(counts.len() as i64 - 1);
        let held_len = counts.iter().filter(|&&count| count != 0).count();
        let mut held = Vec::with_capacity(held_len);
        // From the position of the first bucket on and around.
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

/// Puts every ring of a slot without counts at the beginning of time.
fn set_earliest(rings: &[RingShape], cells: &mut [u32]) {
    for ring in rings {
        set_newest(ring.read_mut(cells).0, ring.earliest);
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
