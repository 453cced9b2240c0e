//! Names and paths of files: numbers in names, and paths in one allocation.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The number of digits of `u64::MAX`.
pub(crate) const NAME_DIGITS: usize = 20;

/// The name of a file that has a number: so many digits that names sort as their numbers do, and a suffix.
pub(crate) fn numbered_name(number: u64, suffix: &str) -> String {
    let mut digits = [b'0'; NAME_DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let mut name = String::with_capacity(NAME_DIGITS + suffix.len());
    name.extend(digits.map(char::from));
    name.push_str(suffix);
    name
}

/// The number at the beginning of such a name, and the suffix. `None` for every name that [`numbered_name`] does not give.
pub(crate) fn parse_numbered_name(name: &str) -> Option<(u64, &str)> {
    let (digits, suffix) = name.split_at_checked(NAME_DIGITS)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| is_number)?, suffix))
}

/// `dir` joined with `name`, in one allocation.
pub(crate) fn join(dir: &Path, name: impl AsRef<OsStr>) -> PathBuf {
    let name = name.as_ref();
    let mut path = PathBuf::with_capacity(dir.as_os_str().len() + 1 + name.len());
    path.push(dir);
    path.push(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_read_back_and_sort_as_their_numbers() {
        let numbers = [0, 1, 9, 10, 4_294_967_296, u64::MAX];
        let names = numbers.map(|number| numbered_name(number, ".x"));
        assert!(names.is_sorted());
        assert_eq!(names[1], "00000000000000000001.x");
        for (number, name) in numbers.into_iter().zip(&names) {
            assert_eq!(parse_numbered_name(name), Some((number, ".x")));
        }
        for foreign in [
            "",
            "1.x",
            "0000000000000000000x.x",
            "+0000000000000000001.x",
            "99999999999999999999.x",
        ] {
            assert_eq!(parse_numbered_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_joined_path_is_that_of_the_standard_library() {
        for (dir, name) in [
            ("/", "a"),
            ("/db", "LOCK"),
            ("a/b/", "c"),
            ("", "x"),
            ("/db", "/abs"),
        ] {
            assert_eq!(join(Path::new(dir), name), Path::new(dir).join(name));
        }
    }
}
