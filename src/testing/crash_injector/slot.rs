//! The slot of a thread: the injector and the recorder that watch the thread's crossings.
//!
//! Owns the slot, and a byte next to it, [`WATCHED_POINTS`]. The byte has one bit for each point that the slot watches,
//! so a hook without a watcher costs one load and one test. Invariants: the byte equals [`ThreadSlot::watched_points`]
//! of the slot. The slot is never borrowed while foreign code runs, because actions, panic hooks and destructors of
//! removed content can cross points.
//!
//! Slot and byte are thread-locals without a destructor, so code can use them until the thread ends. A third
//! thread-local, [`CLEAR_AT_THREAD_END`], drops the content of the slot.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::sync::Arc;

use super::injector::CrashInjector;
use super::point::CrashPoint;
use super::recorder::CrossingRecorder;

thread_local! {
    static WATCHED_POINTS: Cell<u8> = const { Cell::new(0) };
    static SLOT: ManuallyDrop<RefCell<ThreadSlot>> = const { ManuallyDrop::new(RefCell::new(ThreadSlot::EMPTY)) };
    static CLEAR_AT_THREAD_END: ClearSlotOnDrop = const { ClearSlotOnDrop };
}

/// The watchers of a thread. [`inherit`](super::inherit) copies them to a new thread.
#[derive(Clone)]
pub(super) struct ThreadSlot {
    injector: Option<Arc<CrashInjector>>,
    recorder: Option<Arc<CrossingRecorder>>,
    /// The injectors of the enclosing calls of `run_with_crash`, by id, outermost first.
    runs: Vec<u64>,
}

impl ThreadSlot {
    const EMPTY: Self = Self {
        injector: None,
        recorder: None,
        runs: Vec::new(),
    };

    /// One bit for each watched point.
    fn watched_points(&self) -> u8 {
        match (&self.recorder, &self.injector) {
            (Some(_), _) => u8::MAX,
            (None, Some(injector)) => bit(injector.target()),
            (None, None) => 0,
        }
    }
}

const fn bit(point: CrashPoint) -> u8 {
    const { assert!(CrashPoint::ALL.len() <= u8::BITS as usize) };
    1 << point as u8
}

/// Returns true if the calling thread's slot watches `point`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "half of the hook")]
pub(super) fn is_point_watched(point: CrashPoint) -> bool {
    WATCHED_POINTS.get() & bit(point) != 0
}

pub(super) fn is_thread_watched() -> bool {
    WATCHED_POINTS.get() != 0
}

/// Counts a crossing of a watched point and returns true if the slot has no recorder and its injector must not fire
/// yet. Otherwise changes nothing and returns false.
#[inline]
pub(super) fn count_early_crossing() -> bool {
    // An exclusive borrow takes fewer instructions than a shared one.
    SLOT.with(|slot| {
        slot.try_borrow_mut().is_ok_and(|slot| {
            let injector = slot.injector.as_ref().filter(|_| slot.recorder.is_none());
            injector.is_some_and(|it| it.count_early_crossing())
        })
    })
}

/// The recorder and the injector. `None` while the slot is borrowed: an allocator can cross a point during a change of
/// the slot.
#[expect(clippy::type_complexity, reason = "a pair of two optional watchers")]
pub(super) fn watchers() -> Option<(Option<Arc<CrossingRecorder>>, Option<Arc<CrashInjector>>)> {
    SLOT.with(|slot| {
        let slot = slot.try_borrow().ok()?;
        Some((slot.recorder.clone(), slot.injector.clone()))
    })
}

/// Changes the slot and returns the content that `change` removed. The caller drops it after the borrow of the slot
/// ends.
fn change<R>(change: impl FnOnce(&mut ThreadSlot) -> R) -> R {
    // The first use registers the destructor that clears the slot. If the destructor has run, the thread is ending:
    // content that stays in the slot after that is never dropped.
    CLEAR_AT_THREAD_END.try_with(|_| ()).ok();
    change_content(change)
}

fn change_content<R>(change: impl FnOnce(&mut ThreadSlot) -> R) -> R {
    SLOT.with(|slot| {
        let mut slot = slot.borrow_mut();
        let taken = change(&mut slot);
        WATCHED_POINTS.set(slot.watched_points());
        taken
    })
}

/// Clears the thread's slot when dropped.
struct ClearSlotOnDrop;

impl Drop for ClearSlotOnDrop {
    fn drop(&mut self) {
        drop(change_content(|slot| mem::replace(slot, ThreadSlot::EMPTY)));
    }
}

pub(super) fn set_injector(injector: Option<Arc<CrashInjector>>) {
    drop(change(|slot| mem::replace(&mut slot.injector, injector)));
}

/// A copy of the calling thread's slot for another thread.
pub(super) fn copy() -> ThreadSlot {
    SLOT.with(|slot| slot.borrow().clone())
}

pub(super) fn is_inside_run_of(injector: u64) -> bool {
    SLOT.with(|slot| slot.borrow().runs.contains(&injector))
}

/// Restores one part of the calling thread's slot when it is dropped: the part that a function of this module replaced.
///
/// Each guard restores only its part, so a test can replace the injector while the recorder stays. Drop guards of the
/// same part in the reverse order of their creation, as the end of a block does.
#[must_use = "the slot is restored as soon as the guard is dropped"]
pub struct SlotGuard {
    /// The replaced part. The guard drops it after the borrow of the slot ends.
    before: ThreadSlot,
    swap: fn(&mut ThreadSlot, &mut ThreadSlot),
    /// The slot belongs to one thread, so the guard must stay on it.
    not_send: PhantomData<*const ()>,
}

impl SlotGuard {
    /// Swaps a part of the slot with that of `new`.
    fn new(mut new: ThreadSlot, swap: fn(&mut ThreadSlot, &mut ThreadSlot)) -> Self {
        change(|slot| swap(slot, &mut new));
        Self {
            before: new,
            swap,
            not_send: PhantomData,
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        change(|slot| (self.swap)(slot, &mut self.before));
    }
}

impl fmt::Debug for SlotGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotGuard").finish_non_exhaustive()
    }
}

/// Gives the calling thread the content of `slot` until the guard is dropped.
pub(super) fn enter(slot: ThreadSlot) -> SlotGuard {
    SlotGuard::new(slot, mem::swap)
}

/// Installs `injector` and adds its run to the enclosing runs, until the guard is dropped.
pub(super) fn enter_run(injector: &Arc<CrashInjector>) -> SlotGuard {
    let mut new = copy();
    new.injector = Some(Arc::clone(injector));
    new.runs.push(injector.id());
    SlotGuard::new(new, |slot, other| {
        mem::swap(&mut slot.injector, &mut other.injector);
        mem::swap(&mut slot.runs, &mut other.runs);
    })
}

/// Installs `injector` in the calling thread's slot. Dropping the guard restores the previous injector.
///
/// # Examples
/// ```
/// use tidaldb::testing::{CrashInjector, CrashPoint, check_crash_point, scoped_injector};
///
/// let injector = CrashInjector::new(CrashPoint::WalPreAggregate, 5);
/// {
///     let _installed = scoped_injector(&injector);
///     check_crash_point(CrashPoint::WalPreAggregate);
/// }
/// check_crash_point(CrashPoint::WalPreAggregate);
/// assert_eq!(injector.crossing_count(), 1);
/// ```
pub fn scoped_injector(injector: &Arc<CrashInjector>) -> SlotGuard {
    let new = ThreadSlot {
        injector: Some(Arc::clone(injector)),
        ..ThreadSlot::EMPTY
    };
    SlotGuard::new(new, |slot, other| {
        mem::swap(&mut slot.injector, &mut other.injector);
    })
}

/// Lets `recorder` record the calling thread's crossings. Dropping the guard restores the previous recorder. The
/// injector does not change.
pub fn scoped_recorder(recorder: &Arc<CrossingRecorder>) -> SlotGuard {
    let new = ThreadSlot {
        recorder: Some(Arc::clone(recorder)),
        ..ThreadSlot::EMPTY
    };
    SlotGuard::new(new, |slot, other| {
        mem::swap(&mut slot.recorder, &mut other.recorder);
    })
}

impl CrossingRecorder {
    /// Returns true if this recorder records the calling thread's crossings.
    pub fn watches_this_thread(&self) -> bool {
        SLOT.with(|slot| {
            slot.borrow()
                .recorder
                .as_deref()
                .is_some_and(|recorder| ptr::eq(recorder, self))
        })
    }
}
