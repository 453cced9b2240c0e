//! Names that change while a database is open: its directory, a part of it, the working directory, a symbolic link. The
//! handle still uses the directories that it opened. `src/db/tests/directory.rs` tests directories that are accessed by
//! path, `tests/worst_day/directories.rs` tests directories that are missing at open.

use std::env::set_current_dir;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tidaldb::{Error, TidalDb};

use crate::runner::cases;
use crate::setup::{
    Acknowledged, assert_unchanged, close, error_chain, must, new_dir, open, open_and_work, options, paths,
    per_background, tree,
};

cases!("names":
    after_a_rename_a_new_database_at_the_old_path_and_the_renamed_one_both_work,
    an_open_database_works_after_its_directory_is_renamed,
    a_directory_that_replaces_the_log_of_an_open_database_is_never_written_to,
    a_directory_that_replaces_the_store_of_an_open_database_is_never_written_to,
    a_database_opened_by_a_relative_path_stays_in_its_directory_after_a_chdir,
    two_databases_opened_by_the_same_relative_path_stay_separate,
    an_open_database_stays_in_its_directory_after_its_symbolic_link_is_switched,
    an_error_names_the_absolute_path,
);

/// Ids of databases. Their bytes occur in no other values.
const OLD: u128 = 0x0bad_cafe_1111_2222_3333_4444_5555_6666;
const NEW: u128 = 0x0ace_beef_7777_8888_9999_aaaa_bbbb_cccc;

/// Fails unless a segment of the log contains the id `id` and no file contains the id `other_id`.
fn assert_files_belong_to(id: u128, other_id: u128, dir: &Path) {
    let contains = |bytes: &[u8], id: u128| bytes.windows(16).any(|window| window == id.to_le_bytes());
    let files = tree(dir);
    let files_with = |id: u128| -> Vec<_> {
        let files = files.iter().filter(|(_, (_, bytes))| contains(bytes, id));
        files.map(|(path, _)| path.clone()).collect()
    };
    let foreign = files_with(other_id);
    assert!(foreign.is_empty(), "files of another database: {foreign:?}");
    assert!(
        files_with(id)
            .iter()
            .any(|path| path.starts_with(dir.join("log")))
    );
}

/// Fails unless the entries of the directory have exactly these names.
fn assert_names(dir: &Path, names: &[&str]) {
    let expected: Vec<_> = names.iter().map(|name| dir.join(name)).collect();
    assert_eq!(paths(dir), expected);
}

fn after_a_rename_a_new_database_at_the_old_path_and_the_renamed_one_both_work(root: &Path) {
    for (background, root) in per_background(root) {
        fs::create_dir(&root).unwrap();
        let (path, moved) = (root.join("db"), root.join("db.old"));
        let options = || options().background(background).checkpoint_log_bytes(2048);
        let (mut of_old, mut of_new) = (Acknowledged::default(), Acknowledged::default());
        let old = open(&path, options().database_id(OLD));
        of_old.must_work(&old, 0..12);
        fs::rename(&path, &moved).unwrap();
        assert_files_belong_to(OLD, NEW, &moved);
        let new = open(&path, options().database_id(NEW));
        for round in 1..6 {
            of_new.must_work(&new, round * 100..round * 100 + 20);
            of_old.must_work(&old, round * 1000..round * 1000 + 20);
        }
        of_old.assert_in(&old);
        of_new.assert_in(&new);
        must(old.close());
        must(new.close());
        assert_names(&root, &["db", "db.old"]);
        assert_files_belong_to(NEW, OLD, &path);
        assert_files_belong_to(OLD, NEW, &moved);
        of_new.assert_at(&path);
        of_old.assert_at(&moved);
    }
}

fn an_open_database_works_after_its_directory_is_renamed(root: &Path) {
    let (path, moved) = (root.join("db"), root.join("moved"));
    let (db, mut acknowledged) = open_and_work(&path, options(), 0..12);
    fs::rename(&path, &moved).unwrap();
    acknowledged.must_work(&db, 100..140);
    let second = TidalDb::open(&moved, options());
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    acknowledged.must_work(&db, 200..240);
    must(db.close());
    assert_names(root, &["moved"]);
    acknowledged.assert_at(&moved);
}

fn a_directory_that_replaces_the_log_of_an_open_database_is_never_written_to(root: &Path) {
    replace_part("log", root);
}

fn a_directory_that_replaces_the_store_of_an_open_database_is_never_written_to(root: &Path) {
    replace_part("store", root);
}

/// Replaces the directory `part` of an open database. The handle must still use the directory that it opened.
fn replace_part(part: &str, root: &Path) {
    let (path, aside, other) = (root.join("db").join(part), root.join("aside"), root.join("other"));
    Acknowledged::default().must_work(&open(&other, options()), 0..40);
    fs::write(other.join(part).join("note"), "not of a database").unwrap();

    let (db, mut acknowledged) = open_and_work(&root.join("db"), options(), 0..12);
    fs::rename(&path, &aside).unwrap();
    fs::rename(other.join(part), &path).unwrap();
    let before = tree(&path);
    for round in 1..10 {
        acknowledged.must_work(&db, round * 100..round * 100 + 20);
    }
    close(db);
    assert_unchanged(&before, &path);
    fs::rename(&path, other.join(part)).unwrap();
    fs::rename(&aside, &path).unwrap();
    acknowledged.assert_at(&root.join("db"));
}

fn a_database_opened_by_a_relative_path_stays_in_its_directory_after_a_chdir(root: &Path) {
    let (first, second) = (new_dir(root, "first"), new_dir(root, "second"));
    let mut acknowledged = Acknowledged::default();
    set_current_dir(&first).unwrap();
    let db = open("db".as_ref(), options());
    acknowledged.must_work(&db, 0..12);
    set_current_dir(&second).unwrap();
    acknowledged.must_work(&db, 100..140);
    must(db.close());
    assert_names(&first, &["db"]);
    assert_names(&second, &[]);
    acknowledged.assert_at(&first.join("db"));
}

fn two_databases_opened_by_the_same_relative_path_stay_separate(root: &Path) {
    let (first, second) = (new_dir(root, "first"), new_dir(root, "second"));
    let (mut of_a, mut of_b) = (Acknowledged::default(), Acknowledged::default());
    set_current_dir(&first).unwrap();
    let a = open("db".as_ref(), options().database_id(OLD));
    of_a.must_work(&a, 0..12);
    set_current_dir(&second).unwrap();
    let b = open("db".as_ref(), options().database_id(NEW));
    for round in 1..6 {
        of_b.must_work(&b, round * 100..round * 100 + 20);
        of_a.must_work(&a, round * 1000..round * 1000 + 20);
    }
    must(a.close());
    must(b.close());
    assert_files_belong_to(OLD, NEW, &first.join("db"));
    assert_files_belong_to(NEW, OLD, &second.join("db"));
    of_a.assert_at(&first.join("db"));
    of_b.assert_at(&second.join("db"));
}

/// The link is the last part of the opened path, or an earlier part.
fn an_open_database_stays_in_its_directory_after_its_symbolic_link_is_switched(root: &Path) {
    for (number, (linked, opened)) in [("db", "link"), ("", "link/db")].into_iter().enumerate() {
        let root = new_dir(root, number.to_string());
        for dir in ["a", "a/db", "b", "b/db"] {
            new_dir(&root, dir);
        }
        let (a, b, link, opened) = (
            root.join("a"),
            root.join("b"),
            root.join("link"),
            root.join(opened),
        );
        let (mut of_a, mut of_b) = (Acknowledged::default(), Acknowledged::default());
        of_b.must_work(&open(&b.join("db"), options()), 5000..5040);
        symlink(a.join(linked), &link).unwrap();
        let db = open(&opened, options());
        of_a.must_work(&db, 0..12);
        fs::remove_file(&link).unwrap();
        symlink(b.join(linked), &link).unwrap();
        let before = tree(&b);
        of_a.must_work(&db, 100..140);
        assert_unchanged(&before, &b);
        of_b.must_work(&open(&opened, options()), 6000..6040);
        of_a.must_work(&db, 200..240);
        must(db.close());
        of_a.assert_at(&a.join("db"));
        of_b.assert_at(&b.join("db"));
    }
}

fn an_error_names_the_absolute_path(root: &Path) {
    set_current_dir(root).unwrap();
    let assert_names = |opened: &str, named: &str, options| {
        let error = TidalDb::open(opened, options).expect_err("the open must fail");
        let named = root.join(named).display().to_string();
        let text = error_chain(&error);
        assert!(
            text.contains(&named),
            "{opened:?}: {text:?} does not name {named}"
        );
    };
    fs::write("file", "text").unwrap();
    assert_names("file", "file", options());
    assert_names("missing/db", "missing/db", options());
    assert_names("missing", "missing", options().create(false));
    let db = open("db".as_ref(), options());
    assert_names("db", "db", options());
    assert_names("./db", "db", options());
    drop(db);
    let segment = paths("db/log".as_ref()).remove(0);
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, vec![1; bytes.len()]).unwrap();
    assert_names("db", segment.to_str().unwrap(), options());
    fs::write(&segment, bytes).unwrap();
    // An error of an open handle, after the working directory changed.
    let db = open("db".as_ref(), options());
    fs::remove_dir_all("db").unwrap();
    set_current_dir("/").unwrap();
    let error = Acknowledged::default().work(&db, 0..40).unwrap_err();
    let text = error_chain(&error);
    assert!(text.contains(&root.join("db").display().to_string()), "{text}");
}
