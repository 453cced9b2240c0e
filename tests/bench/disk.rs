//! The time of the disk itself for an append with a sync. Compare every durable figure with it.
#![expect(
    clippy::disallowed_methods,
    reason = "it measures the disk, without the engine"
)]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::stopwatch::timed;

/// The kinds of measured files. An append makes a growing file longer, so that the sync writes the new length too. The
/// other file has zeros that were written and synced before.
pub(crate) const FILES: [(&str, bool); 2] = [("growing file", false), ("zeros ahead", true)];

/// The mean time of an append of `bytes` with its `fdatasync`, in microseconds, over `appends` of them.
///
/// # Errors
/// The errors of the file system.
pub(crate) fn sync_microseconds(
    dir: &Path,
    has_zeros: bool,
    bytes: usize,
    appends: usize,
) -> io::Result<f64> {
    let path = dir.join("sync");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    if has_zeros {
        file.write_all_at(&vec![0; bytes * appends], 0)?;
    }
    file.sync_all()?;
    let record = vec![0xa5; bytes];
    let (appended, seconds) = timed(|| {
        (0..appends).try_for_each(|index| {
            file.write_all_at(&record, (index * bytes) as u64)?;
            file.sync_data()
        })
    });
    appended?;
    std::fs::remove_file(path)?;
    Ok(seconds * 1e6 / appends as f64)
}
