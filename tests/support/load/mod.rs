//! Load with kills: the parent kills a child process with two writers and a reader at random times and starts it again.
//! It counts the acknowledged calls and compares the state after each kill.
//!
//! Owns the calls of the writers. A call depends only on its writer and its number, so the parent stores only the
//! number of acknowledged calls of each writer.

mod calls;
mod child;
mod parent;

pub(crate) use child::run_if_child;
pub(crate) use parent::{Load, LoadTotals};

use tidaldb::Durability;

/// The number of threads that write.
const WRITERS: usize = 2;

/// The policies of successive databases. A child gets the index of its policy.
pub(crate) const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 5 },
    Durability::OperatingSystem,
];
