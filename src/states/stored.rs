//! Upper bounds of the bytes that pages take when stored: the pages that the next fence captures, and all pages.
//!
//! A slot takes at most a fixed number of bytes, and each bucket that is not empty takes a few more. The size of a page
//! is computed when the page is copied or restored. At the first change of a page after a fence, this size is added to
//! the bound of the changed pages. After that, each new slot and each bucket that is no longer empty add their bytes. A
//! bucket that becomes empty again is subtracted only at the next copy.
//!
//! In memory only: a crash leaves nothing of it, and an open computes the sizes of the restored pages.

use std::sync::atomic::Ordering;

use crate::limits;
use crate::sync::AtomicU64;

/// The most bytes of a page without its slots, with its key and the additions of the checkpoint and of a store.
pub(super) const PAGE_BYTES_MAX: u64 = 64;

const VARINT_BYTES_MAX: usize = 10;

/// The most bytes of a slot in the value of its page, without its buckets.
pub(super) fn slot_bytes_max(half_lives_len: usize, rings_len: usize) -> u64 {
    // Up to three varints for the key and the time. For each ring a varint, and the number of its buckets in two bytes.
    (3 * VARINT_BYTES_MAX + 8 * half_lives_len + (VARINT_BYTES_MAX + 2) * rings_len) as u64
}

/// The most bytes of a bucket that is not empty: two for the gap before it, and five for the count.
pub(super) const BUCKET_BYTES_MAX: u64 = 7;

const _: () = assert!(limits::RING_BUCKETS_MAX < 1 << 14);

/// The bounds of one table, in bytes.
#[derive(Debug, Default)]
pub(super) struct StoredBytes {
    /// The bound of the pages that changed since the last fence.
    changed: AtomicU64,
    /// The bound of all pages, with the sizes of their last copies.
    all: AtomicU64,
    /// The bound of the largest page that was ever copied or restored.
    largest: AtomicU64,
}

impl StoredBytes {
    #[inline]
    pub(super) fn changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// The most bytes that a call adds to [`changed`](Self::changed), if it changes `changes_len` states and each of
    /// these grows by at most `growth_bytes`.
    #[inline]
    pub(super) fn changed_max(&self, changes_len: u64, growth_bytes: u64) -> u64 {
        let pages = changes_len * self.largest.load(Ordering::Relaxed);
        pages.min(self.all()) + changes_len * growth_bytes
    }

    #[cold]
    pub(super) fn add_changed(&self, bytes: u64) {
        self.changed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn begin_fence(&self) {
        self.changed.store(0, Ordering::Relaxed);
    }

    /// Notes that the size of a page was `before` bytes and is `now` bytes.
    pub(super) fn resize_page(&self, before: u32, now: u32) {
        // If the page became smaller, `more` wraps around, and the sum wraps around to the right value.
        let more = u64::from(now).wrapping_sub(u64::from(before));
        self.all.fetch_add(more, Ordering::Relaxed);
        self.largest.fetch_max(now.into(), Ordering::Relaxed);
    }
}
