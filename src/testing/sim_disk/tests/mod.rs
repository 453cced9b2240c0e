//! The rules of the simulated disk, one sentence each, and a comparison of its images with a naive oracle.

mod backing;
mod choices;
mod device;
mod faults;
mod images;
mod models;
mod oracle;
mod processes;
mod rules;
mod stale;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{DiskModel, DiskOperationKind, Image, ImageChoice, SimDisk, SimDiskOptions};
use crate::fs::{File, FileAccess, OpenMode, write_all_at};

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn create(disk: &SimDisk, at: &str) -> Arc<dyn File> {
    disk.open(path(at), OpenMode::Create).unwrap()
}

fn open(disk: &SimDisk, at: &str) -> Arc<dyn File> {
    disk.open(path(at), OpenMode::Write).unwrap()
}

fn write(file: &Arc<dyn File>, bytes: &[u8], offset: u64) {
    write_all_at(file.as_ref(), bytes, offset).unwrap();
}

/// The results of all calls on an open file.
fn file_calls(file: &dyn File) -> Vec<io::Result<()>> {
    vec![
        file.read_at(&mut [0], 0).map(drop),
        file.write_at(b"x", 0).map(drop),
        file.len().map(drop),
        file.sync(),
    ]
}

/// The results of all calls on names.
fn disk_calls(disk: &SimDisk) -> Vec<io::Result<()>> {
    let root = path("/");
    vec![
        disk.open(path("/f"), OpenMode::Read).map(drop),
        disk.open(path("/g"), OpenMode::Create).map(drop),
        disk.list(root).map(drop),
        disk.create_dir(path("/d")),
        disk.rename(path("/f"), path("/g")),
        disk.remove(path("/f")),
        disk.sync_dir(root),
        disk.lock(path("/l")).map(drop),
    ]
}

/// A disk with small sectors, so that the tests show tears with few bytes.
fn disk_with_sectors(sector_bytes: u32, image: &Image) -> SimDisk {
    let options = SimDiskOptions {
        sector_bytes,
        ..SimDiskOptions::default()
    };
    SimDisk::with_options(image, options)
}

/// An image with one file.
fn image_of(at: &str, bytes: &[u8]) -> Image {
    let mut image = Image::new();
    image.insert_file(at, bytes);
    image
}

fn choice(text: &str) -> ImageChoice {
    text.parse().unwrap()
}

/// The image of the choice with this text.
fn image(disk: &SimDisk, text: &str) -> Image {
    disk.image(&choice(text))
}

fn kinds(disk: &SimDisk) -> Vec<DiskOperationKind> {
    let recording = disk.recording();
    recording.operations().map(|operation| operation.kind).collect()
}

/// An operation. It opens its file and closes it again.
#[derive(Debug, Clone)]
enum Op<'a> {
    Create(&'a str),
    Write(&'a str, u64, Vec<u8>),
    Sync(&'a str),
    Rename(&'a str, &'a str),
    Remove(&'a str),
    Mkdir(&'a str),
    SyncDir(&'a str),
}

impl<'a> Op<'a> {
    fn parse(line: &'a str) -> Self {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["create", file] => Self::Create(file),
            ["write", file, offset, text] => Self::Write(file, offset.parse().unwrap(), text.into()),
            ["sync", file] => Self::Sync(file),
            ["rename", from, to] => Self::Rename(from, to),
            ["remove", file] => Self::Remove(file),
            ["mkdir", dir] => Self::Mkdir(dir),
            ["syncdir", dir] => Self::SyncDir(dir),
            _ => panic!("{line} is not an operation"),
        }
    }

    fn run(&self, disk: &SimDisk) -> io::Result<()> {
        let open = |file: &str| disk.open(path(file), OpenMode::Write);
        match self {
            Self::Create(file) => disk.open(path(file), OpenMode::Create).map(drop),
            Self::Write(file, offset, bytes) => open(file)?.write_at(bytes, *offset).map(drop),
            Self::Sync(file) => open(file)?.sync(),
            Self::Rename(from, to) => disk.rename(path(from), path(to)),
            Self::Remove(file) => disk.remove(path(file)),
            Self::Mkdir(dir) => disk.create_dir(path(dir)),
            Self::SyncDir(dir) => disk.sync_dir(path(dir)),
        }
    }
}

/// The image with these files, for example `/a=content /b=`.
fn parse_image(text: &str) -> Image {
    let mut image = Image::new();
    for file in text.split_whitespace() {
        let (path, content) = file.split_once('=').unwrap();
        image.insert_file(path, content);
    }
    image
}

/// Prints files and empty directories, for example `/a=content /b= /dir/`.
fn print_image(image: &Image) -> String {
    let files = image
        .files()
        .map(|(path, bytes)| format!("{}={}", path.display(), bytes.escape_ascii()));
    let is_empty = |dir: &&Path| !image.files().any(|(file, _)| file.starts_with(dir));
    let dirs = image.dirs().filter(is_empty);
    let dirs = dirs.map(|dir| format!("{}/", dir.display()));
    files.chain(dirs).collect::<Vec<_>>().join(" ")
}

/// All images that a crash can leave.
fn every_image(disk: &SimDisk) -> BTreeSet<String> {
    let choices = disk.choices(DiskModel::WEAKEST, 100_000, 1);
    assert_eq!(choices.left_out, 0, "{choices}");
    let images = choices.into_iter().map(|choice| disk.image(&choice));
    images.map(|image| print_image(&image)).collect()
}
