//! The directory of an open database is removed, or its log: every later call fails under every policy. Directories that are
//! reached by name are tested in `src/db/tests/directory.rs`, the state after a removal in `tests/worst_day/directories.rs`.

use std::fs;
use std::path::Path;

use tidaldb::Durability;

use crate::runner::cases;
use crate::setup::{Acknowledged, POLICIES, assert_removed, error_chain, new_dir, open, options, worked};

cases!("removed":
    no_event_is_acknowledged_after_the_next_sync_once_the_directory_was_removed,
    no_event_is_acknowledged_after_the_next_sync_once_the_log_was_removed,
    a_removed_directory_is_not_made_again_by_the_open_database,
);

fn no_event_is_acknowledged_after_the_next_sync_once_the_directory_was_removed(root: &Path) {
    remove_and_write("db", root);
}

fn no_event_is_acknowledged_after_the_next_sync_once_the_log_was_removed(root: &Path) {
    remove_and_write("db/log", root);
}

fn remove_and_write(removed: &str, root: &Path) {
    for (number, policy) in POLICIES.into_iter().enumerate() {
        let root = new_dir(root, number.to_string());
        let path = root.join("db");
        // The segment has room for all that follows.
        let options = options().durability(policy).segment_bytes_max(1 << 20);
        let db = open(&path, options);
        let mut acknowledged = Acknowledged::default();
        for entity in 0..5 {
            acknowledged.record(&db, entity).unwrap();
        }
        fs::remove_dir_all(root.join(removed)).unwrap();
        // Under this policy each acknowledgement comes after a sync.
        let synced = if policy == Durability::EverySynced {
            acknowledged.record(&db, 5)
        } else {
            db.sync()
        };
        assert_removed(&synced.expect_err(&format!("{policy:?}: a sync succeeds")), &path);
        for (name, result) in [
            ("record", acknowledged.record(&db, 6)),
            ("sync", db.sync()),
            ("checkpoint", db.checkpoint().map(drop)),
            ("create_collection", db.create_collection("new")),
            ("close", db.close()),
        ] {
            assert_removed(&result.expect_err(&format!("{policy:?}: {name} succeeds")), &path);
        }
    }
}

fn a_removed_directory_is_not_made_again_by_the_open_database(root: &Path) {
    let path = root.join("db");
    let (db, mut acknowledged) = worked(&path, options(), 0..5);
    fs::remove_dir_all(&path).unwrap();
    let error = acknowledged.work(&db, 100..200).unwrap_err();
    assert!(db.close().is_err(), "closed after {}", error_chain(&error));
    drop(db);
    assert!(!path.exists());
    assert!(open(&path, options()).recovery_report().created);
}
