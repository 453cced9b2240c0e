//! The handle of a database.
//!
//! | file | role |
//! |---|---|
//! | [`options`] | how a database is opened |
//! | [`open`] | opening and recovery |
//! | [`identity`] | format: the identity record |
//! | [`handle`] | [`TidalDb`]: recording, syncing, closing |
//! | [`read`] | [`TidalDb`]: scores, windows, related items, statistics |
//! | [`collections`] | named sets of entities |
//! | [`background`] | the database's own threads |
//! | [`report`] | what opening found, statistics |
//! | [`export`] | the whole state as plain values |

mod background;
mod collections;
mod export;
mod handle;
pub(crate) mod identity;
mod open;
mod options;
mod read;
mod report;
#[cfg(test)]
mod tests;

pub use export::{
    CohortStateExport, CollectionExport, Export, RelatedExport, RingExport, SignalStateExport, UserRingExport,
};
pub use handle::{Receipt, SetBack, TidalDb};
pub use options::{Background, Durability, Options};
pub use report::{RecoveryReport, Statistics, TornTail};
