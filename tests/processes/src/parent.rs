//! A database below a directory of another user. The user of the database may traverse this directory, but neither list
//! nor write it. `src/db/tests/directory.rs` tests the syncs of the parent directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tidaldb::TidalDb;

use crate::processes::in_a_child;
use crate::runner::{cases, warn};
use crate::setup::{Acknowledged, error_chain, event, new_dir, open, open_and_work, options, tree};
use crate::sys;

cases!("parent":
    an_existing_database_opens_below_a_directory_that_the_user_may_not_list,
    a_database_is_created_in_an_empty_directory_below_one_that_the_user_may_not_list,
    a_missing_directory_below_one_that_the_user_may_not_write_is_an_error_with_its_path,
);

/// The id of a user that owns no files. The user needs no name.
const USER: u32 = 65_534;

/// Calls `make` with a directory of this user that the other user may only traverse, then `body` as the other user in a
/// child. Returns the result of `body`, or `None` if this process cannot run a child as another user.
fn as_another_user(
    root: &Path,
    make: impl FnOnce(&Path),
    body: impl FnOnce(&Path) -> Result<(), String>,
) -> Option<Result<(), String>> {
    if sys::user() != 0 {
        warn("not tested: only root can run a child as another user");
        return None;
    }
    let parent = new_dir(root, "parent");
    make(&parent);
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o711)).unwrap();
    let [reached, result] = in_a_child(|| {
        sys::become_user(USER).unwrap();
        if let Err(error) = parent.symlink_metadata() {
            return [Err(error.to_string()), Ok(())];
        }
        assert!(
            fs::read_dir(&parent).is_err(),
            "the other user can list the directory"
        );
        [Ok(()), body(&parent)]
    });
    if reached.is_err() {
        warn("not tested: the other user has no access to the directory for temporary files");
    }
    reached.is_ok().then_some(result)
}

/// Makes the other user the owner of a directory and of its content.
fn give_away(dir: &Path) {
    for path in tree(dir).keys() {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    chown(dir, Some(USER), Some(USER)).unwrap();
}

fn an_existing_database_opens_below_a_directory_that_the_user_may_not_list(root: &Path) {
    let mut acknowledged = Acknowledged::default();
    let make = |parent: &Path| {
        acknowledged.must_work(&open(&parent.join("db"), options()), 0..20);
        give_away(&parent.join("db"));
    };
    let opens = |parent: &Path| {
        let db = open(&parent.join("db"), options());
        for entity in 20..40 {
            db.record(&event(entity)).unwrap();
        }
        db.checkpoint().unwrap();
        db.close().map_err(|error| error_chain(&error))
    };
    if let Some(closed) = as_another_user(root, make, opens) {
        assert_eq!(closed, Ok(()));
        acknowledged.events.extend(20..40);
        acknowledged.assert_at(&root.join("parent/db"));
    }
}

fn a_database_is_created_in_an_empty_directory_below_one_that_the_user_may_not_list(root: &Path) {
    let make = |parent: &Path| {
        give_away(&new_dir(parent, "db"));
    };
    let creates = |parent: &Path| {
        let path = parent.join("db");
        let (db, mut acknowledged) = open_and_work(&path, options(), 0..20);
        drop(db);
        let db = open(&path, options());
        acknowledged.assert_in(&db);
        acknowledged.must_work(&db, 20..40);
        acknowledged.assert_closed(db, &path);
        Ok(())
    };
    if let Some(created) = as_another_user(root, make, creates) {
        assert_eq!(created, Ok(()));
    }
}

fn a_missing_directory_below_one_that_the_user_may_not_write_is_an_error_with_its_path(root: &Path) {
    let opens = |parent: &Path| match TidalDb::open(parent.join("new"), options()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error_chain(&error)),
    };
    if let Some(opened) = as_another_user(root, |_| (), opens) {
        let text = opened.expect_err("the database opens");
        let path = root.join("parent/new").display().to_string();
        assert!(
            text.contains(&path) && text.contains("Permission denied"),
            "{text}"
        );
        assert!(tree(&root.join("parent")).is_empty());
    }
}
