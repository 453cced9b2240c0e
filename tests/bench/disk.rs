//! How long the disk itself takes to sync an append: what every durable figure is to be read beside.
#![expect(
    clippy::disallowed_methods,
    reason = "it measures the disk, without the engine"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::stopwatch::Stopwatch;

/// What the file that is appended to is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// Each append makes it longer, and a sync writes its new length too.
    Growing,
    /// Zeros were written and synced ahead of the appends.
    Zeros,
}

/// The mean time of an append of `bytes` with its `fdatasync`, in microseconds, over `appends` of them.
///
/// # Errors
/// Those of the file.
pub(crate) fn sync_microseconds(dir: &Path, ahead: Ahead, bytes: usize, appends: usize) -> io::Result<f64> {
    let path = dir.join("sync");
    let file = create(&path)?;
    if ahead == Ahead::Zeros {
        file.write_all_at(&vec![0; bytes * appends], 0)?;
    }
    file.sync_all()?;
    let record = vec![0xa5; bytes];
    let watch = Stopwatch::start();
    for index in 0..appends {
        file.write_all_at(&record, (index * bytes) as u64)?;
        file.sync_data()?;
    }
    let microseconds = watch.seconds() * 1e6 / appends as f64;
    std::fs::remove_file(path)?;
    Ok(microseconds)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
}
