//! Locks, condition variables, atomics that threads share, and threads. The engine uses them only through this file.
//!
//! A production build uses the standard library alone. In test builds each pair of imports below selects the other line, so
//! that a scheduler can choose the thread that runs. In test builds a new thread also inherits the crash injector of the
//! thread that spawns it. So a crossing of a crash point on an engine thread counts and fires like a crossing on the
//! caller's thread.
//!
//! The standard library's lock poisoning is not used: it misses a panic on a thread that unwinds already, for example in
//! a destructor. [`Poison::attempt`](crate::poison::Poison::attempt) records a failure, and
//! [`Intact`](crate::intact::Intact) guards a value that is read after a failure.
//!
//! In memory only: a crash leaves nothing of it.

use std::io;
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

// Each import has a line for production builds and a line for test builds.
#[cfg(any(test, feature = "test-utils"))]
pub(crate) use crate::testing::scheduler::primitives::{Condvar, Mutex, MutexGuard, OnceLock};
#[cfg(not(any(test, feature = "test-utils")))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

#[cfg(any(test, feature = "test-utils"))]
pub(crate) use crate::testing::scheduler::primitives::{RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(any(test, feature = "test-utils")))]
pub(crate) use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(any(test, feature = "test-utils"))]
pub(crate) use crate::testing::scheduler::primitives::{AtomicBool, AtomicI64, AtomicU8};
#[cfg(not(any(test, feature = "test-utils")))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8};

#[cfg(any(test, feature = "test-utils"))]
pub(crate) use crate::testing::scheduler::primitives::{AtomicU32, AtomicU64};
#[cfg(not(any(test, feature = "test-utils")))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(any(test, feature = "test-utils"))]
pub(crate) use crate::testing::scheduler::primitives::{Builder, JoinHandle, sleep, yield_now};
#[cfg(not(any(test, feature = "test-utils")))]
pub(crate) use std::thread::{Builder, JoinHandle, sleep, yield_now};

#[cfg(any(test, feature = "test-utils"))]
pub(crate) use crate::testing::scheduler::primitives::spin_loop;
#[cfg(not(any(test, feature = "test-utils")))]
pub(crate) use std::hint::spin_loop;

/// The number of tries to take a lock before the thread sleeps: about ten microseconds with the spins between them.
const TRIES_MAX: u32 = 500;
/// The number of spins before each try.
const SPINS_PER_TRY: u32 = 4;

/// Takes `mutex`.
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `mutex` if no thread holds it; otherwise returns `None`.
#[inline]
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The value of a mutex that no other thread can use.
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn get_mut<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `lock` for reading.
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `lock` for writing.
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `mutex`, which is held for a few microseconds at a time. Spins for some time before the thread sleeps: a
/// sleeping thread wakes long after the lock was released, and the wake-up also costs time of the thread that released
/// it.
#[inline]
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn lock_brief<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match try_lock(mutex) {
        Some(guard) => guard,
        None => wait_for(mutex),
    }
}

#[cold]
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
fn wait_for<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..TRIES_MAX {
        for _ in 0..SPINS_PER_TRY {
            spin_loop();
        }
        if let Some(guard) = try_lock(mutex) {
            return guard;
        }
    }
    lock(mutex)
}

/// Releases the mutex of `guard`, waits for a wake-up of `condvar` and takes the mutex again. It may return without a
/// wake-up.
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits for wake-ups of `condvar` while `condition` returns true, at most for `timeout`. The mutex is held again on
/// return. The result does not tell if the time has passed.
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn wait_timeout_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
    condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    let waited = condvar.wait_timeout_while(guard, timeout, condition);
    let (guard, _) = waited.unwrap_or_else(PoisonError::into_inner);
    guard
}

/// Spawns a named thread that runs `body`.
///
/// # Errors
/// The operating system's error if it refuses another thread.
#[cfg_attr(any(test, feature = "test-utils"), track_caller)]
pub(crate) fn spawn<F>(name: &str, body: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    Builder::new().name(name.to_owned()).spawn(body)
}
