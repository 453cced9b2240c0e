//! The rules of the simulated disk, one sentence each, and its images against a naive oracle.

mod backing;
mod choices;
mod content;
mod death;
mod faults;
mod images;
mod names;
mod oracle;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{DiskModel, Image, ImageChoice, SimDisk, SimDiskOptions};
use crate::fs::{File, FileAccess, OpenMode, write_all_at};

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn create(disk: &SimDisk, at: &str) -> Arc<dyn File> {
    disk.open(path(at), OpenMode::Create).unwrap()
}

fn write(file: &Arc<dyn File>, bytes: &[u8], offset: u64) {
    write_all_at(file.as_ref(), bytes, offset).unwrap();
}

/// A disk with tiny sectors, so that tears are easy to see.
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

/// What the file is in each image that the adversarial model has; `None` where it is absent.
fn found(disk: &SimDisk, at: &str) -> BTreeSet<Option<Vec<u8>>> {
    let choices = disk.choices(DiskModel::Subset, 100_000, 1);
    assert_eq!(choices.left_out, 0, "{choices}");
    let images = choices.choices.iter().map(|choice| disk.image(choice));
    images.map(|image| image.file(at).map(<[u8]>::to_vec)).collect()
}

/// The names of all files in each image that the adversarial model has.
fn found_names(disk: &SimDisk) -> BTreeSet<Vec<String>> {
    let choices = disk.choices(DiskModel::Subset, 100_000, 1);
    assert_eq!(choices.left_out, 0, "{choices}");
    let names = |image: Image| {
        image
            .files()
            .map(|(path, _)| path.display().to_string())
            .collect()
    };
    choices
        .choices
        .iter()
        .map(|choice| names(disk.image(choice)))
        .collect()
}

#[expect(clippy::unnecessary_wraps, reason = "it names what `found` finds")]
fn some(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}
