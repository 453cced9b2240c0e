//! What becomes of the bytes of a file.

use std::io;

use super::{choice, create, disk_with_sectors, found, image_of, path, some, write};
use crate::fs::{FileAccess, OpenMode};
use crate::testing::sim_disk::{Image, SimDisk};

/// A disk with the durable file `/f`, whose sectors hold all that a test writes at once unless said otherwise.
fn disk(bytes: &[u8], sector_bytes: u32) -> SimDisk {
    disk_with_sectors(sector_bytes, &image_of("/f", bytes))
}

fn open(disk: &SimDisk) -> std::sync::Arc<dyn crate::fs::File> {
    disk.open(path("/f"), OpenMode::Write).unwrap()
}

#[test]
fn what_was_written_is_read_back_at_once() {
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
fn a_synced_write_is_in_every_image() {
    let disk = disk(b"old", 512);
    let file = open(&disk);
    write(&file, b"new", 0);
    file.sync().unwrap();
    assert_eq!(found(&disk, "/f"), [some(b"new")].into());
    assert_eq!(disk.undurable(), []);
}

#[test]
fn a_write_that_was_not_synced_may_be_missing() {
    let disk = disk(b"old", 512);
    write(&open(&disk), b"new", 0);
    assert_eq!(disk.image(&choice("synced")).file("/f"), Some(&b"old"[..]));
    assert_eq!(disk.image(&choice("all")).file("/f"), Some(&b"new"[..]));
}

#[test]
fn closing_a_file_makes_nothing_durable() {
    let disk = disk(b"old", 512);
    let file = open(&disk);
    write(&file, b"new", 0);
    drop(file);
    assert_eq!(disk.image(&choice("synced")).file("/f"), Some(&b"old"[..]));
}

#[test]
fn a_write_after_a_truncation_may_be_there_without_it() {
    let disk = disk(b"abcdef", 512);
    let file = create(&disk, "/f");
    write(&file, b"XY", 0);
    let found = found(&disk, "/f");
    for expected in [&b"abcdef"[..], b"XYcdef", b"", b"XY"] {
        assert!(found.contains(&some(expected)), "{expected:?} of {found:?}");
    }
}

#[test]
fn creating_a_file_that_exists_is_a_truncation_that_is_pending_like_any_write() {
    let disk = disk(b"old", 512);
    let file = create(&disk, "/f");
    assert_eq!(file.len().unwrap(), 0);
    assert_eq!(found(&disk, "/f"), [some(b"old"), some(b"")].into());
    file.sync().unwrap();
    assert_eq!(found(&disk, "/f"), [some(b"")].into());
}

#[test]
fn a_later_write_may_be_there_without_an_earlier_one_and_leaves_a_gap_of_zeros() {
    let disk = disk(b"", 512);
    let file = open(&disk);
    write(&file, b"ab", 0);
    write(&file, b"cd", 2);
    assert_eq!(disk.image(&choice("only:1")).file("/f"), Some(&b"\0\0cd"[..]));
    assert_eq!(disk.image(&choice("drop:1")).file("/f"), Some(&b"ab"[..]));
    assert_eq!(disk.image(&choice("prefix:1")).file("/f"), Some(&b"ab"[..]));
}

#[test]
fn overlapping_writes_keep_their_order() {
    let disk = disk(b"....", 512);
    let file = open(&disk);
    write(&file, b"aaaa", 0);
    write(&file, b"bb", 1);
    assert_eq!(disk.image(&choice("only:0,1")).file("/f"), Some(&b"abba"[..]));
    assert_eq!(disk.image(&choice("only:0")).file("/f"), Some(&b"aaaa"[..]));
    assert_eq!(disk.image(&choice("only:1")).file("/f"), Some(&b".bb."[..]));
}

#[test]
fn a_sync_of_one_file_says_nothing_of_another() {
    let disk = disk(b"old", 512);
    let file = open(&disk);
    write(&file, b"new", 0);
    let other = create(&disk, "/g");
    write(&other, b"g", 0);
    other.sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(disk.image(&choice("synced")).file("/f"), Some(&b"old"[..]));
    assert_eq!(disk.image(&choice("synced")).file("/g"), Some(&b"g"[..]));
}

#[test]
fn a_write_tears_where_sectors_of_the_file_meet() {
    let disk = disk(b"........", 2);
    write(&open(&disk), b"abcde", 1);
    // Pieces: 1..2, 2..4, 4..6.
    for (tear, expected) in [
        ("1n", "a......"),
        ("2n", "abc...."),
        ("3n", "abcde.."),
        ("1o2n", ".bcde.."),
        ("2o1n", "...de.."),
        ("1n1o1n", "a..de.."),
        ("1z1n", "\0bc...."),
    ] {
        let image = disk.image(&choice(&format!("drop:0={tear}")));
        let expected = format!(".{expected}");
        assert_eq!(image.file("/f"), Some(expected.as_bytes()), "{tear}");
        assert_eq!(disk.image(&choice(&format!("only:0={tear}"))), image);
        assert_eq!(disk.image(&choice(&format!("prefix:0={tear}"))), image);
    }
}

#[test]
fn garbage_replaces_the_torn_piece_and_nothing_beside_it() {
    let disk = disk(&[b'.'; 64], 16);
    write(&open(&disk), &[b'x'; 30], 8);
    let image = disk.image(&choice("drop:0=1n1g"));
    let bytes = image.file("/f").unwrap();
    assert_eq!(&bytes[..16], b"........xxxxxxxx");
    assert_ne!(&bytes[16..32], &[b'x'; 16]);
    assert_ne!(&bytes[16..32], &[b'.'; 16]);
    assert_eq!(&bytes[32..], &[b'.'; 32]);
}

#[test]
fn garbage_is_the_same_for_the_same_seed_and_another_for_another() {
    let garbage = |text: &str| {
        let disk = disk(&[b'.'; 16], 16);
        write(&open(&disk), &[b'x'; 16], 0);
        disk.image(&choice(text)).file("/f").unwrap().to_vec()
    };
    assert_eq!(garbage("drop:0=1g"), garbage("drop:0=1g"));
    assert_eq!(garbage("drop:0=1g"), garbage("only:0=1g"));
    assert_eq!(garbage("drop@7:0=1g"), garbage("drop@7:0=1g"));
    assert_ne!(garbage("drop@7:0=1g"), garbage("drop:0=1g"));
}

#[test]
fn a_growing_write_may_leave_its_length_without_its_bytes() {
    let disk = disk(b"ab", 512);
    write(&open(&disk), b"cd", 2);
    let mut found = found(&disk, "/f");
    found.retain(|bytes| {
        bytes
            .as_ref()
            .is_none_or(|bytes| bytes[2..].iter().all(|byte| *byte < 128))
    });
    assert!(found.contains(&some(b"ab\0\0")), "{found:?}");
}

#[test]
fn an_overwriting_write_never_leaves_zeros() {
    let disk = disk(b"abcd", 2);
    write(&open(&disk), b"wxyz", 0);
    assert!(
        !found(&disk, "/f")
            .iter()
            .flatten()
            .any(|bytes| bytes.ends_with(&[0, 0]))
    );
}

#[test]
fn sync_is_of_the_file_and_not_of_the_handle() {
    let disk = disk(b"old", 512);
    let (first, second) = (open(&disk), disk.open(path("/f"), OpenMode::Read).unwrap());
    write(&first, b"new", 0);
    second.sync().unwrap();
    assert_eq!(found(&disk, "/f"), [some(b"new")].into());
}

#[test]
fn a_file_open_for_reading_cannot_be_changed() {
    let disk = disk(b"old", 512);
    let file = disk.open(path("/f"), OpenMode::Read).unwrap();
    assert_eq!(
        file.write_at(b"x", 0).unwrap_err().kind(),
        io::ErrorKind::PermissionDenied
    );
    assert_eq!(disk.undurable(), []);
}

#[test]
fn a_file_cannot_grow_without_bound() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    assert_eq!(
        file.write_at(b"x", u64::MAX).unwrap_err().kind(),
        io::ErrorKind::FileTooLarge
    );
    assert_eq!(disk.image(&choice("all")), image_of("/f", b""));
}

#[test]
fn a_disk_made_from_an_image_has_all_of_it_durable() {
    let mut image = image_of("/db/wal/1", b"frames");
    image.insert_dir("/db/empty");
    let disk = SimDisk::from_image(&image);
    assert_eq!(disk.image(&choice("synced")), image);
    assert_eq!(disk.image(&choice("all")), image);
    assert_eq!(disk.operations_len(), 0);
    // What the new disk changes does not change the image.
    write(
        &disk.open(path("/db/wal/1"), OpenMode::Write).unwrap(),
        b"FRAMES",
        0,
    );
    assert_eq!(image.file("/db/wal/1"), Some(&b"frames"[..]));
    assert_eq!(disk.image(&choice("synced")), image);
    assert_ne!(disk.image(&choice("all")), image);
    assert_eq!(Image::new(), SimDisk::new().image(&choice("all")));
}

#[test]
fn what_is_not_durable_is_listed_with_file_and_offset() {
    let disk = SimDisk::new();
    disk.create_dir(path("/db")).unwrap();
    let file = create(&disk, "/db/log");
    write(&file, b"abc", 4);
    let other = create(&disk, "/db/other");
    write(&other, b"abc", 0);
    let listed = |at: &str| -> Vec<String> {
        let undurable = disk.undurable_of(path(at)).unwrap();
        undurable.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        listed("/db/log"),
        [
            "the name /db (operation 0)",
            "the name /db/log (operation 1)",
            "3 bytes at offset 4 of /db/log (operation 2)",
        ]
    );
    file.sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(listed("/db/log"), ["the name /db/log (operation 1)"]);
    disk.sync_dir(path("/db")).unwrap();
    assert_eq!(listed("/db/log"), [""; 0]);
    assert_eq!(listed("/db/other").len(), 1);
    create(&disk, "/db/log");
    assert_eq!(listed("/db/log"), ["the truncation of /db/log (operation 8)"]);
    disk.remove(path("/db/other")).unwrap();
    assert_eq!(listed("/db/other"), ["the removal of /db/other (operation 9)"]);
}
