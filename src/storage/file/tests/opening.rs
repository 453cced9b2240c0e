//! Opens of directories that are missing, empty or hold other files, and the store on the real file system.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::format::FileHeader;
use super::super::names::StoreFileName;
use super::{
    DIR, DiskContent, FileStore, FileStoreOptions, access, content_of, disk_of, files, first_cause,
    last_path, limits, log_files, new_disk, open, operations, options, pairs, path, sizes, validate,
};
use crate::Error;
use crate::fs::RealFiles;
use crate::limits::Limits;
use crate::storage::StorageEngine;
use crate::testing::lab::TempDir;
use crate::testing::sim_disk::{Fault, SimDisk};

#[test]
fn the_counted_memory_of_the_index_follows_its_keys() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    let index_bytes = || store.stats().unwrap().index_bytes;
    assert_eq!((index_bytes(), store.index_bytes().unwrap()), (0, 0));
    for key in 0..700_u64 {
        store.put(&key.to_be_bytes(), b"value").unwrap();
    }
    let short = index_bytes();
    // A key and a location take 40 bytes in a node.
    assert!(700 * 60 < short && short < 700 * 120, "{short}");
    store.put(&0_u64.to_be_bytes(), &[7; 400]).unwrap();
    assert_eq!(index_bytes(), short, "a value takes no memory");
    store.put(&[7; 1000], b"value").unwrap();
    assert!(index_bytes() >= short + 1000);
    let copy = open(&disk_of(&content_of(&disk))).unwrap();
    assert_eq!(pairs(&copy).len(), 701);
    assert_eq!(copy.stats().unwrap().index_bytes, index_bytes());
    store.delete(&[7; 1000]).unwrap();
    store.delete(&[7; 1000]).unwrap();
    assert_eq!(index_bytes(), short);
    assert_eq!(store.index_bytes().unwrap(), short);
}

#[test]
fn a_missing_directory_is_made_and_the_store_is_empty() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    assert!(pairs(&store).is_empty());
    validate(&store, &disk, 512);
    let dir_is_durable_first = ["create-dir /db/store", "sync-dir /db"];
    assert!(
        operations(&disk)
            .windows(2)
            .any(|pair| pair == dir_is_durable_first)
    );
    assert!(format!("{store:?}").contains("live_bytes: 0"));
}

#[test]
fn a_missing_parent_directory_is_an_error_with_the_path() {
    let disk = new_disk();
    let error = FileStore::open(access(&disk), "/elsewhere/store", &options()).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path.starts_with("/elsewhere")),
        "{error}"
    );
}

#[test]
fn a_file_with_the_name_of_the_directory_is_an_error_with_the_path() {
    let content = DiskContent::from([(PathBuf::from(DIR), vec![1])]);
    let disk = disk_of(&content);
    let error = open(&disk).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path == Path::new(DIR)),
        "{error}"
    );
    assert_eq!(content_of(&disk), content);
}

#[test]
fn open_ignores_foreign_files_and_removes_temporary_files() {
    let foreign = [
        "lock",
        "1.tdstore",
        "00000000000000000001.tdstore.bak",
        "\u{1f30a}",
    ];
    let mut content = DiskContent::new();
    for name in foreign {
        content.insert(Path::new(DIR).join(name), b"theirs".to_vec());
    }
    let foreign = content.clone();
    for number in [1, 2, u64::MAX] {
        content.insert(
            Path::new(DIR).join(StoreFileName::Temporary(number).build()),
            vec![1; 40],
        );
    }
    let disk = disk_of(&content);
    open(&disk).unwrap().put(b"key", b"value").unwrap();
    let mut after = content_of(&disk);
    assert!(after.remove(&path(1)).is_some());
    assert_eq!(after, foreign);

    let mut content = content_of(&disk);
    content.insert(
        Path::new(DIR).join(StoreFileName::Temporary(2).build()),
        Vec::new(),
    );
    let disk = disk_of(&content);
    assert_eq!(pairs(&open(&disk).unwrap()).len(), 1);
    assert!(
        !content_of(&disk)
            .keys()
            .any(|path| path.to_string_lossy().ends_with(".tmp"))
    );
}

#[test]
fn opening_a_closed_store_replaces_the_last_file_by_a_durable_copy() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    store.put(b"key", b"value").unwrap();
    store.close().unwrap();
    drop(store);
    let before = content_of(&disk);
    let disk = disk_of(&before);
    drop(open(&disk).unwrap());
    assert_eq!(sizes(&content_of(&disk)), sizes(&before));
    let [file, copy] = [1, 2].map(|number| path(number).display().to_string());
    let expected = [
        format!("list {DIR}"),
        format!("open {file}"),
        format!("read {file}"),
        format!("open {file}"),
        format!("len {file}"),
        format!("read {file}"),
        format!("create {copy}.tmp"),
        format!("write {copy}.tmp"),
        format!("sync {copy}.tmp"),
        format!("rename {copy}.tmp"),
        format!("sync-dir {DIR}"),
        format!("remove {file}"),
    ];
    assert_eq!(operations(&disk), expected);
}

#[test]
fn a_store_opened_unchanged_reads_like_any_store_and_is_repaired_by_its_first_write_or_flush() {
    type FirstCall = fn(&FileStore) -> Result<(), Error>;
    let disk = new_disk();
    let store = open(&disk).unwrap();
    for round in 0..20_u8 {
        store.put(&[round % 7], &[round; 60]).unwrap();
    }
    store.close().unwrap();
    let (model, stats) = (pairs(&store), store.stats().unwrap());
    drop(store);
    let mut before = content_of(&disk);
    let last = *log_files(&before).last().unwrap();
    before.get_mut(&path(last)).unwrap().extend_from_slice(&[7; 20]);
    before.insert(
        Path::new(DIR).join(StoreFileName::Temporary(9).build()),
        vec![1; 40],
    );
    let first_calls: [FirstCall; 3] = [
        StorageEngine::flush,
        |store| store.put(&[0], b"new"),
        |store| store.delete(&[0]),
    ];
    for (index, first) in first_calls.into_iter().enumerate() {
        let disk = disk_of(&before);
        let store = FileStore::open_unchanged(access(&disk), DIR, &options(), Limits::default()).unwrap();
        assert_eq!(pairs(&store), model);
        assert_eq!(store.stats().unwrap(), stats);
        assert_eq!(store.recovery().torn_tail.as_ref().unwrap().cut_bytes, 20);
        assert_eq!(content_of(&disk), before, "reading changes nothing");
        first(&store).unwrap();
        validate(&store, &disk, 512);
        assert_eq!(
            files(&content_of(&disk)).count() as u64,
            store.stats().unwrap().files_len
        );
        let mut expected = model.clone();
        match index {
            1 => drop(expected.insert(vec![0], b"new".to_vec())),
            2 => drop(expected.remove(&[0][..])),
            _ => {}
        }
        assert_eq!(pairs(&store), expected);
        drop(store);
        assert_eq!(pairs(&open(&disk).unwrap()), expected);
    }
}

#[test]
fn after_a_failed_repair_the_store_still_reads_and_changes_nothing_any_more() {
    let disk = new_disk();
    open(&disk).unwrap().put(b"key", b"value").unwrap();
    let store = FileStore::open_unchanged(access(&disk), DIR, &options(), Limits::default()).unwrap();
    disk.fail_operation(disk.operations_len(), Fault::ErrorBefore(ErrorKind::Other));
    let error = store.flush().unwrap_err();
    assert!(
        matches!(
            first_cause(&error),
            Error::Io {
                operation: "create",
                ..
            }
        ),
        "{error}"
    );
    let operations_len = disk.operations_len();
    let again = store.put(b"key", b"other").unwrap_err();
    assert!(matches!(again, Error::Poisoned { .. }), "{again}");
    assert_eq!(disk.operations_len(), operations_len, "nothing is retried");
    assert_eq!(store.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_new_store_gets_the_given_id_or_a_random_one_that_never_changes() {
    let id = |disk: &SimDisk| {
        let content = content_of(disk);
        u128::from_le_bytes(content[&last_path(&content)][12..28].try_into().unwrap())
    };
    let given = new_disk();
    drop(open(&given).unwrap());
    assert_eq!(id(&given), 0xfeed);
    let random = [new_disk(), new_disk()];
    for disk in &random {
        drop(FileStore::open(access(disk), DIR, &FileStoreOptions::default()).unwrap());
    }
    assert_ne!(id(&random[0]), id(&random[1]));
    let before = id(&random[0]);
    drop(open(&random[0]).unwrap());
    assert_eq!(id(&random[0]), before);
}

#[test]
fn on_the_real_file_system_a_scan_can_read_replaced_files_and_a_close_removes_them() {
    let temp = TempDir::new("file-store");
    let dir = temp.path();
    let open = || FileStore::open_within(Arc::new(RealFiles), dir, &options(), limits()).unwrap();
    let store = open();
    store.put(b"first", b"value").unwrap();
    let scan = store.scan_prefix(b"f").unwrap();
    for round in 0..100_u8 {
        store.put(b"churn", &[round; 100]).unwrap();
        store.put(b"first", &[round]).unwrap();
    }
    assert!(path_in(dir, 1).exists(), "the scan still uses the file");
    assert_eq!(
        scan.map(Result::unwrap).collect::<Vec<_>>(),
        [(b"first".to_vec(), b"value".to_vec())]
    );
    store.close().unwrap();
    assert!(!path_in(dir, 1).exists());
    let before = pairs(&store);
    drop(store);
    assert_eq!(pairs(&open()), before);
}

fn path_in(dir: &Path, number: u64) -> PathBuf {
    dir.join(StoreFileName::Data(number).build())
}

#[test]
fn bytes_of_the_original_after_the_end_of_its_copy_are_not_valid_records() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    store.put(b"key", b"value").unwrap();
    store.close().unwrap();
    let before = content_of(&disk);
    store.put(b"lost", b"value").unwrap();
    let lost = content_of(&disk)[&path(1)][before[&path(1)].len()..].to_vec();
    let mut openings = Vec::new();
    let mut content = before;
    for _ in 0..3 {
        let disk = disk_of(&content);
        drop(open(&disk).unwrap());
        content = content_of(&disk);
        let last = last_path(&content);
        let header = FileHeader::decode(&content[&last], &last).unwrap();
        openings.push((header.number, header.opening));
        let mut stale = content.clone();
        stale.get_mut(&last).unwrap().extend_from_slice(&lost);
        let store = open(&disk_of(&stale)).unwrap();
        assert_eq!(store.get(b"lost").unwrap(), None);
        assert_eq!(
            store.recovery().torn_tail.as_ref().unwrap().cut_bytes,
            lost.len() as u64
        );
    }
    openings.dedup_by(|later, earlier| later.0 == earlier.0 || later.1 == earlier.1);
    assert_eq!(openings.len(), 3, "two openings have one number or value");
}
