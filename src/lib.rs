//! tidaldb: an embedded signal ledger for ranking and personalisation.

mod error;
mod ids;
#[cfg(any(test, feature = "test-utils"))]
pub mod testing;
mod threads;

pub use error::Error;
pub use ids::{CohortId, EntityId, SignalId, UserId};
