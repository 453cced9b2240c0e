//! The handle of a database. A crash at each step of an open or a close: see [`open`] and [`TidalDb::close`].
//!
//! | file | role |
//! |---|---|
//! | [`open`] | opening and recovery |
//! | [`identity`] | format: the identity record |
//! | [`opening_record`] | format: the opening record |
//! | [`handle`] | [`TidalDb`]: recording, syncing, closing |
//! | [`growth`] | the decision about a checkpoint |
//! | [`read`] | [`TidalDb`]: scores, windows, related items, statistics |
//! | [`collections`] | named sets of entities |
//! | [`background`] | the database's own threads |
//! | [`report`] | the report of an opening, statistics |
//! | [`export`] | the whole state as plain values |

mod background;
pub(crate) mod collections;
mod export;
mod growth;
mod handle;
pub(crate) mod identity;
mod open;
pub(crate) mod opening_record;
mod read;
mod report;
#[cfg(test)]
mod tests;

pub use export::{
    CohortStateExport, CollectionExport, Export, RelatedExport, RingExport, SignalStateExport, UserRingExport,
};
pub use handle::TidalDb;
pub use report::{EarlierOpening, RecoveryReport, Statistics, TornTail};
