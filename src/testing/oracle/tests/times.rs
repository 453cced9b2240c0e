//! Events ahead of the clock. The oracle predicts from the call alone which events are set back and which calls are
//! refused.

use std::sync::Arc;

use super::{
    acknowledge, acknowledged, assert_ok, assert_wrong, new_oracle, record, verdict_after_process_crash,
};
use crate::testing::model::Structure;
use crate::testing::oracle::{CrashKind, Guarantee, OpId, Oracle, Verdict};
use crate::testing::workload::{
    Event, Operation, STANDARD_NOW_MS, STANDARD_SKEW_MS, standard_schema, tiny_options,
};
use crate::testing::{SimDisk, TestClock};
use crate::{EntityId, Error, Options, Receipt, SetBack, SignalId, TidalDb};

const NOW_MS: i64 = STANDARD_NOW_MS;
const SKEW_MS: i64 = STANDARD_SKEW_MS as i64;

/// A call with an event that is `ahead_ms` ahead of the clock, and an event that is not ahead.
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

/// The call with the clock at the time of its newest event, so that no event is set back.
fn without_set_back(call: &Operation) -> Operation {
    match call {
        Operation::Record { events, .. } => Operation::record(events.clone()),
        other => other.clone(),
    }
}

fn too_far_ahead() -> Error {
    Error::InBatch {
        index: 1,
        source: Box::new(Error::invalid("at_ms", 7, "the test refuses it")),
    }
}

/// Returns true if all findings of the verdict are about the results of calls.
fn finds_only_a_wrong_result(verdict: &Verdict) -> bool {
    let mut structures = verdict.differences.iter().map(|difference| difference.structure);
    !verdict.is_ok() && structures.all(|structure| structure == Structure::Log)
}

#[test]
fn an_event_ahead_of_the_clock_must_be_recovered_at_the_time_of_the_clock() {
    let calls = [ahead(0), ahead(700), ahead(SKEW_MS)];
    let oracle = acknowledged(&calls, Guarantee::Acknowledged);
    assert_ok(&verdict_after_process_crash(
        &oracle,
        &[ahead(0), ahead(0), ahead(0)],
        3,
    ));
    assert_wrong(&verdict_after_process_crash(
        &oracle,
        &calls.each_ref().map(without_set_back),
        3,
    ));
}

#[test]
fn a_call_that_is_too_far_ahead_must_be_refused_and_must_not_be_recovered() {
    type TestedResult = fn(&mut Oracle, OpId);
    let calls = [record(1, 2), ahead(SKEW_MS + 1), record(2, 2)];
    let accepted = [record(1, 2), record(2, 2)];
    // The call may also stay in flight or be refused for another reason. Any other result is wrong.
    let results: [(TestedResult, bool); 5] = [
        (|oracle, id| oracle.failed(id, &too_far_ahead()), true),
        (|_, _| {}, true),
        (|oracle, id| oracle.failed(id, &Error::Closed), true),
        (|oracle, id| oracle.acknowledged(id, None), false),
        (
            |oracle, id| oracle.failed(id, &super::error_after_append(2)),
            false,
        ),
    ];
    for (result, is_right) in results {
        let mut oracle = acknowledged(&calls[..1], Guarantee::Acknowledged);
        let id = oracle.begin(&calls[1]);
        result(&mut oracle, id);
        acknowledge(&mut oracle, &calls[2..], 1);
        let verdict = verdict_after_process_crash(&oracle, &accepted, 2);
        assert_eq!(verdict.is_ok(), is_right, "{verdict}");
        assert_eq!(finds_only_a_wrong_result(&verdict), !is_right, "{verdict}");
        assert_wrong(&verdict_after_process_crash(
            &oracle,
            &calls.each_ref().map(without_set_back),
            3,
        ));
    }
}

#[test]
fn a_call_that_is_not_too_far_ahead_must_not_be_refused_because_of_its_times() {
    for call in [record(1, 2), ahead(SKEW_MS)] {
        let mut oracle = new_oracle(Guarantee::Acknowledged);
        let id = oracle.begin(&call);
        oracle.failed(id, &too_far_ahead());
        let verdict = verdict_after_process_crash(&oracle, &[], 0);
        assert!(finds_only_a_wrong_result(&verdict), "{verdict}");
    }
}

/// The verdict on a database that is opened with these options and makes these calls.
fn verdict_on(options: Options, calls: &[Operation]) -> Verdict {
    let options = options.files(Arc::new(SimDisk::new()));
    let mut oracle = new_oracle(Guarantee::Acknowledged);
    let db = TidalDb::open("/db", options).unwrap();
    for call in calls {
        let id = oracle.begin(call);
        oracle.ended(id, &call.apply(&db));
    }
    oracle.check(CrashKind::ProcessCrash, &db)
}

#[test]
fn an_engine_with_a_different_skew_or_a_different_clock_is_a_finding() {
    let options = || tiny_options(standard_schema());
    let edges = [ahead(1), ahead(SKEW_MS), ahead(SKEW_MS + 1)];
    assert_ok(&verdict_on(options(), &edges));
    let smaller_skew = options().skew_ms_max(STANDARD_SKEW_MS - 1);
    assert!(finds_only_a_wrong_result(&verdict_on(smaller_skew, &edges)));
    assert_wrong(&verdict_on(options().skew_ms_max(STANDARD_SKEW_MS + 1), &edges));
    assert_wrong(&verdict_on(
        options().clock(Arc::new(TestClock::at(NOW_MS + 1))),
        &edges[..1],
    ));
}

#[test]
fn a_receipt_with_a_wrong_report_of_events_set_back_is_a_finding() {
    let options = tiny_options(standard_schema()).files(Arc::new(SimDisk::new()));
    let db = TidalDb::open("/db", options).unwrap();
    let call = ahead(1);
    let receipt = call.apply(&db).unwrap().unwrap();
    for (events_len, to_ms, is_right) in [(1, NOW_MS, true), (2, NOW_MS, false), (1, NOW_MS - 1, false)] {
        let set_back = Some(SetBack { events_len, to_ms });
        let mut oracle = new_oracle(Guarantee::Acknowledged);
        let id = oracle.begin(&call);
        oracle.ended(id, &Ok(Some(Receipt { set_back, ..receipt })));
        let verdict = oracle.check(CrashKind::ProcessCrash, &db);
        assert_eq!(verdict.is_ok(), is_right, "{verdict}");
        assert_eq!(finds_only_a_wrong_result(&verdict), !is_right, "{verdict}");
    }
}
