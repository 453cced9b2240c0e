//! A value that no thread reads half changed, also after a panic or a failure.
//!
//! In memory only: a crash leaves nothing of it.

use crate::Error;

/// A value for use inside a lock. No thread reads a half-changed value: a mark is set before a change begins, and only a
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
