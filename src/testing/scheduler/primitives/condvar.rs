//! A condition variable whose waits and notifications are steps. The scheduler chooses the thread that a notification
//! wakes, and fires the time limit of a wait in simulated time.

use std::panic::Location;
use std::sync::{LockResult, PoisonError};
use std::time::Duration;

use super::mutex::MutexGuard;
use crate::testing::scheduler::scheduled_thread::ScheduledThread;
use crate::testing::scheduler::step::{ObjectKey, StepAction};

/// [`std::sync::Condvar`] with steps. A scheduled wait has no spurious wake-ups.
#[derive(Debug, Default)]
pub struct Condvar {
    key: ObjectKey,
    value: std::sync::Condvar,
}

impl Condvar {
    /// A condition variable without waiting threads.
    pub const fn new() -> Self {
        Self {
            key: ObjectKey::new(),
            value: std::sync::Condvar::new(),
        }
    }

    /// Releases the lock, waits for a notification, and takes the lock again.
    ///
    /// # Errors
    /// A thread panicked while it held the lock.
    #[track_caller]
    pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let location = Location::caller();
        if let Some(thread) = ScheduledThread::current() {
            let (guard, _) = self.wait_scheduled(&thread, guard, None, location);
            return guard;
        }
        let Some(value) = guard.guard.take() else {
            unreachable!("a guard in use holds the lock")
        };
        match self.value.wait(value) {
            Ok(value) => {
                guard.guard = Some(value);
                Ok(guard)
            }
            Err(poisoned) => {
                guard.guard = Some(poisoned.into_inner());
                Err(PoisonError::new(guard))
            }
        }
    }

    /// Waits while `condition` returns true, at most for `time`. The second value is true if the time has passed and the
    /// condition is still true.
    ///
    /// # Errors
    /// A thread panicked while it held the lock.
    #[track_caller]
    pub fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        time: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let location = Location::caller();
        if let Some(thread) = ScheduledThread::current() {
            let until = thread.now().saturating_add(time);
            let mut is_over = false;
            while condition(&mut guard) {
                if is_over {
                    return Ok((guard, true));
                }
                let (relocked, timed_out) = self.wait_scheduled(&thread, guard, Some(until), location);
                is_over = timed_out;
                match relocked {
                    Ok(relocked) => guard = relocked,
                    Err(poisoned) => return Err(PoisonError::new((poisoned.into_inner(), is_over))),
                }
            }
            return Ok((guard, false));
        }
        let Some(value) = guard.guard.take() else {
            unreachable!("a guard in use holds the lock")
        };
        match self.value.wait_timeout_while(value, time, condition) {
            Ok((value, result)) => {
                guard.guard = Some(value);
                Ok((guard, result.timed_out()))
            }
            Err(poisoned) => {
                let (value, result) = poisoned.into_inner();
                guard.guard = Some(value);
                Err(PoisonError::new((guard, result.timed_out())))
            }
        }
    }

    /// Wakes one waiting thread.
    #[track_caller]
    pub fn notify_one(&self) {
        if let Some(thread) = ScheduledThread::current() {
            thread.notify(StepAction::NotifyOne, &self.key, Location::caller());
        }
        self.value.notify_one();
    }

    /// Wakes all waiting threads.
    #[track_caller]
    pub fn notify_all(&self) {
        if let Some(thread) = ScheduledThread::current() {
            thread.notify(StepAction::NotifyAll, &self.key, Location::caller());
        }
        self.value.notify_all();
    }

    /// Waits as a scheduled thread, until the simulated time `until`. The second value is true if this time has come.
    fn wait_scheduled<'a, T>(
        &self,
        thread: &ScheduledThread,
        mut guard: MutexGuard<'a, T>,
        until: Option<Duration>,
        location: &'static Location<'static>,
    ) -> (LockResult<MutexGuard<'a, T>>, bool) {
        let mutex = guard.mutex;
        let value = guard.guard.take();
        let timed_out = thread.wait((&self.key, &mutex.key), until, location, || drop(value));
        (mutex.lock_value(location), timed_out)
    }
}
