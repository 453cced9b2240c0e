//! The text form of crash points.

use std::collections::BTreeSet;
use std::error::Error;

use super::*;

#[test]
fn crash_point_all_lists_every_point_once_and_each_text_parses_to_its_point() {
    let names: BTreeSet<&str> = CrashPoint::ALL.iter().map(|point| point.name()).collect();
    assert_eq!(names.len(), 8);
    for (index, point) in CrashPoint::ALL.into_iter().enumerate() {
        assert_eq!(point as usize, index, "the order of declaration");
        assert_eq!(point.to_string().parse(), Ok(point));
        // The texts are equal, so a test can paste a replay line into code.
        assert_eq!(point.to_string(), format!("{point:?}"));
    }
    assert_eq!(
        format!("{TARGET:>16}|{TARGET:<16}|"),
        " WalPreAggregate|WalPreAggregate |"
    );
}

#[test]
fn the_error_of_an_unknown_point_lists_all_points() {
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
        let beginning = format!("no crash point is named {text:?}; the names are Wal");
        assert!(message.starts_with(&beginning), "{message}");
        let has_name = |point: &CrashPoint| message.contains(point.name());
        assert!(CrashPoint::ALL.iter().all(has_name), "{message}");
        assert!(error.source().is_none());
    }
}
