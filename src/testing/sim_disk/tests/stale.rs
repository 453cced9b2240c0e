//! Stale bytes: the content of free blocks, and the positions in files at which a crash leaves it.

use super::{Op, disk_with_sectors, image, image_of, parse_image};
use crate::testing::sim_disk::{DiskModel, Image, SimDisk};

fn disk_after(image: &Image, script: &str) -> SimDisk {
    let disk = disk_with_sectors(2, image);
    for line in script.split(';') {
        Op::parse(line).run(&disk).unwrap();
    }
    disk
}

fn has_choices_with_stale_bytes(disk: &SimDisk) -> bool {
    let mut choices = disk.choices(DiskModel::WEAKEST, 10_000, 0).choices.into_iter();
    choices.any(|choice| choice.to_string().contains("=1s"))
}

#[test]
fn an_extended_file_can_have_the_bytes_of_a_removed_file_at_the_same_offset() {
    let start = parse_image("/f=ab /old=0123456789");
    let disk = disk_after(&start, "remove /old; syncdir /; write /f 2 CDEF");
    assert_eq!(image(&disk, "only:2=2s"), image_of("/f", b"ab2345"));
    assert_eq!(image(&disk, "only:2=1s1n"), image_of("/f", b"ab23EF"));
    assert_eq!(image(&disk, "only:2=1n1s"), image_of("/f", b"abCD45"));
    assert!(has_choices_with_stale_bytes(&disk));
}

#[test]
fn a_truncated_and_extended_file_can_have_its_bytes_from_before_the_truncation() {
    let disk = disk_after(&parse_image("/f=0123"), "create /f; sync /f; write /f 0 abcdef");
    assert_eq!(
        image(&disk, "only:2=3s"),
        image_of("/f", b"0123\0\0"),
        "zeros beyond the end of the old content"
    );
    assert!(has_choices_with_stale_bytes(&disk));
}

#[test]
fn stale_bytes_come_from_the_newest_free_blocks_also_of_a_replaced_file() {
    let start = parse_image("/f=old! /g=older /t=new!!!");
    let script =
        "remove /g; syncdir /; rename /t /f; syncdir /; create /n; syncdir /; write /n 0 wxyz; write /n 4 z";
    let disk = disk_after(&start, script);
    assert_eq!(image(&disk, "only:6=2s").file("/n"), Some(&b"old!"[..]));
    assert_eq!(
        image(&disk, "only:7=1s").file("/n"),
        Some(&b"\0\0\0\0r"[..]),
        "only the older file is long enough"
    );
}

/// A file system does not reuse a block before the removal of its file is durable.
#[test]
fn a_removal_that_is_not_durable_frees_nothing() {
    for (script, is_free) in [
        ("remove /old; write /f 2 CDEF", false),
        ("remove /old; syncdir /; write /f 2 CDEF", true),
        ("create /old; write /f 2 CDEF", false),
        ("create /old; sync /old; write /f 2 CDEF", true),
        ("rename /old /other; syncdir /; write /f 2 CDEF", false),
        ("remove /old; syncdir /; write /f 0 XY", false),
    ] {
        let disk = disk_after(&parse_image("/f=ab /old=0123456789"), script);
        assert_eq!(has_choices_with_stale_bytes(&disk), is_free, "{script}");
    }
}
