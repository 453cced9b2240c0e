//! A reader-writer lock whose locking and unlocking are steps. A waiting writer blocks new readers, as in the
//! standard library on Linux.

use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{LockResult, PoisonError};

use crate::testing::scheduler::scheduled_thread::ScheduledThread;
use crate::testing::scheduler::step::{ObjectKey, StepAction};

/// [`std::sync::RwLock`] with steps.
#[derive(Debug, Default)]
pub struct RwLock<T: ?Sized> {
    key: ObjectKey,
    value: std::sync::RwLock<T>,
}

/// The guard of a reader of an [`RwLock`].
#[derive(Debug)]
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    // Dropped before the value of the lock is released, so the step comes first.
    _unlocking: Unlocking<'a>,
    guard: std::sync::RwLockReadGuard<'a, T>,
}

/// The guard of a writer of an [`RwLock`].
#[derive(Debug)]
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    _unlocking: Unlocking<'a>,
    guard: std::sync::RwLockWriteGuard<'a, T>,
}

/// Makes the step of unlocking when it is dropped.
#[derive(Debug)]
struct Unlocking<'a> {
    key: &'a ObjectKey,
    action: StepAction,
    /// The place that took the lock.
    location: &'static Location<'static>,
}

impl Drop for Unlocking<'_> {
    fn drop(&mut self) {
        if let Some(thread) = ScheduledThread::current() {
            thread.step(self.action, Some(self.key), self.location);
        }
    }
}

impl<T> RwLock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self {
            key: ObjectKey::new(),
            value: std::sync::RwLock::new(value),
        }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock for reading.
    ///
    /// # Errors
    /// A thread panicked while it held the lock for writing.
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let unlocking = self.step(StepAction::ReadLock, StepAction::ReadUnlock, Location::caller());
        match self.value.read() {
            Ok(guard) => Ok(RwLockReadGuard {
                _unlocking: unlocking,
                guard,
            }),
            Err(poisoned) => Err(PoisonError::new(RwLockReadGuard {
                _unlocking: unlocking,
                guard: poisoned.into_inner(),
            })),
        }
    }

    /// Takes the lock for writing.
    ///
    /// # Errors
    /// A thread panicked while it held the lock for writing.
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let unlocking = self.step(StepAction::WriteLock, StepAction::WriteUnlock, Location::caller());
        match self.value.write() {
            Ok(guard) => Ok(RwLockWriteGuard {
                _unlocking: unlocking,
                guard,
            }),
            Err(poisoned) => Err(PoisonError::new(RwLockWriteGuard {
                _unlocking: unlocking,
                guard: poisoned.into_inner(),
            })),
        }
    }

    /// The value, through an exclusive reference.
    ///
    /// # Errors
    /// A thread panicked while it held the lock for writing.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.value.get_mut()
    }

    fn step(
        &self,
        lock: StepAction,
        unlock: StepAction,
        location: &'static Location<'static>,
    ) -> Unlocking<'_> {
        if let Some(thread) = ScheduledThread::current() {
            thread.step(lock, Some(&self.key), location);
        }
        Unlocking {
            key: &self.key,
            action: unlock,
            location,
        }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
