//! What is known about items and users beyond single signals: which items are engaged with together.
//!
//! Everything here is a pure in-memory state machine, held by the ledger behind one mutex and fed in log order.

mod co_engagement;
#[cfg(test)]
mod tests;
mod user_ring;

pub(crate) use co_engagement::{CoEngagementIndex, FENCE_SHARDS};
