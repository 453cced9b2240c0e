//! A database that is not there, and is not to be created.

use super::*;
use crate::storage::{MemoryStore, StorageEngine};
use crate::testing::sim_disk::{DiskModel, Side};

fn must_exist(disk: &SimDisk) -> Options {
    options(disk, Durability::EverySynced).create(false)
}

/// The database is said to be missing in `PATH`, and nothing was done to the disk.
fn assert_missing(disk: &SimDisk, opened: Result<TidalDb, Error>, what: &str) {
    let before = disk.operations_len();
    let error = opened.map(drop).unwrap_err();
    assert!(
        matches!(&error, Error::DatabaseMissing { path } if path == Path::new(PATH)),
        "{what}: {error}"
    );
    assert_eq!(
        error.to_string(),
        format!("{PATH} holds no database, and the options do not allow creating one")
    );
    assert_eq!(disk.operations_len(), before, "{what}");
}

#[test]
fn a_missing_database_is_an_error_of_its_own_and_nothing_is_made() {
    // A mistyped path gave an empty database.
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
fn a_database_that_storage_does_not_know_is_missing_and_nothing_is_put_there() {
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
fn a_database_that_is_there_opens_as_if_it_might_be_created() {
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
fn a_database_whose_creation_was_cut_short_is_there_or_missing_and_a_missing_one_is_left_as_it_is() {
    let disk = SimDisk::new();
    drop(open(&disk, Durability::EverySynced).unwrap());
    let recording = disk.recording();
    let mut images = recording.images();
    let (mut missing, mut there) = (0, 0);
    for ordinal in 0..recording.len() {
        images.seek(ordinal, Side::After).unwrap();
        for choice in images.choices(DiskModel::WEAKEST, 200, 1).choices {
            let copy = SimDisk::from_image(&images.image(&choice));
            let before = content(&copy);
            let what = format!("after operation {ordinal}: {choice}");
            match TidalDb::open(PATH, must_exist(&copy)) {
                Ok(db) => {
                    assert!(!db.recovery_report().created, "{what}");
                    record(&db, 0).unwrap_or_else(|error| panic!("{what}: {error}"));
                    there += 1;
                }
                Err(Error::DatabaseMissing { .. }) => {
                    assert_eq!(content(&copy).differences(&before), [""; 0], "{what}");
                    missing += 1;
                }
                Err(error) => panic!("{what}: {error}"),
            }
            drop(open(&copy, Durability::EverySynced).unwrap_or_else(|error| panic!("{what}: {error}")));
        }
    }
    assert!(missing > 10 && there > 10, "{missing} {there}");
}

#[test]
fn an_error_while_looking_for_the_database_is_not_taken_for_a_missing_one() {
    let mut image = Image::new();
    image.insert_file(PATH, b"a file".to_vec());
    let disk = SimDisk::from_image(&image);
    let error = TidalDb::open(PATH, must_exist(&disk)).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(content(&disk).differences(&image), [""; 0]);
}
