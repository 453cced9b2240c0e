//! The damages of a database: changes of bytes in a file, and changes of whole files.

use std::fmt;
use std::path::{Path, PathBuf};

use super::structure::{self, FileStructure, LengthField};
use super::subject::{DamageSubject, HistoryEnd, LOG_DIR, STORE_DIR};
use crate::testing::lab::file_format::FileKind;
use crate::testing::sim_disk::Image;
use crate::testing::workload::Random;

/// The lengths of the zeroed ranges, in bytes. Each length is used at every multiple of 8.
const ZEROED_LENS: [usize; 4] = [8, 32, 64, 512];
const TAILS: [usize; 7] = [1, 7, 8, 31, 32, 64, 4096];
const NOISE_SEED: u64 = 0x006e_6f69_7365;
/// The directories whose files are damaged together.
const DIRS: [&[&str]; 3] = [&[LOG_DIR], &[STORE_DIR], &[LOG_DIR, STORE_DIR]];
const FOREIGN: &str = "of another database";
const OLDER: &str = "older copy";

/// A damage of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Damage {
    /// The bytes of a file change. `file` is the index in the subject's files.
    Bytes { file: usize, change: ByteChange },
    /// Whole files are added, removed or replaced, all at once.
    Files {
        kind: &'static str,
        changes: Vec<FileChange>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteChange {
    Truncated { len: usize },
    Flip { bit: usize },
    Zeroed { start: usize, len: usize },
    Tail { len: usize, of: Filler },
    Length { length: LengthField, value: u64 },
}

/// The content of a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filler {
    Zeros,
    Ones,
    Noise,
    /// The beginning of the file.
    Beginning,
}

/// Puts the content of a file at a path, or removes the path with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileChange {
    to: PathBuf,
    from: Option<(FileSource, PathBuf)>,
}

/// The image that a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileSource {
    /// The image that is damaged.
    Damaged,
    /// An earlier image of the same database.
    Older(usize),
    /// The image of another database.
    Foreign,
}

impl Damage {
    /// Every single damage listed in the [campaign's documentation](super), in a fixed order.
    pub(super) fn all(subject: &DamageSubject) -> Vec<Self> {
        let mut all = Vec::new();
        for (file, path) in subject.files.iter().enumerate() {
            let bytes = subject.image.file(path).unwrap_or_default();
            let mut changes: Vec<_> = (0..bytes.len())
                .map(|len| ByteChange::Truncated { len })
                .collect();
            changes.extend((0..bytes.len() * 8).map(|bit| ByteChange::Flip { bit }));
            for len in ZEROED_LENS {
                let starts = (0..bytes.len()).step_by(8);
                changes.extend(starts.map(|start| ByteChange::Zeroed { start, len }));
            }
            for of in [Filler::Zeros, Filler::Ones, Filler::Noise, Filler::Beginning] {
                changes.extend(TAILS.map(|len| ByteChange::Tail { len, of }));
            }
            forge_lengths(path, bytes, subject.id, &mut changes);
            all.extend(changes.into_iter().map(|change| Self::Bytes { file, change }));
        }
        let whole_file_damages = whole_file_damages(subject).into_iter();
        all.extend(whole_file_damages.map(|(kind, changes)| Self::Files { kind, changes }));
        all
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bytes { change, .. } => match change {
                ByteChange::Truncated { .. } => "truncation",
                ByteChange::Flip { .. } => "flipped bit",
                ByteChange::Zeroed { .. } => "zeroed range",
                ByteChange::Tail { .. } => "tail",
                ByteChange::Length { .. } => "forged length",
            },
            Self::Files { kind, .. } => kind,
        }
    }

    /// Damages `image`. A file that another damage removed stays removed.
    pub(super) fn apply(&self, subject: &DamageSubject, image: &mut Image) {
        match self {
            Self::Bytes { file, change } => {
                let path = &subject.files[*file];
                let changed = image.file(path).and_then(|bytes| change.apply(path, bytes));
                if let Some(changed) = changed {
                    image.insert_file(path, changed);
                }
            }
            Self::Files { changes, .. } => {
                let mut contents = Vec::new();
                for FileChange { to, from } in changes {
                    let content = from.as_ref().map(|(origin, path)| {
                        let origin = match origin {
                            FileSource::Damaged => &*image,
                            FileSource::Older(version) => &subject.older[*version],
                            FileSource::Foreign => &subject.foreign,
                        };
                        origin.file(path).map(<[u8]>::to_vec)
                    });
                    contents.push((to, content));
                }
                for (to, content) in contents {
                    match content {
                        None => image.remove(to),
                        Some(None) => {}
                        Some(Some(bytes)) => image.insert_file(to, bytes),
                    }
                }
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { file, change } => write!(f, "{change} in file {file}"),
            Self::Files { kind, changes } => {
                f.write_str(kind)?;
                let mut separator = ": ";
                for change in changes {
                    write!(f, "{separator}{change}")?;
                    separator = ", ";
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for ByteChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len } => write!(f, "truncation to {len} bytes"),
            Self::Flip { bit } => write!(f, "flipped bit {bit}"),
            Self::Zeroed { start, len } => write!(f, "{len} zeroed bytes at offset {start}"),
            Self::Tail { len, of } => write!(f, "tail of {len} bytes of {of}"),
            Self::Length { length, value } => {
                write!(f, "forged length {value} at offset {}", length.offset)
            }
        }
    }
}

impl fmt::Display for Filler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zeros => "zeros",
            Self::Ones => "ones",
            Self::Noise => "noise",
            Self::Beginning => "the beginning of the file",
        })
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to.display();
        match &self.from {
            None => write!(f, "{to} removed"),
            Some((source, from)) => write!(f, "{to} replaced by {} of {source}", from.display()),
        }
    }
}

impl fmt::Display for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("the same image"),
            Self::Older(index) => write!(f, "older image {index}"),
            Self::Foreign => f.write_str("another database"),
        }
    }
}

impl ByteChange {
    /// The changed bytes of the file at `path`; `None` if the change does not fit the file.
    fn apply(self, path: &Path, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed = bytes.to_vec();
        match self {
            Self::Truncated { len } => changed.truncate(len),
            Self::Flip { bit } => *changed.get_mut(bit / 8)? ^= 1 << (bit % 8),
            Self::Zeroed { start, len } => {
                let end = bytes.len().min(start + len);
                changed.get_mut(start..end)?.fill(0);
            }
            Self::Tail { len, of } => changed.extend(of.bytes(len, bytes)),
            Self::Length { length, value } => {
                return structure::forge(FileKind::of(path)?, bytes, length, value);
            }
        }
        Some(changed)
    }
}

impl Filler {
    fn bytes(self, len: usize, content: &[u8]) -> Vec<u8> {
        let mut random = Random::new(NOISE_SEED);
        match self {
            Self::Zeros => vec![0; len],
            Self::Ones => vec![0xff; len],
            Self::Noise => (0..len).map(|_| random.next_u64() as u8).collect(),
            Self::Beginning => content.iter().copied().cycle().take(len).collect(),
        }
    }
}

/// The path with `further` added to the number in its name.
fn renumbered(path: &Path, further: i64) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (digits, extension) = name.split_at_checked(20)?;
    let number = digits.parse::<u64>().ok()?.checked_add_signed(further)?;
    Some(path.with_file_name(format!("{number:020}{extension}")))
}

/// Adds forged lengths: off by one step, at the edges of their types, and beyond every limit.
fn forge_lengths(path: &Path, bytes: &[u8], id: u128, changes: &mut Vec<ByteChange>) {
    let Some(kind) = FileKind::of(path) else {
        return;
    };
    for length in FileStructure::of(kind, bytes, id).lengths {
        let mut field = [0; 8];
        field[..length.width].copy_from_slice(&bytes[length.offset..length.offset + length.width]);
        let now = u64::from_le_bytes(field);
        let top = u64::MAX >> (64 - 8 * length.width);
        let limit = 16 << 20;
        let steps = [
            0,
            1,
            8,
            now.wrapping_sub(8),
            now.wrapping_add(8),
            limit,
            limit + 8,
        ];
        let edges = [top / 2, top / 2 + 1, top - 7, top - 1, top];
        let is_damage = |&value: &u64| value != now && (value != 0 || !length.is_of_record(kind));
        let values = steps.into_iter().map(|value| value & top).chain(edges);
        changes.extend(
            values
                .filter(is_damage)
                .map(|value| ByteChange::Length { length, value }),
        );
    }
}

fn remove(path: impl AsRef<Path>) -> FileChange {
    let to = path.as_ref().to_path_buf();
    FileChange { to, from: None }
}

fn put(to: &Path, origin: FileSource, from: &Path) -> FileChange {
    FileChange {
        to: to.to_path_buf(),
        from: Some((origin, from.to_path_buf())),
    }
}

/// The damages of whole files, each with its kind.
fn whole_file_damages(subject: &DamageSubject) -> Vec<(&'static str, Vec<FileChange>)> {
    let files = &subject.files;
    let mut all = Vec::new();
    for (index, file) in files.iter().enumerate() {
        all.push(("removed", vec![remove(file)]));
        for copy in [-1, 1, 2, 1000, i64::MAX].map(|further| renumbered(file, further)) {
            all.extend(copy.map(|copy| ("duplicated", vec![put(&copy, FileSource::Damaged, file)])));
        }
        for other in files.iter().filter(|other| *other != file) {
            all.push(("duplicated", vec![put(other, FileSource::Damaged, file)]));
        }
        for other in &files[index + 1..] {
            let (one, two) = (
                put(file, FileSource::Damaged, other),
                put(other, FileSource::Damaged, file),
            );
            all.push(("reordered", vec![one, two]));
        }
    }
    for (path, _) in subject.foreign.files() {
        all.push((FOREIGN, vec![put(path, FileSource::Foreign, path)]));
        all.extend(
            files
                .iter()
                .map(|file| (FOREIGN, vec![put(file, FileSource::Foreign, path)])),
        );
    }
    for (version, image) in subject.older.iter().enumerate() {
        let paths = image.files().map(|(path, _)| path);
        all.extend(paths.map(|path| (OLDER, vec![put(path, FileSource::Older(version), path)])));
    }
    for dirs in DIRS {
        all.push(("removed", dirs.iter().map(remove).collect()));
        let is_in = |path: &Path| dirs.iter().any(|dir| path.starts_with(dir));
        let own: Vec<_> = files.iter().filter(|path| is_in(path)).collect();
        for by in 1..files.len() {
            let rotated = own.iter().zip(own.iter().cycle().skip(by));
            let changes = rotated.map(|(to, from)| put(to, FileSource::Damaged, from));
            all.push(("reordered", changes.collect()));
        }
        let replace = |origin, image: &Image| {
            let others = image.files().map(|(path, _)| path).filter(|path| is_in(path));
            let put = others.map(|path| put(path, origin, path));
            own.iter().map(remove).chain(put).collect()
        };
        all.push((FOREIGN, replace(FileSource::Foreign, &subject.foreign)));
        for (version, image) in subject.older.iter().enumerate() {
            all.push((OLDER, replace(FileSource::Older(version), image)));
        }
    }
    all
}

/// One case: one damage, or two damages one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DamageCase {
    pub(super) first: Damage,
    pub(super) second: Option<Damage>,
}

impl DamageCase {
    pub(super) fn apply(&self, subject: &DamageSubject) -> Image {
        let mut image = subject.image.clone();
        for damage in [Some(&self.first), self.second.as_ref()].into_iter().flatten() {
            damage.apply(subject, &mut image);
        }
        image
    }

    /// Returns true if open must refuse the files or recover the whole history. This holds for one damage of a closed
    /// database, unless the damage adds older or foreign files.
    pub(super) fn must_recover_everything(&self, subject: &DamageSubject) -> bool {
        subject.end == HistoryEnd::Closed
            && self.second.is_none()
            && ![FOREIGN, OLDER].contains(&self.first.kind())
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.second {
            None => self.first.kind(),
            Some(_) => "two of these",
        }
    }

    /// The description of the case in a finding.
    pub(super) fn text(&self, subject: &DamageSubject) -> String {
        let mut text = format!("{}: {}", subject.name, self.first);
        if let Some(second) = &self.second {
            text = format!("{text}, then {second}");
        }
        let files = subject.files.iter().enumerate();
        let files: Vec<_> = files
            .map(|(index, path)| format!("{index} {}", path.display()))
            .collect();
        format!("{text}; the files are {}", files.join(", "))
    }
}
