//! The directory of an open database on a real disk is renamed, replaced or removed, and its lock file is removed.
//! Tests with several processes are in `tests/processes`.

#![expect(
    clippy::disallowed_methods,
    reason = "tests rename and remove files below an open database"
)]

use std::fs;
use std::path::PathBuf;

use super::engine_errors::FailingEngine;
use super::*;
use crate::fs::RealFiles;
use crate::fs::tests::by_name::FilesByName;
use crate::storage::{FileStore, FileStoreOptions};
use crate::testing::lab::{TempDir, error_chain};

type DirectoryCall = fn(&TidalDb) -> Result<(), Error>;

fn open_at(path: &Path, files: impl FileAccess + 'static, durability: Durability) -> Result<TidalDb, Error> {
    let options = options(&SimDisk::new(), durability).preallocate_bytes(0);
    TidalDb::open(path, options.files(Arc::new(files)))
}

#[test]
fn removal_of_the_only_locked_file_ends_writes_at_the_next_sync_rotation_or_checkpoint() {
    let rotation: DirectoryCall = |db| (1..100).try_for_each(|i| record(db, i).map(drop));
    let calls: [(Durability, DirectoryCall); 5] = [
        (Durability::EverySynced, |db| record(db, 1).map(drop)),
        (Durability::OperatingSystem, rotation),
        (Durability::OperatingSystem, TidalDb::sync),
        (Durability::OperatingSystem, |db| db.checkpoint().map(drop)),
        (Durability::OperatingSystem, TidalDb::close),
    ];
    for (index, (durability, call)) in calls.into_iter().enumerate() {
        for replaced in [false, true] {
            let root = TempDir::new("directory");
            let path = root.path().join("db");
            let db = open_at(&path, FilesByName::WithoutDirLocks, durability).unwrap();
            record(&db, 0).unwrap();
            fs::remove_file(path.join("LOCK")).unwrap();
            if replaced {
                fs::write(path.join("LOCK"), []).unwrap();
            }
            let error = call(&db).expect_err("the lock is not certain");
            let text = error_chain(&error);
            assert!(
                text.contains("the lock file was replaced") || text.contains("No such file"),
                "call {index}: {text}"
            );
            assert!(text.contains(&path.display().to_string()), "{text}");
            assert!(record(&db, 1).is_err());
        }
    }
}

#[test]
fn if_only_the_lock_file_is_locked_a_close_without_a_checkpoint_checks_it() {
    let root = TempDir::new("directory");
    let db = open_at(
        root.path(),
        FilesByName::WithoutDirLocks,
        Durability::OperatingSystem,
    )
    .unwrap();
    db.create_collection("saved").unwrap();
    fs::remove_file(root.path().join("LOCK")).unwrap();
    let error = db.close().expect_err("the lock is not certain");
    assert!(
        error_chain(&error).contains("No such file"),
        "{}",
        error_chain(&error)
    );
}

#[test]
fn a_removed_directory_ends_writes_under_every_policy() {
    for durability in POLICIES {
        for removed in ["", "log", "store"] {
            for by_name in [false, true] {
                let root = TempDir::new("directory");
                let db = if by_name {
                    open_at(root.path(), FilesByName::WithoutDirLocks, durability).unwrap()
                } else {
                    open_at(root.path(), RealFiles, durability).unwrap()
                };
                record(&db, 0).unwrap();
                fs::remove_dir_all(root.path().join(removed)).unwrap();
                let error = db.sync().or_else(|_| record(&db, 1).map(drop)).unwrap_err();
                let text = error_chain(&error);
                assert!(
                    text.contains("may no longer be"),
                    "{durability:?}, {removed:?}: {text}"
                );
                assert!(db.checkpoint().is_err());
            }
        }
    }
}

#[test]
fn a_handle_that_holds_the_lock_of_the_directory_needs_no_lock_file() {
    let root = TempDir::new("directory");
    let db = open_at(root.path(), RealFiles, Durability::EverySynced).unwrap();
    fs::remove_file(root.path().join("LOCK")).unwrap();
    for i in 0..50 {
        record(&db, i).unwrap();
    }
    db.checkpoint().unwrap();
    let second = open_at(root.path(), RealFiles, Durability::EverySynced);
    assert!(matches!(second, Err(Error::Locked { .. })));
    db.close().unwrap();
    let db = open_at(root.path(), RealFiles, Durability::EverySynced).unwrap();
    assert_eq!(db.export().unwrap(), state_after(50));
}

#[test]
fn a_second_open_of_this_process_does_not_open_the_lock_file() {
    let root = TempDir::new("directory");
    // An open of the file by its name would fail with another error than `Locked`.
    let replace = || {
        drop(fs::remove_file(root.path().join("LOCK")));
        fs::create_dir_all(root.path().join("LOCK")).unwrap();
    };
    for by_name in [false, true] {
        let open_again = || {
            if by_name {
                open_at(root.path(), FilesByName::WithoutDirLocks, Durability::EverySynced)
            } else {
                open_at(root.path(), RealFiles, Durability::EverySynced)
            }
        };
        let db = open_again().unwrap();
        replace();
        let error = open_again().unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        drop(db);
        let error = open_again().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Io {
                    operation: "lock",
                    ..
                }
            ),
            "{error}"
        );
        fs::remove_dir(root.path().join("LOCK")).unwrap();
    }
}

#[test]
fn an_empty_path_is_refused_and_a_relative_one_is_printed_absolute() {
    let open_path = |path: &str| {
        let options = options(&SimDisk::new(), Durability::EverySynced);
        TidalDb::open(path, options.files(Arc::new(RealFiles))).unwrap_err()
    };
    let error = open_path("");
    assert!(
        matches!(&error, Error::InvalidInput { field: "path", .. }),
        "{error}"
    );
    let error = open_path("missing/parent/of/a/database");
    let expected = std::env::current_dir()
        .unwrap()
        .join("missing/parent/of/a/database");
    assert!(
        error.to_string().contains(&expected.display().to_string()),
        "{error}"
    );
}

#[test]
fn the_error_for_a_symbolic_link_to_no_directory_names_link_and_target() {
    // Regression: the error was "File exists".
    let root = TempDir::new("directory");
    let (link, target) = (root.path().join("link"), root.path().join("no directory"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let error = error_chain(&open_at(&link, RealFiles, Durability::EverySynced).unwrap_err());
    for part in [&link, &target] {
        assert!(error.contains(&part.display().to_string()), "{error}");
    }
    assert!(error.contains("symbolic link"), "{error}");
    assert!(!target.exists());
}

#[test]
#[cfg(target_os = "linux")]
fn the_error_names_a_file_system_that_cannot_sync_directories() {
    // Regression: the error was "Invalid argument". `/proc` is such a file system.
    let error = RealFiles.sync_dir(Path::new("/proc")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("cannot sync a directory"), "{error}");
}

#[test]
fn the_parent_is_synced_once_before_the_lock_file_is_created() {
    use crate::testing::sim_disk::DiskOperationKind as Kind;
    let calls = |disk: &SimDisk| -> Vec<_> {
        let recording = disk.recording();
        let calls = recording
            .operations()
            .map(|operation| (operation.kind, operation.path.to_path_buf()));
        calls.collect()
    };
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    let first = [
        (Kind::CreateDir, PathBuf::from(PATH)),
        (Kind::SyncDir, PathBuf::from("/")),
        (Kind::Lock, Path::new(PATH).join("LOCK")),
    ];
    assert_eq!(calls(&disk)[..3], first);
    for i in 0..50 {
        record(&db, i).unwrap();
    }
    db.close().unwrap();
    drop(db);
    drop(open(&disk, Durability::EverySynced).unwrap());
    let parent = calls(&disk).into_iter().filter(|call| *call == first[1]);
    assert_eq!(parent.count(), 1, "the second open does not touch the parent");
}

#[test]
fn after_a_failed_sync_of_the_parent_the_next_open_syncs_it() {
    use crate::testing::sim_disk::{DiskOperationKind, Fault};
    let disk = SimDisk::new();
    disk.fail_next(
        DiskOperationKind::SyncDir,
        Fault::ErrorBefore(std::io::ErrorKind::Other),
    );
    assert!(open(&disk, Durability::EverySynced).is_err());
    let db = open(&disk, Durability::EverySynced).unwrap();
    record(&db, 0).unwrap();
    drop(db);
    let db = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
    assert_eq!(db.export().unwrap(), state_after(1));
}

#[test]
fn the_lock_file_is_always_locked_and_the_directory_if_the_file_system_can_lock_it() {
    let is_locked = |path: &Path| {
        let tried = fs::File::open(path).unwrap().try_lock();
        matches!(tried, Err(fs::TryLockError::WouldBlock))
    };
    let cases: [(Arc<dyn FileAccess>, bool); 3] = [
        (Arc::new(RealFiles), true),
        (Arc::new(FilesByName::WithDirLocks), true),
        (Arc::new(FilesByName::WithoutDirLocks), false),
    ];
    for (files, locks_dir) in cases {
        let root = TempDir::new("directory");
        let options = options(&SimDisk::new(), Durability::EverySynced);
        let db = TidalDb::open(root.path(), options.files(Arc::clone(&files))).unwrap();
        assert_eq!(is_locked(root.path()), locks_dir, "{files:?}");
        assert!(is_locked(&root.path().join("LOCK")), "{files:?}");
        drop(db);
        assert!(!is_locked(root.path()), "{files:?}");
        assert!(!is_locked(&root.path().join("LOCK")), "{files:?}");
    }
}

#[test]
fn a_change_of_a_collection_is_not_acknowledged_after_the_store_or_the_lock_was_removed() {
    let changes: [DirectoryCall; 4] = [
        |db| db.create_collection("other").map(drop),
        |db| db.add_to_collection("saved", EntityId(2)).map(drop),
        |db| db.remove_from_collection("saved", EntityId(1)).map(drop),
        |db| db.delete_collection("saved").map(drop),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        for removed in ["store", "LOCK"] {
            let root = TempDir::new("directory");
            let db = open_at(root.path(), FilesByName::WithoutDirLocks, Durability::EverySynced).unwrap();
            db.create_collection("saved").unwrap();
            db.add_to_collection("saved", EntityId(1)).unwrap();
            match removed {
                "LOCK" => fs::remove_file(root.path().join(removed)).unwrap(),
                _ => fs::remove_dir_all(root.path().join(removed)).unwrap(),
            }
            let error = change(&db).expect_err("the change may not survive");
            let text = error_chain(&error);
            assert!(text.contains("may no longer be"), "{index}, {removed}: {text}");
        }
    }
}

#[test]
fn a_checkpoint_after_the_lock_was_lost_writes_nothing_to_the_storage_engine() {
    let root = TempDir::new("directory");
    let engine = FailingEngine::new();
    let options = options(&SimDisk::new(), Durability::OperatingSystem)
        .preallocate_bytes(0)
        .files(Arc::new(FilesByName::WithoutDirLocks));
    let db = TidalDb::open_with_storage(root.path(), options, engine.storage()).unwrap();
    record(&db, 0).unwrap();
    fs::remove_file(root.path().join("LOCK")).unwrap();
    let before = engine.made();
    db.checkpoint().expect_err("the lock is not certain");
    assert_eq!(engine.made(), before);
}

#[test]
fn a_removed_directory_of_a_store_elsewhere_makes_trims_and_closes_fail() {
    let checkpoint: DirectoryCall = |db| db.checkpoint().map(drop);
    let orders: [&[DirectoryCall]; 2] = [&[checkpoint, TidalDb::close], &[TidalDb::close]];
    for calls in orders {
        for has_checkpoint in [false, true] {
            let (root, store_root) = (TempDir::new("directory"), TempDir::new("directory"));
            let store = FileStore::open(
                Arc::new(RealFiles),
                store_root.path(),
                &FileStoreOptions::default(),
            )
            .unwrap();
            let options = options(&SimDisk::new(), Durability::OperatingSystem)
                .preallocate_bytes(0)
                .files(Arc::new(RealFiles));
            let db = TidalDb::open_with_storage(root.path(), options, Arc::new(store)).unwrap();
            (0..50).try_for_each(|i| record(&db, i).map(drop)).unwrap();
            if has_checkpoint {
                db.checkpoint().unwrap();
                (50..100).try_for_each(|i| record(&db, i).map(drop)).unwrap();
            }
            let segments = || RealFiles.list(&root.path().join("log")).unwrap();
            let before = segments();
            assert!(before.len() > 2, "a checkpoint would trim: {before:?}");
            fs::remove_dir_all(store_root.path()).unwrap();
            for call in calls {
                let text = error_chain(&call(&db).unwrap_err());
                assert!(text.contains(&store_root.path().display().to_string()), "{text}");
            }
            let after = segments();
            assert!(
                before.iter().all(|name| after.contains(name)),
                "{before:?}, {after:?}"
            );
        }
    }
}

#[test]
fn a_removed_directory_of_a_store_elsewhere_makes_a_close_without_a_checkpoint_fail() {
    let (root, store_root) = (TempDir::new("directory"), TempDir::new("directory"));
    let store = FileStore::open(
        Arc::new(RealFiles),
        store_root.path(),
        &FileStoreOptions::default(),
    )
    .unwrap();
    let options = options(&SimDisk::new(), Durability::OperatingSystem).files(Arc::new(RealFiles));
    let db = TidalDb::open_with_storage(root.path(), options, Arc::new(store)).unwrap();
    fs::remove_dir_all(store_root.path()).unwrap();
    let text = error_chain(&db.close().unwrap_err());
    assert!(text.contains(&store_root.path().display().to_string()), "{text}");
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_replaced_directory_that_is_reached_by_name_ends_writes_and_the_new_database_is_not_changed() {
        let policies = || POLICIES.into_iter();
        let with_dir_locks = policies().map(|durability| (FilesByName::WithDirLocks, durability));
        let without = policies().map(|durability| (FilesByName::WithoutDirLocks, durability));
        for (files, durability) in with_dir_locks.chain(without) {
            let root = TempDir::new("directory");
            let path = root.path().join("db");
            let old = open_at(&path, files, durability).unwrap();
            for i in 0..3 {
                record(&old, i).unwrap();
            }
            fs::rename(&path, root.path().join("db.old")).unwrap();
            let new = open_at(&path, files, durability).unwrap();
            let mut acknowledged = 3;
            let error = loop {
                match record(&old, acknowledged) {
                    Ok(_) => acknowledged += 1,
                    Err(error) => break error,
                }
                assert!(acknowledged < 100, "a rotation is due");
            };
            let text = error_chain(&error);
            let expected = match files {
                FilesByName::WithDirLocks => "than the opened one",
                FilesByName::WithoutDirLocks => "lock file",
            };
            assert!(text.contains(expected), "{files:?}, {durability:?}: {text}");
            assert!(matches!(old.checkpoint(), Err(Error::Poisoned { .. })));
            for i in 0..50 {
                record(&new, i).unwrap();
            }
            new.close().unwrap();
            drop(old);
            let new = open_at(&path, files, durability).unwrap();
            assert_eq!(new.export().unwrap(), state_after(50));
            let old = open_at(&root.path().join("db.old"), files, durability).unwrap();
            let export = old.export().unwrap();
            assert!(
                export == state_after(acknowledged) || export == state_after(acknowledged + 1),
                "{acknowledged} events, and perhaps the event whose outcome is unknown"
            );
        }
    }
}
