//! tidaldb: an embedded signal ledger for ranking and personalisation.

mod bitmap;
mod clock;
mod codec;
mod cohort;
mod db;
mod decay;
mod entities;
mod error;
mod event;
pub mod fs;
mod ids;
pub mod limits;
mod poison;
mod schema;
mod signals;
pub mod storage;
#[cfg(any(test, feature = "test-utils"))]
pub mod testing;
mod threads;
mod wal;

pub use clock::{Clock, SystemClock};
pub use db::{
    Background, CohortStateExport, CollectionExport, Durability, Export, Options, Receipt, RecoveryReport,
    RelatedExport, RingExport, SignalStateExport, Statistics, TidalDb, TornTail, UserRingExport,
};
pub use entities::CoEngagementConfig;
pub use error::Error;
pub use event::SignalEvent;
pub use ids::{CohortId, EntityId, SignalId, UserId};
pub use schema::{Ring, Schema, Signal};
