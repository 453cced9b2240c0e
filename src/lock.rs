//! Locks. The standard library's lock poisoning is not used: it misses a panic on a thread that unwinds already, for
//! example in a destructor. [`Poison::attempt`](crate::poison::Poison::attempt) records a failure, and [`Intact`]
//! guards a value that is read after a failure.
//!
//! In memory only: a crash leaves nothing of it.

use std::hint;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use crate::Error;

/// The number of tries to take a lock before the thread sleeps, and the number of spins between two tries: together
/// about ten microseconds.
const TRIES: u32 = 500;
const PAUSES: u32 = 4;

/// Takes `mutex`.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `lock` for reading.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `lock` for writing.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `mutex`, which is held for a few microseconds at a time. Spins for some time before the thread sleeps: a
/// sleeping thread wakes long after the lock was released, and the wake-up also costs time of the thread that released
/// it.
#[inline]
pub(crate) fn lock_brief<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => wait_for(mutex),
    }
}

#[cold]
fn wait_for<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..TRIES {
        for _ in 0..PAUSES {
            hint::spin_loop();
        }
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    lock(mutex)
}

/// A value behind a lock. No thread reads a half-changed value: a mark is set before a change begins, and only a
/// successful change removes the mark.
///
/// Invariant: if `is_changing` is true while no thread holds the lock, a change panicked or failed.
#[derive(Debug)]
pub(crate) struct Intact<T> {
    value: T,
    is_changing: bool,
    /// The name of a change, for the error.
    operation: &'static str,
}

impl<T> Intact<T> {
    /// A whole value. `operation` names a change of it in the error.
    pub(crate) fn new(operation: &'static str, value: T) -> Self {
        Self {
            value,
            is_changing: false,
            operation,
        }
    }

    /// The value, for reading.
    ///
    /// # Errors
    /// `Panicked` if a change of it was not completed.
    #[inline]
    pub(crate) fn get(&self) -> Result<&T, Error> {
        self.check()?;
        Ok(&self.value)
    }

    /// Changes the value. If `change` fails or panics, the value is unreadable from then on.
    ///
    /// # Errors
    /// The error of `change`; `Panicked` if an earlier change was not completed.
    #[inline]
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> Result<R, Error>) -> Result<R, Error> {
        self.check()?;
        self.is_changing = true;
        let changed = change(&mut self.value)?;
        self.is_changing = false;
        Ok(changed)
    }

    /// The value, for a change without a mark. Only for a value that no other thread shares yet: a panic during the
    /// change is not recorded.
    pub(crate) fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }

    #[inline]
    fn check(&self) -> Result<(), Error> {
        if self.is_changing {
            let operation = self.operation;
            return Err(Error::Panicked { operation });
        }
        Ok(())
    }
}
