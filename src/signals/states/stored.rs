//! Upper bounds of what pages take when they are stored: of the pages that the next fence captures, and of all pages.
//!
//! A slot takes a fixed number of bytes at the most, and a bucket that is not empty a few more. The buckets of a page are
//! counted when it is copied or restored; that is its size until it changes. When it changes for the first time after a
//! fence, its size is added to the bound of the changed pages, and from then on each new slot and each bucket that is no
//! longer empty. A bucket that became empty again is noticed at the next copy.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bounds of one table, in bytes.
#[derive(Debug, Default)]
pub(super) struct StoredBytes {
    /// Of the pages that changed since the last fence.
    changed: AtomicU64,
    /// Of all pages, each as of its last copy.
    all: AtomicU64,
    /// Of the largest page that was ever copied.
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

    /// How much a call can add to [`changed`](Self::changed) that changes `changes_len` states, each of which grows by at most
    /// `growth` bytes.
    #[inline]
    pub(super) fn changed_max(&self, changes_len: u64, growth: u64) -> u64 {
        let pages = changes_len * self.largest.load(Ordering::Relaxed);
        pages.min(self.all()) + changes_len * growth
    }

    #[cold]
    pub(super) fn add_changed(&self, bytes: u64) {
        self.changed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn begin_fence(&self) {
        self.changed.store(0, Ordering::Relaxed);
    }

    /// Notes that a page which had `before` bytes has `now`.
    pub(super) fn resize_page(&self, before: u32, now: u32) {
        // A difference below zero wraps around, and so does the sum.
        let more = u64::from(now).wrapping_sub(u64::from(before));
        self.all.fetch_add(more, Ordering::Relaxed);
        self.largest.fetch_max(now.into(), Ordering::Relaxed);
    }
}
