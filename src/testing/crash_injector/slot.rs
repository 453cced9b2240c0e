//! The calling thread's slot: the injector and the recorder that watch its crossings.
//!
//! Owns the slot and, in front of it, [`INTEREST`]: a plain byte that says which points the slot wants to hear
//! of, so that a hook without a watcher costs a load and a test. Invariant: the byte is
//! [`ThreadSlot::interest`] of the slot. The slot is never borrowed while foreign code runs: actions, panic
//! hooks and destructors of its former content may themselves cross points.
//!
//! Both are thread-locals without a destructor, which can be reached to the very end of the thread; their
//! content is dropped by a third one, [`AT_THREAD_END`].

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
    static INTEREST: Cell<u8> = const { Cell::new(0) };
    static SLOT: ManuallyDrop<RefCell<ThreadSlot>> = const { ManuallyDrop::new(RefCell::new(ThreadSlot::EMPTY)) };
    static AT_THREAD_END: EmptySlot = const { EmptySlot };
}

/// The watchers of a thread. A thread that inherits gets a copy.
#[derive(Clone)]
pub(super) struct ThreadSlot {
    injector: Option<Arc<CrashInjector>>,
    recorder: Option<Arc<CrossingRecorder>>,
    /// The ids of the injectors whose `run_with_crash` the thread is inside of, outermost first.
    runs: Vec<u64>,
}

impl ThreadSlot {
    const EMPTY: Self = Self {
        injector: None,
        recorder: None,
        runs: Vec::new(),
    };

    /// One bit for each point whose crossings are to reach the slot.
    fn interest(&self) -> u8 {
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

/// Returns true if the calling thread's slot wants to hear of `point`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "half of the hook")]
pub(super) fn is_interested_in(point: CrashPoint) -> bool {
    INTEREST.get() & bit(point) != 0
}

pub(super) fn is_watched() -> bool {
    INTEREST.get() != 0
}

/// Counts a crossing of an interesting point and returns true, if there is no more to do: no recorder, and an
/// injector that does not fire yet.
#[inline]
pub(super) fn counts_early_crossing() -> bool {
    // Borrowed exclusively because that takes fewer instructions than sharing.
    SLOT.with(|slot| {
        slot.try_borrow_mut().is_ok_and(|slot| {
            let injector = slot.injector.as_ref().filter(|_| slot.recorder.is_none());
            injector.is_some_and(|it| it.counts_early_crossing())
        })
    })
}

/// The recorder and the injector. `None` if an allocator crosses a point in the middle of a change of the slot.
#[expect(clippy::type_complexity, reason = "a pair of two optional watchers")]
pub(super) fn watchers() -> Option<(Option<Arc<CrossingRecorder>>, Option<Arc<CrashInjector>>)> {
    SLOT.with(|slot| {
        let slot = slot.try_borrow().ok()?;
        Some((slot.recorder.clone(), slot.injector.clone()))
    })
}

/// Changes the slot and returns what `change` took out of it, for the caller to drop once the slot is free
/// again.
fn change<R>(change: impl FnOnce(&mut ThreadSlot) -> R) -> R {
    // Its first use makes the thread run its destructor. If that has run, the thread is all but over: content
    // that is put into the slot from here on, and not taken out again, is never dropped.
    AT_THREAD_END.try_with(|_| ()).ok();
    change_only(change)
}

fn change_only<R>(change: impl FnOnce(&mut ThreadSlot) -> R) -> R {
    SLOT.with(|slot| {
        let mut slot = slot.borrow_mut();
        let taken = change(&mut slot);
        INTEREST.set(slot.interest());
        taken
    })
}

/// Empties the thread's slot when dropped.
struct EmptySlot;

impl Drop for EmptySlot {
    fn drop(&mut self) {
        drop(change_only(|slot| mem::replace(slot, ThreadSlot::EMPTY)));
    }
}

pub(super) fn set_injector(injector: Option<Arc<CrashInjector>>) {
    drop(change(|slot| mem::replace(&mut slot.injector, injector)));
}

/// A copy of the calling thread's slot, to hand to another thread.
pub(super) fn copy() -> ThreadSlot {
    SLOT.with(|slot| slot.borrow().clone())
}

pub(super) fn is_inside_run_of(injector: u64) -> bool {
    SLOT.with(|slot| slot.borrow().runs.contains(&injector))
}

/// Restores, when dropped, a part of the calling thread's slot as it was when the guard was made.
///
/// Each guard restores its part alone, so an injector may come and go while a recorder listens. Guards of one
/// part are dropped in the reverse order of their making, as the end of a block does it.
#[must_use = "the slot is restored as soon as the guard is dropped"]
pub struct SlotGuard {
    /// Holds the part that was replaced; dropped after the slot is free again.
    before: ThreadSlot,
    swap: fn(&mut ThreadSlot, &mut ThreadSlot),
    /// The slot is the thread's own: so is its guard.
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

/// Makes `slot` the calling thread's until the guard is dropped.
pub(super) fn enter(slot: ThreadSlot) -> SlotGuard {
    SlotGuard::new(slot, mem::swap)
}

/// Installs `injector` and puts the thread inside of its run until the guard is dropped.
pub(super) fn enter_run(injector: &Arc<CrashInjector>) -> SlotGuard {
    let mut new = copy();
    new.injector = Some(Arc::clone(injector));
    new.runs.push(injector.id());
    SlotGuard::new(new, |slot, other| {
        mem::swap(&mut slot.injector, &mut other.injector);
        mem::swap(&mut slot.runs, &mut other.runs);
    })
}

/// Installs `injector` in the calling thread's slot until the guard is dropped, which restores the one that was
/// there.
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

/// Lets `recorder` record the calling thread's crossings until the guard is dropped, which restores the one that
/// was there. The injector stays.
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
    /// Returns true if the calling thread's crossings are recorded here.
    pub fn watches_this_thread(&self) -> bool {
        SLOT.with(|slot| {
            slot.borrow()
                .recorder
                .as_deref()
                .is_some_and(|own| ptr::eq(own, self))
        })
    }
}
