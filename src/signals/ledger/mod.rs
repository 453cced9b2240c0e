//! The ledger: the log and every aggregate that is fed from it, in the order that makes a crash harmless.
//!
//! | file | role |
//! |---|---|
//! | `core` | recording: append, apply, acknowledge |
//! | [`state`] | the aggregates in memory and how an event is applied to each |
//! | [`validate`] | what is refused before the log |
//! | [`replay`] | applying what the log holds beyond the checkpoint |

pub(crate) mod core;
pub(crate) mod replay;
pub(crate) mod state;
pub(crate) mod validate;

pub(crate) use self::core::SignalLedger;
pub(crate) use state::LedgerState;
