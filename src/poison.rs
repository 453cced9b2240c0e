//! Poison: the first failure of a handle, after which nothing is written any more.
//!
//! Invariant: once set it stays, and the first cause is the one that is kept. Everything that is about to make a
//! durable step asks [`Poison::check_write`] first; every read asks [`Poison::check_read`].

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::Error;

const SOUND: u8 = 0;
/// An input or output failed: memory is whole, reads go on.
const READABLE: u8 = 1;
/// A thread panicked while it changed memory: reads end too.
const UNREADABLE: u8 = 2;

/// The state that every part of one handle shares.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    level: AtomicU8,
    cause: OnceLock<Arc<Error>>,
}

impl Poison {
    /// Ends writing because of `error`, unless it has ended already; gives what the failing call is to return.
    pub(crate) fn fail(&self, error: Error) -> Error {
        self.set(READABLE, error)
    }

    /// Ends writing and reading because a thread panicked in the middle of `operation`.
    pub(crate) fn panicked(&self, operation: &'static str) -> Error {
        self.set(UNREADABLE, Error::Panicked { operation })
    }

    fn set(&self, level: u8, error: Error) -> Error {
        // An error that says "poisoned" already carries the first cause.
        let cause = match error {
            Error::Poisoned { cause } => cause,
            other => Arc::new(other),
        };
        let first = Arc::clone(self.cause.get_or_init(|| cause));
        // The level is raised after the cause is there, so that whoever sees the level finds a cause.
        self.level.fetch_max(level, Ordering::Release);
        Error::Poisoned { cause: first }
    }

    /// # Errors
    /// [`Error::Poisoned`] with the first cause, once anything failed.
    pub(crate) fn check_write(&self) -> Result<(), Error> {
        if self.level.load(Ordering::Acquire) == SOUND {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// # Errors
    /// [`Error::Poisoned`] with the first cause, once a thread panicked while it changed memory.
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

    fn error(&self) -> Error {
        match self.cause() {
            Some(cause) => Error::Poisoned { cause },
            None => Error::Panicked {
                operation: "poisoning",
            },
        }
    }

    /// A guard that, dropped while its thread unwinds, ends writing, and reading too where memory may be half changed.
    pub(crate) fn on_unwind(&self, operation: &'static str, memory: Memory) -> UnwindGuard<'_> {
        UnwindGuard {
            poison: self,
            operation,
            memory,
            was_panicking: thread::panicking(),
        }
    }
}

/// What a panic leaves of the state in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Whole: reads may go on.
    Whole,
    /// Possibly half changed: reads must end.
    Half,
}

/// See [`Poison::on_unwind`].
#[derive(Debug)]
pub(crate) struct UnwindGuard<'a> {
    poison: &'a Poison,
    operation: &'static str,
    memory: Memory,
    was_panicking: bool,
}

impl Drop for UnwindGuard<'_> {
    fn drop(&mut self) {
        // A call made by a destructor while the thread unwinds for another reason is no failure of that call.
        if self.was_panicking || !thread::panicking() {
            return;
        }
        let level = if self.memory == Memory::Half {
            UNREADABLE
        } else {
            READABLE
        };
        drop(self.poison.set(
            level,
            Error::Panicked {
                operation: self.operation,
            },
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    #[test]
    fn the_first_cause_is_kept_and_reads_go_on_after_a_failed_write() {
        let poison = Poison::default();
        assert!(poison.check_write().is_ok() && poison.check_read().is_ok());
        drop(poison.fail(Error::Closed));
        drop(poison.fail(Error::Panicked { operation: "second" }));
        let Err(Error::Poisoned { cause }) = poison.check_write() else {
            panic!("not poisoned")
        };
        assert!(matches!(*cause, Error::Closed), "{cause:?}");
        assert!(poison.check_read().is_ok());
    }

    #[test]
    fn reads_end_after_a_panic_that_may_have_left_half_a_state() {
        for (memory, readable) in [(Memory::Whole, true), (Memory::Half, false)] {
            let poison = Poison::default();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _guard = poison.on_unwind("apply", memory);
                resume_unwind(Box::new("planned"));
            }));
            assert!(caught.is_err());
            assert!(poison.check_write().is_err());
            assert_eq!(poison.check_read().is_ok(), readable, "{memory:?}");
        }
    }

    #[test]
    fn a_guard_dropped_in_peace_poisons_nothing() {
        let poison = Poison::default();
        drop(poison.on_unwind("apply", Memory::Half));
        assert!(poison.check_write().is_ok());
    }
}
