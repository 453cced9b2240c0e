//! The ledger: the log, and all aggregates of its events.
//!
//! Invariant: an event is appended to the log before it is applied to an aggregate, so replay repairs each loss of
//! memory.
//!
//! | file | role |
//! |---|---|
//! | `core` | recording: append, apply, acknowledge |
//! | [`state`] | the aggregates in memory, and the application of an event to each |
//! | [`validate`] | the checks of an event before its append |
//! | [`replay`] | the application of the frames after the checkpoint |

pub(crate) mod core;
pub(crate) mod replay;
pub(crate) mod state;
pub(crate) mod validate;

pub(crate) use self::core::SignalLedger;
pub(crate) use state::LedgerState;
