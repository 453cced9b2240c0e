//! Tests of valid files, of refused files, and of the sample file.

use std::fmt::Write;
use std::io::{self, BufReader, Read};

use super::{EventFile, FileEvents, LINE_BYTES_MAX, LineError, schema_for, workload_from_events};
use crate::testing::model::Model;
use crate::testing::workload::{Event, Operation, Random, STANDARD_NOW_MS, standard_schema};
use crate::{CohortId, EntityId, Schema, SignalId, UserId};

fn event(at_ms: i64, signal: u16, entity: u64) -> Event {
    Event {
        entity: EntityId(entity),
        signal: SignalId(signal),
        weight: 1.0,
        at_ms,
        user: None,
        cohorts: Vec::new(),
    }
}

fn parse(text: impl AsRef<[u8]>) -> Vec<Result<Event, LineError>> {
    EventFile::parse(text.as_ref(), &standard_schema()).collect()
}

#[test]
fn a_file_may_reorder_columns_omit_optional_ones_and_have_comments_and_empty_lines() {
    let max = u64::MAX;
    let full = Event {
        weight: -2.5e-3,
        user: Some(UserId(max)),
        cohorts: vec![CohortId(3), CohortId(0), CohortId(max)],
        ..event(-7, 2, max)
    };
    let full_text = format!("-7,skip,{max},-2.5e-3,{max},3|0;{max}\n5,view,0\n6,like,1,,,\n7,view,2,,9");
    let of_user = |user, event| Event {
        user: Some(UserId(user)),
        ..event
    };
    let with_ignored =
        "\u{feff}# events\r\n\r\nat_ms,signal,entity\r\n  # more\r\n1,view,2\r\n\t\r\n3,like,4\r";
    let cases: [(&str, Vec<Event>); 7] = [
        (
            &full_text,
            vec![full, event(5, 0, 0), event(6, 1, 1), of_user(9, event(7, 0, 2))],
        ),
        (
            "user\tentity\tat_ms\tsignal\n4\t7\t10\tlike\n",
            vec![of_user(4, event(10, 1, 7))],
        ),
        (
            "signal, user ,entity,at_ms\nlike, 4,7 ,10",
            vec![of_user(4, event(10, 1, 7))],
        ),
        (with_ignored, vec![event(1, 0, 2), event(3, 1, 4)]),
        ("", vec![]),
        ("\u{feff}", vec![]),
        ("# nothing", vec![]),
    ];
    for (text, expected) in cases {
        let found: Result<Vec<_>, _> = parse(text).into_iter().collect();
        assert_eq!(found, Ok(expected), "{text}");
    }
}

#[test]
fn quoted_fields_may_contain_separators_and_quotes() {
    let schema = schema_for(&["a,b", "say \"hi\""]);
    let text = "1,\"a,b\",2\n3, \"say \"\"hi\"\"\" ,4,\"2\"\n5,\"a,b,6\n7,\"a,b\"x,8";
    let found: Vec<_> = EventFile::parse(text.as_bytes(), &schema).collect();
    let weighed = Event {
        weight: 2.0,
        ..event(3, 1, 4)
    };
    assert_eq!(found[..2], [Ok(event(1, 0, 2)), Ok(weighed)]);
    let bad = |line| LineError {
        line,
        column: Some(2),
        reason: "a quoted field has no end, or something follows it".to_owned(),
    };
    assert_eq!(found[2..], [Err(bad(3)), Err(bad(4))]);
}

#[test]
fn a_wrong_line_is_refused_with_its_number_and_column_and_the_other_lines_are_read() {
    let many = format!("1,view,1,1,1,{}", vec!["1"; 65].join("|"));
    let bad: [(&[u8], &str); 11] = [
        (b"2,veiw,2", "2: the schema has no signal \"veiw\""),
        (b"x,view,2", "1: at_ms \"x\" is not a number in its range"),
        (b",view,2", "1: at_ms is missing"),
        (b"1,view", "3: entity is missing"),
        (
            b"1,view,18446744073709551616",
            "3: entity \"18446744073709551616\" is not a number in its range",
        ),
        (b"1,view,1,NaN", "4: weight NaN: a weight must be a finite number"),
        (
            b"1,view,1,1e13",
            "4: weight 10000000000000: the absolute value is above the engine's limit",
        ),
        (
            b"1,view,1,-1",
            "4: weight -1: the signal does not allow negative weights",
        ),
        (
            b"1,view,1,1,\xff",
            "5: user \"\\xff\" is not a number in its range",
        ),
        (
            b"1,view,1,1,1,1||2",
            "6: cohorts \"\" is not a number in its range",
        ),
        (b"1,view,1,1,1,1,1", "7: the file has only 6 columns"),
    ];
    let too_many = (many.as_bytes(), "6: an event can have at most 64 cohorts");
    for (line, expected) in bad.into_iter().chain([too_many]) {
        let found = parse([b"1,view,2\n", line, b"\n3,view,2\n"].concat());
        let [Ok(first), Err(error), Ok(last)] = &found[..] else {
            panic!("{expected}: {found:?}");
        };
        assert_eq!((first, last), (&event(1, 0, 2), &event(3, 0, 2)));
        assert_eq!(error.to_string(), format!("line 2, column {expected}"));
    }
    for (header, expected) in [
        (
            "at_ms,signal,entity,colour",
            "line 1, column 4: unknown column \"colour\"",
        ),
        (
            "at_ms,signal,entity,at_ms",
            "line 1, column 4: second column \"at_ms\"",
        ),
        ("at_ms,signal,user", "line 1: the column entity is missing"),
    ] {
        let found = parse(header)
            .into_iter()
            .map(|line| line.unwrap_err().to_string());
        assert_eq!(found.collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn a_line_that_is_too_long_is_refused_and_not_read_into_memory() {
    let text = format!("1,view,2\n{}\n3,view,2", "x".repeat(10 * LINE_BYTES_MAX));
    let schema = standard_schema();
    let mut file = EventFile::parse(BufReader::with_capacity(100, text.as_bytes()), &schema);
    assert_eq!(file.next(), Some(Ok(event(1, 0, 2))));
    let error = file.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "line 2: the line is longer than 65536 bytes");
    assert!(file.lines.line.capacity() <= 2 * LINE_BYTES_MAX);
    assert_eq!(file.next(), Some(Ok(event(3, 0, 2))));
    assert_eq!(file.next(), None);
}

#[test]
fn a_failed_read_ends_the_iteration_after_all_events_before_it() {
    struct BrokenReader;
    impl Read for BrokenReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk failed"))
        }
    }
    let schema = standard_schema();
    let reader = BufReader::new(b"1,view,2\n".chain(BrokenReader));
    let found: Vec<_> = EventFile::parse(reader, &schema).collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], Ok(event(1, 0, 2)));
    assert_eq!(
        found[1].as_ref().unwrap_err().to_string(),
        "line 2: the disk failed"
    );
}

fn read_events(text: impl AsRef<[u8]>) -> FileEvents {
    FileEvents::read(text.as_ref(), |_| true)
}

fn refusal_of(text: impl AsRef<[u8]>) -> String {
    let refused = read_events(text).refused.expect("a refused line");
    refused.to_string()
}

#[test]
fn a_header_may_have_capital_letters_and_quotes_and_must_name_at_ms() {
    for header in [
        "At_MS,Signal,ENTITY",
        "\"at_ms\",\"signal\",\"entity\"",
        "\"at_ms\"\t\"signal\"\t\"entity\"",
    ] {
        let separator = if header.contains('\t') { '\t' } else { ',' };
        let line = ["5", "\"view\"", "7"].join(&separator.to_string());
        let read = read_events(format!("{header}\n{line}\n"));
        assert_eq!(
            (read.refused, read.events),
            (None, vec![event(5, 0, 7)]),
            "{header}"
        );
        assert_eq!(read.names, [b"view"], "{header}");
    }
    for header in [
        "timestamp,signal,entity",
        "time",
        "\"ts\"\t\"signal\"",
        "at_ms;signal;entity",
    ] {
        let refused = refusal_of(format!("# a comment\n{header}\n5,view,7\n"));
        assert!(
            refused.starts_with("line 2: ") && refused.contains("must name a column at_ms"),
            "{refused}"
        );
    }
}

#[test]
fn compressed_files_and_utf_16_are_recognised_by_their_first_bytes() {
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let files: [(Vec<u8>, &str); 9] = [
        (b"\x1f\x8b\x08\0\n\n".to_vec(), "gzip"),
        (b"PK\x03\x04\x14".to_vec(), "zip"),
        (b"\x28\xb5\x2f\xfd\x04".to_vec(), "zstd"),
        (b"\xfd7zXZ\0".to_vec(), "xz"),
        (b"BZh91AY".to_vec(), "bzip2"),
        (b"PAR1\x15".to_vec(), "Parquet"),
        (utf_16("\u{feff}at_ms,signal,entity\n"), "UTF-16"),
        (utf_16("at_ms,signal,entity\n"), "UTF-16"),
        (b"\xfe\xff\0a".to_vec(), "UTF-16"),
    ];
    for (bytes, name) in files {
        let read = read_events(&bytes);
        let refused = read.refused.expect("the file is refused").to_string();
        assert!(
            refused.starts_with("line 1: ") && refused.contains(name),
            "{refused}"
        );
        assert!(read.events.is_empty());
    }
}

/// Counts the bytes that are read.
struct Counted<'a>(&'a [u8], &'a mut usize);
impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.0.read(buffer)?;
        *self.1 += len;
        Ok(len)
    }
}

#[test]
fn a_signal_name_over_a_limit_is_refused_and_no_later_line_is_read() {
    let long = refusal_of(format!("1,view,2\n2,{},3\n", "x".repeat(256)));
    assert!(
        long.starts_with("line 2, column 2: ") && long.contains("255"),
        "{long}"
    );
    assert_eq!(read_events(format!("2,{},3\n", "x".repeat(255))).events.len(), 1);
    let mut text = String::new();
    for number in 0..120_000 {
        writeln!(text, "{number},signal {number},3").unwrap();
    }
    let mut read_bytes = 0;
    let reader = BufReader::with_capacity(64, Counted(text.as_bytes(), &mut read_bytes));
    let read = FileEvents::read(reader, |_| true);
    let refused = read.refused.expect("the file is refused").to_string();
    assert!(
        refused.starts_with("line 1025, column 2: ") && refused.contains("1024"),
        "{refused}"
    );
    assert_eq!((read.events.len(), read.names.len()), (1024, 1024));
    assert!(read_bytes < 1100 * 24, "{read_bytes} bytes were read");
}

#[test]
fn the_years_of_the_event_times_are_shown_and_unlikely_years_add_a_hint_about_the_unit() {
    let years = |at: i64| read_events(format!("{at},view,1\n{at},view,1\n")).years();
    assert_eq!(years(1_700_000_000_000), "their times lie in the year 2023");
    let mixed = read_events("1600000000000,view,1\n1700000000000,view,1\n").years();
    assert_eq!(mixed, "their times lie in the years 2020 to 2023");
    for (at, year) in [
        (1_700_000_000, "1970"),
        (1_700_000_000_000_000, "55840"),
        (1_700_000_000_000_000_000, "53872825"),
    ] {
        let text = years(at);
        assert!(text.contains(year) && text.contains("milliseconds"), "{text}");
    }
}

#[test]
fn the_caller_can_stop_the_reading() {
    let read = FileEvents::read(&b"1,view,2\n2,view,2\n3,view,2\n"[..], |len| len < 2);
    assert_eq!(
        (read.events.len(), read.is_stopped, read.refused),
        (2, true, None)
    );
}

const SAMPLE: &[u8] = include_bytes!("../../../../tests/data/events.csv");

/// Makes the content of the sample file.
fn sample() -> String {
    let mut random = Random::new(2009);
    let mut text = "# Made by a rule: see src/testing/lab/event_file/tests.rs.\n".to_owned();
    text += "at_ms,signal,entity,weight,user,cohorts\n";
    let mut now_ms = STANDARD_NOW_MS - 3_600_000;
    for number in 1..=200_u64 {
        now_ms += random.below(40_000) as i64;
        let is_late = random.chance(1, 6);
        let late_ms = if is_late {
            random.below(7_200_000) as i64
        } else {
            0
        };
        let signal = *random.pick(&["view", "view", "view", "like", "skip", "dwell", "rate"]);
        let negative = matches!(signal, "skip" | "rate") && random.chance(1, 2);
        let sign = if negative { -1.0 } else { 1.0 };
        let weight = sign * (1.0 + number as f64 / 1024.0);
        let user = match random.below(8) {
            0 => String::new(),
            _ => random.below(12).to_string(),
        };
        let cohorts = (0..random.below(4)).map(|_| random.below(5).to_string());
        let cohorts = cohorts.collect::<Vec<_>>().join("|");
        let (entity, at_ms) = (random.below(15), now_ms - late_ms);
        writeln!(text, "{at_ms},{signal},{entity},{weight},{user},{cohorts}").unwrap();
    }
    text
}

fn sample_events(schema: &Schema) -> Vec<Event> {
    let events: Result<_, _> = EventFile::parse(SAMPLE, schema).collect();
    events.unwrap()
}

#[test]
fn the_sample_file_is_reproducible_and_has_users_cohorts_signals_and_unordered_events() {
    assert_eq!(String::from_utf8_lossy(SAMPLE), sample());
    let events = sample_events(&standard_schema());
    assert_eq!(events.len(), 200);
    assert!(events.iter().any(|event| event.cohorts.len() > 1));
    assert!(events.iter().any(|event| event.user.is_none()));
    assert!(!events.is_sorted_by_key(|event| event.at_ms));
    let read = FileEvents::read(SAMPLE, |_| true);
    assert_eq!(
        (read.names.len(), read.refused.is_none(), read.is_stopped),
        (5, true, false)
    );
    assert_eq!(read.events, sample_events(&read.schema()));
}

#[test]
fn a_workload_from_events_records_every_event_in_order_in_calls_of_the_given_sizes() {
    let events = sample_events(&standard_schema());
    let workload = workload_from_events(events.clone(), &[1, 8, 3]);
    let records = workload
        .operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Record { events, .. } => Some(events),
            _ => None,
        });
    let lens: Vec<_> = records.clone().map(Vec::len).take(4).collect();
    assert_eq!(lens, [1, 8, 3, 1]);
    assert_eq!(records.flatten().cloned().collect::<Vec<_>>(), events);
    // The clock never goes back, although the times of the sample are not in order.
    let mut newest_ms = i64::MIN;
    for operation in &workload.operations {
        if let Operation::Record { now_ms, events } = operation {
            let times = events.iter().map(|event| event.at_ms);
            newest_ms = times.fold(newest_ms, i64::max);
            assert_eq!(*now_ms, newest_ms);
        }
    }
    for expected in [Operation::Sync, Operation::Checkpoint] {
        assert!(workload.operations.contains(&expected), "{expected}");
    }
    let changes = workload.operations.iter();
    assert!(
        changes
            .filter(|operation| operation.is_collection_change())
            .count()
            > 10
    );
    let mut model = Model::new(&standard_schema());
    let operations = workload.operations.iter();
    operations.for_each(|operation| model.apply(operation));
    assert_eq!(model.export().collections.len(), 2);
    let others = workload_from_events(Vec::new(), &[1]).operations.len();
    // Of twelve calls, seven are followed by one other operation and one by two.
    let len = 200 + others + 200 / 12 * 9 + 6;
    assert_eq!(workload_from_events(events, &[]).operations.len(), len);
}
