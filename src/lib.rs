//! tidaldb: an embedded signal ledger for ranking and personalisation.
//!
//! An application records engagement with entities. tidaldb computes decayed scores, windowed counts, aggregates for
//! each cohort, collections and co-engagement. A crash at any point in time loses no event that the
//! [durability](Durability) policy promises, and no event counts twice. Standard library only.
//!
//! # Overview
//! - [`Schema`] and [`Signal`] declare the signals, and the scores and windows of each signal.
//! - [`Options`] are the options of an open: [`Durability`], sizes, the threads for the [`Background`] work.
//! - [`TidalDb`] is the handle: record, read, collections, sync, checkpoint, close.
//! - [`storage::StorageEngine`] stores checkpoints and collections; [`fs::FileAccess`] is the only way to files.
//! - [`Error`] has a variant for each kind of failure; [`limits`] holds every limit.
//!
//! # Example: record and rank
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tidaldb::{EntityId, Options, Schema, Signal, SignalEvent, TidalDb, UserId};
//! # let dir = std::env::temp_dir().join(format!("tidaldb-lib-{}", std::process::id()));
//! let schema = Schema::new()
//!     .signal(Signal::new("view").half_life_ms(3_600_000))
//!     .signal(Signal::new("like").half_life_ms(86_400_000).positive());
//! let db = TidalDb::open(&dir, Options::new(schema))?;
//! let like = db.signal("like")?;
//! let at_ms = 1_700_000_000_000;
//! for item in [1, 2, 3] {
//!     db.record(&SignalEvent::new(like, EntityId(item), at_ms).with_user(UserId(42)))?;
//! }
//! // After one half-life the score is a half. Item 1 has one event in the last seven days.
//! assert_eq!(db.score(EntityId(1), like, 0, at_ms + 86_400_000)?, 0.5);
//! assert_eq!(db.windowed_count(EntityId(1), like, 1, 7, at_ms)?, 1);
//! // The users that liked item 1 also liked items 2 and 3.
//! let related: Vec<_> = db.related(EntityId(1), 10, at_ms)?.into_iter().map(|(item, _)| item.0).collect();
//! assert_eq!(related, [2, 3]);
//! db.close()?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(())
//! # }
//! ```
//!
//! # After a crash
//! The state after reopening equals every event up to some sequence number applied exactly once, without a gap.
//! [`Durability`] gives the least such number. A call is one frame of the log, which is wholly recovered or wholly
//! absent.
//!
//! # Features
//! `test-utils`, off by default, adds the module `testing`: crash points compiled into the write paths, an injector
//! that crashes at them, a simulated disk, and the crash-recovery test kit. A build without the feature contains none
//! of these.

mod cells;
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
mod intact;
pub mod limits;
// Documentation for operators, without code.
pub mod operating;
mod options;
mod owner;
mod poison;
mod receipt;
mod schema;
mod signals;
mod states;
pub mod storage;
mod sync;
#[cfg(any(test, feature = "test-utils"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod torn_tail;
mod wal;

pub use clock::{Clock, SystemClock};
pub use db::{
    CohortStateExport, CollectionExport, EarlierOpening, Export, RecoveryReport, RelatedExport, RingExport,
    SignalStateExport, Statistics, TidalDb, TornTail, UserRingExport,
};
pub use error::Error;
pub use event::SignalEvent;
pub use ids::{CohortId, EntityId, SignalId, UserId};
pub use options::{Background, Durability, Options};
pub use receipt::{Receipt, SetBack};
pub use schema::{CoEngagementConfig, Ring, Schema, Signal};
