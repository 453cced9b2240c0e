//! The report of an open, and the sizes of an open store. In memory only: a crash leaves nothing of them.

use crate::torn_tail::TornTail;

/// The report of [`FileStore::open`](super::FileStore::open): files found, records replayed, bytes truncated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStoreRecovery {
    /// The number of data files, including files that another file replaced.
    pub files_found: usize,
    /// The number of replayed records, one for each write. Records without entries do not count. A compacted file
    /// counts as one.
    pub records_replayed: u64,
    /// The torn tail that was truncated from the last file; `None` if the file had none.
    pub torn_tail: Option<TornTail>,
    /// The number of files that the repair removes: temporary files, and files that another file replaced.
    pub leftovers_removed: usize,
}

/// The sizes of a [`FileStore`](super::FileStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStoreStats {
    /// The stored length of the live data: keys and values of all pairs, and 10 bytes for each pair.
    pub live_bytes: u64,
    /// The length of all files. Between calls it is at most twice `live_bytes` and one segment. Replaced files that a
    /// scan or a read still uses do not count for this bound.
    pub total_bytes: u64,
    /// The number of files.
    pub files_len: u64,
    /// The number of pairs.
    pub keys_len: u64,
    /// The estimated memory of the index: for each pair its key and about 75 bytes of the nodes of an ordered map.
    pub index_bytes: u64,
}
