//! File names that are built and parsed.

use crate::storage::file::names::StoreFileName;

#[test]
fn names_parse_back_and_sort_like_their_numbers() {
    let numbers = [0, 1, 9, 10, 4_294_967_296, u64::MAX];
    let names = numbers.map(|number| StoreFileName::Data(number).build());
    assert!(names.is_sorted());
    assert_eq!(names[1], "00000000000000000001.tdstore");
    for number in numbers {
        for name in [StoreFileName::Data(number), StoreFileName::Temporary(number)] {
            assert_eq!(StoreFileName::parse(&name.build()), Some(name));
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
        assert_eq!(StoreFileName::parse(foreign), None, "{foreign:?}");
    }
}
