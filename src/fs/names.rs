//! Names and paths of files: numbers in names, and paths in one allocation. Pure functions: a crash leaves nothing of
//! them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The number of digits of `u64::MAX`.
pub(crate) const NAME_DIGITS: usize = 20;

/// The name of a file with a number: [`NAME_DIGITS`] digits and a suffix. The names sort like their numbers.
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

/// The number and the suffix of a name that [`numbered_name`] makes; `None` for every other name.
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
