//! The relations between items: the items that the same users engage with.
//!
//! A pure state machine in memory. The ledger holds it behind one mutex, and applies events in log order. The log and
//! the last checkpoint survive a crash.

mod co_engagement;
#[cfg(test)]
mod tests;
mod user_ring;

pub(crate) use co_engagement::{CoEngagementIndex, FENCE_SHARDS};
