//! The identity of a database, its lock, and foreign files in its directory.

use super::*;

fn closed_with(len: u64) -> SimDisk {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..len {
        record(&db, i).unwrap();
    }
    drop(db);
    disk
}

#[test]
fn a_second_open_fails_until_the_first_handle_is_closed_or_dropped() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    assert!(matches!(
        open(&disk, Durability::EverySynced),
        Err(Error::Locked { .. })
    ));
    db.close().unwrap();
    let db = open(&disk, Durability::EverySynced).unwrap();
    drop(db);
    open(&disk, Durability::EverySynced).unwrap();
}

#[test]
fn a_log_without_its_storage_is_refused_and_nothing_is_changed() {
    let disk = closed_with(10);
    let mut image = content(&disk);
    image.remove(format!("{PATH}/store"));
    let disk = SimDisk::from_image(&image);
    let error = open(&disk, Durability::EverySynced).unwrap_err();
    assert!(matches!(error, Error::StorageMissing { .. }), "{error}");
    let log = |image: &Image| log_files(image);
    assert_eq!(log(&content(&disk)), log(&image));
}

#[test]
fn storage_is_refused_without_the_log_that_existed_before() {
    let mut image = content(&closed_with(10));
    image.remove(format!("{PATH}/log"));
    let error = open(&SimDisk::from_image(&image), Durability::EverySynced).unwrap_err();
    assert!(
        matches!(error, Error::SegmentMissing { sequence: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_missing_segment_is_refused_and_nothing_is_changed() {
    let image = content(&closed_with(60));
    let segments = log_files(&image);
    assert!(segments.len() > 4);
    for (index, segment) in segments.iter().enumerate().take(segments.len() - 1) {
        let mut without = image.clone();
        without.remove(segment);
        let disk = SimDisk::from_image(&without);
        let error = open(&disk, Durability::EverySynced).unwrap_err();
        assert!(matches!(error, Error::SegmentMissing { .. }), "{index}: {error}");
        assert_only_locked(&disk, &without, index);
    }
}

#[test]
fn files_of_another_database_are_refused() {
    let ours = content(&closed_with(40));
    let other = SimDisk::new();
    let db = TidalDb::open(PATH, options(&other, Durability::EverySynced).database_id(8)).unwrap();
    for i in 0..40 {
        record(&db, i).unwrap();
    }
    drop(db);
    let theirs = content(&other);
    for segment in log_files(&ours) {
        let mut mixed = ours.clone();
        mixed.insert_file(&segment, theirs.file(&segment).unwrap());
        let disk = SimDisk::from_image(&mixed);
        let error = TidalDb::open(PATH, options(&disk, Durability::EverySynced)).unwrap_err();
        assert!(
            matches!(
                error,
                Error::ForeignDatabase {
                    found: 8,
                    expected: 7,
                    ..
                }
            ),
            "{error}"
        );
    }
    let disk = SimDisk::from_image(&ours);
    let error = TidalDb::open(PATH, options(&disk, Durability::EverySynced).database_id(9)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::ForeignDatabase {
                found: 7,
                expected: 9,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_covered_segment_of_another_database_is_refused_and_not_removed() {
    let [(ours, _), (theirs, other)] = [7, 8].map(|id| {
        let disk = SimDisk::new();
        let db = TidalDb::open(PATH, options(&disk, Durability::EverySynced).database_id(id)).unwrap();
        for i in 0..40 {
            record(&db, i).unwrap();
        }
        let whole = content(&disk);
        db.checkpoint().unwrap();
        drop(db);
        (content(&disk), whole)
    });
    let remaining = log_files(&ours);
    assert_eq!(remaining, log_files(&theirs));
    let trimmed: Vec<_> = log_files(&other)
        .into_iter()
        .filter(|segment| !remaining.contains(segment))
        .collect();
    assert!(trimmed.len() > 2, "{trimmed:?}");
    for segment in trimmed {
        let mut mixed = with_lock(&ours);
        mixed.insert_file(&segment, other.file(&segment).unwrap());
        let disk = SimDisk::from_image(&mixed);
        let error = open(&disk, Durability::EverySynced).unwrap_err();
        assert!(
            matches!(&error, Error::ForeignDatabase { path, found: 8, expected: 7 } if *path == Path::new(&segment)),
            "{error}"
        );
        assert_eq!(content(&disk).hash(), mixed.hash(), "nothing was changed");
    }
}

#[test]
fn the_store_has_the_id_of_the_database_and_a_store_with_another_id_is_refused() {
    let id_of = |image: &Image, dir: &str, offset: usize| {
        let dir = format!("{PATH}/{dir}");
        let mut files = image.files().filter(|(path, _)| path.starts_with(&dir));
        let (path, bytes) = files.next().unwrap();
        let id = u128::from_le_bytes(bytes[offset..offset + 16].try_into().unwrap());
        (path.to_path_buf(), id)
    };
    let without_id = |disk: &SimDisk| Options {
        database_id: None,
        ..options(disk, Durability::EverySynced)
    };
    let disk = SimDisk::new();
    let db = TidalDb::open(PATH, without_id(&disk)).unwrap();
    record(&db, 0).unwrap();
    drop(db);
    let image = content(&disk);
    let ((file, in_store), (_, in_log)) = (id_of(&image, "store", 12), id_of(&image, "log", 16));
    assert_eq!(in_store, in_log, "one random id for both");
    drop(TidalDb::open(PATH, without_id(&disk)).unwrap());
    assert_eq!(id_of(&content(&disk), "store", 12).1, in_store);

    let error = open(&SimDisk::from_image(&image), Durability::EverySynced).unwrap_err();
    assert!(
        matches!(&error, Error::ForeignDatabase { path, found, expected: 7 } if *path == file && *found == in_store),
        "{error}"
    );
}

#[test]
fn an_interrupted_creation_continues_with_the_id_of_the_store() {
    let disk = SimDisk::new();
    let without_id = || Options {
        database_id: None,
        ..options(&disk, Durability::EverySynced)
    };
    drop(TidalDb::open(PATH, without_id()).unwrap());
    let id_of = |bytes: &[u8], offset: usize| bytes[offset..offset + 16].to_vec();
    let file = format!("{PATH}/store/00000000000000000001.tdstore");
    let image = content(&disk);
    // The first file of the store, without a record.
    let header = image.file(&file).unwrap()[..152].to_vec();
    let mut begun = Image::new();
    begun.insert_dir(PATH);
    begun.insert_dir(format!("{PATH}/store"));
    begun.insert_file(&file, header.clone());
    let disk = SimDisk::from_image(&begun);
    let db = TidalDb::open(
        PATH,
        Options {
            database_id: None,
            ..options(&disk, Durability::EverySynced)
        },
    )
    .unwrap();
    assert!(db.recovery_report().created);
    let image = content(&disk);
    let segment = log_files(&image).remove(0);
    assert_eq!(id_of(image.file(&segment).unwrap(), 16), id_of(&header, 12));
}

#[test]
fn the_report_covers_only_the_embedded_store() {
    let mut image = content(&closed_with(10));
    let store_dir = format!("{PATH}/store");
    let last = image.files().map(|(path, _)| path.to_path_buf());
    let last = last.filter(|path| path.starts_with(&store_dir)).last().unwrap();
    let whole = image.file(&last).unwrap().to_vec();
    image.insert_file(&last, [whole.as_slice(), &[0; 24]].concat());
    image.insert_file(
        format!("{store_dir}/00000000000000000099.tdstore.tmp"),
        b"half".to_vec(),
    );
    let disk = SimDisk::from_image(&image);
    let db = open(&disk, Durability::EverySynced).unwrap();
    let report = db.recovery_report();
    assert_eq!(report.leftovers_removed, 0, "only leftovers of the log count");
    let store = report.store.as_ref().unwrap();
    let torn = store.torn_tail.as_ref().unwrap();
    assert_eq!((&torn.path, torn.offset), (&last, whole.len() as u64));
    assert_eq!((torn.cut_bytes, torn.all_zero), (24, true));
    assert_eq!((store.files_found, store.leftovers_removed), (1, 1));
    assert_eq!(store.records_replayed, 2, "the identity and the first checkpoint");
    drop(db);
    let again = open(&disk, Durability::EverySynced).unwrap();
    let store = again.recovery_report().store.as_ref().unwrap();
    assert_eq!((&store.torn_tail, store.leftovers_removed), (&None, 0));

    let disk = SimDisk::new();
    let storage = Arc::new(crate::storage::MemoryStore::new());
    let db = TidalDb::open_with_storage(PATH, options(&disk, Durability::EverySynced), storage).unwrap();
    assert_eq!(db.recovery_report().store, None);
}

#[test]
fn leftover_temporary_files_are_removed_and_foreign_files_stay() {
    let mut image = content(&closed_with(10));
    image.insert_file(
        format!("{PATH}/log/00000000000000000099.wal.tmp"),
        b"half".to_vec(),
    );
    image.insert_file(format!("{PATH}/log/notes.txt"), b"mine".to_vec());
    image.insert_file(format!("{PATH}/store/notes.txt"), b"mine".to_vec());
    image.insert_file(format!("{PATH}/notes.txt"), b"mine".to_vec());
    let disk = SimDisk::from_image(&image);
    let db = open(&disk, Durability::EverySynced).unwrap();
    assert_eq!(db.recovery_report().leftovers_removed, 1);
    assert_eq!(db.export().unwrap(), state_after(10));
    let after = content(&disk);
    assert!(
        after
            .file(format!("{PATH}/log/00000000000000000099.wal.tmp"))
            .is_none()
    );
    for dir in ["log/", "store/", ""] {
        assert!(after.file(format!("{PATH}/{dir}notes.txt")).is_some(), "{dir}");
    }
}

#[test]
fn an_open_can_append_a_signal_but_not_remove_one() {
    let disk = closed_with(10);
    let appended = schema().signal(Signal::new("share").half_life_ms(1000));
    let open_with = |schema: &Schema| {
        let mut options = options(&disk, Durability::EverySynced);
        options.schema = schema.clone();
        TidalDb::open(PATH, options)
    };
    let db = open_with(&appended).unwrap();
    db.record(&SignalEvent::new(SignalId(2), EntityId(1), NOW_MS))
        .unwrap();
    drop(db);
    let error = open_with(&schema()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "signal \"share\" differs from the persisted schema: it is missing"
    );
    let db = open_with(&appended).unwrap();
    assert_eq!(
        db.score(EntityId(1), SignalId(2), 0, NOW_MS).unwrap().to_bits(),
        1.0_f64.to_bits()
    );
}

#[test]
fn repeated_opens_without_a_write_change_no_state_and_add_no_segments() {
    let disk = closed_with(10);
    for _ in 0..5 {
        let db = open(&disk, Durability::EverySynced).unwrap();
        assert_eq!(db.export().unwrap(), state_after(10));
        assert_eq!(db.last_sequence(), 10);
    }
    let segments = log_files(&content(&disk)).len();
    drop(open(&disk, Durability::EverySynced).unwrap());
    assert_eq!(log_files(&content(&disk)).len(), segments);
}
