//! The report of an open, and the sizes of an open store.

use crate::torn_tail::TornTail;

/// The report of [`FileStore::open`](super::FileStore::open): files found, records replayed, bytes cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStoreRecovery {
    /// Data files that were found, including files that another one replaced.
    pub files_found: usize,
    /// Replayed records, one for each write; records without entries do not count, and a compacted file counts as one.
    pub records_replayed: u64,
    /// The torn tail that was cut from the last file, if there was one.
    pub torn_tail: Option<TornTail>,
    /// Temporary files and files that another one replaced, which the repair removes.
    pub leftovers_removed: usize,
}

/// The sizes of a [`FileStore`](super::FileStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStoreStats {
    /// The live data as stored: keys and values of all pairs and 10 bytes for each.
    pub live_bytes: u64,
    /// The length of all files. Between calls at most twice `live_bytes` and one segment, apart from replaced files that a scan
    /// or a read still holds.
    pub total_bytes: u64,
    /// How many files there are.
    pub files_len: u64,
    /// How many pairs there are.
    pub keys_len: u64,
    /// The memory of the index, estimated: the keys and the nodes of an ordered map, about 75 bytes for each pair beside its
    /// key.
    pub index_bytes: u64,
}
