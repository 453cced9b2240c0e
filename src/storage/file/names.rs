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

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_read_back_and_sort_as_their_numbers() {
        let numbers = [0, 1, 9, 10, 4_294_967_296, u64::MAX];
        let names = numbers.map(|number| Name::Data(number).build());
        assert!(names.is_sorted());
        assert_eq!(names[1], "00000000000000000001.tdstore");
        for number in numbers {
            for name in [Name::Data(number), Name::Temporary(number)] {
                assert_eq!(Name::parse(&name.build()), Some(name));
            }
        }
    }

    #[test]
    fn foreign_names_are_not_parsed() {
        for foreign in [
            "",
            "lock",
            "1.tdstore",
            "00000000000000000001",
            "00000000000000000001.tdstore ",
            "00000000000000000001.tdstore.tmp2",
            "00000000000000000001.TDSTORE",
            "000000000000000000001.tdstore",
            "99999999999999999999.tdstore",
            "+0000000000000000001.tdstore",
            "-0000000000000000001.tdstore",
            "0000000000000000000\u{e9}.tdstore",
            "\u{1f30a}\u{1f30a}\u{1f30a}\u{1f30a}\u{1f30a}\u{1f30a}",
        ] {
            assert_eq!(Name::parse(foreign), None, "{foreign:?}");
        }
    }
}
