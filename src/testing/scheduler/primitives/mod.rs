//! Locks, condition variables, atomics and threads with the interface of the standard library. On a scheduled thread
//! each access is one or more steps; on other threads it is the call of the standard library and nothing else.
//!
//! Only the types and methods that the engine uses exist, and [`AtomicUsize`]. The values are those of the standard library, so a panic of a thread
//! poisons a lock as usual.

mod atomic;
mod condvar;
mod mutex;
mod once_lock;
mod rw_lock;
mod thread;

pub use atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
pub use condvar::Condvar;
pub use mutex::{Mutex, MutexGuard};
pub use once_lock::OnceLock;
pub use rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use thread::{Builder, JoinHandle, sleep, spin_loop, yield_now};
