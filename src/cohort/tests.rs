//! Tests of the aggregates of cohorts.

use crate::cohort::{CohortEntity, CohortSignalLedger};
use crate::limits::Limits;
use crate::states::SignalShape;
use crate::testing::{CrashInjector, CrashPoint, run_with_crash};
use crate::{CohortId, EntityId, Error, SignalId};

const HOUR_MS: i64 = 3_600_000;

fn ledger() -> CohortSignalLedger {
    let shape = SignalShape {
        half_lives_ms: vec![HOUR_MS as u64, 24 * HOUR_MS as u64],
        rings: vec![(HOUR_MS as u64, 24), (60_000, 10)],
    };
    CohortSignalLedger::new(&[shape], &Limits::default())
}

#[test]
fn a_cohort_counts_only_its_own_events() {
    let ledger = ledger();
    let signal = SignalId(0);
    for (cohort, entity, weight) in [(1, 1, 1.0), (1, 1, 2.0), (2, 1, 4.0), (1, 2, 8.0)] {
        let late = ledger.record(CohortId(cohort), EntityId(entity), signal, weight, HOUR_MS);
        assert_eq!(late.ok(), Some(0));
    }
    let read = |cohort, entity| {
        let (cohort, entity) = (CohortId(cohort), EntityId(entity));
        let score = ledger.score(cohort, entity, signal, 0, 2 * HOUR_MS).ok();
        (
            score,
            ledger.count(cohort, entity, signal, 0, 24, 2 * HOUR_MS).ok(),
        )
    };
    assert_eq!(read(1, 1), (Some(1.5), Some(2)));
    assert_eq!(read(2, 1), (Some(2.0), Some(1)));
    assert_eq!(read(1, 2), (Some(4.0), Some(1)));
    assert_eq!(read(2, 2), (Some(0.0), Some(0)));
}

#[test]
fn a_late_event_is_scored_and_reported_once_for_each_ring_that_it_is_too_old_for() {
    let ledger = ledger();
    let record = |at_ms| {
        ledger
            .record(CohortId(0), EntityId(0), SignalId(0), 1.0, at_ms)
            .ok()
    };
    assert_eq!(record(25 * HOUR_MS), Some(0));
    assert_eq!(record(24 * HOUR_MS), Some(1));
    assert_eq!(record(0), Some(2));
    let export = ledger.states().export().expect("nothing panicked");
    let [(key, signal, state)] = &export[..] else {
        panic!("{export:?}")
    };
    assert_eq!((*key, *signal), (CohortEntity::default(), SignalId(0)));
    assert_eq!(state.time_ms, 25 * HOUR_MS);
    assert_eq!(state.scores, [1.0 + 0.5 + 2_f64.powi(-25), state.scores[1]]);
    assert_eq!(state.windows, [vec![(24, 1), (25, 1)], vec![(25 * 60, 1)]]);
}

#[test]
fn a_crash_between_the_tiers_ends_reads_of_the_shard() {
    for point in [
        CrashPoint::SignalAggregationUpdate,
        CrashPoint::CohortLedgerUpdate,
    ] {
        let ledger = ledger();
        let (cohort, entity, signal) = (CohortId(1), EntityId(1), SignalId(0));
        let injector = CrashInjector::new(point, 2);
        let crashed = run_with_crash(&injector, || {
            for _ in 0..3 {
                let late = ledger.record(cohort, entity, signal, 1.0, HOUR_MS);
                assert_eq!(late.ok(), Some(0));
            }
        });
        assert_eq!(crashed, Err(point));
        for refused in [
            ledger.record(cohort, entity, signal, 1.0, HOUR_MS).map(drop),
            ledger.score(cohort, entity, signal, 1, HOUR_MS).map(drop),
            ledger.count(cohort, entity, signal, 0, 24, HOUR_MS).map(drop),
        ] {
            assert!(
                matches!(refused, Err(Error::Panicked { operation: "apply" })),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn forgetting_an_entity_removes_its_states_from_every_cohort() {
    let ledger = ledger();
    for cohort in 0..50 {
        for entity in 0..3 {
            let late = ledger.record(CohortId(cohort), EntityId(entity), SignalId(0), 1.0, 0);
            assert_eq!(late.ok(), Some(0));
        }
    }
    assert_eq!(ledger.states().forget_entity(EntityId(1)).ok(), Some(50));
    let left = ledger.states().export().expect("nothing panicked");
    assert_eq!(left.len(), 100);
    assert!(left.iter().all(|(key, ..)| key.entity != EntityId(1)));
}
