//! The options of an open, and the settings of an open store that follow from them.
//!
//! In memory only: the files hold the store's id and the value of the opening.

use std::path::PathBuf;
use std::sync::Arc;

use super::open_files::OpenFiles;
use crate::fs::FileAccess;
use crate::limits::Limits;

/// How a [`FileStore`] is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStoreOptions {
    /// A file that has reached this length, in bytes, takes no more records; the last record may exceed it. While the live data
    /// is less than twice this, files end earlier: at half the live data, but not below a quarter of this or 4864 bytes. Default
    /// 4 MiB, from [`SEGMENT_BYTES_MIN`](crate::limits::SEGMENT_BYTES_MIN) to [`SEGMENT_BYTES_MAX`](crate::limits::SEGMENT_BYTES_MAX). It may differ from open to open.
    pub segment_bytes_max: u64,
    /// The id of a new store; random by default. A fixed id makes the files of a test the same in each run. An existing store
    /// keeps its own.
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

/// The place of an open store, its identity, and the limits of its files.
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
