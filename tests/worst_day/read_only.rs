//! Directories that another user may not write.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::child::{DatabaseChild, serve_if_asked, warn};
use crate::setup::{assert_holds, assert_says, content, open_and_record, options};
use crate::temp_dir::TempDir;

/// A user who owns nothing. A number is enough, it needs no name.
const USER: u32 = 65_534;
const DENIED: &str = "Permission denied";

/// A child under another user id, unless this process may not have one: only root may, and root passes every check.
fn another_user(dir: &Path) -> Option<DatabaseChild> {
    let why = if std::fs::metadata(dir).unwrap().uid() == 0 {
        match DatabaseChild::start_as(Some(USER)) {
            Ok(child) => return Some(child),
            Err(why) => why,
        }
    } else {
        "it takes root to run a child as another user".to_owned()
    };
    warn(&format!("read-only directories are not tested: {why}"));
    None
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a directory and all in it to the other user.
fn give_away(dir: &Path) {
    for (path, _) in content(dir) {
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    chown(dir, Some(USER), Some(USER)).unwrap();
}

#[test]
fn a_database_that_another_user_may_only_read_is_refused_with_the_path_and_unchanged() {
    serve_if_asked();
    let dir = TempDir::new("read-only");
    let Some(mut child) = another_user(dir.path()) else {
        return;
    };
    set_mode(dir.path(), 0o755);
    // A directory in which none can be made.
    let new = dir.path().join("new");
    let said = child.open(&new).unwrap_err();
    assert_says(&said, &["create directory", &new.display().to_string(), DENIED]);
    // An empty one.
    let said = child.open(dir.path()).unwrap_err();
    assert_says(&said, &["LOCK", DENIED]);
    assert!(content(dir.path()).is_empty());
    // One with a database of somebody else.
    drop(open_and_record(dir.path(), options(), 0..20));
    let before = content(dir.path());
    let said = child.open(dir.path()).unwrap_err();
    let lock = dir.path().join("LOCK");
    assert_says(&said, &[&lock.display().to_string(), DENIED]);
    assert_eq!(content(dir.path()), before);
    child.kill();
    assert_eq!(assert_holds(dir.path(), 20, "after a refusal"), 20);
}

#[test]
fn each_directory_of_a_database_that_may_only_be_read_is_named_at_opening() {
    serve_if_asked();
    for name in ["log", "store"] {
        let dir = TempDir::new("read-only");
        let Some(mut child) = another_user(dir.path()) else {
            return;
        };
        drop(open_and_record(dir.path(), options(), 0..20));
        give_away(dir.path());
        let closed = dir.path().join(name);
        set_mode(&closed, 0o555);
        let said = child.open(dir.path()).unwrap_err();
        assert_says(&said, &[&closed.display().to_string(), DENIED]);
        set_mode(&closed, 0o755);
        child.open(dir.path()).unwrap();
        child.record(20).unwrap();
        child.kill();
        assert_eq!(assert_holds(dir.path(), 21, name), 21);
    }
}

#[test]
fn a_log_that_becomes_read_only_while_it_is_open_fails_the_rotation_and_nothing_acknowledged_is_lost() {
    serve_if_asked();
    let dir = TempDir::new("read-only");
    let Some(mut child) = another_user(dir.path()) else {
        return;
    };
    give_away(dir.path());
    child.open(dir.path()).unwrap();
    let log = dir.path().join("log");
    set_mode(&log, 0o555);
    let mut acknowledged = 0;
    let said = loop {
        match child.record(acknowledged) {
            Ok(_) => acknowledged += 1,
            Err(said) => break said,
        }
    };
    assert!(acknowledged > 5, "the open segment can be written");
    assert_says(&said, &["create segment", &log.display().to_string(), DENIED]);
    child.call("count").expect("reads go on");
    set_mode(&log, 0o755);
    child.record(acknowledged).expect_err("the handle stays poisoned");
    child.open(dir.path()).unwrap();
    child.record(acknowledged).unwrap();
    child.kill();
    assert_eq!(
        assert_holds(dir.path(), acknowledged + 1, "writable again"),
        acknowledged + 1
    );
}
