//! Stale bytes: the content of free blocks, and the places at which a crash leaves it.

use super::{Op, disk_with_sectors, image, image_of, parse_image};
use crate::testing::sim_disk::{DiskModel, Image, SimDisk};

fn disk_after(image: &Image, script: &str) -> SimDisk {
    let disk = disk_with_sectors(2, image);
    for line in script.split(';') {
        Op::parse(line).run(&disk).unwrap();
    }
    disk
}

fn tries_stale_bytes(disk: &SimDisk) -> bool {
    let mut choices = disk.choices(DiskModel::WEAKEST, 10_000, 0).choices.into_iter();
    choices.any(|choice| choice.to_string().contains("=1s"))
}

#[test]
fn an_extended_file_may_hold_the_bytes_of_a_removed_file_at_the_same_offset() {
    let start = parse_image("/f=ab /gone=0123456789");
    let disk = disk_after(&start, "remove /gone; syncdir /; write /f 2 CDEF");
    assert_eq!(image(&disk, "only:2=2s"), image_of("/f", b"ab2345"));
    assert_eq!(image(&disk, "only:2=1s1n"), image_of("/f", b"ab23EF"));
    assert_eq!(image(&disk, "only:2=1n1s"), image_of("/f", b"abCD45"));
    assert!(tries_stale_bytes(&disk));
}

#[test]
fn a_file_that_is_truncated_and_extended_may_hold_its_own_bytes_of_before() {
    let disk = disk_after(&parse_image("/f=0123"), "create /f; sync /f; write /f 0 abcdef");
    assert_eq!(
        image(&disk, "only:2=3s"),
        image_of("/f", b"0123\0\0"),
        "zeros beyond its end"
    );
    assert!(tries_stale_bytes(&disk));
}

#[test]
fn a_replaced_file_leaves_its_bytes_and_the_newest_free_blocks_are_used_first() {
    let start = parse_image("/f=old! /g=older /t=new!!!");
    let script =
        "remove /g; syncdir /; rename /t /f; syncdir /; create /n; syncdir /; write /n 0 wxyz; write /n 4 z";
    let disk = disk_after(&start, script);
    assert_eq!(image(&disk, "only:6=2s").file("/n"), Some(&b"old!"[..]));
    assert_eq!(
        image(&disk, "only:7=1s").file("/n"),
        Some(&b"\0\0\0\0r"[..]),
        "only the older file reaches there"
    );
}

/// A file system uses no block again before the removal is durable.
#[test]
fn a_removal_that_is_not_durable_frees_nothing() {
    for (script, is_free) in [
        ("remove /gone; write /f 2 CDEF", false),
        ("remove /gone; syncdir /; write /f 2 CDEF", true),
        ("create /gone; write /f 2 CDEF", false),
        ("create /gone; sync /gone; write /f 2 CDEF", true),
        ("rename /gone /other; syncdir /; write /f 2 CDEF", false),
        ("remove /gone; syncdir /; write /f 0 XY", false),
    ] {
        let disk = disk_after(&parse_image("/f=ab /gone=0123456789"), script);
        assert_eq!(tries_stale_bytes(&disk), is_free, "{script}");
    }
}
