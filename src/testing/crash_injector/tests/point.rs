//! The points' text form.

use std::collections::BTreeSet;
use std::error::Error;

use super::*;

#[test]
fn all_lists_every_point_once_and_each_reads_back_from_its_text() {
    let names: BTreeSet<&str> = CrashPoint::ALL.iter().map(|point| point.name()).collect();
    assert_eq!(names.len(), 8);
    for (index, point) in CrashPoint::ALL.into_iter().enumerate() {
        assert_eq!(point as usize, index, "the order of declaration");
        assert_eq!(point.to_string().parse(), Ok(point));
        assert_eq!(
            point.to_string(),
            format!("{point:?}"),
            "a replay line can be pasted into code"
        );
    }
}

#[test]
fn a_point_is_padded_to_the_width_of_its_column() {
    assert_eq!(format!("{TARGET:>16}|"), " WalPreAggregate|");
    assert_eq!(format!("{TARGET:<16}|"), "WalPreAggregate |");
}

#[test]
fn a_text_that_names_no_point_is_an_error_that_says_which_there_are() {
    for text in [
        "",
        "walpreaggregate",
        " WalPreAggregate",
        "WalPreAggregate ",
        "Wal",
        "WalPreAggregate2",
    ] {
        let error = text.parse::<CrashPoint>().expect_err(text);
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("no crash point is named {text:?}; the names are Wal")),
            "{message}"
        );
        assert!(
            CrashPoint::ALL.iter().all(|point| message.contains(point.name())),
            "{message}"
        );
        assert!(error.source().is_none());
    }
}
