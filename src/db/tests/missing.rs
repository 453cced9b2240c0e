//! Opens of a missing database that must not create it.

use super::*;
use crate::storage::{MemoryStore, StorageEngine};
use crate::testing::sim_disk::{DiskModel, Side};

fn must_exist(disk: &SimDisk) -> Options {
    options(disk, Durability::EverySynced).create(false)
}

/// Checks that the open failed because the database in `PATH` is missing, and that the disk is not changed.
fn assert_missing(disk: &SimDisk, opened: Result<TidalDb, Error>, context: &str) {
    let before = disk.operations_len();
    let error = opened.map(drop).unwrap_err();
    assert!(
        matches!(&error, Error::DatabaseMissing { path } if path == Path::new(PATH)),
        "{context}: {error}"
    );
    assert_eq!(
        error.to_string(),
        format!("{PATH} holds no database, and the options do not allow creating one")
    );
    assert_eq!(disk.operations_len(), before, "{context}");
}

#[test]
fn a_missing_database_is_a_separate_error_and_no_file_is_created() {
    // Regression: a mistyped path created an empty database.
    let image = |dirs: &[&str], files: &[&str]| {
        let mut image = Image::new();
        for dir in dirs {
            image.insert_dir(format!("{PATH}{dir}"));
        }
        for file in files {
            image.insert_file(format!("{PATH}{file}"), b"mine".to_vec());
        }
        image
    };
    let foreign = ["/notes.txt", "/log/notes.txt", "/store/notes.txt"];
    for (dirs, files) in [
        (&[][..], &[][..]),
        (&[""], &[]),
        (&["", "/log", "/store"], &[]),
        (&[], &foreign),
        (
            &[],
            &[
                "/log/00000000000000000001.wal.tmp",
                "/store/00000000000000000001.tdstore.tmp",
            ],
        ),
    ] {
        let image = image(dirs, files);
        let disk = SimDisk::from_image(&image);
        let opened = TidalDb::open(PATH, must_exist(&disk));
        assert_missing(&disk, opened, &format!("{dirs:?} {files:?}"));
        assert_eq!(content(&disk).differences(&image), [""; 0]);
    }
}

#[test]
fn a_database_without_an_identity_in_storage_is_missing_and_nothing_is_stored() {
    let (disk, storage) = (SimDisk::new(), MemoryStore::new());
    let open = |disk: &SimDisk, storage: &MemoryStore| {
        TidalDb::open_with_storage(PATH, must_exist(disk), Arc::new(storage.clone()))
    };
    let opened = open(&disk, &storage);
    assert_missing(&disk, opened, "an empty disk");
    assert_eq!(content(&disk).differences(&Image::new()), [""; 0]);
    assert_eq!(storage.scan_prefix(&[]).unwrap().count(), 0);

    let options = options(&disk, Durability::EverySynced);
    let db = TidalDb::open_with_storage(PATH, options, Arc::new(storage.clone())).unwrap();
    record(&db, 0).unwrap();
    drop(db);
    let before = content(&disk);
    let error = open(&disk, &MemoryStore::new()).map(drop).unwrap_err();
    assert!(matches!(error, Error::StorageMissing { .. }), "{error}");
    let error = open(&SimDisk::new(), &storage).map(drop).unwrap_err();
    assert!(matches!(error, Error::SegmentMissing { .. }), "{error}");
    assert_eq!(content(&disk).differences(&before), [""; 0]);
    assert_eq!(open(&disk, &storage).unwrap().export().unwrap(), state_after(1));
}

#[test]
fn an_existing_database_opens_without_the_permission_to_create_it() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    record(&db, 0).unwrap();
    let error = TidalDb::open(PATH, must_exist(&disk)).map(drop).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(db);
    for close in [false, true, false] {
        let db = TidalDb::open(PATH, must_exist(&disk)).unwrap();
        assert!(!db.recovery_report().created);
        assert_eq!(db.export().unwrap(), state_after(1));
        if close {
            db.close().unwrap();
        }
    }
    let mut image = content(&disk);
    image.remove(format!("{PATH}/store"));
    let error = TidalDb::open(PATH, must_exist(&SimDisk::from_image(&image)))
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Error::StorageMissing { .. }), "{error}");
}

#[test]
fn an_interrupted_creation_leaves_a_database_that_opens_or_is_missing_and_unchanged() {
    let disk = SimDisk::new();
    drop(open(&disk, Durability::EverySynced).unwrap());
    let recording = disk.recording();
    let mut images = recording.images();
    let (mut missing, mut existing) = (0, 0);
    for ordinal in 0..recording.len() {
        images.seek(ordinal, Side::After).unwrap();
        for choice in images.choices(DiskModel::WEAKEST, 200, 1).choices {
            let copy = SimDisk::from_image(&images.image(&choice));
            let before = content(&copy);
            let context = format!("after operation {ordinal}: {choice}");
            match TidalDb::open(PATH, must_exist(&copy)) {
                Ok(db) => {
                    assert!(!db.recovery_report().created, "{context}");
                    record(&db, 0).unwrap_or_else(|error| panic!("{context}: {error}"));
                    existing += 1;
                }
                Err(Error::DatabaseMissing { .. }) => {
                    assert_eq!(content(&copy).differences(&before), [""; 0], "{context}");
                    missing += 1;
                }
                Err(error) => panic!("{context}: {error}"),
            }
            drop(open(&copy, Durability::EverySynced).unwrap_or_else(|error| panic!("{context}: {error}")));
        }
    }
    assert!(missing > 10 && existing > 10, "{missing} {existing}");
}

#[test]
fn an_error_during_the_search_for_the_database_is_not_reported_as_missing() {
    let mut image = Image::new();
    image.insert_file(PATH, b"a file".to_vec());
    let disk = SimDisk::from_image(&image);
    let error = TidalDb::open(PATH, must_exist(&disk)).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(content(&disk).differences(&image), [""; 0]);
}
