//! The rules for the content of files, for the names of files and directories, and for locks.

use std::collections::BTreeSet;
use std::io;

use super::{
    Op, choice, create, disk_with_sectors, every_image, image, image_of, open, parse_image, path,
    print_image, write,
};
use crate::fs::{FileAccess, OpenMode};
use crate::testing::sim_disk::{Image, SimDisk};

/// Each rule has a sentence, a line with the durable files and the operations on them, and the expected results.
/// `every` lists all images of a crash, `some` lists some of them, and `undurable` lists the undurable changes. Other
/// words are choices of an image.
const RULES: &str = r"
a synced write is in every image
/f=old: write /f 0 new; sync /f
every = /f=new
undurable =

an unsynced write can be missing, and closing its file makes nothing durable
/f=old: write /f 0 new
synced = /f=old
all = /f=new
undurable = 3 bytes at offset 0 of /f (operation 0)

a write after a truncation can be present without the truncation
/f=abcdef: create /f; write /f 0 XY
some = /f=abcdef | /f=XYcdef | /f= | /f=XY

creating an existing file is a truncation, which is pending like a write
/f=old: create /f
every = /f= | /f=old
undurable = the truncation of /f (operation 0)

a synced truncation is in every image
/f=old: create /f; sync /f
every = /f=

a later write can be present without an earlier one and leaves a gap of zeros
/f=: write /f 0 ab; write /f 2 cd
only:1 = /f=\x00\x00cd
drop:1 = /f=ab
prefix:1 = /f=ab

overlapping writes keep their order
/f=....: write /f 0 aaaa; write /f 1 bb
only:0,1 = /f=abba
only:0 = /f=aaaa
only:1 = /f=.bb.

a sync of one file makes no change of another file durable
/f=old: write /f 0 new; create /g; write /g 0 g; sync /g; syncdir /
synced = /f=old /g=g

a write that makes a file longer can leave the length without the bytes
/f=ab: write /f 2 cd
some = /f=ab\x00\x00

a synced file whose name was not synced can be absent
: create /f; write /f 0 content; sync /f
every =  | /f=content

a synced file with a synced name is in every image
: create /f; write /f 0 content; sync /f; syncdir /
every = /f=content

a file with a synced name and no synced content can be empty
: create /f; write /f 0 content; syncdir /
synced = /f=

every subset of creations can be present
: create /a; create /b
every =  | /a= | /b= | /a= /b=

a removal can be missing until the directory is synced
/a=a: remove /a
every =  | /a=a
all =
undurable = the removal of /a (operation 0)

a synced removal is in every image
/a=a: remove /a; syncdir /
every =

a file that was created and removed can be present
: create /a; remove /a
every =  | /a=

a renamed file has the old name or the new one
/a=a: rename /a /b
every = /a=a | /b=a

a synced renaming is in every image
/a=a: rename /a /b; syncdir /
every = /b=a

an undurable write to a renamed file is listed with the new name
/a=a: rename /a /b; syncdir /; write /b 0 x
undurable = 1 bytes at offset 0 of /b (operation 2)

a renaming that replaces a file leaves the old file or the new file under the name
/new=new /target=old: rename /new /target
every = /new=new /target=old | /target=new

an unsynced file that replaces another file can be empty
/target=old: create /tmp; write /tmp 0 new; rename /tmp /target
some = /target=

a synced file that replaces another file leaves the old file or the new file under the name
/target=old: create /tmp; write /tmp 0 new; rename /tmp /target; sync /target
every = /target=old | /target=old /tmp=new | /target=new

if a name was used again, its earlier renaming is present too
: create /tmp; syncdir /; rename /tmp /first; create /tmp; rename /tmp /second
every = /tmp= | /first= | /first= /tmp= | /first= /second=

a file renamed twice has one of its three names
/a=a: rename /a /b; rename /b /c
every = /a=a | /b=a | /c=a

a renaming to another directory is not durable if only one of the two directories is synced
/x/f=f /y/g=g: rename /x/f /y/f; syncdir /y
every = /x/f=f /y/g=g | /y/f=f /y/g=g /x/

a renaming to another directory is durable if both directories are synced
/x/f=f /y/g=g: rename /x/f /y/f; syncdir /y; syncdir /x
every = /y/f=f /y/g=g /x/

a durable creation makes the renaming durable that freed its name
/x/f=f /y/g=g: rename /x/f /y/f; create /x/f; syncdir /x
every = /x/f= /y/f=f /y/g=g

if a directory is absent, everything below it is absent
: mkdir /db; mkdir /db/wal; create /db/wal/1; sync /db/wal/1; syncdir /db/wal; syncdir /db
synced =
all = /db/wal/1=
undurable = the name /db (operation 0)

everything with synced names below a synced directory is present
: mkdir /db; mkdir /db/wal; create /db/wal/1; syncdir /db/wal; syncdir /db; syncdir /
synced = /db/wal/1=

creating an existing directory does nothing
/db/f=f: mkdir /db
undurable =

a sync of a directory does not sync the directories below it
/db/f=f: create /db/g; syncdir /
every = /db/f=f | /db/f=f /db/g=

renaming a file to its own name does nothing
/a=a: rename /a /x/../a
all = /a=a
undurable =

undurable changes are listed with file and offset
: mkdir /db; create /db/log; write /db/log 4 abc; create /db/log
undurable = the name /db (operation 0) | the name /db/log (operation 1) | 3 bytes at offset 4 of /db/log (operation 2) | the truncation of /db/log (operation 3)
";

#[test]
fn content_and_names_become_durable_by_the_rules() {
    for rule in RULES.trim().split("\n\n") {
        let mut lines = rule.lines();
        let (sentence, work) = (lines.next().unwrap(), lines.next().unwrap());
        let (files, script) = work.split_once(": ").unwrap();
        let disk = SimDisk::from_image(&parse_image(files.trim_start_matches(':')));
        for line in script.split(';') {
            Op::parse(line).run(&disk).unwrap();
        }
        for line in lines {
            let (word, expected) = line.split_once(" =").unwrap();
            let expected: BTreeSet<_> = expected.split('|').map(|it| it.trim().to_owned()).collect();
            let found = match word {
                "every" | "some" => every_image(&disk),
                "undurable" if disk.undurable().is_empty() => [String::new()].into(),
                "undurable" => disk.undurable().iter().map(ToString::to_string).collect(),
                choice => [print_image(&image(&disk, choice))].into(),
            };
            assert!(disk.undurable().is_sorted_by_key(|it| it.ordinal), "{sentence}");
            let is_right = found == expected || word == "some" && expected.is_subset(&found);
            assert!(is_right, "{sentence}: {word} is {found:?}");
        }
    }
}

#[test]
fn reads_return_written_bytes_before_a_sync() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    write(&file, b"hello", 2);
    let mut buffer = [9; 10];
    assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 6);
    assert_eq!(&buffer[..6], b"\0hello");
    assert_eq!(file.read_at(&mut buffer, 7).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, u64::MAX).unwrap(), 0);
    assert_eq!(file.len().unwrap(), 7);
    create(&disk, "/f");
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 0);
    assert_eq!(file.len().unwrap(), 0);
}

#[test]
fn a_write_tears_at_the_sector_boundaries_of_the_file() {
    let disk = disk_with_sectors(2, &image_of("/f", b"........"));
    write(&open(&disk, "/f"), b"abcde", 1);
    // Pieces: 1..2, 2..4, 4..6.
    for (tear, expected) in [
        ("1n", ".a......"),
        ("2n", ".abc...."),
        ("3n", ".abcde.."),
        ("1o2n", "..bcde.."),
        ("2o1n", "....de.."),
        ("1n1o1n", ".a..de.."),
        ("1z1n", ".\0bc...."),
    ] {
        for word in ["drop", "only", "prefix"] {
            let found = image(&disk, &format!("{word}:0={tear}"));
            assert_eq!(found, image_of("/f", expected.as_bytes()), "{word} {tear}");
        }
    }
}

#[test]
fn garbage_replaces_only_the_torn_piece_and_is_the_same_each_time() {
    let torn = |text: &str| {
        let disk = disk_with_sectors(16, &image_of("/f", &[b'.'; 64]));
        write(&open(&disk, "/f"), &[b'x'; 30], 8);
        image(&disk, text).file("/f").unwrap().to_vec()
    };
    let bytes = torn("drop:0=1n1g");
    assert_eq!(&bytes[..16], b"........xxxxxxxx");
    assert_ne!(&bytes[16..32], &[b'x'; 16]);
    assert_ne!(&bytes[16..32], &[b'.'; 16]);
    assert_eq!(&bytes[32..], &[b'.'; 32]);
    assert_eq!(bytes, torn("drop:0=1n1g"));
    assert_eq!(bytes, torn("only:0=1n1g"));
}

#[test]
fn a_write_that_does_not_make_the_file_longer_never_leaves_zeros() {
    let disk = disk_with_sectors(2, &image_of("/f", b"abcd"));
    write(&open(&disk, "/f"), b"wxyz", 0);
    let images = every_image(&disk);
    assert!(
        !images.iter().any(|image| image.ends_with("\\x00\\x00")),
        "{images:?}"
    );
}

#[test]
fn a_read_only_handle_cannot_write_and_can_sync_the_whole_file() {
    let disk = SimDisk::from_image(&image_of("/f", b"old"));
    let reader = disk.open(path("/f"), OpenMode::Read).unwrap();
    let error = reader.write_at(b"x", 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(disk.undurable(), []);
    write(&open(&disk, "/f"), b"new", 0);
    reader.sync().unwrap();
    assert_eq!(every_image(&disk), ["/f=new".to_owned()].into());
}

#[test]
fn a_write_beyond_the_maximum_file_length_fails() {
    let disk = SimDisk::new();
    let error = create(&disk, "/f").write_at(b"x", u64::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(image(&disk, "all"), image_of("/f", b""));
}

#[test]
fn on_a_disk_made_from_an_image_the_image_is_durable() {
    let mut start = image_of("/db/wal/1", b"frames");
    start.insert_dir("/db/empty");
    let disk = SimDisk::from_image(&start);
    assert_eq!(image(&disk, "synced"), start);
    assert_eq!(image(&disk, "all"), start);
    assert_eq!(disk.operations_len(), 0);
    // Changes of the new disk do not change the image.
    write(&open(&disk, "/db/wal/1"), b"FRAMES", 0);
    assert_eq!(start.file("/db/wal/1"), Some(&b"frames"[..]));
    assert_eq!(image(&disk, "synced"), start);
    assert_ne!(image(&disk, "all"), start);
    assert_eq!(Image::new(), image(&SimDisk::new(), "all"));
}

#[test]
fn open_handles_work_after_a_renaming_and_a_removal_of_their_file() {
    let disk = SimDisk::from_image(&parse_image("/a=a /b=b"));
    let (a, b) = (open(&disk, "/a"), open(&disk, "/b"));
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
    assert_eq!(image(&disk, "synced"), image_of("/c", b"AA"));
    assert_eq!(disk.undurable(), []);
}

#[test]
fn a_new_file_with_the_name_of_a_removed_file_is_another_file() {
    let disk = SimDisk::from_image(&image_of("/a", b"/a"));
    let old = open(&disk, "/a");
    disk.remove(path("/a")).unwrap();
    write(&create(&disk, "/a"), b"new", 0);
    write(&old, b"xx", 0);
    assert_eq!(image(&disk, "all"), image_of("/a", b"new"));
    // In some images the removal is missing.
    assert!(every_image(&disk).contains("/a=xx"));
}

#[test]
fn calls_with_missing_or_wrong_paths_return_the_errors_of_a_real_disk() {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, NotFound};
    let disk = SimDisk::from_image(&parse_image("/dir/file=content"));
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    for (line, expected) in [
        ("sync /none", NotFound),
        ("create /none/f", NotFound),
        ("sync /dir", IsADirectory),
        ("create /dir", IsADirectory),
        ("sync /dir/file/x", NotADirectory),
        ("mkdir /none/x", NotFound),
        ("mkdir /dir/file", AlreadyExists),
        ("remove /none", NotFound),
        ("remove /dir", IsADirectory),
        ("rename /none /x", NotFound),
        ("rename /dir/file /dir", IsADirectory),
        ("syncdir /none", NotFound),
    ] {
        assert_eq!(kind(Op::parse(line).run(&disk)), expected, "{line}");
    }
    assert_eq!(kind(disk.list(path("/dir/file")).map(drop)), NotADirectory);
    assert_eq!(kind(disk.list(path("/none")).map(drop)), NotFound);
    assert_eq!(disk.undurable(), []);
}

#[test]
fn paths_can_be_relative_to_the_root_and_contain_parent_components() {
    let disk = SimDisk::from_image(&parse_image("/dir/file="));
    for same in ["dir/file", "./dir/./file", "/dir/../dir/file", "../dir/file"] {
        assert!(disk.open(path(same), OpenMode::Read).is_ok(), "{same}");
    }
}

#[test]
fn a_lock_has_one_holder_and_is_released_when_it_is_dropped() {
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
fn an_image_has_the_file_of_a_lock_and_not_the_lock() {
    let disk = SimDisk::new();
    let _lock = disk.lock(path("/lock")).unwrap();
    assert_eq!(every_image(&disk), [String::new(), "/lock=".to_owned()].into());
    let after = SimDisk::from_image(&image(&disk, "all"));
    assert!(after.lock(path("/lock")).unwrap().is_some());
}

#[test]
fn a_lock_does_not_truncate_its_file() {
    let disk = SimDisk::from_image(&image_of("/lock", b"content"));
    assert!(disk.lock(path("/lock")).unwrap().is_some());
    assert_eq!(disk.undurable(), []);
    assert_eq!(disk.image(&choice("all")), image_of("/lock", b"content"));
}

#[test]
fn open_files_are_listed_until_they_are_closed() {
    let disk = SimDisk::from_image(&image_of("/a", b""));
    let handles = [open(&disk, "/a"), open(&disk, "/a")];
    assert_eq!(disk.open_files(), [path("/a").into(), path("/a").into()]);
    drop(handles);
    assert_eq!(disk.open_files(), []);
}
