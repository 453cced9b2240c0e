//! The end of a log or store that open cut, as reported after recovery.

use std::path::{Path, PathBuf};

/// The cut end of the log or the embedded store: what a crash left of a frame or record, or preallocated zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The file: a segment of the log, or the store's last file.
    pub path: PathBuf,
    /// Where it was cut, in bytes.
    pub offset: u64,
    /// How many bytes were cut.
    pub cut_bytes: u64,
    /// True if all cut bytes are zero. Preallocation leaves zeros; a torn write can leave them too.
    pub all_zero: bool,
}

impl TornTail {
    /// `tail` is what followed `offset` in the file at `path`.
    pub(crate) fn new(path: &Path, offset: u64, tail: &[u8]) -> Self {
        Self {
            path: path.to_path_buf(),
            offset,
            cut_bytes: tail.len() as u64,
            all_zero: tail.iter().all(|byte| *byte == 0),
        }
    }
}
