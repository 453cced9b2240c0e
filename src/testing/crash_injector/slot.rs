//! The calling thread's slot: which injector and which recorder watch the crossings it makes.
//!
//! Owns the thread's slot and, in front of it, [`INTEREST`]: a plain byte that says which points the slot
//! wants to hear of, so that a hook nobody is interested in costs a load and a test. Invariant: the byte is
//! what [`Slot::interest`] says of the slot. The slot is never borrowed while foreign code runs: actions,
//! panic hooks and destructors of what it held may themselves cross points.
//!
//! Both are thread-locals without a destructor, which can be reached to the very end of the thread; what they
//! hold is dropped by a third one, [`AT_THREAD_END`].

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::sync::Arc;
use std::thread;

use super::injector::{CrashInjector, InjectorId};
use super::point::CrashPoint;
use super::recorder::CrossingRecorder;

thread_local! {
    static INTEREST: Cell<u8> = const { Cell::new(0) };
    static SLOT: ManuallyDrop<RefCell<Slot>> = const { ManuallyDrop::new(RefCell::new(Slot::EMPTY)) };
    static AT_THREAD_END: EmptySlot = const { EmptySlot };
}

/// What watches a thread. A thread that inherits gets a copy.
#[derive(Clone)]
pub(super) struct Slot {
    injector: Option<Arc<CrashInjector>>,
    recorder: Option<Arc<CrossingRecorder>>,
    /// The injectors whose `run_with_crash` the thread is inside of, outermost first.
    runs: Vec<InjectorId>,
}

impl Slot {
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

    /// Whether that was all there is to this crossing of an interesting point: no recorder, and an injector
    /// that counts it and does not fire.
    #[inline]
    fn counts_early_crossing(&self) -> bool {
        self.recorder.is_none()
            && self
                .injector
                .as_ref()
                .is_some_and(|it| it.counts_early_crossing())
    }
}

const fn bit(point: CrashPoint) -> u8 {
    const { assert!(CrashPoint::ALL.len() <= u8::BITS as usize) };
    1 << point as u8
}

/// Whether the calling thread's slot wants to hear of `point`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "half of the hook")]
pub(super) fn is_interested_in(point: CrashPoint) -> bool {
    INTEREST.get() & bit(point) != 0
}

pub(super) fn is_watched() -> bool {
    INTEREST.get() != 0
}

/// The hook's second half, for a point the slot is interested in.
#[inline(never)]
pub(super) fn crossed(point: CrashPoint) {
    // Borrowed exclusively because that takes fewer instructions than sharing.
    let counted = !thread::panicking()
        && SLOT.with(|slot| {
            slot.try_borrow_mut()
                .is_ok_and(|slot| slot.counts_early_crossing())
        });
    if !counted {
        crossed_beyond_counting(point);
    }
}

#[cold]
fn crossed_beyond_counting(point: CrashPoint) {
    // Copies, so that the slot is free while the crash runs its course.
    let watching = SLOT.with(|slot| {
        slot.try_borrow()
            .map(|slot| (slot.recorder.clone(), slot.injector.clone()))
    });
    // Borrowed: an allocator that crosses points, in the middle of a change of the slot.
    let Ok((recorder, injector)) = watching else {
        return;
    };
    if let Some(recorder) = recorder {
        recorder.record(point);
    }
    if let Some(injector) = injector {
        injector.maybe_crash(point);
    }
}

/// Changes the slot and returns what `change` took out of it, for the caller to drop once the slot is free
/// again.
fn change<R>(change: impl FnOnce(&mut Slot) -> R) -> R {
    // Its first use is what makes the thread run its destructor. If that has run, the thread is all but over:
    // what is put into the slot from here on, and not taken out again, is never dropped.
    AT_THREAD_END.try_with(|_| ()).ok();
    change_only(change)
}

fn change_only<R>(change: impl FnOnce(&mut Slot) -> R) -> R {
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
        drop(change_only(|slot| mem::replace(slot, Slot::EMPTY)));
    }
}

fn look<R>(look: impl FnOnce(&Slot) -> R) -> R {
    SLOT.with(|slot| look(&slot.borrow()))
}

pub(super) fn set_injector(injector: Option<Arc<CrashInjector>>) {
    drop(change(|slot| mem::replace(&mut slot.injector, injector)));
}

/// Installs the injector and notes that the thread is inside its run. Returns what [`end_run`] restores.
pub(super) fn begin_run(injector: &Arc<CrashInjector>) -> Option<Arc<CrashInjector>> {
    change(|slot| {
        slot.runs.push(injector.id());
        slot.injector.replace(Arc::clone(injector))
    })
}

pub(super) fn end_run(before: Option<Arc<CrashInjector>>) {
    drop(change(|slot| {
        slot.runs.pop();
        mem::replace(&mut slot.injector, before)
    }));
}

pub(super) fn is_inside_run_of(injector: InjectorId) -> bool {
    look(|slot| slot.runs.contains(&injector))
}

pub(super) fn is_recorded_by(recorder: &CrossingRecorder) -> bool {
    look(|slot| {
        slot.recorder
            .as_deref()
            .is_some_and(|own| std::ptr::eq(own, recorder))
    })
}

/// A copy of the calling thread's slot, to hand to another thread.
pub(super) fn copy() -> Slot {
    look(Clone::clone)
}

/// Restores, when dropped, what the calling thread's slot held when the guard was made.
///
/// Guards are dropped in the reverse order of their making, as the end of a block does it.
#[must_use = "the slot is restored as soon as the guard is dropped"]
pub struct SlotGuard {
    before: Before,
    /// The slot is the thread's own: so is its guard.
    not_send: PhantomData<*const ()>,
}

/// The part of the slot that was replaced. Each restores its part alone, so an injector may come and go while
/// a recorder listens.
enum Before {
    Injector(Option<Arc<CrashInjector>>),
    Recorder(Option<Arc<CrossingRecorder>>),
    Whole(Slot),
}

impl SlotGuard {
    fn new(before: Before) -> Self {
        Self {
            before,
            not_send: PhantomData,
        }
    }

    pub(super) fn whole(slot: Slot) -> Self {
        Self::new(Before::Whole(change(|held| mem::replace(held, slot))))
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        // What is taken out is dropped with the guard, after the slot is free again.
        let before = &mut self.before;
        change(|slot| match before {
            Before::Injector(injector) => mem::swap(&mut slot.injector, injector),
            Before::Recorder(recorder) => mem::swap(&mut slot.recorder, recorder),
            Before::Whole(whole) => mem::swap(slot, whole),
        });
    }
}

impl fmt::Debug for SlotGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotGuard").finish_non_exhaustive()
    }
}

/// Installs `injector` in the calling thread's slot until the guard is dropped, which restores what was
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
    SlotGuard::new(Before::Injector(change(|slot| {
        slot.injector.replace(Arc::clone(injector))
    })))
}

/// Lets `recorder` record the calling thread's crossings until the guard is dropped, which restores what was
/// there. An installed injector goes on as before.
pub fn scoped_recorder(recorder: &Arc<CrossingRecorder>) -> SlotGuard {
    SlotGuard::new(Before::Recorder(change(|slot| {
        slot.recorder.replace(Arc::clone(recorder))
    })))
}

/// Whether the calling code runs inside the destructor of a thread-local, where a panic aborts the process.
///
/// The standard library has no such question, and no thread-local of ours could answer it: destructors run in
/// the reverse order of first use, so one that was first used after ours runs before anything of ours
/// notices. What is left is to look for the standard library's frame on the stack. That takes milliseconds,
/// and is asked only when a panic that nobody is known to catch is about to be thrown. In a program stripped
/// of its symbols the answer is always no.
pub(super) fn in_thread_local_destructor() -> bool {
    Backtrace::force_capture()
        .to_string()
        .lines()
        .any(|line| line.contains("std::sys::thread_local::") && line.contains("::destroy"))
}
