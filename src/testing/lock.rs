//! The locks of the kit: those of the standard library. Lock poisoning is not used.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes `mutex`.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
