//! The options of an open, and the settings of an open store.
//!
//! In memory only: the files hold the store's id and the value of the opening.

use std::path::PathBuf;
use std::sync::Arc;

use super::open_files::OpenFiles;
use crate::fs::FileAccess;
use crate::limits::Limits;

/// The options of [`FileStore::open`](super::FileStore::open).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStoreOptions {
    /// A file of this length, in bytes, takes no more records; the last record may exceed it. Default 4 MiB, from
    /// [`SEGMENT_BYTES_MIN`](crate::limits::SEGMENT_BYTES_MIN) to
    /// [`SEGMENT_BYTES_MAX`](crate::limits::SEGMENT_BYTES_MAX). Each open may use another length.
    ///
    /// If the live data is less than twice this length, files are shorter: they end at half the live data, but not
    /// below a quarter of this length and not below 4864 bytes.
    pub segment_bytes_max: u64,
    /// The id of a new store; random by default. With a fixed id the files of a test are the same in each run. The id
    /// of an existing store does not change.
    pub store_id: Option<u128>,
}

impl Default for FileStoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: 4 << 20,
            store_id: None,
        }
    }
}

/// The directory of an open store, its identity, and the limits of its files.
#[derive(Debug)]
pub(super) struct StoreSettings {
    pub(super) access: Arc<dyn FileAccess>,
    pub(super) open_files: Arc<OpenFiles>,
    pub(super) dir: PathBuf,
    pub(super) store_id: u128,
    /// The value of this opening of the store.
    pub(super) opening: u64,
    pub(super) segment_bytes_max: u64,
    pub(super) limits: Limits,
}
