//! Opens that are refused. They change nothing, also if the open finds the fault in its last check.

use super::*;
use crate::signals::checkpoint::record as checkpoint_record;
use crate::storage::{MemoryStore, StorageEngine, keys};
use crate::wal::history::History;
use crate::wal::segment::SEGMENT_HEADER_BYTES;

#[test]
fn a_refused_open_stores_no_schema() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..5 {
        record(&db, i).unwrap();
    }
    drop(db);
    let mut image = content(&disk);
    let segment = log_files(&image).remove(0);
    let mut bytes = image.file(&segment).unwrap().to_vec();
    bytes[SEGMENT_HEADER_BYTES + 40] ^= 1;
    image.insert_file(&segment, bytes);
    let disk = SimDisk::from_image(&image);
    let mut appended = options(&disk, Durability::EverySynced);
    appended.schema = schema().signal(Signal::new("share").half_life_ms(1000));
    let error = TidalDb::open(PATH, appended).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert_only_locked(&disk, &image, &error);
}

#[test]
fn an_open_that_is_refused_for_a_collection_does_not_change_the_log() {
    let (disk, storage) = (SimDisk::new(), MemoryStore::new());
    let open = |disk: &SimDisk| {
        let options = options(disk, Durability::EverySynced);
        TidalDb::open_with_storage(PATH, options, Arc::new(storage.clone()))
    };
    let db = open(&disk).unwrap();
    db.create_collection("saved").unwrap();
    record(&db, 0).unwrap();
    drop(db);
    let before = content(&disk);
    storage.put(&keys::collection(b"saved"), b"other bytes").unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::CorruptValue { .. }), "{error}");
    let after = content(&disk);
    assert_eq!(after.hash(), before.hash(), "{:?}", after.differences(&before));
}

#[test]
fn a_log_without_its_store_is_refused_and_no_store_is_created() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    record(&db, 0).unwrap();
    drop(db);
    let mut image = content(&disk);
    image.remove(format!("{PATH}/store"));
    for empty_dir in [false, true] {
        if empty_dir {
            image.insert_dir(format!("{PATH}/store"));
        }
        let disk = SimDisk::from_image(&image);
        let error = open(&disk, Durability::EverySynced).unwrap_err();
        assert!(matches!(error, Error::StorageMissing { .. }), "{error}");
        assert_only_locked(&disk, &image, &error);
    }
}

#[test]
fn sequence_numbers_at_the_ends_of_their_range_are_refused_without_an_overflow() {
    use crate::wal::segment::{SegmentHeader, segment_name};
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    record(&db, 0).unwrap();
    let opening = db.recovery_report().opening;
    drop(db);
    let image = content(&disk);
    for first_sequence in [0, u64::MAX - 1, u64::MAX] {
        let header = SegmentHeader {
            database_id: 7,
            first_sequence,
            previous_first: 1,
            previous_end: 80,
            opening,
            history: History::NONE,
        };
        for alone in [false, true] {
            let mut odd = image.clone();
            if alone {
                for path in log_files(&image) {
                    odd.remove(path);
                }
            }
            odd.insert_file(
                format!("{PATH}/log/{}", segment_name(first_sequence)),
                header.encode(),
            );
            let disk = SimDisk::from_image(&odd);
            let error = open(&disk, Durability::EverySynced).map(drop).unwrap_err();
            assert!(
                matches!(error, Error::Corrupt { .. } | Error::SegmentMissing { .. }),
                "{first_sequence} {alone}: {error}"
            );
            assert_only_locked(&disk, &odd, &error);
        }
    }
}

#[test]
fn a_checkpoint_with_an_impossible_sequence_number_is_refused() {
    for sequence in [u64::MAX, u64::MAX - 1] {
        let (disk, storage) = (SimDisk::new(), MemoryStore::new());
        let open = || {
            let options = options(&disk, Durability::EverySynced);
            TidalDb::open_with_storage(PATH, options, Arc::new(storage.clone()))
        };
        drop(open().unwrap());
        let sealed = keys::seal(
            keys::CHECKPOINT,
            checkpoint_record::encode(sequence, 0, History::NONE),
        );
        storage.put(keys::CHECKPOINT, &sealed).unwrap();
        let error = open().map(drop).unwrap_err();
        assert!(matches!(error, Error::CorruptValue { .. }), "{error}");
    }
}

#[test]
fn an_obsolete_segment_of_another_database_is_refused_and_not_removed() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..40 {
        record(&db, i).unwrap();
    }
    db.checkpoint().unwrap();
    drop(db);
    let mut image = content(&disk);
    assert!(
        log_files(&image)
            .iter()
            .all(|path| !path.ends_with("00000000000000000001.wal"))
    );
    let other = SimDisk::new();
    drop(TidalDb::open(PATH, options(&other, Durability::EverySynced).database_id(8)).unwrap());
    let theirs = content(&other);
    let first = log_files(&theirs).remove(0);
    image.insert_file(&first, theirs.file(&first).unwrap());
    let disk = SimDisk::from_image(&image);
    let error = open(&disk, Durability::EverySynced).map(drop).unwrap_err();
    assert!(
        matches!(error, Error::ForeignDatabase { found: 8, .. }),
        "{error}"
    );
    assert!(content(&disk).file(&first).is_some());
}

/// A database whose store ends in the damaged record of its checkpoint, although the log confirms the flush.
fn with_a_torn_checkpoint() -> (Image, std::path::PathBuf) {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..40 {
        record(&db, i).unwrap();
    }
    db.checkpoint().unwrap();
    drop(db);
    let mut image = content(&disk);
    let store = Path::new(PATH).join("store");
    let last = image.files().map(|(path, _)| path.to_path_buf());
    let last = last.filter(|path| path.starts_with(&store)).last().unwrap();
    let mut bytes = image.file(&last).unwrap().to_vec();
    let end = bytes.len();
    bytes[end - 9] ^= 1;
    image.insert_file(&last, bytes);
    (image, last)
}

#[test]
fn an_open_that_is_refused_for_the_log_does_not_change_the_store() {
    // Regression: the store truncated its damaged end as a torn tail before the open read the log. Then the open was
    // refused, the damaged record could not be repaired by hand any more, and the error named the log, which was not
    // damaged.
    let (image, store_file) = with_a_torn_checkpoint();
    let disk = SimDisk::from_image(&image);
    for _ in 0..2 {
        let error = open(&disk, Durability::EverySynced).map(drop).unwrap_err();
        assert!(
            matches!(&error, Error::Corrupt { path, offset: 64.., sequence: Some(1), .. } if *path == store_file),
            "{error}"
        );
        assert_only_locked(&disk, &image, &error);
    }
}

#[test]
fn an_open_that_is_refused_for_a_missing_log_creates_no_log_directory() {
    // Regression: the open created an empty directory, and then required a log.
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    record(&db, 0).unwrap();
    drop(db);
    let mut image = content(&disk);
    image.remove(format!("{PATH}/log"));
    let disk = SimDisk::from_image(&image);
    let error = open(&disk, Durability::EverySynced).map(drop).unwrap_err();
    assert!(
        matches!(error, Error::SegmentMissing { sequence: 1, .. }),
        "{error}"
    );
    assert_only_locked(&disk, &image, &error);
}

#[test]
fn another_format_version_of_a_file_is_named_and_nothing_is_changed() {
    // Regression: an older version was reported as corruption.
    let disk = SimDisk::new();
    drop(open(&disk, Durability::EverySynced).unwrap());
    let image = content(&disk);
    for (file, sound) in image.files().filter(|(_, bytes)| !bytes.is_empty()) {
        let version_offset = 8;
        let version = sound[version_offset];
        for found in [version - 1, version + 1] {
            let mut bytes = sound.to_vec();
            bytes[version_offset] = found;
            let mut other = image.clone();
            other.insert_file(file, bytes);
            let disk = SimDisk::from_image(&other);
            let error = open(&disk, Durability::EverySynced).map(drop).unwrap_err();
            let file = file.display();
            assert_eq!(
                error.to_string(),
                format!("{file} has format version {found}; this build reads version {version}")
            );
            assert_only_locked(&disk, &other, &error);
        }
    }
}

#[test]
fn another_version_of_a_record_in_storage_is_named_and_nothing_is_changed() {
    let (disk, storage) = (SimDisk::new(), MemoryStore::new());
    let open = || {
        let options = options(&disk, Durability::EverySynced);
        TidalDb::open_with_storage(PATH, options, Arc::new(storage.clone())).map(drop)
    };
    open().unwrap();
    let before = content(&disk);
    for (key, name) in [
        (keys::IDENTITY, "identity"),
        (keys::SCHEMA, "schema"),
        (keys::CHECKPOINT, "checkpoint"),
        (keys::OPENING, "opening"),
    ] {
        let sealed = storage.get(key).unwrap().unwrap();
        let sound = keys::unseal(key, &sealed).unwrap();
        let version = sound[0];
        for found in [version - 1, version + 1] {
            let mut value = sound.to_vec();
            value[0] = found;
            storage.put(key, &keys::seal(key, value)).unwrap();
            assert_eq!(
                open().unwrap_err().to_string(),
                format!(
                    "the {name} record in storage has format version {found}; this build reads version {version}"
                )
            );
            assert_eq!(content(&disk).hash(), before.hash());
        }
        storage.put(key, &sealed).unwrap();
    }
    open().unwrap();
}
