//! Tests of the guarded storage, the storage keys and the in-memory store.

mod guarded;
mod keys;
mod memory;
