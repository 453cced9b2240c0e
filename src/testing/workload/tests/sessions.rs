//! Tests of reopenings and the sessions workload: reopenings parse back from their text, and the workload has the
//! documented content.

use super::super::{Reopening, STANDARD_SYNC_MS, SessionChange, SessionEnd};
use super::*;
use crate::Durability;
use crate::testing::sim_disk::ImageChoice;

const SEEDS: std::ops::Range<u64> = 0..40;

fn reopenings(workload: &Workload) -> Vec<&Reopening> {
    let reopenings = workload.operations.iter().filter_map(|it| match it {
        Operation::Reopen(reopening) => Some(reopening),
        _ => None,
    });
    reopenings.collect()
}

fn is_reopening(operation: &Operation) -> bool {
    matches!(operation, Operation::Reopen(_))
}

fn random(seed: u64) -> SessionEnd {
    SessionEnd::PowerLoss(ImageChoice::Random { seed })
}

#[test]
fn reopenings_have_their_golden_text_and_parse_back_from_it() {
    let bounds = |ring_len_max, degree_max, users_max, nodes_max| SessionChange::CoEngagement {
        ring_len_max,
        degree_max,
        users_max,
        nodes_max,
    };
    let sizes = |bytes| SessionChange::Sizes {
        segment_bytes_max: bytes,
        preallocate_bytes: bytes + 1,
        store_segment_bytes_max: bytes + 2,
        checkpoint_log_bytes: bytes + 3,
        checkpoint_state_bytes: bytes + 4,
    };
    let timed = Durability::SyncedEvery { interval_ms: 7 };
    for (end, changes, text) in [
        (SessionEnd::Close, vec![], "reopen:close"),
        (
            SessionEnd::Drop,
            vec![SessionChange::AppendSignal],
            "reopen:drop/signal",
        ),
        (
            SessionEnd::Kill,
            vec![SessionChange::Clock { now_ms: -5 }, bounds(1, 2, 3, u64::MAX)],
            "reopen:kill/clock=-5/co-engagement=1.2.3.18446744073709551615",
        ),
        (
            SessionEnd::PowerLoss(ImageChoice::Synced),
            vec![sizes(600), SessionChange::Durability(timed)],
            "reopen:power-loss=synced/sizes=600.601.602.603.604/durability=synced-every:7",
        ),
        (
            SessionEnd::PowerLoss(ImageChoice::All),
            vec![SessionChange::Durability(Durability::OperatingSystem)],
            "reopen:power-loss=all/durability=operating-system",
        ),
        (
            random(9),
            vec![SessionChange::Durability(Durability::EverySynced)],
            "reopen:power-loss=random:9/durability=every-synced",
        ),
    ] {
        let operation = Operation::from(Reopening { end, changes });
        assert_eq!(operation.to_string(), text);
        assert_reads_back(&operation);
    }
    for seed in SEEDS {
        let workload = Workload::sessions(seed, 200);
        assert_eq!(workload.to_string().parse(), Ok(workload));
    }
}

#[test]
fn text_that_is_no_reopening_is_refused_with_the_reason() {
    let end = "a session ends by close, drop, kill or power-loss=IMAGE";
    let change = "a change is clock, signal, co-engagement, sizes or durability";
    let numbers = "the number of values is wrong, or a value is no number; values are joined by '.'";
    for (text, reason) in [
        ("", end),
        ("shut", end),
        ("close=1", end),
        ("power-loss", end),
        ("power-loss=most", "the image is unknown"),
        ("close/", change),
        ("close/signal=2", change),
        ("close/colour", change),
        ("close/clock", "a time is a whole number"),
        ("close/clock=noon", "a time is a whole number"),
        ("close/co-engagement=1.2.3", numbers),
        ("close/co-engagement=1.2.3.4.5", numbers),
        ("close/co-engagement=1.2.3.-4", numbers),
        ("close/co-engagement=4294967296.1.1.1", "a bound is too large"),
        ("close/co-engagement=1.4294967296.1.1", "a bound is too large"),
        ("close/sizes=1.2.3.4", numbers),
        ("close/durability=often", "the durability policy is unknown"),
        (
            "close/durability=synced-every:x",
            "the durability policy is unknown",
        ),
    ] {
        let token = format!("reopen:{text}");
        let error = token.parse::<Operation>().unwrap_err();
        assert_eq!(error.to_string(), format!("{token:?} is no operation: {reason}"));
    }
}

#[test]
fn a_sessions_workload_follows_from_its_seed_and_a_shorter_workload_is_a_prefix_of_it() {
    let workload = Workload::sessions(7, 100);
    assert_eq!(workload.operations.len(), 100);
    assert_eq!(workload, Workload::sessions(7, 100));
    assert_ne!(workload, Workload::sessions(8, 100));
    for len in [0, 1, 33, 99] {
        assert_eq!(workload.operations[..len], Workload::sessions(7, len).operations);
    }
}

#[test]
fn any_sixteen_operations_contain_a_reopening_and_up_to_three_reopenings_occur_in_a_row() {
    let mut in_a_row = BTreeSet::new();
    for seed in SEEDS {
        let operations = Workload::sessions(seed, 200).operations;
        for window in operations.windows(16) {
            assert!(window.iter().any(is_reopening), "seed {seed}: {window:?}");
        }
        let runs = operations.chunk_by(|a, b| is_reopening(a) == is_reopening(b));
        // The end of the workload may cut the last reopenings in a row.
        let runs = runs.filter(|run| is_reopening(&run[0])).map(<[_]>::len);
        in_a_row.extend(runs);
    }
    assert_eq!(in_a_row, BTreeSet::from([1, 2, 3]));
}

/// Holds for each workload of a hundred operations and more.
#[test]
fn a_sessions_workload_contains_every_end_of_a_session() {
    for seed in SEEDS {
        let workload = Workload::sessions(seed, 120);
        let ends: BTreeSet<_> = reopenings(&workload)
            .iter()
            .map(|reopening| match reopening.end {
                SessionEnd::PowerLoss(ImageChoice::Random { .. }) => "random".to_owned(),
                ref end => end.to_string(),
            })
            .collect();
        let all = [
            "close",
            "drop",
            "kill",
            "power-loss=all",
            "power-loss=synced",
            "random",
        ];
        assert_eq!(ends, all.map(str::to_owned).into(), "seed {seed}");
    }
}

/// The sweeps of sessions use these seeds and this length.
#[test]
fn the_swept_sessions_workloads_contain_every_change() {
    let mut found = BTreeSet::new();
    for seed in 1..=8 {
        let workload = Workload::sessions(seed, 40);
        let mut clock_ms = STANDARD_NOW_MS;
        for operation in &workload.operations {
            let reopening = match operation {
                Operation::Record { now_ms, .. } => {
                    clock_ms = *now_ms;
                    continue;
                }
                Operation::Reopen(reopening) => reopening,
                _ => continue,
            };
            found.extend(reopening.changes.iter().map(|change| match change {
                SessionChange::Clock { now_ms } if *now_ms > clock_ms => "clock forward",
                SessionChange::Clock { now_ms } if *now_ms < clock_ms => "clock back",
                SessionChange::Clock { .. } => "clock the same",
                SessionChange::AppendSignal => "signal",
                SessionChange::CoEngagement { .. } => "bounds",
                SessionChange::Sizes { .. } => "sizes",
                SessionChange::Durability(_) => "policy",
            }));
            if reopening.changes.is_empty() {
                found.insert("nothing");
            }
        }
    }
    let expected = [
        "clock forward",
        "clock back",
        "signal",
        "bounds",
        "sizes",
        "policy",
        "nothing",
    ];
    assert!(found.is_superset(&expected.into()), "{found:?}");
}

#[test]
fn every_policy_occurs_and_sizes_below_and_above_the_first_size_occur() {
    let (mut policies, mut smaller, mut larger) = (BTreeSet::new(), false, false);
    for seed in SEEDS {
        for reopening in reopenings(&Workload::sessions(seed, 120)) {
            for change in &reopening.changes {
                match change {
                    SessionChange::Durability(policy) => {
                        policies.insert(format!("{policy:?}"));
                    }
                    SessionChange::Sizes {
                        segment_bytes_max, ..
                    } => {
                        smaller |= *segment_bytes_max < 1024;
                        larger |= *segment_bytes_max > 1024;
                    }
                    _ => {}
                }
            }
        }
    }
    let timed = |interval_ms| Durability::SyncedEvery { interval_ms };
    let all = [
        Durability::EverySynced,
        timed(1),
        timed(STANDARD_SYNC_MS),
        Durability::OperatingSystem,
    ];
    assert_eq!(policies, all.map(|policy| format!("{policy:?}")).into());
    assert!(smaller && larger);
}

#[test]
fn appended_signals_are_recorded_and_the_first_event_after_a_change_of_the_clock_is_ahead() {
    let first_len = standard_schema().signals().len();
    let mut of_appended = BTreeSet::new();
    for seed in SEEDS {
        let (mut signals_len, mut is_moved) = (first_len, false);
        for operation in Workload::sessions(seed, 200).operations {
            match operation {
                Operation::Reopen(reopening) => {
                    for change in reopening.changes {
                        signals_len += usize::from(change == SessionChange::AppendSignal);
                        is_moved |= matches!(change, SessionChange::Clock { .. });
                    }
                }
                Operation::Record { now_ms, events } => {
                    let mut signals = events.iter().map(|event| usize::from(event.signal.0));
                    assert!(signals.all(|signal| signal < signals_len), "seed {seed}");
                    of_appended.extend(events.iter().map(|event| event.signal.0));
                    if std::mem::take(&mut is_moved) {
                        assert!(events[0].at_ms > now_ms, "seed {seed}: {events:?}");
                    }
                }
                _ => {}
            }
        }
        assert!(signals_len <= first_len + 2, "seed {seed}");
    }
    assert!(of_appended.contains(&(first_len as u16 + 1)), "{of_appended:?}");
}

#[test]
fn every_ring_drops_old_counts_in_sessions_workloads_too() {
    let workloads: Vec<_> = SEEDS.map(|seed| Workload::sessions(seed, 200)).collect();
    let counts = dropped_counts(&workloads);
    for (signal, declared) in (0..).zip(standard_schema().signals()) {
        for index in 0..declared.window_rings().len() {
            let [dropped, _] = counts.get(&(signal, index)).copied().unwrap_or_default();
            assert!(dropped > 0, "signal {signal}, ring {index}: {counts:?}");
        }
    }
}

#[test]
fn applying_a_reopening_without_a_driver_is_an_error() {
    let disk = crate::testing::SimDisk::new();
    let options = crate::testing::workload::tiny_options(standard_schema()).files(std::sync::Arc::new(disk));
    let db = crate::TidalDb::open("/db", options).unwrap();
    let error = Operation::from(Reopening::after(SessionEnd::Close)).apply(&db);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("reopen:close") && error.contains("only a driver makes reopenings"),
        "{error}"
    );
}
