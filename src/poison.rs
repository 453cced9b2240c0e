//! Poison: the first failure of a handle, after which nothing is written any more.
//!
//! Poison carries the owner of the database. [`Poison::attempt`] checks for an earlier failure before each step of writing, and
//! [`Poison::check_owner`] checks the owner at the beginning of each sync, rotation and checkpoint.
//!
//! Invariant: once set it stays, and the first cause is kept. Each step that may fail runs inside [`Poison::attempt`] or
//! [`Poison::complete`], whose guard only success disarms. So an error or a panic ends writing before the caller releases its
//! locks, also a panic in a destructor during unwinding. Every read calls [`Poison::check_read`].
//!
//! In memory only: a crash leaves nothing of it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use crate::Error;
use crate::owner::Owner;

const SOUND: u8 = 0;
/// A file operation or a storage call failed: memory is whole, reads continue.
const READABLE: u8 = 1;
/// Memory is half changed or behind the log: reads end too.
const UNREADABLE: u8 = 2;

/// The state that every part of one handle shares.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    level: AtomicU8,
    cause: OnceLock<Arc<Error>>,
    /// The owner of the database; `None` for a part that is used without one.
    owner: Option<Arc<Owner>>,
}

/// The state of memory after a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Intact: reads may continue.
    Intact,
    /// Possibly half changed, or without an event that the log has: reads must end.
    Half,
}

impl Poison {
    /// The poison of a handle of `owner`.
    pub(crate) fn of(owner: Arc<Owner>) -> Self {
        Self {
            owner: Some(owner),
            ..Self::default()
        }
    }

    /// Checks that this process is still the owner of the database. Each sync, rotation and checkpoint calls it within its
    /// [`attempt`](Self::attempt), before it changes anything.
    ///
    /// # Errors
    /// `Forked` or `DirectoryLost`.
    pub(crate) fn check_owner(&self) -> Result<(), Error> {
        self.owner.as_ref().map_or(Ok(()), |owner| owner.check())
    }

    /// Runs `body`, one step of writing. If it fails or panics, writing ends for good. If it panics and `memory` is `Half`,
    /// reading ends too. `operation` is the name of the step in the error.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure, in which case `body` did not run, or by the error of `body`.
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

    /// As [`attempt`](Self::attempt), but does not check for earlier failures: the caller did, or its first half is done.
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
        let armed = Armed {
            poison: self,
            operation,
            memory,
        };
        let result = body();
        // It returned, so it did not panic.
        std::mem::forget(armed);
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
        // An error that says "poisoned" already carries the first cause.
        let cause = match error {
            Error::Poisoned { cause } => cause,
            other => Arc::new(other),
        };
        let first = Arc::clone(self.cause.get_or_init(|| cause));
        // The level is raised after the cause is there, so that a thread that sees the level finds a cause.
        self.level.fetch_max(level, Ordering::Release);
        Error::Poisoned { cause: first }
    }

    /// # Errors
    /// [`Error::Poisoned`] with the first cause, once anything failed.
    #[inline]
    pub(crate) fn check_write(&self) -> Result<(), Error> {
        if self.level.load(Ordering::Acquire) == SOUND {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// # Errors
    /// [`Error::Poisoned`] with the first cause, once memory may be half changed.
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

/// The guard of [`Poison::attempt`]: dropped only if the step panics.
struct Armed<'a> {
    poison: &'a Poison,
    operation: &'static str,
    memory: Memory,
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        let level = match self.memory {
            Memory::Intact => READABLE,
            Memory::Half => UNREADABLE,
        };
        let operation = self.operation;
        drop(self.poison.set(level, Error::Panicked { operation }));
    }
}
