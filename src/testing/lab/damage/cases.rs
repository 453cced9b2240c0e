//! The damages: every cut, every bit, and what hands and tools do to files.

use std::path::{Path, PathBuf};

use super::anatomy::{self, Anatomy, Length};
use super::subject::{DamageSubject, HistoryEnd, LOG_DIR, STORE_DIR};
use crate::testing::lab::file_format::FileKind;
use crate::testing::sim_disk::Image;
use crate::testing::workload::Random;

/// How long the ranges are that are zeroed, each at every multiple of 8.
const HOLES: [usize; 4] = [8, 32, 64, 512];
const TAILS: [usize; 7] = [1, 7, 8, 31, 32, 64, 4096];
const NOISE_SEED: u64 = 0x006e_6f69_7365;
/// The directories whose files are damaged together.
const DIRS: [&[&str]; 3] = [&[LOG_DIR], &[STORE_DIR], &[LOG_DIR, STORE_DIR]];
const FOREIGN: &str = "of another database";
const OLDER: &str = "older copy";

/// A damage of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Damage {
    /// The bytes of a file change. Files are numbered as the subject has them.
    Bytes { file: usize, change: ByteChange },
    /// Whole files come, go, or change their content, at once.
    Files { kind: &'static str, moves: Vec<Move> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteChange {
    Cut { len: usize },
    Flip { bit: usize },
    Hole { start: usize, len: usize },
    Tail { len: usize, of: Filler },
    Length { length: Length, value: u64 },
}

/// The content of a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filler {
    Zeros,
    Ones,
    Noise,
    /// The beginning of the file again.
    Itself,
}

/// The path gets the content of a file, or is removed with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    to: PathBuf,
    from: Option<(FileSource, PathBuf)>,
}

/// The image that a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileSource {
    /// The one that is damaged.
    Damaged,
    /// An earlier one of the same database.
    Older(usize),
    /// That of another database.
    Foreign,
}

impl Damage {
    /// Every single damage that the [campaign's documentation](super) lists, in a fixed order.
    pub(super) fn all(subject: &DamageSubject) -> Vec<Self> {
        let mut all = Vec::new();
        for (file, path) in subject.files.iter().enumerate() {
            let bytes = subject.image.file(path).unwrap_or_default();
            let mut changes: Vec<_> = (0..bytes.len()).map(|len| ByteChange::Cut { len }).collect();
            changes.extend((0..bytes.len() * 8).map(|bit| ByteChange::Flip { bit }));
            for len in HOLES {
                let starts = (0..bytes.len()).step_by(8);
                changes.extend(starts.map(|start| ByteChange::Hole { start, len }));
            }
            for of in [Filler::Zeros, Filler::Ones, Filler::Noise, Filler::Itself] {
                changes.extend(TAILS.map(|len| ByteChange::Tail { len, of }));
            }
            forge_lengths(path, bytes, subject.id, &mut changes);
            all.extend(changes.into_iter().map(|change| Self::Bytes { file, change }));
        }
        let of_files = of_files(subject).into_iter();
        all.extend(of_files.map(|(kind, moves)| Self::Files { kind, moves }));
        all
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bytes { change, .. } => match change {
                ByteChange::Cut { .. } => "cut",
                ByteChange::Flip { .. } => "flipped bit",
                ByteChange::Hole { .. } => "hole",
                ByteChange::Tail { .. } => "tail",
                ByteChange::Length { .. } => "forged length",
            },
            Self::Files { kind, .. } => kind,
        }
    }

    /// Damages `image`. A file that another damage has taken away is not damaged.
    pub(super) fn apply(&self, subject: &DamageSubject, image: &mut Image) {
        match self {
            Self::Bytes { file, change } => {
                let path = &subject.files[*file];
                let changed = image.file(path).and_then(|bytes| change.apply(path, bytes));
                if let Some(changed) = changed {
                    image.insert_file(path, changed);
                }
            }
            Self::Files { moves, .. } => {
                let mut contents = Vec::new();
                for Move { to, from } in moves {
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

impl ByteChange {
    /// The changed bytes of the file at `path`; `None` if there is nothing to change.
    fn apply(self, path: &Path, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed = bytes.to_vec();
        match self {
            Self::Cut { len } => changed.truncate(len),
            Self::Flip { bit } => *changed.get_mut(bit / 8)? ^= 1 << (bit % 8),
            Self::Hole { start, len } => {
                let end = bytes.len().min(start + len);
                changed.get_mut(start..end)?.fill(0);
            }
            Self::Tail { len, of } => changed.extend(of.bytes(len, bytes)),
            Self::Length { length, value } => {
                return anatomy::forge(FileKind::of(path)?, bytes, length, value);
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
            Self::Itself => content.iter().copied().cycle().take(len).collect(),
        }
    }
}

/// The path with another number in its name.
fn renumbered(path: &Path, further: i64) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (digits, extension) = name.split_at_checked(20)?;
    let number = digits.parse::<u64>().ok()?.checked_add_signed(further)?;
    Some(path.with_file_name(format!("{number:020}{extension}")))
}

/// Lengths that are off by one step, at the edges of their types and beyond every limit.
fn forge_lengths(path: &Path, bytes: &[u8], id: u128, changes: &mut Vec<ByteChange>) {
    let Some(kind) = FileKind::of(path) else {
        return;
    };
    for length in Anatomy::of(kind, bytes, id).lengths {
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

fn remove(path: impl AsRef<Path>) -> Move {
    let to = path.as_ref().to_path_buf();
    Move { to, from: None }
}

fn put(to: &Path, origin: FileSource, from: &Path) -> Move {
    Move {
        to: to.to_path_buf(),
        from: Some((origin, from.to_path_buf())),
    }
}

/// The damages of whole files, each with its kind.
fn of_files(subject: &DamageSubject) -> Vec<(&'static str, Vec<Move>)> {
    let (files, mut all) = (&subject.files, Vec::new());
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
            let ring = own.iter().cycle().skip(by);
            let turned = own.iter().zip(ring);
            let moves = turned.map(|(to, from)| put(to, FileSource::Damaged, from));
            all.push(("reordered", moves.collect()));
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

/// One case: a damage, or two on top of one another.
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

    /// Returns true for one damage of a closed database, unless it puts older or foreign files there: open must refuse or show
    /// everything.
    pub(super) fn takes_nothing_away(&self, subject: &DamageSubject) -> bool {
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

    /// The case as a finding names it.
    pub(super) fn text(&self, subject: &DamageSubject) -> String {
        let mut text = format!("{}: {:?}", subject.name, self.first);
        if let Some(second) = &self.second {
            text = format!("{text}, then {second:?}");
        }
        let files = subject.files.iter().enumerate();
        let files: Vec<_> = files
            .map(|(index, path)| format!("{index} {}", path.display()))
            .collect();
        format!("{text}; the files are {}", files.join(", "))
    }
}
