//! Tests of workloads: the standard workload has the documented content, and operations parse back from their text.

mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Event, Operation, ParseOperationError, Random, STANDARD_NOW_MS, STANDARD_SKEW_MS, Workload,
    standard_schema,
};
use crate::{CohortId, EntityId, SetBack, SignalId, UserId};

fn events(workload: &Workload) -> Vec<&Event> {
    let calls = workload
        .operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Record { events, .. } => Some(events),
            _ => None,
        });
    calls.flatten().collect()
}

fn sample_event(at_ms: i64) -> Event {
    Event {
        entity: EntityId(7),
        signal: SignalId(1),
        weight: 1.0,
        at_ms,
        user: None,
        cohorts: Vec::new(),
    }
}

#[test]
fn a_workload_follows_from_its_seed_and_a_shorter_workload_is_a_prefix_of_it() {
    let workload = Workload::standard(7, 100);
    assert_eq!(workload.operations.len(), 100);
    assert_eq!(workload, Workload::standard(7, 100));
    assert_ne!(workload, Workload::standard(8, 100));
    assert_eq!(workload.operations[..33], Workload::standard(7, 33).operations);
}

#[test]
fn each_twenty_operations_contain_every_kind_of_operation() {
    type IsKind = fn(&Operation) -> bool;
    let kinds: [(IsKind, usize); 6] = [
        (
            |operation| matches!(operation, Operation::Record { events, .. } if events.len() == 1),
            9,
        ),
        (
            |operation| matches!(operation, Operation::Record { events, .. } if events.len() > 1),
            3,
        ),
        (Operation::is_collection_change, 5),
        (|operation| *operation == Operation::Sync, 1),
        (|operation| *operation == Operation::Checkpoint, 1),
        (Operation::is_frame, 13),
    ];
    for seed in 0..20 {
        for operations in Workload::standard(seed, 100).operations.chunks(20) {
            for (is_kind, len) in kinds {
                assert_eq!(
                    operations.iter().filter(|operation| is_kind(operation)).count(),
                    len
                );
            }
        }
    }
}

#[test]
fn the_weights_of_events_are_distinct_and_every_kind_of_event_occurs() {
    for seed in 0..10 {
        let workload = Workload::standard(seed, 200);
        let events = events(&workload);
        let weights: BTreeSet<u64> = events.iter().map(|event| event.weight.abs().to_bits()).collect();
        assert_eq!(weights.len(), events.len(), "two events have the same weight");
        let has_event = |is_kind: &dyn Fn(&Event) -> bool| events.iter().any(|event| is_kind(event));
        for entity in [0, u64::MAX] {
            assert!(has_event(&|event| event.entity == EntityId(entity)));
            assert!(has_event(&|event| event.user == Some(UserId(entity))));
            assert!(has_event(&|event| event.cohorts.contains(&CohortId(entity))));
        }
        for signal in 0..5 {
            assert!(has_event(&|event| event.signal == SignalId(signal)));
        }
        assert!(has_event(&|event| event.weight < 0.0));
        assert!(has_event(&|event| event.user.is_none()));
        assert!(has_event(&|event| event.cohorts.len() > 2));
        assert!(has_event(&|event| event.at_ms < STANDARD_NOW_MS - 86_400_000));
        assert!(!events.is_sorted_by_key(|event| event.at_ms));
    }
}

#[test]
fn the_clock_never_goes_back_and_few_events_are_ahead_of_it() {
    let skew_ms = STANDARD_SKEW_MS as i64;
    let mut aheads_ms = BTreeSet::new();
    let (mut calls, mut refused) = (0, 0);
    for workload in swept_workloads() {
        let mut before_ms = STANDARD_NOW_MS;
        for operation in &workload.operations {
            let Operation::Record { now_ms, events } = operation else {
                continue;
            };
            assert!(*now_ms >= before_ms);
            before_ms = *now_ms;
            calls += 1;
            refused += usize::from(operation.must_be_refused());
            let ahead_ms = events.iter().map(|event| event.at_ms.saturating_sub(*now_ms));
            aheads_ms.extend(ahead_ms.filter(|&ms| ms >= 0));
        }
    }
    for seed in 0..500 {
        for len in [40, 60, 100, 200] {
            let (ahead, events) = set_back_and_all_len(&Workload::standard(seed, len));
            assert!(
                ahead * 20 <= events && (ahead > 0 || len < 100),
                "seed {seed}, {len} operations: {ahead} of {events} events set back"
            );
        }
    }
    assert!(refused > 0 && refused * 50 <= calls);
    for edge_ms in [0, 1, skew_ms, skew_ms + 1] {
        assert!(aheads_ms.contains(&edge_ms), "{edge_ms} of {aheads_ms:?}");
    }
}

#[test]
fn the_refusal_of_a_call_and_the_recorded_times_of_its_events_follow_from_the_call() {
    assert!(standard_schema().validate().is_ok());
    let skew_ms = STANDARD_SKEW_MS as i64;
    assert_eq!(
        crate::Options::new(standard_schema()).skew_ms_max,
        STANDARD_SKEW_MS
    );
    let call = |times: &[i64]| Operation::Record {
        now_ms: 10,
        events: times.iter().copied().map(sample_event).collect(),
    };
    for (times, recorded, events_len) in [
        (&[9, 10][..], &[9, 10][..], 0),
        (&[11, 3, 10 + skew_ms], &[10, 3, 10], 2),
        (&[i64::MIN], &[i64::MIN], 0),
    ] {
        let operation = call(times);
        assert!(!operation.must_be_refused(), "{times:?}");
        assert_eq!(*operation.as_recorded(), call(recorded));
        let set_back = (events_len > 0).then_some(SetBack {
            events_len,
            to_ms: 10,
        });
        assert_eq!(operation.set_back(), set_back, "{times:?}");
    }
    for times in [&[11 + skew_ms][..], &[1, i64::MAX]] {
        assert!(call(times).must_be_refused(), "{times:?}");
    }
    assert!(!Operation::record(vec![sample_event(i64::MAX), sample_event(0)]).must_be_refused());
}

/// Asserts that the token of the operation parses back to the same operation, bit for bit.
fn assert_reads_back(operation: &Operation) {
    let token = operation.to_string();
    assert!(!token.contains(char::is_whitespace), "{token}");
    let read: Operation = token.parse().unwrap();
    assert_eq!(read, *operation);
    // The debug text also distinguishes signed zeros.
    assert_eq!(format!("{read:?}"), format!("{operation:?}"));
}

#[test]
fn every_operation_parses_back_from_its_text_including_unusual_names_and_weights() {
    for seed in 0..20 {
        let workload = Workload::standard(seed, 200);
        let text = workload.to_string();
        assert!(!text.contains('\n'), "the text of a workload has two lines");
        assert_eq!(text.parse(), Ok(workload.clone()));
        workload.operations.iter().for_each(assert_reads_back);
    }
    let mut random = Random::new(11);
    for _ in 0..500 {
        let name: Vec<u8> = (0..random.below(6)).map(|_| random.next_u64() as u8).collect();
        let weight = f64::from_bits(random.next_u64());
        let event = Event {
            entity: EntityId(random.next_u64()),
            signal: SignalId(random.next_u64() as u16),
            weight: if weight.is_nan() { -0.0 } else { weight },
            at_ms: random.next_u64() as i64,
            user: random.chance(1, 2).then(|| UserId(random.next_u64())),
            cohorts: (0..random.below(3))
                .map(|_| CohortId(random.next_u64()))
                .collect(),
        };
        assert_reads_back(&Operation::CreateCollection(name.clone()));
        assert_reads_back(&Operation::RemoveFromCollection(
            name,
            EntityId(random.next_u64()),
        ));
        for len in [0, 1, 2] {
            assert_reads_back(&Operation::Record {
                now_ms: random.next_u64() as i64,
                events: vec![event.clone(); len],
            });
        }
    }
    assert_reads_back(&Operation::record(vec![Event {
        weight: -0.0,
        ..sample_event(1)
    }]));
}

#[test]
fn tokens_have_their_golden_text() {
    let event = Event {
        weight: -1.5,
        user: Some(UserId(3)),
        cohorts: vec![CohortId(4), CohortId(4)],
        ..sample_event(-20)
    };
    let operations = vec![
        Operation::Record {
            now_ms: 90,
            events: vec![event.clone(), Event { user: None, ..event }],
        },
        Operation::AddToCollection(b"to \xffwatch".to_vec(), EntityId(9)),
        Operation::ForgetUser(UserId(1)),
        Operation::Sync,
    ];
    assert_eq!(
        Workload { operations }.to_string(),
        "record@90:1,7,-20,-1.5,u3,c4,c4+1,7,-20,-1.5,c4,c4 add:to%20%ffwatch,9 forget-user:1 sync"
    );
}

#[test]
fn the_error_for_text_that_is_no_operation_contains_the_token() {
    for token in [
        "",
        "sync:",
        "sink",
        "record",
        "record@5",
        "record:1,2,3,1",
        "record@:1,2,3,1",
        "record@x:1,2,3,1",
        "record@5:1,2,3",
        "record@5:1,2,3,x",
        "record@5:65536,2,3,1",
        "record@5:1,2,3,1,u1,u2",
        "record@5:1,2,3,1,c1,u2",
        "record@5:1,2,3,1,7",
        "record@5:1,2,3,1+",
        "add:a",
        "add:a,x",
        "add:a b,1",
        "create:%f",
        "create:%zz",
        "create:ä",
        "forget-entity:-1",
    ] {
        let error: ParseOperationError = token.parse::<Operation>().unwrap_err();
        assert_eq!(error.token, token);
        let begin = format!("{token:?} is no operation: ");
        assert!(error.to_string().starts_with(&begin), "{error}");
    }
    assert!("sync nonsense".parse::<Workload>().is_err());
}

/// The number of recorded events of a workload that are set back, and the number of all recorded events.
fn set_back_and_all_len(workload: &Workload) -> (usize, usize) {
    let recorded = workload
        .operations
        .iter()
        .filter(|operation| !operation.must_be_refused());
    recorded.fold((0, 0), |(ahead, all), operation| {
        let set_back = operation
            .set_back()
            .map_or(0, |set_back| set_back.events_len as usize);
        let Operation::Record { events, .. } = operation else {
            return (ahead, all);
        };
        (ahead + set_back, all + events.len())
    })
}

/// The workloads of the sweeps: those of the deep profile, and the workload of the standard sweep.
fn swept_workloads() -> Vec<Workload> {
    let mut all: Vec<_> = (1..=100).map(|seed| Workload::standard(seed, 100)).collect();
    all.push(Workload::standard(7, 60));
    all
}

/// Two counts for each ring, by signal and index: the number of times when a newer bucket makes an older count drop,
/// and the number of those times when another older count remains.
fn dropped_counts(workloads: &[Workload]) -> BTreeMap<(u16, usize), [usize; 2]> {
    let schema = standard_schema();
    let mut dropped_counts = BTreeMap::new();
    for workload in workloads {
        let mut held: BTreeMap<(EntityId, u16, usize), BTreeSet<i64>> = BTreeMap::new();
        let accepted = workload
            .operations
            .iter()
            .filter(|operation| !operation.must_be_refused());
        for operation in accepted.map(Operation::as_recorded) {
            if let Operation::ForgetEntity(entity) = &*operation {
                held.retain(|(of, ..), _| of != entity);
            }
            let Operation::Record { events, .. } = &*operation else {
                continue;
            };
            for event in events {
                // Signals that a reopening appends are not counted.
                let Some(signal) = schema.get(event.signal) else {
                    continue;
                };
                let rings = signal.window_rings();
                for (index, ring) in rings.iter().enumerate() {
                    let number = event.at_ms.div_euclid(ring.bucket_ms as i64);
                    let held = held.entry((event.entity, event.signal.0, index)).or_default();
                    held.insert(number);
                    let newest = *held.last().unwrap();
                    let len = held.len();
                    // A ring stores one bucket more than declared.
                    held.retain(|held| newest.abs_diff(*held) <= ring.buckets.into());
                    let key = (event.signal.0, index);
                    let [dropped, with_rest]: &mut [usize; 2] = dropped_counts.entry(key).or_default();
                    if newest == number && held.len() < len {
                        *dropped += 1;
                        *with_rest += usize::from(held.len() > 1);
                    }
                }
            }
        }
    }
    dropped_counts
}

#[test]
fn every_ring_drops_old_counts_and_rings_of_hours_and_days_drop_only_some_of_them() {
    let counts = dropped_counts(&swept_workloads());
    for (signal, declared) in (0..).zip(standard_schema().signals()) {
        for index in 0..declared.window_rings().len() {
            let [dropped, with_rest] = counts.get(&(signal, index)).copied().unwrap_or_default();
            let is_covered = dropped > 0 && (signal != 0 || with_rest > 0);
            assert!(is_covered, "signal {signal}, ring {index}: {counts:?}");
        }
    }
}
