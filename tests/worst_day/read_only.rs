//! Directories that another user has no permission to write.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::child::{DatabaseChild, run_if_child, warn};
use crate::setup::{assert_contains, assert_recovers, content, open_and_record, options};
use crate::temp_dir::TempDir;

/// The id of a user that owns no files. The user needs no name.
const USER: u32 = 65_534;
const DENIED: &str = "Permission denied";

/// A child under another user id. `None` if this process cannot start one: only root can. The tests need another user
/// because root may write to every directory.
fn another_user(dir: &Path) -> Option<DatabaseChild> {
    let cause = if std::fs::metadata(dir).unwrap().uid() == 0 {
        match DatabaseChild::start_as(Some(USER)) {
            Ok(child) => return Some(child),
            Err(cause) => cause,
        }
    } else {
        "only root can run a child as another user".to_owned()
    };
    warn(&format!("read-only directories are not tested: {cause}"));
    None
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Makes the other user the owner of a directory and of its content.
fn give_away(dir: &Path) {
    for (path, _) in content(dir) {
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    chown(dir, Some(USER), Some(USER)).unwrap();
}

#[test]
fn opening_a_read_only_database_is_an_error_with_the_path_and_changes_nothing() {
    run_if_child();
    let dir = TempDir::new("read-only");
    let Some(mut child) = another_user(dir.path()) else {
        return;
    };
    set_mode(dir.path(), 0o755);
    // A new directory cannot be created in this directory.
    let new = dir.path().join("new");
    let message = child.open(&new).unwrap_err();
    assert_contains(
        &message,
        &["create directory", &new.display().to_string(), DENIED],
    );
    // A database cannot be created in this empty directory.
    let message = child.open(dir.path()).unwrap_err();
    assert_contains(&message, &["LOCK", DENIED]);
    assert!(content(dir.path()).is_empty());
    // A database of another user cannot be opened.
    drop(open_and_record(dir.path(), options(), 0..20));
    let before = content(dir.path());
    let message = child.open(dir.path()).unwrap_err();
    let lock = dir.path().join("LOCK");
    assert_contains(&message, &[&lock.display().to_string(), DENIED]);
    assert_eq!(content(dir.path()), before);
    child.kill();
    assert_eq!(assert_recovers(dir.path(), 20, "after a refusal"), 20);
}

#[test]
fn an_open_with_a_read_only_log_or_store_directory_is_an_error_with_the_path() {
    run_if_child();
    for name in ["log", "store"] {
        let dir = TempDir::new("read-only");
        let Some(mut child) = another_user(dir.path()) else {
            return;
        };
        drop(open_and_record(dir.path(), options(), 0..20));
        give_away(dir.path());
        let part = dir.path().join(name);
        set_mode(&part, 0o555);
        let message = child.open(dir.path()).unwrap_err();
        assert_contains(&message, &[&part.display().to_string(), DENIED]);
        set_mode(&part, 0o755);
        child.open(dir.path()).unwrap();
        child.record(20).unwrap();
        child.kill();
        assert_eq!(assert_recovers(dir.path(), 21, name), 21);
    }
}

#[test]
fn a_read_only_log_directory_fails_the_next_rotation_and_loses_no_acknowledged_event() {
    run_if_child();
    let dir = TempDir::new("read-only");
    let Some(mut child) = another_user(dir.path()) else {
        return;
    };
    give_away(dir.path());
    child.open(dir.path()).unwrap();
    let log = dir.path().join("log");
    set_mode(&log, 0o555);
    let mut acknowledged = 0;
    let message = loop {
        match child.record(acknowledged) {
            Ok(_) => acknowledged += 1,
            Err(message) => break message,
        }
    };
    assert!(acknowledged > 5, "the open segment can be written");
    assert_contains(&message, &["create segment", &log.display().to_string(), DENIED]);
    child.call("count").expect("reads continue");
    set_mode(&log, 0o755);
    child.record(acknowledged).expect_err("the handle stays poisoned");
    child.open(dir.path()).unwrap();
    child.record(acknowledged).unwrap();
    child.kill();
    assert_eq!(
        assert_recovers(dir.path(), acknowledged + 1, "writable again"),
        acknowledged + 1
    );
}
