//! Signals: what becomes of an event once it is in the log.
//!
//! [`hot`] keeps decayed scores, [`warm`] counts events in windows; both hold the slots of one signal in one shard, in
//! [`cells`].
//! [`states`] maps a key, an entity or a cohort and an entity, to its slot in both, and knows what changed since the
//! last checkpoint. [`ledger`] feeds them, the cohorts and co-engagement from the log; [`checkpoint`] stores them.
//!
//! Invariant: the tiers are a pure function of the events applied. Time comes in as an argument, nothing reads a clock,
//! draws a random number or walks a hash map.

pub(crate) mod checkpoint;
pub(crate) mod hot;
pub(crate) mod ledger;
#[cfg(test)]
mod tests;
pub(crate) mod warm;
