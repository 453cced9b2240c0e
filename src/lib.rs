//! tidaldb: an embedded signal ledger for ranking and personalisation.

mod bitmap;
mod codec;
mod cohort;
mod decay;
mod entities;
mod error;
pub mod fs;
mod ids;
pub mod limits;
mod signals;
pub mod storage;
#[cfg(any(test, feature = "test-utils"))]
pub mod testing;
mod threads;

pub use entities::CoEngagementConfig;
pub use error::Error;
pub use ids::{CohortId, EntityId, SignalId, UserId};
