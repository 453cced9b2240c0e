//! The engines, one in each file.

mod fjall;
mod heed;
mod redb;
mod rusqlite;
mod skeleton;
mod tidaldb;

use crate::peer::Engine;

pub(crate) use self::tidaldb::TIDALDB;

/// All engines, in the order of the table's columns.
pub(crate) const ENGINES: &[Engine] = &[
    TIDALDB,
    fjall::FJALL,
    redb::REDB,
    heed::LMDB,
    heed::LMDB_WRITE_MAP,
    rusqlite::SQLITE,
    skeleton::GROWING,
    skeleton::ZEROS_AHEAD,
];
