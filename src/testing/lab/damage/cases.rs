//! The damages: every cut, every bit, and what hands and tools do to files.

use std::fmt;
use std::path::{Path, PathBuf};

use super::anatomy::{self, Anatomy, Length};
use super::subject::{End, LOG_DIR, STORE_DIR, Subject};
use crate::testing::lab::file_format::Kind;
use crate::testing::sim_disk::Image;
use crate::testing::workload::Random;

/// How long the ranges are that are zeroed, each at every multiple of 8.
const HOLES: [usize; 4] = [8, 32, 64, 512];
const TAILS: [usize; 7] = [1, 7, 8, 31, 32, 64, 4096];
const NOISE_SEED: u64 = 0x006e_6f69_7365;

/// What is done to a database. Files are numbered as the subject has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    Cut {
        file: usize,
        len: usize,
    },
    Flip {
        file: usize,
        bit: usize,
    },
    Hole {
        file: usize,
        start: usize,
        len: usize,
    },
    Tail {
        file: usize,
        len: usize,
        of: Filler,
    },
    Length {
        file: usize,
        length: Length,
        value: u64,
    },
    Remove {
        file: usize,
    },
    Swap {
        first: usize,
        second: usize,
    },
    /// One file's bytes under the name of another.
    Overwrite {
        from: usize,
        to: usize,
    },
    /// A copy under the name that is the file's number and so much.
    Copy {
        file: usize,
        further: i64,
    },
    /// The files of a directory change names in a ring.
    Rotate {
        dir: Dir,
        by: usize,
    },
    RemoveDir {
        dir: Dir,
    },
    /// The other database's file of this name, in the place of this database's or beside it.
    Foreign {
        file: usize,
    },
    /// The other database's file under the name of this file.
    ForeignAs {
        foreign: usize,
        file: usize,
    },
    ForeignDir {
        dir: Dir,
    },
    /// An older copy of the file of this name, in the place of the newer one or beside it.
    Older {
        version: usize,
        file: usize,
    },
    OlderDir {
        version: usize,
        dir: Dir,
    },
}

/// What a tail consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filler {
    Zeros,
    Ones,
    Noise,
    /// The beginning of the file again.
    Itself,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dir {
    Log,
    Store,
    /// Both.
    All,
}

impl Dir {
    const ALL: [Self; 3] = [Self::Log, Self::Store, Self::All];

    fn holds(self, path: &Path) -> bool {
        match self {
            Self::Log => path.starts_with(LOG_DIR),
            Self::Store => path.starts_with(STORE_DIR),
            Self::All => path.starts_with(LOG_DIR) || path.starts_with(STORE_DIR),
        }
    }
}

impl Damage {
    /// Every single damage that the [campaign's documentation](super) lists, in a fixed order.
    pub(super) fn all(subject: &Subject) -> Vec<Self> {
        let mut all = Vec::new();
        for (file, path) in subject.files.iter().enumerate() {
            let bytes = subject.image.file(path).unwrap_or_default();
            all.extend((0..bytes.len()).map(|len| Self::Cut { file, len }));
            all.extend((0..bytes.len() * 8).map(|bit| Self::Flip { file, bit }));
            for len in HOLES {
                let starts = (0..bytes.len()).step_by(8);
                all.extend(starts.map(|start| Self::Hole { file, start, len }));
            }
            for of in [Filler::Zeros, Filler::Ones, Filler::Noise, Filler::Itself] {
                all.extend(TAILS.map(|len| Self::Tail { file, len, of }));
            }
            lengths(subject, file, bytes, &mut all);
        }
        whole_files(subject, &mut all);
        all
    }

    /// Whether it is one of a single place in a file.
    pub(super) fn is_of_bytes(self) -> bool {
        matches!(
            self,
            Self::Cut { .. }
                | Self::Flip { .. }
                | Self::Hole { .. }
                | Self::Tail { .. }
                | Self::Length { .. }
        )
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Flip { .. } => "flipped bit",
            Self::Hole { .. } => "hole",
            Self::Tail { .. } => "tail",
            Self::Length { .. } => "forged length",
            Self::Remove { .. } | Self::RemoveDir { .. } => "removed",
            Self::Swap { .. } | Self::Rotate { .. } => "reordered",
            Self::Overwrite { .. } | Self::Copy { .. } => "duplicated",
            Self::Foreign { .. } | Self::ForeignAs { .. } | Self::ForeignDir { .. } => "of another database",
            Self::Older { .. } | Self::OlderDir { .. } => "older copy",
        }
    }

    /// Does it to `image`. What another damage has taken away is not damaged.
    pub(super) fn apply(self, subject: &Subject, image: &mut Image) {
        self.apply_to_files(subject, image).unwrap_or_default();
    }

    fn apply_to_files(self, subject: &Subject, image: &mut Image) -> Option<()> {
        let path = |file: usize| subject.files[file].as_path();
        let bytes = |image: &Image, file: usize| image.file(path(file)).map(<[u8]>::to_vec);
        match self {
            Self::Cut { file, len } => {
                let mut content = bytes(image, file)?;
                content.truncate(len);
                image.insert_file(path(file), content);
            }
            Self::Flip { file, bit } => {
                let mut content = bytes(image, file)?;
                *content.get_mut(bit / 8)? ^= 1 << (bit % 8);
                image.insert_file(path(file), content);
            }
            Self::Hole { file, start, len } => {
                let mut content = bytes(image, file)?;
                let end = content.len().min(start + len);
                content.get_mut(start..end)?.fill(0);
                image.insert_file(path(file), content);
            }
            Self::Tail { file, len, of } => {
                let mut content = bytes(image, file)?;
                content.extend(of.bytes(len, &content));
                image.insert_file(path(file), content);
            }
            Self::Length { file, length, value } => {
                let kind = Kind::of(path(file))?;
                let forged = anatomy::forge(kind, image.file(path(file))?, length, value)?;
                image.insert_file(path(file), forged);
            }
            Self::Remove { file } => image.remove(path(file)),
            Self::Swap { first, second } => {
                let (one, other) = (bytes(image, first)?, bytes(image, second)?);
                image.insert_file(path(first), other);
                image.insert_file(path(second), one);
            }
            Self::Overwrite { from, to } => {
                let content = bytes(image, from)?;
                image.insert_file(path(to), content);
            }
            Self::Copy { file, further } => {
                let content = bytes(image, file)?;
                image.insert_file(renumbered(path(file), further)?, content);
            }
            Self::Rotate { dir, by } => {
                let names = subject.files.iter().filter(|path| dir.holds(path));
                let names: Vec<_> = names.filter(|path| image.file(path).is_some()).collect();
                let contents: Vec<_> = names.iter().filter_map(|path| image.file(path)).collect();
                let contents: Vec<Vec<u8>> = contents.into_iter().map(<[u8]>::to_vec).collect();
                for (index, name) in names.iter().enumerate() {
                    image.insert_file(name, contents[(index + by) % names.len()].clone());
                }
            }
            Self::RemoveDir { dir } => {
                let dirs = [LOG_DIR, STORE_DIR].map(Path::new).into_iter();
                dirs.filter(|path| dir.holds(path))
                    .for_each(|path| image.remove(path));
            }
            Self::Foreign { file } => {
                let (path, content) = subject.foreign.files().nth(file)?;
                image.insert_file(path, content);
            }
            Self::ForeignAs { foreign, file } => {
                let (_, content) = subject.foreign.files().nth(foreign)?;
                image.insert_file(path(file), content);
            }
            Self::ForeignDir { dir } => replace(image, dir, &subject.foreign),
            Self::Older { version, file } => {
                let (path, content) = subject.older[version].files().nth(file)?;
                image.insert_file(path, content);
            }
            Self::OlderDir { version, dir } => replace(image, dir, &subject.older[version]),
        }
        Some(())
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

/// Puts the files that `from` has in a directory in the place of those that `image` has.
fn replace(image: &mut Image, dir: Dir, from: &Image) {
    let gone = image.files().map(|(path, _)| path).filter(|path| dir.holds(path));
    for path in gone.map(Path::to_path_buf).collect::<Vec<_>>() {
        image.remove(path);
    }
    for (path, bytes) in from.files().filter(|(path, _)| dir.holds(path)) {
        image.insert_file(path, bytes);
    }
}

/// Lengths that are off by one step, at the edges of their types and beyond every limit.
fn lengths(subject: &Subject, file: usize, bytes: &[u8], all: &mut Vec<Damage>) {
    let Some(kind) = Kind::of(&subject.files[file]) else {
        return;
    };
    for length in Anatomy::of(kind, bytes, subject.id).lengths {
        let mut field = [0; 8];
        field[..length.width].copy_from_slice(&bytes[length.offset..length.offset + length.width]);
        let now = u64::from_le_bytes(field);
        let top = u64::MAX >> (64 - 8 * length.width);
        let values = [
            0,
            1,
            8,
            now.wrapping_sub(8) & top,
            now.wrapping_add(8) & top,
            (16 << 20) & top,
            ((16 << 20) + 8) & top,
            top / 2,
            top / 2 + 1,
            top - 7,
            top - 1,
            top,
        ];
        let is_damage = |&value: &u64| value != now && (value != 0 || !length.is_of_record(kind));
        let others = values.into_iter().filter(is_damage);
        all.extend(others.map(|value| Damage::Length { file, length, value }));
    }
}

fn whole_files(subject: &Subject, all: &mut Vec<Damage>) {
    let len = subject.files.len();
    for file in 0..len {
        all.push(Damage::Remove { file });
        for further in [-1, 1, 2, 1000, i64::MAX] {
            all.push(Damage::Copy { file, further });
        }
        for other in (0..len).filter(|&other| other != file) {
            all.push(Damage::Overwrite {
                from: file,
                to: other,
            });
        }
        all.extend((file + 1..len).map(|second| Damage::Swap { first: file, second }));
    }
    let foreign_len = subject.foreign.files().count();
    for foreign in 0..foreign_len {
        all.push(Damage::Foreign { file: foreign });
        all.extend((0..len).map(|file| Damage::ForeignAs { foreign, file }));
    }
    for dir in Dir::ALL {
        all.push(Damage::RemoveDir { dir });
        all.push(Damage::ForeignDir { dir });
        all.extend((1..len).map(|by| Damage::Rotate { dir, by }));
    }
    for (version, image) in subject.older.iter().enumerate() {
        all.extend((0..image.files().count()).map(|file| Damage::Older { version, file }));
        all.extend(Dir::ALL.map(|dir| Damage::OlderDir { version, dir }));
    }
}

/// One case: a damage, or two on top of one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) first: Damage,
    pub(super) second: Option<Damage>,
}

impl Case {
    pub(super) fn apply(self, subject: &Subject) -> Image {
        let mut image = subject.image.clone();
        self.first.apply(subject, &mut image);
        if let Some(second) = self.second {
            second.apply(subject, &mut image);
        }
        image
    }

    /// Returns true for one damage of a closed database, unless it puts older or foreign files there: open must refuse or show
    /// everything.
    pub(super) fn takes_nothing_away(self, subject: &Subject) -> bool {
        use Damage::{Foreign, ForeignAs, ForeignDir, Older, OlderDir};
        let of_other_files = matches!(
            self.first,
            Foreign { .. } | ForeignAs { .. } | ForeignDir { .. } | Older { .. } | OlderDir { .. }
        );
        subject.end == End::Closed && self.second.is_none() && !of_other_files
    }

    pub(super) fn kind(self) -> &'static str {
        match self.second {
            None => self.first.kind(),
            Some(_) => "two of these",
        }
    }

    /// The case as it is told of.
    pub(super) fn text(self, subject: &Subject) -> String {
        let mut text = format!("{}: {:?}", subject.name, self.first);
        if let Some(second) = self.second {
            text = format!("{text}, then {second:?}");
        }
        let files: Vec<_> = subject.files.iter().map(|path| path.display()).collect();
        format!("{text}; the files are {}", list(&files))
    }
}

fn list(names: &[impl fmt::Display]) -> String {
    let names = names.iter().enumerate();
    let names: Vec<_> = names.map(|(index, name)| format!("{index} {name}")).collect();
    names.join(", ")
}
