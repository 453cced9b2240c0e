//! Poison: the first failure of a handle. After it the handle writes nothing any more.
//!
//! Poison holds the owner of the database. [`Poison::attempt`] checks for an earlier failure before each step of
//! writing, and [`Poison::check_owner`] checks the owner at the beginning of each sync, rotation and checkpoint.
//!
//! Invariant: a set poison stays set and retains the first cause. Each step that may fail runs inside
//! [`Poison::attempt`] or [`Poison::complete`]. So an error or a panic ends writing before the caller releases its
//! locks. This holds also for a panic in a destructor during unwinding. Every read calls [`Poison::check_read`].
//!
//! A guard detects the panic of a step: only the return of the step disarms the guard. The code asks neither
//! `std::thread::panicking()` nor the poison flag of a lock. In a destructor that runs during unwinding, `panicking()`
//! is true also if the step succeeds, and a panic of the step does not poison the locks that the step takes.
//!
//! In memory only: a crash leaves nothing of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Error;
use crate::owner::Owner;
use crate::sync::{AtomicU8, OnceLock};

/// Nothing has failed.
const SOUND: u8 = 0;
/// A file operation or a storage call failed. Memory is whole, so reads continue.
const READABLE: u8 = 1;
/// Memory is half changed, or lacks an event of the log. Reads fail too.
const UNREADABLE: u8 = 2;

/// The state that every part of one handle shares.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    level: AtomicU8,
    cause: OnceLock<Arc<Error>>,
    /// The owner of the database; `None` in a part that is used without an owner.
    owner: Option<Arc<Owner>>,
}

/// The state of memory after a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Memory is whole: reads may continue.
    Intact,
    /// Memory may be half changed, or may lack an event of the log: reads must fail.
    HalfChanged,
}

impl Poison {
    /// The poison of a handle of `owner`.
    pub(crate) fn of(owner: Arc<Owner>) -> Self {
        Self {
            owner: Some(owner),
            ..Self::default()
        }
    }

    /// Checks that this process is still the owner of the database. Each sync, rotation and checkpoint calls it within
    /// its [`attempt`](Self::attempt), before it changes anything.
    ///
    /// # Errors
    /// `Forked` or `DirectoryLost`.
    pub(crate) fn check_owner(&self) -> Result<(), Error> {
        self.owner.as_ref().map_or(Ok(()), |owner| owner.check())
    }

    /// Runs `body`, one step of writing. If it fails or panics, writing ends. If it panics and `memory` is
    /// `HalfChanged`, reading ends too. `operation` is the name of the step in the error.
    ///
    /// # Errors
    /// `Poisoned`: by an earlier failure, and then `body` did not run; or by the error of `body`.
    #[inline]
    pub(crate) fn attempt<T>(
        &self,
        operation: &'static str,
        memory: Memory,
        body: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_write()?;
        self.complete(operation, memory, body)
    }

    /// Like [`attempt`](Self::attempt), without the check for earlier failures: the caller made the check, or `body` is
    /// the second half of a step that has begun.
    ///
    /// # Errors
    /// `Poisoned` by the error of `body`, or by the first failure.
    #[inline]
    pub(crate) fn complete<T>(
        &self,
        operation: &'static str,
        memory: Memory,
        body: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let guard = AttemptGuard {
            poison: self,
            operation,
            memory,
        };
        let result = body();
        // `body` returned, so it did not panic.
        std::mem::forget(guard);
        result.map_err(|error| self.fail(error))
    }

    /// Ends writing because of `error`, unless it has ended already. Returns the error for the caller.
    pub(crate) fn fail(&self, error: Error) -> Error {
        self.set(READABLE, error)
    }

    /// Ends writing and reading because of `error`, which left memory half changed. Returns the error for the caller.
    pub(crate) fn fail_unreadable(&self, error: Error) -> Error {
        self.set(UNREADABLE, error)
    }

    fn set(&self, level: u8, error: Error) -> Error {
        // The error `Poisoned` already holds the first cause.
        let cause = match error {
            Error::Poisoned { cause } => cause,
            other => Arc::new(other),
        };
        let first = Arc::clone(self.cause.get_or_init(|| cause));
        // The cause is set before the level, so that a thread that reads the level finds the cause.
        self.level.fetch_max(level, Ordering::Release);
        Error::Poisoned { cause: first }
    }

    /// Checks that writing has not ended.
    ///
    /// # Errors
    /// [`Error::Poisoned`] with the first cause, after any failure.
    #[inline]
    pub(crate) fn check_write(&self) -> Result<(), Error> {
        if self.level.load(Ordering::Acquire) == SOUND {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// Checks that reading has not ended.
    ///
    /// # Errors
    /// [`Error::Poisoned`] with the first cause, if memory may be half changed.
    #[inline]
    pub(crate) fn check_read(&self) -> Result<(), Error> {
        if self.level.load(Ordering::Acquire) == UNREADABLE {
            Err(self.error())
        } else {
            Ok(())
        }
    }

    /// The first cause, if anything failed.
    pub(crate) fn cause(&self) -> Option<Arc<Error>> {
        self.cause.get().cloned()
    }

    #[cold]
    fn error(&self) -> Error {
        match self.cause() {
            Some(cause) => Error::Poisoned { cause },
            None => Error::Panicked {
                operation: "poisoning",
            },
        }
    }
}

/// The guard of [`Poison::attempt`] and [`Poison::complete`]. It is dropped only if the step panics.
struct AttemptGuard<'a> {
    poison: &'a Poison,
    operation: &'static str,
    memory: Memory,
}

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        let level = match self.memory {
            Memory::Intact => READABLE,
            Memory::HalfChanged => UNREADABLE,
        };
        let operation = self.operation;
        drop(self.poison.set(level, Error::Panicked { operation }));
    }
}
