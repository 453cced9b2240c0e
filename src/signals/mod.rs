//! Signals: what becomes of an event once it is in the log.
//!
//! [`hot`] keeps decayed scores, [`warm`] counts events in windows; both hold the slots of one signal in one shard, in
//! [`cells`].
//! [`states`] maps a key, an entity or a cohort and an entity, to its slot in both, and knows what changed since the
//! last checkpoint. [`ledger`] feeds them, the cohorts and co-engagement from the log; [`checkpoint`] stores them.
//!
//! Invariant: the tiers are a pure function of the events applied. Time comes in as an argument, nothing reads a clock,
//! draws a random number or walks a hash map.

mod cells;
pub(crate) mod checkpoint;
pub(crate) mod hot;
pub(crate) mod ledger;
pub(crate) mod states;
pub(crate) mod warm;

/// Makes room for `additional_len` more elements, one for a slot. When that is not at hand, room is made for twice as many
/// as there are, up to a page, and from then on for an eighth more, but a page at least: most signals have few keys in a
/// shard, and doubling on would leave up to half of the room unused.
fn reserve_slots<T>(vec: &mut Vec<T>, additional_len: usize) {
    if vec.capacity() - vec.len() < additional_len {
        let more_len = (vec.len() / 8).max(vec.len().min(cells::PAGE_SLOTS));
        vec.reserve_exact(additional_len.max(more_len));
    }
}

/// The size of a vector's allocation.
fn allocated_bytes<T>(vec: &Vec<T>) -> usize {
    vec.capacity() * size_of::<T>()
}
