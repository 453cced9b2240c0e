//! File names of the store: one function builds a name, one parses it, and [`Listing`] has the names in a directory.
//! Changes nothing on disk, so a crash leaves nothing of it.

use std::path::Path;

use crate::Error;
use crate::fs::{FileAccess, list_if_present, numbered_name, parse_numbered_name};

/// The meaning of a name in the store's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreFileName {
    /// The store file with this number.
    Data(u64),
    /// The store file with this number before it is complete.
    Temporary(u64),
}

const SUFFIX: &str = ".tdstore";
const TEMPORARY_SUFFIX: &str = ".tdstore.tmp";

impl StoreFileName {
    pub(super) fn build(self) -> String {
        match self {
            Self::Data(number) => numbered_name(number, SUFFIX),
            Self::Temporary(number) => numbered_name(number, TEMPORARY_SUFFIX),
        }
    }

    /// The inverse of [`build`](Self::build); `None` for every other name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (number, suffix) = parse_numbered_name(name)?;
        match suffix {
            SUFFIX => Some(Self::Data(number)),
            TEMPORARY_SUFFIX => Some(Self::Temporary(number)),
            _ => None,
        }
    }
}

/// The numbers of the store's files in the directory, ascending.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) data: Vec<u64>,
    pub(super) temporary: Vec<u64>,
}

impl Listing {
    /// Lists the directory; empty if it is missing.
    pub(super) fn read(access: &dyn FileAccess, dir: &Path) -> Result<Self, Error> {
        let mut listing = Self::default();
        for name in list_if_present(access, dir)? {
            match StoreFileName::parse(&name) {
                Some(StoreFileName::Data(number)) => listing.data.push(number),
                Some(StoreFileName::Temporary(number)) => listing.temporary.push(number),
                None => {}
            }
        }
        listing.data.sort_unstable();
        listing.temporary.sort_unstable();
        Ok(listing)
    }
}
