//! Which of the images of one crash is meant: a small value with a text form for replay lines.
//!
//! | text | image |
//! |---|---|
//! | `synced` | only what was synced |
//! | `all` | everything written, as a process crash leaves it |
//! | `prefix:17` | of what is not durable, the operations before ordinal 17 |
//! | `prefix:17=3n1g` | these, and operation 17 torn |
//! | `drop:3,17=3n1g` | everything but operation 3, and 17 torn |
//! | `only:3,17=3n1g` | operation 3, and 17 torn |
//! | `random:123` | each operation's fate drawn from the seed 123 |
//!
//! A tear is a list of runs of pieces, in the order of the file: `n` new, `o` old, `g` garbage, `z` zeros, `s` stale. The
//! pieces after the last run are old.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// One of the images that a crash may leave. See the [module](super) for which there are.
///
/// `to_string` and `parse` are inverse to each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ImageChoice {
    /// Only what was synced.
    Synced,
    /// Everything written, as a process crash leaves it.
    All,
    /// Of what is not durable, the operations before an ordinal.
    Prefix {
        /// The ordinal.
        before: u64,
        /// How the operation with that ordinal itself is torn; `None` if nothing of it is there.
        torn: Option<Tear>,
    },
    /// All undurable operations but these, by ordinal, which are lost or torn.
    Drop(BTreeMap<u64, Fate>),
    /// Only these undurable operations, by ordinal.
    Only(BTreeMap<u64, Fate>),
    /// Each operation's fate is drawn from the seed and from the place of the operation among those of its file or name
    /// alone, so that what is done to other files does not change it.
    Random {
        /// The seed.
        seed: u64,
    },
}

/// What a crash made of one operation that was not durable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fate {
    /// Nothing of it is there.
    Lost,
    /// It is there.
    Kept,
    /// A write is there in part. Of other operations, which are whole or not at all, it means `Kept`.
    Torn(Tear),
}

/// Which pieces of a write are there. A piece is what lies in one sector of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tear {
    runs: Vec<(u32, Piece)>,
}

/// What is found where one piece of a write belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Piece {
    /// What was there before, if anything was.
    Old,
    /// What was written.
    New,
    /// Neither: pseudo-random bytes.
    Garbage,
    /// Zeros: the file has its length there and never got its bytes.
    Zeros,
    /// Stale bytes: the file's length covers the piece, but its block still holds bytes of a removed or truncated file.
    /// Zeros if no block is free.
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
    /// The ordinals of the operations to which it gives a fate by name.
    pub(super) fn named(&self) -> Vec<u64> {
        match self {
            Self::Synced | Self::All | Self::Random { .. } | Self::Prefix { torn: None, .. } => Vec::new(),
            Self::Prefix { before, .. } => vec![*before],
            Self::Drop(fates) | Self::Only(fates) => fates.keys().copied().collect(),
        }
    }

    /// Whether an image of this choice may have something of the operation with this ordinal, if that is not durable.
    pub(crate) fn keeps(&self, ordinal: u64) -> bool {
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
    /// A tear of runs of equal pieces from the write's beginning on; pieces beyond the runs are old.
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
            let letter = LETTERS.iter().find(|(known, _)| known == piece);
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

/// The text of `fates` without the word for `usual`.
fn print_fates(fates: &BTreeMap<u64, Fate>, usual: &Fate) -> String {
    let items = fates.iter().map(|(ordinal, fate)| match fate {
        fate if fate == usual => ordinal.to_string(),
        fate => format!("{ordinal}={fate}"),
    });
    items.collect::<Vec<_>>().join(",")
}

/// A text does not stand for an [`ImageChoice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseChoiceError {
    text: String,
}

impl fmt::Display for ParseChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} does not stand for an image of a disk", self.text)
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

fn parse_fates(text: &str, usual: &Fate) -> Option<BTreeMap<u64, Fate>> {
    let mut fates = BTreeMap::new();
    for item in text.split(',').filter(|_| !text.is_empty()) {
        let (ordinal, fate) = match item.split_once('=') {
            Some((ordinal, "lost")) => (ordinal, Fate::Lost),
            Some((ordinal, "kept")) => (ordinal, Fate::Kept),
            Some((ordinal, tear)) => (ordinal, Fate::Torn(parse_tear(tear)?)),
            None => (item, usual.clone()),
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
        let (piece, _) = LETTERS.iter().find(|(_, known)| *known == letter)?;
        let len = run[..at].parse().ok().filter(|len| *len > 0)?;
        Some((len, *piece))
    });
    let runs: Vec<_> = runs.collect::<Option<_>>()?;
    (!runs.is_empty()).then_some(Tear { runs })
}
