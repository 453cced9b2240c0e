//! The report of a torn tail that recovery truncated.

use std::path::{Path, PathBuf};

/// The truncated end of the log or the embedded store: a part of a frame or record that a crash left, or preallocated
/// zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The file: a segment of the log, or the store's last file.
    pub path: PathBuf,
    /// The offset of the torn tail, in bytes: the length of the file after the truncation.
    pub offset: u64,
    /// The number of bytes that were truncated.
    pub cut_bytes: u64,
    /// True if all truncated bytes are zero. Preallocation leaves zeros; a torn write can leave zeros too.
    pub all_zero: bool,
}

impl TornTail {
    /// The report of `tail`, the bytes from `offset` on in the file at `path`.
    pub(crate) fn new(path: &Path, offset: u64, tail: &[u8]) -> Self {
        Self {
            path: path.to_path_buf(),
            offset,
            cut_bytes: tail.len() as u64,
            all_zero: tail.iter().all(|byte| *byte == 0),
        }
    }
}
