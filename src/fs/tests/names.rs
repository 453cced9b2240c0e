//! Numbered names that are built and parsed, and joined paths.

use crate::fs::names::*;
use std::path::Path;

#[test]
fn numbered_names_parse_back_and_sort_like_their_numbers() {
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
fn a_joined_path_equals_the_joined_path_of_the_standard_library() {
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
