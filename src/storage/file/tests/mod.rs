//! Tests of the whole store on a disk in memory, against the naivest model there is.

mod crash;
mod damage;
mod directory;
mod disk;
mod model;
mod opening;
mod promise;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::disk::{Content, Disk};
use super::names::Name;
use super::{FileStore, FileStoreOptions};
use crate::Error;
use crate::storage::{BatchOperation, StorageEngine, WriteBatch};

/// A naive store: the pairs.
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

const DIR: &str = "/db/store";
/// Small enough for a few records in a file.
const SEGMENT_BYTES: u64 = 512;

fn options() -> FileStoreOptions {
    FileStoreOptions {
        segment_bytes_max: SEGMENT_BYTES,
        store_id: Some(0xfeed),
    }
}

fn open(disk: &Disk) -> Result<FileStore, Error> {
    FileStore::open(disk.access(), DIR, &options())
}

/// The failure that ended writing.
fn first_cause(error: &Error) -> &Error {
    match error {
        Error::Poisoned { cause } => cause,
        other => other,
    }
}

fn path(number: u64) -> PathBuf {
    Path::new(DIR).join(Name::Data(number).build())
}

/// The store as a map.
fn pairs(store: &FileStore) -> Pairs {
    let scanned: Result<Vec<_>, _> = store.scan_prefix(b"").unwrap().collect();
    let scanned = scanned.unwrap();
    assert!(
        scanned.is_sorted_by(|left, right| left.0 < right.0),
        "keys out of order"
    );
    scanned.into_iter().collect()
}

fn apply(pairs: &mut Pairs, batch: &WriteBatch) {
    for operation in batch.operations() {
        match operation.clone() {
            BatchOperation::Put { key, value } => pairs.insert(key, value),
            BatchOperation::Delete { key } => pairs.remove(&key),
        };
    }
}

/// Checks every invariant that holds when no call is under way.
fn validate(store: &FileStore, disk: &Disk, segment_bytes_max: u64) {
    let stats = store.stats().unwrap();
    let on_disk: u64 = files(&disk.content()).map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!(stats.total_bytes, on_disk);
    assert_eq!(stats.files_len, files(&disk.content()).count() as u64);
    let bound = 2 * stats.live_bytes + segment_bytes_max;
    assert!(stats.total_bytes <= bound, "{stats:?} is over {bound}");
    store.index.read().unwrap().get().unwrap().validate();
}

fn files(content: &Content) -> impl Iterator<Item = (&PathBuf, &Vec<u8>)> {
    content.iter().filter(|(path, _)| path.starts_with(DIR))
}
