//! The share of each write, the number of open files, and older versions of compacted files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::format::FILE_HEADER_LEN;
use super::{
    DIR, DiskContent, FileStore, FileStoreOptions, StorePairs, access, content_of, disk_of, limits,
    log_files, new_disk, open, open_with, options, pairs, path, validate, without_leftovers,
};
use crate::Error;
use crate::limits::Limits;
use crate::storage::StorageEngine;
use crate::testing::faults::{FileOperation, ForwardingFiles};
use crate::testing::sim_disk::SimDisk;
use crate::testing::workload::Random;

pub(super) const LARGER_SEGMENT_BYTES: u64 = 32 << 10;

/// The most bytes that a write reads and writes in addition to its share.
const STEP_BYTES_MAX: u64 = 2000;

/// The limits of these tests with the default share of each write.
pub(super) fn sharing_limits() -> Limits {
    Limits {
        store_share_factor: Limits::default().store_share_factor,
        ..limits()
    }
}

/// A store whose calls are measured.
struct MeasuredStore {
    disk: SimDisk,
    store: FileStore,
    moved_bytes: Arc<AtomicU64>,
    writes_len: u64,
}

impl MeasuredStore {
    fn new() -> Self {
        let disk = new_disk();
        let options = FileStoreOptions {
            segment_bytes_max: LARGER_SEGMENT_BYTES,
            ..options()
        };
        let moved_bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&moved_bytes);
        let files = ForwardingFiles::new(access(&disk), move |call| {
            let len = match &call.operation {
                FileOperation::Read { buffer, .. } => buffer.len(),
                FileOperation::Write { bytes, .. } => bytes.len(),
                _ => 0,
            };
            counted.fetch_add(len as u64, Ordering::Relaxed);
            call.forward()
        });
        Self {
            store: FileStore::open_within(Arc::new(files), DIR, &options, sharing_limits()).unwrap(),
            disk,
            moved_bytes,
            writes_len: 0,
        }
    }

    /// Makes a write of `written_bytes` that makes `garbage_bytes` garbage. Checks the number of bytes that it read and
    /// wrote.
    fn write(
        &mut self,
        written_bytes: usize,
        garbage_bytes: usize,
        write: impl FnOnce(&FileStore) -> Result<(), Error>,
    ) {
        self.moved_bytes.store(0, Ordering::Relaxed);
        write(&self.store).unwrap();
        let moved_bytes = self.moved_bytes.load(Ordering::Relaxed);
        // A write reads its share, and writes at most as many bytes.
        let share_bytes =
            2 * sharing_limits().store_share_factor * (written_bytes + garbage_bytes + 64) as u64;
        assert!(
            moved_bytes <= share_bytes + STEP_BYTES_MAX,
            "{moved_bytes} bytes for a write of {written_bytes}: {:?}",
            self.store.stats()
        );
        let stats = self.store.stats().unwrap();
        assert!(
            stats.files_len <= 16 * stats.live_bytes / LARGER_SEGMENT_BYTES + 12,
            "{stats:?}"
        );
        self.writes_len += 1;
        if self.writes_len.is_multiple_of(100) {
            validate(&self.store, &self.disk, LARGER_SEGMENT_BYTES);
        }
    }

    fn put(&mut self, key: u64, len: usize) {
        self.write(len + 50, len + 50, |store| {
            store.put(&key.to_be_bytes(), &vec![7; len])
        });
    }

    fn delete(&mut self, key: u64, len: usize) {
        self.write(50, len + 50, |store| store.delete(&key.to_be_bytes()));
    }
}

#[test]
fn a_write_does_a_bounded_share_of_a_compaction_under_any_load() {
    let mut random = Random::new(5);
    // Overwrites of all keys, of a few keys of many, and of one key.
    for (cold, hot) in [(0, 400), (2000, 20), (2000, 1), (0, 1)] {
        let mut measured = MeasuredStore::new();
        for key in 0..cold {
            measured.put(1000 + key, 100);
        }
        for _ in 0..4000 {
            let len = 50 + random.below(100) as usize;
            measured.put(random.below(hot), len);
        }
    }
    // Deletes of all keys, in order and at random. The data is less or more than a segment. With empty values it is
    // mostly headers.
    for len in [0, 100, 1000] {
        for live_bytes in [1, 2, 3, 4, 8, 32].map(|quarters| quarters * LARGER_SEGMENT_BYTES / 4) {
            let keys_len = live_bytes / (len as u64 + 100) + 2;
            for overwrites_len in [0, keys_len / 3] {
                let mut measured = MeasuredStore::new();
                for key in 0..keys_len {
                    measured.put(key, len);
                }
                for _ in 0..overwrites_len {
                    measured.put(random.below(keys_len), len);
                }
                for key in 0..keys_len / 2 {
                    measured.delete(key, len);
                }
                for _ in 0..2 * keys_len {
                    measured.delete(keys_len / 2 + random.below(keys_len / 2), len);
                }
                // Keys that are deleted soon after their put, among cold keys.
                for key in 0..keys_len {
                    measured.put(10_000 + key, len);
                    measured.delete(10_000 + key, len);
                }
                for key in 0..keys_len {
                    measured.put(20_000 + key, len);
                    measured.delete(19_995 + key, len);
                }
            }
        }
    }
}

#[test]
fn a_write_of_a_queue_does_a_bounded_share_also_if_cold_files_have_outdated_values() {
    // The removals of the queue stayed until every cold file was compacted, and one write did all of this work.
    let mut measured = MeasuredStore::new();
    let tiny_keys = || (0..480).step_by(24).map(|key| 100_000 + key);
    for key in 0..480 {
        measured.put(key, 1000);
        if key % 24 == 0 {
            measured.put(100_000 + key, 1);
        }
    }
    for round in 0..3 {
        for key in 0..1500 {
            let key = 1_000_000 * (round + 1) + key;
            measured.put(key, 200);
            measured.delete(key, 200);
        }
        // In each cold file one value becomes garbage.
        for key in tiny_keys() {
            measured.put(key, 1);
        }
    }
}

#[test]
fn cold_data_is_not_rewritten_because_of_hot_data() {
    let disk = new_disk();
    let options = FileStoreOptions {
        segment_bytes_max: LARGER_SEGMENT_BYTES,
        ..options()
    };
    let store = open_with(&disk, &options).unwrap();
    for key in 0..400_u64 {
        store.put(&key.to_be_bytes(), &[7; 1000]).unwrap();
    }
    let cold = content_of(&disk);
    for _ in 0..4000 {
        store.put(b"hot", &[9; 1000]).unwrap();
    }
    let content = content_of(&disk);
    let unchanged = cold
        .iter()
        .filter(|(path, bytes)| content.get(*path) == Some(bytes));
    // Two files may differ: the tail had cold and hot data.
    assert!(unchanged.count() + 2 >= cold.len());
}

#[test]
fn the_number_of_open_files_is_bounded_for_any_number_of_files() {
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counting = |disk: &SimDisk| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        ForwardingFiles::new(access(disk), move |call| {
            let answer = call.forward();
            match (&call.operation, &answer) {
                (FileOperation::Open { .. }, Ok(_)) => {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                }
                (FileOperation::Close, _) => drop(now.fetch_sub(1, Ordering::SeqCst)),
                _ => {}
            }
            answer
        })
    };
    let disk = new_disk();
    let open = || FileStore::open_within(Arc::new(counting(&disk)), DIR, &options(), limits()).unwrap();
    let store = open();
    let mut model = StorePairs::new();
    for key in 0..200_u32 {
        store.put(&key.to_be_bytes(), &[key as u8; 300]).unwrap();
        model.insert(key.to_be_bytes().to_vec(), vec![key as u8; 300]);
    }
    assert_eq!(pairs(&store), model);
    assert!(log_files(&content_of(&disk)).len() > 80);
    for key in 0..200_u32 {
        store.delete(&key.to_be_bytes()).unwrap();
    }
    drop(store);
    assert_eq!(now.load(Ordering::SeqCst), 0);
    assert!(pairs(&open()).is_empty());
    // The tail, the file of a compaction, the limit, and one file that is opened before another one is closed.
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 2 + limits().store_open_files_len_max as u64 + 1, "{most}");
}

/// The contents of a store after each flush, without leftovers.
fn contents() -> Vec<DiskContent> {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    let mut contents = Vec::new();
    for round in 0..60_u8 {
        store.put(&[b'a' + round % 3], &[round; 70]).unwrap();
        if round % 4 == 3 {
            store.delete(&[b'a' + round % 3]).unwrap();
        }
        store.put(&[b'k', round / 2], &[round; 20]).unwrap();
        store.flush().unwrap();
        contents.push(without_leftovers(&content_of(&disk)));
    }
    contents
}

#[test]
fn older_files_with_the_places_of_a_compacted_file_are_refused() {
    let contents = contents();
    let last = &contents[contents.len() - 1];
    let model = pairs(&open(&disk_of(last)).unwrap());
    let files = log_files(last);
    let (mut tried, mut refused) = (0, 0);
    for older in &contents[..contents.len() - 1] {
        // Each compacted file, one at a time, is replaced by the older files that this version has at its places.
        for &number in &files[..files.len() - 1] {
            if older.contains_key(&path(number)) {
                continue;
            }
            let mut mixed = older.clone();
            mixed.extend(last.clone());
            mixed.remove(&path(number));
            let mixed = without_leftovers(&mixed);
            tried += 1;
            let disk = disk_of(&mixed);
            match open(&disk) {
                Ok(store) => assert_eq!(pairs(&store), model),
                Err(Error::ForeignHistory { .. } | Error::SegmentMissing { .. } | Error::Corrupt { .. }) => {
                    assert!(content_of(&disk) == mixed, "refused and changed");
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(tried > 50 && refused == tried, "{refused} of {tried} are refused");
}

#[test]
fn compaction_copies_a_removal_only_while_an_older_file_has_the_value() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    // The files with the removals are compacted before those with the values.
    for key in 0..20_u8 {
        store.put(&[key], &[key; 200]).unwrap();
    }
    for key in 0..20_u8 {
        store.delete(&[key]).unwrap();
        store.put(b"other", &[key; 30]).unwrap();
        assert_eq!(
            pairs(&open(&disk_of(&content_of(&disk))).unwrap()).len(),
            20 - usize::from(key)
        );
    }
    for round in 0..40_u8 {
        store.put(b"other", &[round; 60]).unwrap();
    }
    store.close().unwrap();
    let content = content_of(&disk);
    let first = log_files(&content)[0];
    let pair_bytes = store.stats().unwrap().live_bytes as usize;
    assert!(content[&path(first)].len() <= FILE_HEADER_LEN + pair_bytes);
}
