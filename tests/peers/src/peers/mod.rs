//! The engines, one file each.

mod fjall;
mod heed;
mod redb;
mod rusqlite;
mod skeleton;
mod tidaldb;

use crate::peer::Kind;

pub(crate) use self::tidaldb::TIDALDB;

/// All engines, in the order of the table's columns.
pub(crate) const KINDS: &[Kind] = &[
    TIDALDB,
    fjall::FJALL,
    redb::REDB,
    heed::LMDB,
    heed::LMDB_WRITE_MAP,
    rusqlite::SQLITE,
    skeleton::GROWING,
    skeleton::ZEROS_AHEAD,
];
