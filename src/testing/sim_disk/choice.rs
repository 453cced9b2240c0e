//! The choice of one of the images of a crash: a small value with a text form for replay lines.
//!
//! Every image has all durable operations. The choice decides which undurable operations it has:
//!
//! | text | undurable operations in the image |
//! |---|---|
//! | `synced` | none |
//! | `all` | all, as after a process crash |
//! | `prefix:17` | the operations before ordinal 17 |
//! | `prefix:17=3n1g` | the operations before ordinal 17, and operation 17 torn |
//! | `drop:3,17=3n1g` | all except operation 3, and operation 17 torn |
//! | `only:3,17=3n1g` | only operation 3, and operation 17 torn |
//! | `random:123` | the operations that the seed 123 draws |
//!
//! A tear is a list of runs of pieces, in the order of the file: `n` new, `o` old, `g` garbage, `z` zeros, `s` stale.
//! The pieces after the last run are old.
//!
//! Invariant: the text of a choice parses to the same choice.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A choice of one of the images that a crash can leave. The [module](super) has the rules of the images.
///
/// `parse` is the inverse of `to_string`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ImageChoice {
    /// No undurable operation: the synced content.
    Synced,
    /// All undurable operations: the written content, as after a process crash.
    All,
    /// The undurable operations before an ordinal.
    Prefix {
        /// The ordinal.
        before: u64,
        /// The tear of the operation with this ordinal. `None` if the operation is missing.
        torn: Option<Tear>,
    },
    /// All undurable operations, except that these operations have these fates, by ordinal.
    Drop(BTreeMap<u64, Fate>),
    /// Only these undurable operations, with these fates, by ordinal.
    Only(BTreeMap<u64, Fate>),
    /// A fate for each undurable operation, drawn from the seed and from the number of the operation among the
    /// operations on its file or name. So operations on other files do not change the fate.
    Random {
        /// The seed.
        seed: u64,
    },
}

/// The fate of one undurable operation in a crash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fate {
    /// The image does not have the operation.
    Lost,
    /// The image has the operation.
    Kept,
    /// The image has a part of the write. For operations other than writes, which cannot be torn, this means `Kept`.
    Torn(Tear),
}

/// The content of each piece of a write in an image. A piece is the part of a write in one sector of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tear {
    runs: Vec<(u32, Piece)>,
}

/// The content of one piece of a write in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Piece {
    /// The previous bytes, or no bytes if the file was shorter.
    Old,
    /// The written bytes.
    New,
    /// Pseudo-random bytes.
    Garbage,
    /// Zeros: the file's length covers the piece, but its bytes were not written.
    Zeros,
    /// Stale bytes: the file's length covers the piece, but its block still has bytes of a removed or truncated file.
    /// Zeros if no such block is free.
    Stale,
}

const LETTERS: [(Piece, char); 5] = [
    (Piece::Old, 'o'),
    (Piece::New, 'n'),
    (Piece::Garbage, 'g'),
    (Piece::Zeros, 'z'),
    (Piece::Stale, 's'),
];

impl ImageChoice {
    /// The ordinals of the operations whose fate the choice lists.
    pub(super) fn named_ordinals(&self) -> Vec<u64> {
        match self {
            Self::Synced | Self::All | Self::Random { .. } | Self::Prefix { torn: None, .. } => Vec::new(),
            Self::Prefix { before, .. } => vec![*before],
            Self::Drop(fates) | Self::Only(fates) => fates.keys().copied().collect(),
        }
    }

    /// Returns true if the image of this choice can have the operation with this ordinal, or a part of it, although the
    /// operation is not durable.
    pub(crate) fn can_contain(&self, ordinal: u64) -> bool {
        match self {
            Self::Synced => false,
            Self::All | Self::Random { .. } => true,
            Self::Prefix { before, torn } => ordinal < *before || (ordinal == *before && torn.is_some()),
            Self::Drop(fates) => fates.get(&ordinal) != Some(&Fate::Lost),
            Self::Only(fates) => fates.get(&ordinal).is_some_and(|fate| *fate != Fate::Lost),
        }
    }
}

impl Tear {
    /// A tear with these runs of equal pieces from the beginning of the write. Pieces after the last run are old.
    pub fn new(runs: impl IntoIterator<Item = (u32, Piece)>) -> Self {
        Self {
            runs: runs.into_iter().filter(|(len, _)| *len > 0).collect(),
        }
    }

    /// The piece with the number `index`.
    pub fn piece(&self, index: u32) -> Piece {
        let mut end = 0;
        let run = self.runs.iter().find(|(len, _)| {
            end += u64::from(*len);
            u64::from(index) < end
        });
        run.map_or(Piece::Old, |(_, piece)| *piece)
    }
}

impl fmt::Display for Tear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.runs.is_empty() {
            return f.write_str("1o");
        }
        self.runs.iter().try_for_each(|(len, piece)| {
            let letter = LETTERS.iter().find(|(other, _)| other == piece);
            write!(f, "{len}{}", letter.map_or(' ', |(_, letter)| *letter))
        })
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("lost"),
            Self::Kept => f.write_str("kept"),
            Self::Torn(tear) => tear.fmt(f),
        }
    }
}

impl fmt::Display for ImageChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Synced => f.write_str("synced"),
            Self::All => f.write_str("all"),
            Self::Prefix { before, torn } => {
                write!(f, "prefix:{before}")?;
                torn.iter().try_for_each(|tear| write!(f, "={tear}"))
            }
            Self::Drop(fates) => write!(f, "drop:{}", print_fates(fates, &Fate::Lost)),
            Self::Only(fates) => write!(f, "only:{}", print_fates(fates, &Fate::Kept)),
            Self::Random { seed } => write!(f, "random:{seed}"),
        }
    }
}

/// The text of `fates`. An operation with the fate `default` has only its ordinal.
fn print_fates(fates: &BTreeMap<u64, Fate>, default: &Fate) -> String {
    let items = fates.iter().map(|(ordinal, fate)| match fate {
        fate if fate == default => ordinal.to_string(),
        fate => format!("{ordinal}={fate}"),
    });
    items.collect::<Vec<_>>().join(",")
}

/// The error of parsing a text that is not the text form of an [`ImageChoice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseChoiceError {
    text: String,
}

impl fmt::Display for ParseChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not the text of a disk image choice", self.text)
    }
}

impl std::error::Error for ParseChoiceError {}

impl FromStr for ImageChoice {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, ParseChoiceError> {
        parse_choice(text).ok_or_else(|| ParseChoiceError { text: text.into() })
    }
}

fn parse_choice(text: &str) -> Option<ImageChoice> {
    let Some((name, rest)) = text.split_once(':') else {
        return match text {
            "synced" => Some(ImageChoice::Synced),
            "all" => Some(ImageChoice::All),
            _ => None,
        };
    };
    match name {
        "prefix" => {
            let (before, tear) = rest.split_once('=').unzip();
            let torn = match tear {
                Some(tear) => Some(parse_tear(tear)?),
                None => None,
            };
            let before = before.unwrap_or(rest).parse().ok()?;
            Some(ImageChoice::Prefix { before, torn })
        }
        "drop" => parse_fates(rest, &Fate::Lost).map(ImageChoice::Drop),
        "only" => parse_fates(rest, &Fate::Kept).map(ImageChoice::Only),
        "random" => rest.parse().ok().map(|seed| ImageChoice::Random { seed }),
        _ => None,
    }
}

fn parse_fates(text: &str, default: &Fate) -> Option<BTreeMap<u64, Fate>> {
    let mut fates = BTreeMap::new();
    for item in text.split(',').filter(|_| !text.is_empty()) {
        let (ordinal, fate) = match item.split_once('=') {
            Some((ordinal, "lost")) => (ordinal, Fate::Lost),
            Some((ordinal, "kept")) => (ordinal, Fate::Kept),
            Some((ordinal, tear)) => (ordinal, Fate::Torn(parse_tear(tear)?)),
            None => (item, default.clone()),
        };
        if fates.insert(ordinal.parse().ok()?, fate).is_some() {
            return None;
        }
    }
    Some(fates)
}

fn parse_tear(text: &str) -> Option<Tear> {
    let runs = text.split_inclusive(|c: char| !c.is_ascii_digit()).map(|run| {
        let (at, letter) = run.char_indices().next_back()?;
        let (piece, _) = LETTERS.iter().find(|(_, other)| *other == letter)?;
        let len = run[..at].parse().ok().filter(|len| *len > 0)?;
        Some((len, *piece))
    });
    let runs: Vec<_> = runs.collect::<Option<_>>()?;
    (!runs.is_empty()).then_some(Tear { runs })
}
