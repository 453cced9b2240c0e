//! A mutex whose locking and unlocking are steps.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use crate::testing::scheduler::scheduled_thread::ScheduledThread;
use crate::testing::scheduler::step::{ObjectKey, StepAction};

/// [`std::sync::Mutex`] with steps.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized> {
    pub(super) key: ObjectKey,
    value: std::sync::Mutex<T>,
}

/// The guard of a [`Mutex`].
#[must_use = "the mutex is unlocked as soon as the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    pub(super) mutex: &'a Mutex<T>,
    /// `None` only while the guard is dropped or waits.
    pub(super) guard: Option<std::sync::MutexGuard<'a, T>>,
    /// The place that took the lock.
    location: &'static Location<'static>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self {
            key: ObjectKey::new(),
            value: std::sync::Mutex::new(value),
        }
    }

    /// The value.
    ///
    /// # Errors
    /// A thread panicked while it held the lock.
    pub fn into_inner(self) -> LockResult<T> {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock.
    ///
    /// # Errors
    /// A thread panicked while it held the lock.
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let location = Location::caller();
        if let Some(thread) = ScheduledThread::current() {
            thread.step(StepAction::Lock, Some(&self.key), location);
        }
        self.lock_value(location)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// `WouldBlock` if another thread holds it; a thread panicked while it held the lock.
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let location = Location::caller();
        if let Some(thread) = ScheduledThread::current()
            && !thread.try_lock(&self.key, location)
        {
            return Err(TryLockError::WouldBlock);
        }
        match self.value.try_lock() {
            Ok(guard) => Ok(self.guard(guard, location)),
            Err(TryLockError::Poisoned(poisoned)) => {
                let guard = self.guard(poisoned.into_inner(), location);
                Err(TryLockError::Poisoned(PoisonError::new(guard)))
            }
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        }
    }

    /// The value, through an exclusive reference.
    ///
    /// # Errors
    /// A thread panicked while it held the lock.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.value.get_mut()
    }

    /// Takes the lock of the standard library. The step was made before.
    pub(super) fn lock_value(&self, location: &'static Location<'static>) -> LockResult<MutexGuard<'_, T>> {
        match self.value.lock() {
            Ok(guard) => Ok(self.guard(guard, location)),
            Err(poisoned) => Err(PoisonError::new(self.guard(poisoned.into_inner(), location))),
        }
    }

    fn guard<'a>(
        &'a self,
        guard: std::sync::MutexGuard<'a, T>,
        location: &'static Location<'static>,
    ) -> MutexGuard<'a, T> {
        MutexGuard {
            mutex: self,
            guard: Some(guard),
            location,
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.guard {
            Some(guard) => guard,
            None => unreachable!("a guard in use holds the lock"),
        }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.guard {
            Some(guard) => guard,
            None => unreachable!("a guard in use holds the lock"),
        }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        if let Some(thread) = ScheduledThread::current() {
            thread.step(StepAction::Unlock, Some(&self.mutex.key), self.location);
        }
        drop(guard);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
