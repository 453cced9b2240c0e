//! Images: the content of a disk as a value. After a crash, the next process finds this content.
//!
//! Invariant: an image has all directories above its files.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::keyed;
use crate::fs::{FileAccess, OpenMode, read_whole, write_all_at};

/// The content of a disk: a tree of directories and files. Two images are equal if their content is equal.
///
/// Paths begin at the disk's root, for example `/db/wal/1`. An image shares bytes with the disk and with other images,
/// so an image costs little more than its tree.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Image {
    entries: BTreeMap<PathBuf, ImageEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ImageEntry {
    Dir,
    File(FileContent),
}

/// The bytes of a file, and their cached hash. Disks and images share them until a write changes them.
#[derive(Clone, Default)]
pub(super) struct FileContent(Arc<(Vec<u8>, OnceLock<u128>)>);

impl FileContent {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new((bytes, OnceLock::new())))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.0
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn hash(&self) -> u128 {
        *self.0.1.get_or_init(|| keyed::hash(self.bytes()))
    }

    /// Writes `bytes` at `offset`. A gap before the offset becomes zeros.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let start = offset as usize;
        let end = start + bytes.len();
        if Arc::get_mut(&mut self.0).is_none() {
            // The copy has capacity for these bytes, so the write makes no second allocation.
            let mut copy = Vec::with_capacity(end.max(self.bytes().len()));
            copy.extend_from_slice(self.bytes());
            *self = Self::new(copy);
        }
        let (content, hash) = Arc::make_mut(&mut self.0);
        *hash = OnceLock::new();
        content.resize(content.len().max(end), 0);
        content[start..end].copy_from_slice(bytes);
    }
}

impl PartialEq for FileContent {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.bytes() == other.bytes()
    }
}

impl Eq for FileContent {}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, hash {:032x}", self.len(), self.hash())
    }
}

/// The hash of the root path. Paths are hashed name by name.
pub(super) const ROOT_HASH: u128 = 0;

impl ImageEntry {
    /// The part of this entry in the hash of its image. `path` is the hash of the entry's path. The hash of an image is
    /// the sum of these parts, because an image is a set of entries.
    pub(super) fn hash(&self, path: u128) -> u128 {
        match self {
            Self::Dir => keyed::combine(path, 1),
            Self::File(content) => keyed::combine(keyed::combine(path, 2), content.hash()),
        }
    }
}

impl Image {
    /// The image of an empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The files, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            ImageEntry::File(content) => Some((path.as_path(), content.bytes())),
            ImageEntry::Dir => None,
        })
    }

    /// The directories except the root, in the order of their paths.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            ImageEntry::Dir => Some(path.as_path()),
            ImageEntry::File(_) => None,
        })
    }

    /// The bytes of the file at `path`.
    pub fn file(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        match self.entries.get(&normal(path.as_ref()))? {
            ImageEntry::File(content) => Some(content.bytes()),
            ImageEntry::Dir => None,
        }
    }

    /// Puts a file at `path`, and makes the directories above it. Replaces an existing file or directory.
    ///
    /// # Panics
    /// If `path` is the root.
    pub fn insert_file(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) {
        let path = normal(path.as_ref());
        assert_ne!(path, Path::new("/"), "the root is a directory");
        self.remove(&path);
        self.insert_parents(&path);
        self.entries
            .insert(path, ImageEntry::File(FileContent::new(bytes.into())));
    }

    /// Puts a directory at `path`, and makes the directories above it. Replaces an existing file.
    pub fn insert_dir(&mut self, path: impl AsRef<Path>) {
        let path = normal(path.as_ref());
        self.insert_parents(&path);
        if path != Path::new("/") {
            self.entries.insert(path, ImageEntry::Dir);
        }
    }

    /// Removes the file or directory at `path`, and everything below it.
    pub fn remove(&mut self, path: impl AsRef<Path>) {
        let path = normal(path.as_ref());
        self.entries.retain(|entry, _| !entry.starts_with(&path));
    }

    fn insert_parents(&mut self, path: &Path) {
        for parent in path.ancestors().skip(1).filter(|it| *it != Path::new("/")) {
            self.entries.insert(parent.to_path_buf(), ImageEntry::Dir);
        }
    }

    /// A hash of the whole content. Equal images have equal hashes. Different images with equal hashes do not occur in
    /// practice. The hash is the same in every run and on every platform.
    pub fn hash(&self) -> u128 {
        self.entries.iter().fold(0, |hash: u128, (path, entry)| {
            let names = path.iter().skip(1);
            hash.wrapping_add(entry.hash(names.fold(ROOT_HASH, keyed::child_hash)))
        })
    }

    /// The total length of the files in bytes.
    pub fn bytes_len(&self) -> u64 {
        self.files().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// The differences of two images: one line for each different file or directory. Empty for equal images.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, entry) in &self.entries {
            match other.entries.get(path) {
                Some(other) if other == entry => {}
                Some(other) => lines.push(format!("{}: {}", path.display(), difference(entry, other))),
                None => lines.push(format!("{}: only in the first", path.display())),
            }
        }
        let new = other
            .entries
            .keys()
            .filter(|path| !self.entries.contains_key(*path));
        lines.extend(new.map(|path| format!("{}: only in the second", path.display())));
        lines
    }

    /// Writes the image to the directory `dir`, and makes `dir` if it does not exist. Replaces files with the same
    /// names. Other files in `dir` stay.
    ///
    /// # Errors
    /// The first error of `files`. Files that were written before the error stay.
    pub fn write_to(&self, files: &dyn FileAccess, dir: &Path) -> io::Result<()> {
        files.create_dir(dir)?;
        // A directory sorts before its content.
        for (path, entry) in &self.entries {
            let path = dir.join(path.strip_prefix("/").unwrap_or(path));
            match entry {
                ImageEntry::Dir => files.create_dir(&path)?,
                ImageEntry::File(content) => {
                    let file = files.open(&path, OpenMode::Create)?;
                    write_all_at(file.as_ref(), content.bytes(), 0)?;
                }
            }
        }
        Ok(())
    }

    /// Reads all files and directories below `dir`, except those whose names are not UTF-8.
    ///
    /// # Errors
    /// The first error of `files`.
    pub fn read_from(files: &dyn FileAccess, dir: &Path) -> io::Result<Self> {
        let mut image = Self::new();
        let mut pending_dirs = vec![(dir.to_path_buf(), PathBuf::from("/"))];
        while let Some((real, path)) = pending_dirs.pop() {
            for name in files.list(&real)? {
                let (real, path) = (real.join(&name), path.join(&name));
                match files.list(&real) {
                    Ok(_) => {
                        image.entries.insert(path.clone(), ImageEntry::Dir);
                        pending_dirs.push((real, path));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                        let file = files.open(&real, OpenMode::Read)?;
                        let content = FileContent::new(read_whole(file.as_ref())?);
                        image.entries.insert(path, ImageEntry::File(content));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(image)
    }

    pub(super) fn entries(&self) -> &BTreeMap<PathBuf, ImageEntry> {
        &self.entries
    }

    pub(super) fn insert(&mut self, path: PathBuf, entry: ImageEntry) {
        self.entries.insert(path, entry);
    }
}

fn difference(first: &ImageEntry, second: &ImageEntry) -> String {
    match (first, second) {
        (ImageEntry::File(first), ImageEntry::File(second)) => {
            let pairs = first.bytes().iter().zip(second.bytes());
            let at = pairs.take_while(|(a, b)| a == b).count();
            let (first, second) = (first.len(), second.len());
            format!("{first} bytes in the first, {second} in the second, differing from offset {at}")
        }
        (ImageEntry::Dir, _) => "a directory in the first only".into(),
        (_, ImageEntry::Dir) => "a directory in the second only".into(),
    }
}

/// Returns true if [`normal`] returns `path` unchanged.
pub(super) fn is_normal(path: &Path) -> bool {
    let below_root = path.as_os_str().as_encoded_bytes().strip_prefix(b"/");
    below_root.is_some_and(|names| {
        let mut names = names.split(|byte| *byte == b'/');
        names.all(|name| !matches!(name, b"" | b"." | b".."))
    })
}

/// The absolute form of `path`, without `.` and `..`.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                // The parent of the root is the root.
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.entries).finish()
    }
}
