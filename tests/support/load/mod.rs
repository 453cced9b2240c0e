//! Load with kills: a child process with two writers and a reader is killed at random moments and started again, while
//! its parent keeps the account of its acknowledgements, and compares after each kill.
//!
//! Owns the calls of each writer, which follow from the number of the call alone, so that the account is two numbers.

mod calls;
mod child;
mod parent;

pub(crate) use child::serve_if_asked;
pub(crate) use parent::{Load, LoadTotals};

use tidaldb::Durability;

/// How many threads write.
const WRITERS: usize = 2;

/// The policies of the databases, one after another. A child is told the index of its policy.
pub(crate) const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 5 },
    Durability::OperatingSystem,
];
