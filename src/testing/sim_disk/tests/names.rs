//! What becomes of the names of files and directories, and of locks.

use std::collections::BTreeSet;
use std::io;

use super::{choice, create, found, found_names, image_of, path, some, write};
use crate::fs::{FileAccess, OpenMode};
use crate::testing::sim_disk::{Image, SimDisk};

fn names(sets: &[&[&str]]) -> BTreeSet<Vec<String>> {
    let owned = |names: &&[&str]| names.iter().map(ToString::to_string).collect();
    sets.iter().map(owned).collect()
}

/// A disk on which these files are durable, each with its own name as content.
fn disk_of(files: &[&str]) -> SimDisk {
    let mut image = Image::new();
    for file in files {
        image.insert_file(file, file.as_bytes());
    }
    SimDisk::from_image(&image)
}

#[test]
fn a_synced_file_whose_name_was_not_synced_may_vanish() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    write(&file, b"content", 0);
    file.sync().unwrap();
    assert_eq!(found(&disk, "/f"), [None, some(b"content")].into());
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(found(&disk, "/f"), [some(b"content")].into());
}

#[test]
fn a_synced_name_of_a_file_that_was_not_synced_may_be_empty() {
    let disk = SimDisk::new();
    write(&create(&disk, "/f"), b"content", 0);
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(disk.image(&choice("synced")), image_of("/f", b""));
}

#[test]
fn creations_may_survive_in_any_subset() {
    let disk = SimDisk::new();
    create(&disk, "/a");
    create(&disk, "/b");
    assert_eq!(found_names(&disk), names(&[&[], &["/a"], &["/b"], &["/a", "/b"]]));
}

#[test]
fn a_removal_may_be_missing_until_the_directory_is_synced() {
    let disk = disk_of(&["/a"]);
    disk.remove(path("/a")).unwrap();
    assert_eq!(disk.list(path("/")).unwrap(), [""; 0]);
    assert_eq!(found_names(&disk), names(&[&[], &["/a"]]));
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(found_names(&disk), names(&[&[]]));
}

#[test]
fn a_file_created_and_removed_may_be_there_after_all() {
    let disk = SimDisk::new();
    create(&disk, "/a");
    disk.remove(path("/a")).unwrap();
    assert_eq!(found_names(&disk), names(&[&[], &["/a"]]));
}

#[test]
fn a_renamed_file_has_the_old_name_or_the_new_one() {
    let disk = disk_of(&["/a"]);
    disk.rename(path("/a"), path("/b")).unwrap();
    assert_eq!(found_names(&disk), names(&[&["/a"], &["/b"]]));
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(found_names(&disk), names(&[&["/b"]]));
    write(&disk.open(path("/b"), OpenMode::Write).unwrap(), b"x", 0);
    let undurable = disk.undurable_of(path("/b")).unwrap();
    assert_eq!(
        undurable.len(),
        1,
        "what is written under the new name is known by it: {undurable:?}"
    );
}

#[test]
fn a_renaming_over_a_file_leaves_one_of_the_two() {
    let disk = disk_of(&["/new", "/target"]);
    disk.rename(path("/new"), path("/target")).unwrap();
    assert_eq!(found(&disk, "/target"), [some(b"/target"), some(b"/new")].into());
    assert_eq!(found(&disk, "/new"), [some(b"/new"), None].into());
    assert_eq!(found_names(&disk), names(&[&["/new", "/target"], &["/target"]]));
}

#[test]
fn a_file_that_replaces_another_unsynced_may_leave_an_empty_one() {
    let disk = disk_of(&["/target"]);
    let file = create(&disk, "/tmp");
    write(&file, b"new", 0);
    disk.rename(path("/tmp"), path("/target")).unwrap();
    assert!(found(&disk, "/target").contains(&some(b"")));
    file.sync().unwrap();
    assert_eq!(found(&disk, "/target"), [some(b"/target"), some(b"new")].into());
}

#[test]
fn a_name_used_again_proves_that_its_file_moved_on() {
    // Two files made under the same temporary name: whatever is kept, the first is under one of its names.
    let disk = SimDisk::new();
    create(&disk, "/tmp");
    disk.sync_dir(path("/")).unwrap();
    disk.rename(path("/tmp"), path("/first")).unwrap();
    create(&disk, "/tmp");
    disk.rename(path("/tmp"), path("/second")).unwrap();
    let expected = names(&[
        &["/tmp"],
        &["/first"],
        &["/first", "/tmp"],
        &["/first", "/second"],
    ]);
    assert_eq!(found_names(&disk), expected);
}

#[test]
fn a_file_renamed_twice_has_one_of_its_three_names() {
    let disk = disk_of(&["/a"]);
    disk.rename(path("/a"), path("/b")).unwrap();
    disk.rename(path("/b"), path("/c")).unwrap();
    assert_eq!(found_names(&disk), names(&[&["/a"], &["/b"], &["/c"]]));
}

#[test]
fn a_renaming_to_another_directory_is_durable_when_both_are_synced() {
    let disk = disk_of(&["/x/f", "/y/g"]);
    disk.rename(path("/x/f"), path("/y/f")).unwrap();
    let either = names(&[&["/x/f", "/y/g"], &["/y/f", "/y/g"]]);
    disk.sync_dir(path("/y")).unwrap();
    assert_eq!(found_names(&disk), either);
    disk.sync_dir(path("/x")).unwrap();
    assert_eq!(found_names(&disk), names(&[&["/y/f", "/y/g"]]));
}

#[test]
fn a_durable_use_of_a_name_makes_the_renaming_that_freed_it_durable() {
    let disk = disk_of(&["/x/f", "/y/g"]);
    disk.rename(path("/x/f"), path("/y/f")).unwrap();
    create(&disk, "/x/f");
    disk.sync_dir(path("/x")).unwrap();
    assert_eq!(found_names(&disk), names(&[&["/x/f", "/y/f", "/y/g"]]));
}

#[test]
fn everything_below_a_directory_vanishes_with_it() {
    let disk = SimDisk::new();
    disk.create_dir(path("/db")).unwrap();
    disk.create_dir(path("/db/wal")).unwrap();
    let file = create(&disk, "/db/wal/1");
    file.sync().unwrap();
    disk.sync_dir(path("/db/wal")).unwrap();
    disk.sync_dir(path("/db")).unwrap();
    assert_eq!(disk.image(&choice("synced")), Image::new());
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(disk.image(&choice("synced")), image_of("/db/wal/1", b""));
}

#[test]
fn creating_a_directory_that_exists_does_nothing() {
    let disk = disk_of(&["/db/f"]);
    disk.create_dir(path("/db")).unwrap();
    assert_eq!(disk.undurable(), []);
}

#[test]
fn a_directory_is_synced_alone_and_not_what_is_below_it() {
    let disk = disk_of(&["/db/f"]);
    create(&disk, "/db/g");
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(found_names(&disk), names(&[&["/db/f"], &["/db/f", "/db/g"]]));
}

#[test]
fn open_handles_outlive_the_name() {
    let disk = disk_of(&["/a", "/b"]);
    let a = disk.open(path("/a"), OpenMode::Write).unwrap();
    let b = disk.open(path("/b"), OpenMode::Write).unwrap();
    disk.rename(path("/a"), path("/c")).unwrap();
    disk.remove(path("/b")).unwrap();
    write(&a, b"AA", 0);
    write(&b, b"BB", 0);
    a.sync().unwrap();
    b.sync().unwrap();
    let mut buffer = [0; 2];
    assert_eq!(b.read_at(&mut buffer, 0).unwrap(), 2);
    assert_eq!(&buffer, b"BB");
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(disk.image(&choice("synced")), image_of("/c", b"AA"));
    assert_eq!(disk.undurable(), []);
}

#[test]
fn a_new_file_under_a_removed_name_is_another_file() {
    let disk = disk_of(&["/a"]);
    let old = disk.open(path("/a"), OpenMode::Write).unwrap();
    disk.remove(path("/a")).unwrap();
    write(&create(&disk, "/a"), b"new", 0);
    write(&old, b"xx", 0);
    assert_eq!(disk.image(&choice("all")), image_of("/a", b"new"));
    assert!(
        found(&disk, "/a").contains(&some(b"xx")),
        "the removal may be missing"
    );
}

#[test]
fn missing_and_misplaced_names_are_the_errors_of_a_real_disk() {
    let disk = disk_of(&["/dir/file"]);
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    let open = |at: &str, mode| disk.open(path(at), mode).map(drop);
    assert_eq!(kind(open("/none", OpenMode::Read)), io::ErrorKind::NotFound);
    assert_eq!(kind(open("/none/f", OpenMode::Create)), io::ErrorKind::NotFound);
    assert_eq!(kind(open("/dir", OpenMode::Write)), io::ErrorKind::IsADirectory);
    assert_eq!(kind(open("/dir", OpenMode::Create)), io::ErrorKind::IsADirectory);
    assert_eq!(
        kind(open("/dir/file/x", OpenMode::Read)),
        io::ErrorKind::NotADirectory
    );
    assert_eq!(
        kind(disk.list(path("/dir/file")).map(drop)),
        io::ErrorKind::NotADirectory
    );
    assert_eq!(kind(disk.list(path("/none")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.create_dir(path("/none/x"))), io::ErrorKind::NotFound);
    assert_eq!(
        kind(disk.create_dir(path("/dir/file"))),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(kind(disk.remove(path("/none"))), io::ErrorKind::NotFound);
    assert_eq!(kind(disk.remove(path("/dir"))), io::ErrorKind::IsADirectory);
    assert_eq!(
        kind(disk.rename(path("/none"), path("/x"))),
        io::ErrorKind::NotFound
    );
    assert_eq!(
        kind(disk.rename(path("/dir/file"), path("/dir"))),
        io::ErrorKind::IsADirectory
    );
    assert_eq!(kind(disk.sync_dir(path("/none"))), io::ErrorKind::NotFound);
    assert_eq!(disk.undurable(), []);
}

#[test]
fn renaming_a_file_to_its_own_name_does_nothing() {
    let disk = disk_of(&["/a"]);
    disk.rename(path("/a"), path("/x/../a")).unwrap();
    assert_eq!(disk.undurable(), []);
    assert_eq!(disk.list(path("/")).unwrap(), ["a"]);
}

#[test]
fn paths_may_be_relative_to_the_root_and_go_up() {
    let disk = disk_of(&["/dir/file"]);
    for same in ["dir/file", "./dir/./file", "/dir/../dir/file", "../dir/file"] {
        assert!(disk.open(path(same), OpenMode::Read).is_ok(), "{same}");
    }
}

#[test]
fn a_lock_is_held_by_one_and_ends_with_its_value() {
    let disk = SimDisk::new();
    let lock = disk.lock(path("/lock")).unwrap();
    assert!(lock.is_some());
    assert!(disk.clone().lock(path("/lock")).unwrap().is_none());
    assert!(disk.lock(path("/other")).unwrap().is_some());
    assert_eq!(disk.locks_held(), [path("/lock").into()]);
    drop(lock);
    assert_eq!(disk.locks_held(), []);
    assert!(disk.lock(path("/lock")).unwrap().is_some());
}

#[test]
fn locks_are_in_no_image_though_their_files_are() {
    let disk = SimDisk::new();
    let lock = disk.lock(path("/lock")).unwrap();
    assert_eq!(found(&disk, "/lock"), [None, some(b"")].into());
    let after = SimDisk::from_image(&disk.image(&choice("all")));
    assert!(after.lock(path("/lock")).unwrap().is_some());
    drop(lock);
}

#[test]
fn a_lock_does_not_truncate_its_file() {
    let disk = disk_of(&["/lock"]);
    let lock = disk.lock(path("/lock")).unwrap();
    assert!(lock.is_some());
    assert_eq!(disk.undurable(), []);
    assert_eq!(disk.image(&choice("all")), image_of("/lock", b"/lock"));
}

#[test]
fn open_files_are_listed_until_they_are_closed() {
    let disk = disk_of(&["/a"]);
    let first = disk.open(path("/a"), OpenMode::Read).unwrap();
    let second = disk.open(path("/a"), OpenMode::Write).unwrap();
    assert_eq!(disk.open_files(), [path("/a").into(), path("/a").into()]);
    drop((first, second));
    assert_eq!(disk.open_files(), []);
}
