//! The directory of an open database is removed, or the directory of its log: every later call fails under every
//! policy. `src/db/tests/directory.rs` tests directories that are accessed by path, `tests/worst_day/directories.rs`
//! tests the state after a removal.

use std::fs;
use std::path::Path;

use tidaldb::Durability;

use crate::runner::cases;
use crate::setup::{
    Acknowledged, POLICIES, assert_removed, error_chain, new_dir, open, open_and_work, options,
};

cases!("removed":
    after_the_directory_is_removed_the_next_sync_and_all_later_calls_fail,
    after_the_log_is_removed_the_next_sync_and_all_later_calls_fail,
    an_open_database_does_not_create_its_removed_directory_again,
);

fn after_the_directory_is_removed_the_next_sync_and_all_later_calls_fail(root: &Path) {
    remove_and_write("db", root);
}

fn after_the_log_is_removed_the_next_sync_and_all_later_calls_fail(root: &Path) {
    remove_and_write("db/log", root);
}

fn remove_and_write(removed: &str, root: &Path) {
    for (number, policy) in POLICIES.into_iter().enumerate() {
        let root = new_dir(root, number.to_string());
        let path = root.join("db");
        // The segment has space for all events of the case.
        let options = options().durability(policy).segment_bytes_max(1 << 20);
        let db = open(&path, options);
        let mut acknowledged = Acknowledged::default();
        for entity in 0..5 {
            acknowledged.record(&db, entity).unwrap();
        }
        fs::remove_dir_all(root.join(removed)).unwrap();
        // Under this policy each call syncs before its acknowledgement.
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

fn an_open_database_does_not_create_its_removed_directory_again(root: &Path) {
    let path = root.join("db");
    let (db, mut acknowledged) = open_and_work(&path, options(), 0..5);
    fs::remove_dir_all(&path).unwrap();
    let error = acknowledged.work(&db, 100..200).unwrap_err();
    assert!(db.close().is_err(), "closed after {}", error_chain(&error));
    drop(db);
    assert!(!path.exists());
    assert!(open(&path, options()).recovery_report().created);
}
