//! File names of the store: one pair of functions builds and parses them.

use crate::fs::{numbered_name, parse_numbered_name};

/// The meaning of a name in the store's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// The store file with this number.
    Data(u64),
    /// The store file with this number while it is being made.
    Temporary(u64),
}

const SUFFIX: &str = ".tdstore";
const TEMPORARY_SUFFIX: &str = ".tdstore.tmp";

impl Name {
    pub(super) fn build(self) -> String {
        match self {
            Self::Data(number) => numbered_name(number, SUFFIX),
            Self::Temporary(number) => numbered_name(number, TEMPORARY_SUFFIX),
        }
    }

    /// `None` for every name that [`build`](Self::build) does not give.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (number, suffix) = parse_numbered_name(name)?;
        match suffix {
            SUFFIX => Some(Self::Data(number)),
            TEMPORARY_SUFFIX => Some(Self::Temporary(number)),
            _ => None,
        }
    }
}
