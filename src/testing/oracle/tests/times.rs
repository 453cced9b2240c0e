//! Events ahead of the clock: the oracle predicts from the call alone whether they are set back or refused.

use std::sync::Arc;

use super::{acknowledge, assert_ok, record, state};
use crate::testing::SimDisk;
use crate::testing::model::Structure;
use crate::testing::oracle::{Death, Guarantee, Oracle, Timeline, Verdict};
use crate::testing::workload::{
    Event, Operation, STANDARD_NOW_MS, STANDARD_SKEW_MS, standard_schema, tiny_options,
};
use crate::{EntityId, Error, Options, SignalId, TidalDb};

const NOW_MS: i64 = STANDARD_NOW_MS;
const SKEW_MS: i64 = STANDARD_SKEW_MS as i64;

/// A call with an event that is so far ahead of the clock, and one that is not.
fn ahead(ahead_ms: i64) -> Operation {
    let event = |at_ms| Event {
        entity: EntityId(1),
        signal: SignalId(0),
        weight: 1.0,
        at_ms,
        user: None,
        cohorts: Vec::new(),
    };
    Operation::Record {
        now_ms: NOW_MS,
        events: vec![event(NOW_MS - 5), event(NOW_MS + ahead_ms)],
    }
}

fn too_far_ahead() -> Error {
    Error::InBatch {
        index: 1,
        source: Box::new(Error::invalid("at_ms", 7, "a test says so")),
    }
}

/// Whether every frame of the oracle is the timeline's, so that no state is computed twice.
fn follows(oracle: &Oracle, timeline: &Timeline) -> bool {
    let mut frames = oracle.frames.iter().enumerate();
    frames.all(|(index, frame)| {
        timeline
            .frame(index)
            .is_some_and(|expected| Arc::ptr_eq(expected, &frame.operation))
    })
}

/// Whether the verdict finds fault with an answer, and with nothing else.
fn blames_the_answer(verdict: &Verdict) -> bool {
    let mut structures = verdict.differences.iter().map(|difference| difference.structure);
    !verdict.is_ok() && structures.all(|structure| structure == Structure::Log)
}

#[test]
fn an_event_ahead_is_expected_at_the_time_of_the_clock_and_at_no_other() {
    let calls = [ahead(0), ahead(700), ahead(SKEW_MS)];
    let as_given = calls.clone().map(|call| match call {
        Operation::Record { events, .. } => Operation::record(events),
        other => other,
    });
    let timeline = Timeline::new(&standard_schema(), &calls);
    for mut oracle in [
        Oracle::new(&standard_schema(), Guarantee::Acknowledged),
        Oracle::following(&timeline, Guarantee::Acknowledged),
    ] {
        acknowledge(&mut oracle, &calls, 0);
        assert!(oracle.timeline.is_none() || follows(&oracle, &timeline));
        let set_back = state(&[ahead(0), ahead(0), ahead(0)]);
        assert_ok(&oracle.check_export(Death::ProcessCrash, &set_back, Some(3)));
        let verdict = oracle.check_export(Death::ProcessCrash, &state(&as_given), Some(3));
        assert!(!verdict.is_ok(), "{verdict}");
    }
}

#[test]
fn a_call_that_is_too_far_ahead_must_be_refused_and_never_be_there() {
    let calls = [record(1, 2), ahead(SKEW_MS + 1), record(2, 2)];
    let accepted = [record(1, 2), record(2, 2)];
    let timeline = Timeline::new(&standard_schema(), &calls);
    let begun = || {
        let mut oracle = Oracle::following(&timeline, Guarantee::Acknowledged);
        acknowledge(&mut oracle, &calls[..1], 0);
        let id = oracle.begin(&calls[1]);
        (oracle, id)
    };
    let check = |oracle: &mut Oracle| {
        acknowledge(oracle, &calls[2..], 1);
        assert!(follows(oracle, &timeline));
        oracle.check_export(Death::ProcessCrash, &state(&accepted), Some(2))
    };
    let (mut oracle, id) = begun();
    oracle.failed(id, &too_far_ahead());
    assert_ok(&check(&mut oracle));
    let Operation::Record { events, .. } = &calls[1] else {
        unreachable!()
    };
    let there = [
        &accepted[..1],
        &[Operation::record(events.clone())],
        &accepted[1..],
    ]
    .concat();
    let verdict = oracle.check_export(Death::ProcessCrash, &state(&there), Some(3));
    assert!(!verdict.is_ok(), "{verdict}");
    // In flight for ever, or refused for another reason, it is as absent.
    let (mut oracle, _) = begun();
    assert_ok(&check(&mut oracle));
    let (mut oracle, id) = begun();
    oracle.failed(id, &Error::Closed);
    assert_ok(&check(&mut oracle));
    // Any other answer is wrong, whatever the state.
    let (mut oracle, id) = begun();
    oracle.acknowledged(id, None);
    assert!(blames_the_answer(&check(&mut oracle)));
    let (mut oracle, id) = begun();
    oracle.failed(id, &super::after_append(2));
    assert!(blames_the_answer(&check(&mut oracle)));
}

#[test]
fn a_call_that_is_not_too_far_ahead_must_not_be_refused_for_its_times() {
    for call in [record(1, 2), ahead(SKEW_MS)] {
        let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
        let id = oracle.begin(&call);
        oracle.failed(id, &too_far_ahead());
        let verdict = oracle.check_export(Death::ProcessCrash, &state(&[]), Some(0));
        assert!(blames_the_answer(&verdict), "{verdict}");
    }
}

/// The verdict on a database that is opened with these options and makes these calls.
fn judged(options: Options, calls: &[Operation]) -> Verdict {
    let options = options.files(Arc::new(SimDisk::new()));
    let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
    let db = TidalDb::open("/db", options).unwrap();
    for call in calls {
        let id = oracle.begin(call);
        oracle.ended(id, &call.apply(&db));
    }
    oracle.check(Death::ProcessCrash, &db)
}

#[test]
fn an_engine_with_another_skew_or_another_clock_is_found_wrong() {
    #[derive(Debug)]
    struct Ahead;
    impl crate::Clock for Ahead {
        fn now_ms(&self) -> i64 {
            NOW_MS + 1
        }
    }
    let options = || tiny_options(standard_schema());
    let edges = [ahead(1), ahead(SKEW_MS), ahead(SKEW_MS + 1)];
    assert_ok(&judged(options(), &edges));
    assert!(blames_the_answer(&judged(
        options().skew_ms_max(STANDARD_SKEW_MS - 1),
        &edges
    )));
    assert!(!judged(options().skew_ms_max(STANDARD_SKEW_MS + 1), &edges).is_ok());
    assert!(!judged(options().clock(Arc::new(Ahead)), &edges[..1]).is_ok());
}

#[test]
fn a_receipt_that_says_something_else_of_events_set_back_is_wrong() {
    let db = TidalDb::open(
        "/db",
        tiny_options(standard_schema()).files(Arc::new(SimDisk::new())),
    )
    .unwrap();
    let call = ahead(1);
    let receipt = call.apply(&db).unwrap().unwrap();
    for (events_len, to_ms, is_right) in [(1, NOW_MS, true), (2, NOW_MS, false), (1, NOW_MS - 1, false)] {
        let set_back = Some(crate::SetBack { events_len, to_ms });
        let mut oracle = Oracle::new(&standard_schema(), Guarantee::Acknowledged);
        let id = oracle.begin(&call);
        oracle.ended(id, &Ok(Some(crate::Receipt { set_back, ..receipt })));
        let verdict = oracle.check(Death::ProcessCrash, &db);
        assert_eq!(verdict.is_ok(), is_right, "{verdict}");
        assert_eq!(blames_the_answer(&verdict), !is_right, "{verdict}");
    }
}
