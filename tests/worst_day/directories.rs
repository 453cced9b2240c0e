//! Directories that are not there, are something else, or go away under an open database.

use std::path::Path;

use tidaldb::{Error, TidalDb};

use crate::common::TempDir;
use crate::setup::{assert_holds, causes, content, options, record, state_after};

fn io_path(error: &Error) -> &Path {
    match error {
        Error::Io { path, .. } => path,
        Error::OutcomeUnknown { source, .. } => io_path(source),
        Error::Poisoned { cause } => io_path(cause),
        other => panic!("not an error of a file: {}", causes(other)),
    }
}

#[test]
fn a_missing_parent_and_a_file_in_the_place_of_a_directory_are_errors_with_the_path() {
    let dir = TempDir::new("directories");
    let orphan = dir.path().join("missing/db");
    let error = TidalDb::open(&orphan, options()).unwrap_err();
    assert_eq!(io_path(&error), orphan);
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let error = TidalDb::open(&file, options()).unwrap_err();
    assert_eq!(io_path(&error), file);
    let below = file.join("db");
    let error = TidalDb::open(&below, options()).unwrap_err();
    assert_eq!(io_path(&error), below);
    assert_eq!(content(dir.path()), [(file, Some(b"mine".to_vec()))]);
}

#[test]
fn a_file_in_the_place_of_a_part_of_the_database_is_an_error_with_its_path() {
    for name in ["log", "store"] {
        let dir = TempDir::new("directories");
        let part = dir.path().join(name);
        std::fs::write(&part, "mine").unwrap();
        let error = TidalDb::open(dir.path(), options()).unwrap_err();
        assert!(io_path(&error).starts_with(&part), "{name}: {}", causes(&error));
        assert_eq!(std::fs::read(&part).unwrap(), b"mine");
        std::fs::remove_file(&part).unwrap();
        TidalDb::open(dir.path(), options()).unwrap();
    }
    let dir = TempDir::new("directories");
    let lock = dir.path().join("LOCK");
    std::fs::create_dir(&lock).unwrap();
    let error = TidalDb::open(dir.path(), options()).unwrap_err();
    assert_eq!(io_path(&error), lock);
}

#[test]
fn a_directory_that_is_removed_under_an_open_database_is_an_error_at_the_next_file_and_nothing_panics() {
    let dir = TempDir::new("directories");
    let path = dir.path().join("db");
    let db = TidalDb::open(&path, options()).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    let mut recorded = 0;
    let error = loop {
        match record(&db, recorded) {
            Ok(_) => recorded += 1,
            Err(error) => break error,
        }
    };
    // The open segment has no name any more and takes what it has room for.
    assert!((1..100).contains(&recorded), "{recorded}");
    assert!(io_path(&error).starts_with(path.join("log")));
    assert_eq!(db.export().unwrap(), state_after(recorded), "reads go on");
    assert!(matches!(db.checkpoint(), Err(Error::Poisoned { .. })));
    assert!(matches!(
        db.create_collection("saved"),
        Err(Error::Poisoned { .. })
    ));
    assert!(db.close().is_err());
    drop(db);
    assert!(!path.exists(), "nothing is made again behind one's back");
    let db = TidalDb::open(&path, options()).unwrap();
    assert!(db.recovery_report().created);
}

#[test]
fn a_store_that_is_moved_away_while_it_is_open_fails_at_its_next_file_and_put_back_it_holds_everything() {
    let dir = TempDir::new("directories");
    let path = dir.path();
    let db = TidalDb::open(path, options()).unwrap();
    for i in 0..40 {
        record(&db, i).unwrap();
    }
    let store = path.join("store");
    let away = path.join("store-away");
    std::fs::rename(&store, &away).unwrap();
    // Each needs new files sooner or later.
    let error = (40..400).find_map(|i| record(&db, i).err().or_else(|| db.checkpoint().err()));
    let error = error.expect("a store without a directory cannot go on for ever");
    assert!(io_path(&error).starts_with(&store), "{}", causes(&error));
    drop(db);
    assert!(matches!(
        TidalDb::open(path, options()),
        Err(Error::StorageMissing { .. })
    ));
    std::fs::rename(&away, &store).unwrap();
    let db = TidalDb::open(path, options()).unwrap();
    let (len, state) = (db.last_sequence(), db.export().unwrap());
    drop(db);
    // Markers of checkpoints take numbers too.
    assert!((40..=len).any(|events| state_after(events) == state));
}

#[test]
fn a_log_that_was_removed_is_missed_and_nothing_is_changed() {
    let dir = TempDir::new("directories");
    let db = TidalDb::open(dir.path(), options()).unwrap();
    for i in 0..10 {
        record(&db, i).unwrap();
    }
    db.checkpoint().unwrap();
    drop(db);
    let log = dir.path().join("log");
    let away = dir.path().join("log-away");
    std::fs::rename(&log, &away).unwrap();
    let before = content(dir.path());
    let error = TidalDb::open(dir.path(), options()).unwrap_err();
    assert!(
        matches!(error, Error::SegmentMissing { .. }),
        "{}",
        causes(&error)
    );
    assert_eq!(content(dir.path()), before);
    std::fs::rename(&away, &log).unwrap();
    assert_eq!(assert_holds(dir.path(), 10, "put back"), 10);
}
