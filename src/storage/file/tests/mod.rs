//! Tests of the whole store on a simulated disk, against an ordered map.

mod compaction;
mod crash;
mod damage;
mod directory;
mod format;
mod index;
mod model;
mod names;
mod opening;
mod promise;
mod threads;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{FILE_HEADER_LEN, FileHeader, KeyChange, Record, compacted_entries};
use super::names::StoreFileName;
use super::{FileStore, FileStoreOptions};
use crate::Error;
use crate::fs::FileAccess;
use crate::limits::Limits;
use crate::storage::{BatchOperation, StorageEngine, WriteBatch};
use crate::sync::lock;
use crate::testing::sim_disk::{DiskModel, Fate, Image, ImageChoice, Piece, SimDisk, SimDiskOptions, Tear};

/// The model of a store: the pairs.
type StorePairs = BTreeMap<Vec<u8>, Vec<u8>>;
/// The content of a disk: every file's bytes by path.
type DiskContent = BTreeMap<PathBuf, Vec<u8>>;

const DIR: &str = "/db/store";
/// Small enough for a few records in a file.
const SEGMENT_BYTES: u64 = 512;
/// Small enough for a record of several sectors, so that records tear.
const SECTOR_BYTES: u32 = 64;
/// The most images of one crash that are tried.
const IMAGES_MAX: usize = 14;
const SEED: u64 = 0x5eed;

fn options() -> FileStoreOptions {
    FileStoreOptions {
        segment_bytes_max: SEGMENT_BYTES,
        store_id: Some(0xfeed),
    }
}

/// A disk with only the empty directory `db`.
fn new_disk() -> SimDisk {
    disk_of(&DiskContent::new())
}

/// A disk that holds `content`, and the directory `db`.
fn disk_of(content: &DiskContent) -> SimDisk {
    let mut image = Image::new();
    image.insert_dir("/db");
    for (path, bytes) in content {
        image.insert_file(path, bytes.clone());
    }
    disk_of_image(&image)
}

/// A disk that holds `image`. Every call gets an ordinal, also a read.
fn disk_of_image(image: &Image) -> SimDisk {
    let options = SimDiskOptions {
        sector_bytes: SECTOR_BYTES,
        records_reads: true,
        ..SimDiskOptions::default()
    };
    SimDisk::with_options(image, options)
}

/// All written content.
fn content_of(disk: &SimDisk) -> DiskContent {
    let image = disk.image(&ImageChoice::All);
    let files = image.files();
    files
        .map(|(path, bytes)| (path.to_path_buf(), bytes.to_vec()))
        .collect()
}

/// The images that a power loss may leave, and the image with zeros in the place of all unsynced bytes.
fn images(disk: &SimDisk) -> impl Iterator<Item = Image> {
    images_up_to(disk, IMAGES_MAX)
}

/// Like [`images`], but with at most `len_max` images besides the one with zeros.
fn images_up_to(disk: &SimDisk, len_max: usize) -> impl Iterator<Item = Image> {
    let zeros = Fate::Torn(Tear::new([(u32::MAX, Piece::Zeros)]));
    let undurable = disk.undurable().into_iter();
    let fates = undurable.map(|operation| (operation.ordinal, zeros.clone()));
    let all_zeros = ImageChoice::Drop(fates.collect());
    let choices = disk.choices(DiskModel::WEAKEST, len_max, SEED).choices;
    let choices = choices.into_iter().chain([all_zeros]);
    choices.map(|choice| disk.image(&choice))
}

/// The operations of the disk, each as its kind and path.
fn operations(disk: &SimDisk) -> Vec<String> {
    let recording = disk.recording();
    let operations = recording.operations();
    operations
        .map(|operation| format!("{} {}", operation.kind, operation.path.display()))
        .collect()
}

fn access(disk: &SimDisk) -> Arc<dyn FileAccess> {
    Arc::new(disk.clone())
}

fn open(disk: &SimDisk) -> Result<FileStore, Error> {
    open_with(disk, &options())
}

fn open_with(disk: &SimDisk, options: &FileStoreOptions) -> Result<FileStore, Error> {
    FileStore::open_within(access(disk), DIR, options, limits())
}

/// Small enough for compactions of several steps, and for more files than open handles.
fn limits() -> Limits {
    Limits {
        store_step_bytes: 100,
        store_share_factor: 4,
        store_unsynced_bytes_max: 150,
        store_removals_len_max: 1,
        store_open_files_len_max: 2,
        ..Limits::default()
    }
}

/// The failure that ended writing.
fn first_cause(error: &Error) -> &Error {
    match error {
        Error::Poisoned { cause } => cause,
        other => other,
    }
}

fn path(number: u64) -> PathBuf {
    Path::new(DIR).join(StoreFileName::Data(number).build())
}

/// The path of the store's last file.
fn last_path(content: &DiskContent) -> PathBuf {
    path(*log_files(content).last().unwrap())
}

/// The lengths of the files, in the order of their names.
fn sizes(content: &DiskContent) -> Vec<usize> {
    files(content).map(|(_, bytes)| bytes.len()).collect()
}

/// The store as a map.
fn pairs(store: &FileStore) -> StorePairs {
    let scanned: Result<Vec<_>, _> = store.scan_prefix(b"").unwrap().collect();
    let scanned = scanned.unwrap();
    assert!(
        scanned.is_sorted_by(|left, right| left.0 < right.0),
        "keys out of order"
    );
    scanned.into_iter().collect()
}

/// The numbers of the store's files, in the order of their places; the tail is the last.
fn log_files(content: &DiskContent) -> Vec<u64> {
    let headers =
        files(content).filter_map(
            |(path, bytes)| match StoreFileName::parse(path.file_name()?.to_str()?)? {
                StoreFileName::Data(_) => FileHeader::decode(bytes, path).ok(),
                StoreFileName::Temporary(_) => None,
            },
        );
    let mut headers: Vec<_> = headers.collect();
    headers.sort_by_key(|header| (header.first_place, Reverse(header.number)));
    let mut places = 0;
    headers.retain(|header| {
        let is_needed = header.last_place() > places;
        places = places.max(header.last_place());
        is_needed
    });
    headers.iter().map(|header| header.number).collect()
}

/// Only the files that the store needs.
fn without_leftovers(content: &DiskContent) -> DiskContent {
    let needed = log_files(content).into_iter();
    needed
        .map(|number| (path(number), content[&path(number)].clone()))
        .collect()
}

fn apply(pairs: &mut StorePairs, batch: &WriteBatch) {
    for operation in batch.operations() {
        match operation.clone() {
            BatchOperation::Put { key, value } => pairs.insert(key, value),
            BatchOperation::Delete { key } => pairs.remove(&key),
        };
    }
}

/// Checks every invariant that holds between calls.
fn validate(store: &FileStore, disk: &SimDisk, segment_bytes_max: u64) {
    let stats = store.stats().unwrap();
    let content = content_of(disk);
    let on_disk: Vec<u64> = files(&content).map(|(_, bytes)| bytes.len() as u64).collect();
    assert_eq!(
        (stats.total_bytes, stats.files_len),
        (on_disk.iter().sum(), on_disk.len() as u64)
    );
    let bound = 2 * stats.live_bytes + segment_bytes_max;
    assert!(stats.total_bytes <= bound, "{stats:?} is over {bound}");
    let is_compacting = lock(&store.compaction).is_some();
    // A compaction in progress has subtracted values from the counts that its files still hold.
    let values_len = (!is_compacting).then(|| values_of_keys(&content));
    store
        .index
        .read()
        .unwrap()
        .get()
        .unwrap()
        .validate(values_len.as_ref());
}

/// The number of values of each key in the store's files.
fn values_of_keys(content: &DiskContent) -> BTreeMap<Vec<u8>, u32> {
    let mut lens = BTreeMap::new();
    let mut count = |change: KeyChange<'_>| {
        if change.value.is_some() {
            *lens.entry(change.key.to_vec()).or_default() += 1;
        }
    };
    for number in log_files(content) {
        let bytes = &content[&path(number)];
        let header = FileHeader::decode(bytes, &path(number)).unwrap();
        if header.compaction.is_some() {
            compacted_entries(&header, bytes).unwrap().for_each(&mut count);
            continue;
        }
        let mut offset = FILE_HEADER_LEN;
        while let Some(record) = Record::decode_checked(bytes, header.seed(), offset) {
            record.changes().for_each(&mut count);
            offset = record.end;
        }
    }
    lens
}

fn files(content: &DiskContent) -> impl Iterator<Item = (&PathBuf, &Vec<u8>)> {
    content.iter().filter(|(path, _)| path.starts_with(DIR))
}
