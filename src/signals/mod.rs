//! Signals: the processing of an event after its append to the log.
//!
//! [`hot`] holds decayed scores, [`warm`] counts events in windows. Both hold the slots of one signal in one shard, in
//! [`cells`](crate::cells). [`states`](crate::states) maps a key to its slot in both tiers, and notes the changes since
//! the last checkpoint. A key is an entity, or a cohort and an entity. [`ledger`] applies each event of the log to the
//! tiers, the cohorts and co-engagement. [`checkpoint`] stores their state.
//!
//! Invariant: the tiers are a pure function of the applied events. Time comes in as an argument. No code reads a clock,
//! draws a random number or iterates over a hash map. The tiers are in memory only: after a crash the next open
//! builds them again from the last checkpoint and the log.

pub(crate) mod checkpoint;
pub(crate) mod hot;
pub(crate) mod ledger;
#[cfg(test)]
mod tests;
pub(crate) mod warm;
