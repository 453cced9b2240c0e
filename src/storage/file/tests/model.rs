//! Behaviour without faults: random operations against the model, the bound on the files, scans, threads.

use std::thread;

use super::super::FileStoreOptions;
use super::super::format::KeyChange;
use super::{
    FileStore, SEGMENT_BYTES, StorePairs, apply, content_of, log_files, new_disk, open, operations, options,
    pairs, validate,
};
use crate::Error;
use crate::limits::{STORAGE_KEY_BYTES_MAX, STORE_BATCH_BYTES_MAX};
use crate::storage::{StorageEngine, WriteBatch};
use crate::testing::workload::Random;

fn random_key(random: &mut Random, keys: u64) -> Vec<u8> {
    let number = random.below(keys);
    let len = 1 + (number % 7) as usize;
    let mut key = vec![b"abc"[(number % 3) as usize]; len];
    key.extend(number.to_be_bytes());
    key.drain(..if number.is_multiple_of(5) { len } else { 0 });
    key
}

fn random_batch(random: &mut Random, keys: u64, value_len_max: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for _ in 0..random.below(12) {
        let key = random_key(random, keys);
        if random.below(3) == 0 {
            batch.delete(key);
        } else {
            let len = random.below(value_len_max + 1);
            batch.put(key, random.bytes(len as usize));
        }
    }
    batch
}

fn expect_prefix(store: &FileStore, model: &StorePairs, prefix: &[u8]) {
    let expected: Vec<_> = model.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
    let scanned: Vec<_> = store.scan_prefix(prefix).unwrap().map(Result::unwrap).collect();
    assert!(scanned.iter().map(|(key, value)| (key, value)).eq(expected));
}

#[test]
fn random_operations_and_reopens_agree_with_the_model_and_stay_within_the_bound_on_the_files() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let (disk, mut model) = (new_disk(), StorePairs::new());
        // From a few keys, with mostly garbage, to many small pairs, with mostly headers.
        let (keys, value_len_max) = [(4, 300), (40, 60), (400, 0), (30, 2000)][seed as usize % 4];
        let mut options = options();
        let mut store = super::open_with(&disk, &options).unwrap();
        for step in 0..700 {
            let key = random_key(&mut random, keys);
            match random.below(10) {
                0..3 => {
                    let len = random.below(value_len_max + 1);
                    let value = random.bytes(len as usize);
                    store.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
                3 => {
                    store.delete(&key).unwrap();
                    model.remove(&key);
                }
                4..7 => {
                    let batch = random_batch(&mut random, keys, value_len_max);
                    apply(&mut model, &batch);
                    store.write_batch(batch).unwrap();
                }
                7 => store.flush().unwrap(),
                8 => expect_prefix(
                    &store,
                    &model,
                    &key[..random.below(key.len() as u64 + 1) as usize],
                ),
                _ if random.below(4) == 0 => {
                    drop(store);
                    options.segment_bytes_max = SEGMENT_BYTES << random.below(4);
                    store = super::open_with(&disk, &options).unwrap();
                    assert_eq!(store.recovery().torn_tail, None);
                }
                _ => assert_eq!(store.get(&key).unwrap().as_ref(), model.get(&key)),
            }
            validate(&store, &disk, options.segment_bytes_max);
            if step % 50 == 0 {
                assert_eq!(pairs(&store), model, "step {step}");
            }
        }
        assert_eq!(pairs(&store), model);
    }
}

#[test]
fn after_deletes_of_all_keys_the_files_take_at_most_a_segment_and_the_store_reopens_empty() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    for number in 0..200_u32 {
        store.put(&number.to_be_bytes(), &[7; 40]).unwrap();
        validate(&store, &disk, SEGMENT_BYTES);
    }
    for number in 0..200_u32 {
        store.delete(&number.to_be_bytes()).unwrap();
        validate(&store, &disk, SEGMENT_BYTES);
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats.live_bytes, stats.keys_len), (0, 0));
    assert!(stats.total_bytes <= SEGMENT_BYTES);
    assert!(pairs(&open(&disk).unwrap()).is_empty());
}

#[test]
fn a_batch_larger_than_a_segment_is_one_file_and_compaction_reclaims_its_garbage() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    let mut batch = WriteBatch::new();
    for number in 0..100_u32 {
        batch.put(number.to_be_bytes(), [number as u8; 100]);
    }
    let mut model = StorePairs::new();
    apply(&mut model, &batch);
    store.write_batch(batch.clone()).unwrap();
    validate(&store, &disk, SEGMENT_BYTES);
    assert_eq!(store.stats().unwrap().files_len, 1);
    let whole_len = content_of(&disk)[&super::path(1)].len();
    for round in 0..3 {
        for number in 0..60_u32 {
            store.put(&number.to_be_bytes(), &[round; 300]).unwrap();
            model.insert(number.to_be_bytes().to_vec(), vec![round; 300]);
            validate(&store, &disk, SEGMENT_BYTES);
        }
    }
    let largest = content_of(&disk).values().map(Vec::len).max().unwrap();
    assert!(largest < whole_len * 6 / 10, "{largest} of {whole_len}");
    assert_eq!(pairs(&store), model);
    assert_eq!(pairs(&open(&disk).unwrap()), model);
}

#[test]
fn a_scan_returns_the_state_as_of_its_call_while_compaction_replaces_the_files() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    for number in 0..20_u32 {
        store.put(&number.to_be_bytes(), b"old").unwrap();
    }
    let before = pairs(&store);
    let scan = store.scan_prefix(b"").unwrap();
    for round in 0..50_u32 {
        for number in 0..20_u32 {
            store.put(&number.to_be_bytes(), &round.to_be_bytes()).unwrap();
        }
    }
    // The scan uses replaced files, so they are not removed. They do not count for the bound.
    let log_files_len = log_files(&content_of(&disk)).len();
    let has_replaced_files = |content: &super::DiskContent| content.len() > log_files_len + 1;
    assert!(has_replaced_files(&content_of(&disk)));
    assert_eq!(scan.map(Result::unwrap).collect::<StorePairs>(), before);
    for _ in 0..3 {
        store.put(b"more", b"").unwrap();
    }
    assert!(!has_replaced_files(&content_of(&disk)));
    validate(&store, &disk, SEGMENT_BYTES);
}

#[test]
fn readers_get_the_whole_of_each_batch_or_nothing_of_it_while_another_thread_writes() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    let write = |round: u32| {
        let mut batch = WriteBatch::new();
        for key in 0..8_u8 {
            batch.put([key], round.to_be_bytes());
        }
        store.write_batch(batch).unwrap();
    };
    write(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while last < 500 {
                    let pairs = pairs(&store);
                    let first = pairs[&vec![0]].clone();
                    assert_eq!(pairs.len(), 8);
                    assert!(pairs.values().all(|value| *value == first), "{pairs:?}");
                    let now = u32::from_be_bytes(first.try_into().unwrap());
                    assert!(now >= last, "round {now} after round {last}");
                    assert!(u32::from_be_bytes(store.get(&[7]).unwrap().unwrap().try_into().unwrap()) >= now);
                    last = now;
                }
            });
        }
        scope.spawn(|| (1..=500).for_each(write));
    });
    // No reader uses a replaced file any more.
    write(501);
    validate(&store, &disk, SEGMENT_BYTES);
}

#[test]
fn the_same_operations_give_the_same_bytes() {
    let run = || {
        let disk = new_disk();
        let store = open(&disk).unwrap();
        let mut random = Random::new(7);
        for _ in 0..300 {
            store.write_batch(random_batch(&mut random, 20, 50)).unwrap();
        }
        content_of(&disk)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_flush_syncs_only_if_something_was_written_since_the_last_sync() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    store.flush().unwrap();
    let before = operations(&disk).len();
    store.put(b"key", b"value").unwrap();
    store.flush().unwrap();
    store.flush().unwrap();
    store.write_batch(WriteBatch::new()).unwrap();
    store.flush().unwrap();
    let file = super::path(1).display().to_string();
    assert_eq!(
        operations(&disk)[before..],
        [format!("write {file}"), format!("sync {file}")]
    );
}

#[test]
fn keys_and_batches_over_their_limits_are_refused_and_nothing_is_written() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    let before = operations(&disk).len();
    let long = vec![1; STORAGE_KEY_BYTES_MAX + 1];
    let mut batch = WriteBatch::new();
    batch.put("good", "value");
    batch.delete(long.clone());
    for error in [
        store.put(&long, b""),
        store.delete(&long),
        store.write_batch(batch),
    ] {
        let error = error.unwrap_err();
        assert!(
            matches!(error, Error::LimitExceeded { limit, found, .. } if limit == 1024 && found == 1025),
            "{error}"
        );
    }
    for error in [store.put(b"", b""), store.delete(b"")] {
        assert!(matches!(error, Err(Error::InvalidInput { field: "key", .. })));
    }
    // The same value four times, so that a batch over the limit takes little memory.
    let quarter = vec![0; STORE_BATCH_BYTES_MAX as usize / 4];
    let operation = KeyChange {
        key: b"k",
        value: Some(&quarter),
    };
    let error = store.commit(&[operation; 4]).unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { found, .. } if found == STORE_BATCH_BYTES_MAX + 4 * 11));
    assert_eq!(operations(&disk).len(), before);
    assert_eq!(store.get(&long).unwrap(), None);
    assert_eq!(store.get(b"").unwrap(), None);
    let longest = &long[1..];
    store.put(longest, b"value").unwrap();
    assert_eq!(store.get(longest).unwrap().as_deref(), Some(b"value".as_slice()));
    assert_eq!(pairs(&open(&disk).unwrap()).len(), 1);
}

#[test]
fn the_segment_size_must_be_in_range() {
    for segment_bytes_max in [0, 511, (1 << 30) + 1, u64::MAX] {
        let disk = new_disk();
        let options = FileStoreOptions {
            segment_bytes_max,
            store_id: None,
        };
        let error = super::open_with(&disk, &options).unwrap_err();
        assert!(matches!(
            error,
            Error::InvalidInput {
                field: "segment_bytes_max",
                ..
            }
        ));
        assert!(operations(&disk).is_empty());
    }
}
