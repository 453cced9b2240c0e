//! Images: comparison, hashes, changes, and copies to a disk and back.

use std::collections::BTreeSet;

use super::{image_of, parse_image, path};
use crate::fs::{FileAccess, OpenMode, RealFiles};
use crate::testing::sim_disk::image::{is_normal, normal};
use crate::testing::sim_disk::{Image, SimDisk};
use crate::testing::temp_dir::TempDir;

#[test]
fn images_with_equal_content_are_equal() {
    let mut first = Image::new();
    first.insert_dir("/d");
    first.insert_file("/d/b", b"b".to_vec());
    first.insert_file("/a", b"a".to_vec());
    let mut second = Image::new();
    second.insert_file("a", b"x".to_vec());
    second.insert_file("a", b"a".to_vec());
    second.insert_file("/d/b", b"b".to_vec());
    assert_eq!(first, second);
    assert_eq!(first.hash(), second.hash());
    assert_eq!(first.differences(&second), [""; 0]);
}

#[test]
fn images_with_different_content_have_different_hashes() {
    let mut images = vec![Image::new(), image_of("/a", b""), image_of("/b", b"")];
    let mut dir = Image::new();
    dir.insert_dir("/a");
    images.push(dir);
    for len in 1..40 {
        images.push(image_of("/a", &vec![0; len]));
        for at in 0..len {
            let mut bytes = vec![0; len];
            bytes[at] = 1;
            images.push(image_of("/a", &bytes));
        }
    }
    images.extend(["/a=1 /b=2", "/a=2 /b=1"].map(parse_image));
    let hashes: BTreeSet<u128> = images.iter().map(Image::hash).collect();
    assert_eq!(hashes.len(), images.len());
}

#[test]
fn the_hash_of_an_image_is_the_same_in_every_version_and_on_every_platform() {
    assert_eq!(Image::new().hash(), 0);
    let image = image_of("/db/wal/1", b"a file of more than sixteen bytes");
    assert_eq!(image.hash(), GOLDEN, "{:#x}", image.hash());
}

const GOLDEN: u128 = 0x75f7_dd42_39d3_8b81_1a01_c340_f630_f337;

#[test]
fn the_normal_form_of_a_normal_path_is_the_path_itself() {
    for text in [
        "/", "/a", "/a/b.c", "a", "", ".", "..", "/a/", "//a", "/a//b", "/./a", "/a/.", "/a/..", "/../a",
        "/...",
    ] {
        let normal_path = normal(path(text));
        assert!(
            !is_normal(path(text)) || normal_path.as_os_str() == text,
            "{text}"
        );
    }
    assert!(is_normal(path("/db/store/1")) && !is_normal(path("/db/../1")));
}

#[test]
fn differences_show_the_file_and_the_offset() {
    assert_eq!(
        parse_image("/f=abc /old=").differences(&parse_image("/f=abd /new=")),
        [
            "/f: 3 bytes in the first, 3 in the second, differing from offset 2",
            "/old: only in the first",
            "/new: only in the second",
        ]
    );
}

#[test]
fn removing_a_directory_removes_everything_below_it() {
    let mut image = parse_image("/a/b/c=1 /ab=2");
    image.remove("/a");
    assert_eq!(image, image_of("/ab", b"2"));
    // A directory replaces a file, and a file replaces a directory.
    for (path, bytes) in [("/ab/c", b"3"), ("/ab", b"4")] {
        image.insert_file(path, bytes.to_vec());
        assert_eq!(image, image_of(path, bytes));
    }
}

#[test]
fn an_image_written_to_a_disk_and_read_again_is_the_same_on_simulated_and_real_disks() {
    let mut image = image_of("/db/wal/1", &[7; 10_000]);
    image.insert_file("/db/empty", b"".to_vec());
    image.insert_dir("/db/dir");
    let temp = TempDir::new("image");
    let files: [&dyn FileAccess; 2] = [&SimDisk::new(), &RealFiles];
    for (files, dir) in files.into_iter().zip([path("/copy"), temp.path()]) {
        image.write_to(files, dir).unwrap();
        assert_eq!(Image::read_from(files, dir).unwrap(), image);
    }
}

#[test]
fn writing_an_image_truncates_files_of_the_same_name() {
    let disk = SimDisk::from_image(&image_of("/f", b"longer than before"));
    image_of("/f", b"short").write_to(&disk, path("/")).unwrap();
    assert_eq!(disk.open(path("/f"), OpenMode::Read).unwrap().len().unwrap(), 5);
}
