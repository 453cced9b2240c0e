//! Taking locks that are held for a few microseconds.

use std::hint;
use std::sync::{LockResult, Mutex, MutexGuard, TryLockError};

/// How often a lock is tried before the thread sleeps, and how long it pauses between: some ten microseconds in all.
const TRIES: u32 = 500;
const PAUSES: u32 = 4;

/// Takes `mutex`, trying for a while before it sleeps: a thread that sleeps is woken long after the lock was free, and the
/// one that wakes it pays for that too.
///
/// # Errors
/// As [`Mutex::lock`].
#[inline]
pub(crate) fn lock_brief<T>(mutex: &Mutex<T>) -> LockResult<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(poisoned)) => Err(poisoned),
        Err(TryLockError::WouldBlock) => wait_for(mutex),
    }
}

#[cold]
fn wait_for<T>(mutex: &Mutex<T>) -> LockResult<MutexGuard<'_, T>> {
    for _ in 0..TRIES {
        for _ in 0..PAUSES {
            hint::spin_loop();
        }
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Err(poisoned),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    mutex.lock()
}
