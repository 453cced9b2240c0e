//! Directories that are missing, are files, or are removed or moved while the database is open.

use std::path::Path;

use tidaldb::{Error, TidalDb};

use crate::setup::{
    assert_contains, assert_recovers, causes, content, open_and_record, options, record, state_after,
};
use crate::temp_dir::TempDir;

fn io_path(error: &Error) -> &Path {
    match error {
        Error::Io { path, .. } => path,
        Error::OutcomeUnknown { source, .. } => io_path(source),
        Error::Poisoned { cause } => io_path(cause),
        other => panic!("not an I/O error: {}", causes(other)),
    }
}

#[test]
fn an_open_below_a_missing_directory_or_at_a_file_is_an_error_with_the_path() {
    let dir = TempDir::new("directories");
    let file = dir.path().join("file");
    std::fs::write(&file, "text").unwrap();
    for path in [&dir.path().join("missing/db"), &file, &file.join("db")] {
        let error = TidalDb::open(path, options()).unwrap_err();
        assert_eq!(io_path(&error), path);
    }
    assert_eq!(content(dir.path()), [(file, Some(b"text".to_vec()))]);
}

#[test]
fn a_file_named_log_or_store_and_a_directory_named_lock_are_errors_with_the_path() {
    for name in ["log", "store"] {
        let dir = TempDir::new("directories");
        let part = dir.path().join(name);
        std::fs::write(&part, "text").unwrap();
        let error = TidalDb::open(dir.path(), options()).unwrap_err();
        assert!(io_path(&error).starts_with(&part), "{name}: {}", causes(&error));
        assert_eq!(std::fs::read(&part).unwrap(), b"text");
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
fn after_the_directory_of_an_open_database_is_removed_no_write_is_acknowledged() {
    let dir = TempDir::new("directories");
    let path = dir.path().join("db");
    let db = open_and_record(&path, options(), 0..1);
    std::fs::remove_dir_all(&path).unwrap();
    let error = record(&db, 1).unwrap_err();
    assert!(error.outcome_is_unknown(), "{}", causes(&error));
    let place = format!("{} may no longer be", path.display());
    assert_contains(&causes(&error), &[&place, "the directory was removed"]);
    assert_eq!(db.export().unwrap(), state_after(2), "reads continue");
    assert!(matches!(db.checkpoint(), Err(Error::Poisoned { .. })));
    assert!(matches!(
        db.create_collection("saved"),
        Err(Error::Poisoned { .. })
    ));
    assert!(db.close().is_err());
    drop(db);
    assert!(!path.exists(), "the database created the directory again");
    let db = TidalDb::open(&path, options()).unwrap();
    assert!(db.recovery_report().created);
}

#[test]
fn a_store_that_is_moved_while_it_is_open_receives_all_writes_and_opens_after_it_is_moved_back() {
    let dir = TempDir::new("directories");
    let path = dir.path();
    let db = open_and_record(path, options(), 0..40);
    let store = path.join("store");
    let away = path.join("store-away");
    let files_before = content(&store).len();
    std::fs::rename(&store, &away).unwrap();
    std::fs::create_dir(&store).unwrap();
    // Records enough events that the store creates new files.
    for i in 40..200 {
        record(&db, i).unwrap();
        db.checkpoint().unwrap();
    }
    assert_ne!(content(&away).len(), files_before);
    assert!(content(&store).is_empty());
    std::fs::remove_dir(&store).unwrap();
    drop(db);
    assert!(matches!(
        TidalDb::open(path, options()),
        Err(Error::StorageMissing { .. })
    ));
    std::fs::rename(&away, &store).unwrap();
    let db = TidalDb::open(path, options()).unwrap();
    assert_eq!(db.export().unwrap(), state_after(200));
}

#[test]
fn an_open_without_the_log_directory_is_an_error_and_changes_nothing() {
    let dir = TempDir::new("directories");
    let db = open_and_record(dir.path(), options(), 0..10);
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
    assert_eq!(assert_recovers(dir.path(), 10, "with the log again"), 10);
}
