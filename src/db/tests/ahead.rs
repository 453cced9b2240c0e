//! Events ahead of the clock: they are set back to the time of the clock, or refused. And the recovery from a wrong
//! clock.

use std::collections::BTreeSet;

use super::*;
use crate::testing::sim_disk::{DiskOperationKind, Fault};
use crate::{Clock, Receipt, SetBack};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The last millisecond of an hour.
const HOUR_END_MS: i64 = 480_000 * HOUR_MS - 1;
const SKEW_MS: i64 = HOUR_MS;
const VIEW: SignalId = SignalId(0);
const LIKE: SignalId = SignalId(1);
const MINUTE: SignalId = SignalId(2);

fn view(entity: u64, at_ms: i64) -> SignalEvent<'static> {
    SignalEvent::new(VIEW, EntityId(entity), at_ms)
}

/// The options with this clock, and with a third signal whose half-life is a minute.
fn options_at(disk: &SimDisk, clock: &TestClock) -> Options {
    let mut options = options(disk, Durability::EverySynced).clock(Arc::new(clock.clone()));
    options.schema = schema().signal(Signal::new("minute").half_life_ms(60_000));
    options
}

fn open_at(disk: &SimDisk, now_ms: i64) -> TidalDb {
    TidalDb::open(PATH, options_at(disk, &TestClock::at(now_ms))).unwrap()
}

/// The state after these calls. Each call records a batch, and no event is ahead of the clock.
fn state_of(calls: &[&[SignalEvent<'_>]]) -> Export {
    let db = open_at(&SimDisk::new(), i64::MAX);
    for events in calls {
        assert_eq!(db.record_batch(events).unwrap().set_back, None);
    }
    db.export().unwrap()
}

fn set_back(events_len: u32, to_ms: i64) -> SetBack {
    SetBack { events_len, to_ms }
}

/// Regression: one event ahead moved the ring past the present, so the full window lost the counts of an hour.
#[test]
fn an_event_a_millisecond_into_the_next_hour_removes_no_event_from_the_24_hour_window() {
    let db = open_at(&SimDisk::new(), HOUR_END_MS);
    for _ in 0..100 {
        db.record(&view(1, HOUR_END_MS - 23 * HOUR_MS)).unwrap();
    }
    db.record(&view(1, HOUR_END_MS + 1)).unwrap();
    let count = db.windowed_count(EntityId(1), VIEW, 0, 24, HOUR_END_MS);
    assert_eq!(count.unwrap(), 101);
}

/// Regression: one event ahead made the score relative to its time. At that time the other events had decayed to zero.
#[test]
fn an_event_an_hour_ahead_does_not_decay_a_score_with_a_half_life_of_a_minute() {
    let db = open_at(&SimDisk::new(), NOW_MS);
    let event = SignalEvent::new(MINUTE, EntityId(1), NOW_MS);
    for _ in 0..100 {
        db.record(&event).unwrap();
    }
    let at_ms = NOW_MS + HOUR_MS;
    db.record(&SignalEvent { at_ms, ..event }).unwrap();
    for (later_ms, expected) in [(0, 101.0), (60_000, 50.5), (HOUR_MS, 101.0 * 0.5_f64.powi(60))] {
        let score = db.score(EntityId(1), MINUTE, 0, NOW_MS + later_ms).unwrap();
        assert!(
            (score / expected - 1.0).abs() < 1e-9,
            "{score} after {later_ms} ms"
        );
    }
    // Events that come in time are not late.
    db.record(&event).unwrap();
    assert_eq!(db.statistics().unwrap().late_drops, 0);
}

#[test]
fn an_event_is_set_back_from_a_millisecond_ahead_up_to_the_skew_and_refused_beyond() {
    const MAX: i64 = i64::MAX;
    for (now_ms, skew_ms, at_ms, expected_ms) in [
        (NOW_MS, SKEW_MS as u64, NOW_MS - 1, Some(NOW_MS - 1)),
        (NOW_MS, SKEW_MS as u64, NOW_MS, Some(NOW_MS)),
        (NOW_MS, SKEW_MS as u64, NOW_MS + 1, Some(NOW_MS)),
        (NOW_MS, SKEW_MS as u64, NOW_MS + SKEW_MS, Some(NOW_MS)),
        (NOW_MS, SKEW_MS as u64, NOW_MS + SKEW_MS + 1, None),
        (NOW_MS, 0, NOW_MS, Some(NOW_MS)),
        (NOW_MS, 0, NOW_MS + 1, None),
        (NOW_MS, u64::MAX, MAX, Some(NOW_MS)),
        (NOW_MS, (MAX - NOW_MS) as u64, MAX, Some(NOW_MS)),
        (NOW_MS, (MAX - NOW_MS) as u64 - 1, MAX, None),
        (MAX, 0, MAX, Some(MAX)),
        (MAX - 1, 5, MAX, Some(MAX - 1)),
        (0, 5, i64::MIN, Some(i64::MIN)),
        (i64::MIN, 0, i64::MIN, Some(i64::MIN)),
        (i64::MIN, 1, i64::MIN + 1, Some(i64::MIN)),
        (i64::MIN, 1, i64::MIN + 2, None),
        (i64::MIN, u64::MAX, MAX, Some(i64::MIN)),
    ] {
        let case = format!("{at_ms} at {now_ms} with a skew of {skew_ms}");
        let disk = SimDisk::new();
        let options = options_at(&disk, &TestClock::at(now_ms)).skew_ms_max(skew_ms);
        let db = TidalDb::open(PATH, options).unwrap();
        let Some(expected_ms) = expected_ms else {
            let error = db.record(&view(1, at_ms)).unwrap_err();
            assert!(
                matches!(error, Error::InvalidInput { field: "at_ms", .. }),
                "{case}: {error}"
            );
            assert_eq!(db.last_sequence(), 0, "{case}");
            continue;
        };
        let expected = if expected_ms == at_ms {
            None
        } else {
            Some(set_back(1, expected_ms))
        };
        assert_eq!(db.record(&view(1, at_ms)).unwrap().set_back, expected, "{case}");
        let found = db.export().unwrap();
        assert_eq!(found, state_of(&[&[view(1, expected_ms)]]), "{case}");
        let events_set_back = db.statistics().unwrap().events_set_back;
        assert_eq!(events_set_back, u64::from(expected.is_some()), "{case}");
    }
}

#[test]
fn only_the_events_of_a_batch_that_are_ahead_are_set_back_and_all_to_the_same_time() {
    let cohorts = [CohortId(3)];
    let like = |at_ms| {
        SignalEvent::new(LIKE, EntityId(2), at_ms)
            .with_user(UserId(1))
            .with_cohorts(&cohorts)
            .with_weight(2.5)
    };
    let batch_at = |ahead: [i64; 3]| {
        let [a, b, c] = ahead.map(|ahead_ms| NOW_MS + ahead_ms);
        [
            view(1, NOW_MS - 5),
            view(1, a),
            like(b),
            view(3, NOW_MS),
            like(c),
            view(4, i64::MIN),
        ]
    };
    let disk = SimDisk::new();
    // The open reads the clock too.
    let clock = TestClock::stepping(NOW_MS - 1000, 1000);
    let db = TidalDb::open(PATH, options_at(&disk, &TestClock::at(0)).clock(Arc::new(clock))).unwrap();
    let receipt = db.record_batch(&batch_at([1, 7, SKEW_MS])).unwrap();
    assert_eq!(
        receipt,
        Receipt {
            opening: db.recovery_report().opening,
            sequence: 1,
            set_back: Some(set_back(3, NOW_MS))
        }
    );
    let set_back_by_hand = batch_at([0, 0, 0]);
    assert_eq!(db.export().unwrap(), state_of(&[&set_back_by_hand]));
    // One event is too far ahead: none is recorded, none is counted. The next read of the clock is a second later.
    let error = db.record_batch(&batch_at([1, SKEW_MS + 1001, 1002])).unwrap_err();
    assert!(matches!(error, Error::InBatch { index: 2, .. }), "{error}");
    assert_eq!(db.export().unwrap(), state_of(&[&set_back_by_hand]));
    assert_eq!(db.statistics().unwrap().events_set_back, 3);
    let second = batch_at([2001, 2000, 3000]);
    assert_eq!(
        db.record_batch(&second).unwrap().set_back,
        Some(set_back(2, NOW_MS + 2000))
    );
    assert_eq!(
        db.export().unwrap(),
        state_of(&[&set_back_by_hand, &batch_at([2000; 3])])
    );
    assert_eq!(db.statistics().unwrap().events_set_back, 5);
}

#[test]
fn a_set_back_event_has_the_same_time_after_a_reopening_under_any_clock() {
    for checkpoints in [false, true] {
        let disk = SimDisk::new();
        let db = open_at(&disk, NOW_MS);
        let batch = [view(1, NOW_MS + 5), view(2, NOW_MS - 5)];
        db.record_batch(&batch).unwrap();
        db.record(&view(3, NOW_MS + SKEW_MS)).unwrap();
        if checkpoints {
            db.checkpoint().unwrap();
        }
        drop(db);
        let expected = state_of(&[&[view(1, NOW_MS), view(2, NOW_MS - 5)], &[view(3, NOW_MS)]]);
        for now_ms in [NOW_MS + 3, NOW_MS + DAY_MS, 0, i64::MIN] {
            let db = open_at(&disk, now_ms);
            assert_eq!(db.export().unwrap(), expected, "at {now_ms}");
            let statistics = db.statistics().unwrap();
            assert_eq!(statistics.events_set_back, 0, "since the handle was opened");
            assert_eq!(statistics.newest_event_ms, Some(NOW_MS));
        }
    }
}

#[test]
fn the_newest_event_time_covers_recorded_replayed_and_restored_events() {
    let newest = |db: &TidalDb| db.statistics().unwrap().newest_event_ms;
    let disk = SimDisk::new();
    let reopen = || open_at(&disk, NOW_MS);
    assert_eq!(newest(&reopen()), None);
    reopen().record(&view(1, -7)).unwrap();
    assert_eq!(newest(&reopen()), Some(-7), "replayed");
    let db = reopen();
    db.record_batch(&[view(1, 5), view(2, 9), view(3, 2)]).unwrap();
    assert_eq!(newest(&db), Some(9));
    db.record(&view(1, 3)).unwrap();
    assert_eq!(newest(&db), Some(9), "a late event does not lower it");
    db.record(&view(4, NOW_MS + 9)).unwrap();
    assert_eq!(newest(&db), Some(NOW_MS), "as it was recorded");
    db.close().unwrap();
    let db = reopen();
    assert_eq!(db.recovery_report().events_replayed, 0);
    assert_eq!(newest(&db), Some(NOW_MS), "restored");
    db.forget_entity(EntityId(4)).unwrap();
    assert_eq!(newest(&db), Some(NOW_MS), "forgetting does not lower it");
    db.close().unwrap();
    assert_eq!(newest(&reopen()), Some(9), "no state holds it any more");
}

#[test]
fn the_newest_event_time_covers_edges_of_a_forgotten_event() {
    let disk = SimDisk::new();
    let reopen = || open_at(&disk, NOW_MS);
    let like = |item, at_ms| SignalEvent::new(LIKE, EntityId(item), at_ms).with_user(UserId(1));
    let db = reopen();
    db.record_batch(&[like(1, NOW_MS - 20), like(2, NOW_MS - 10), like(3, NOW_MS)])
        .unwrap();
    db.forget_entity(EntityId(3)).unwrap();
    db.close().unwrap();
    drop(db);
    let db = reopen();
    let ahead = db.export().unwrap().related.into_iter().map(|item| item.time_ms);
    assert_eq!(ahead.max(), Some(NOW_MS));
    assert_eq!(db.statistics().unwrap().newest_event_ms, Some(NOW_MS));
}

/// The entities that have a state later than `now_ms`, found as the recipe in the README does.
fn ahead_of(now_ms: i64, export: &Export) -> BTreeSet<EntityId> {
    let signals = export.signals.iter().map(|state| (state.entity, state.time_ms));
    let related = export.related.iter().map(|item| (item.item, item.time_ms));
    let all = signals.chain(related);
    all.filter(|(_, time_ms)| *time_ms > now_ms)
        .map(|(entity, _)| entity)
        .collect()
}

/// Regression: the clock of the machine was wrong by ten years for one event. After that, the scores of the entity were
/// relative to a time at which no other event counts, and every event of the present was late.
#[test]
fn after_an_event_years_ahead_forgetting_and_recording_again_gives_right_values() {
    let disk = SimDisk::new();
    let clock = TestClock::at(NOW_MS);
    let options = options_at(&disk, &clock).durability(Durability::OperatingSystem);
    let db = TidalDb::open(PATH, options.clone()).unwrap();
    // The application stores its recent events.
    let user_of = |entity| UserId(entity % 2);
    let recent: Vec<SignalEvent<'_>> = (0..60)
        .map(|i| {
            let event = SignalEvent::new(LIKE, EntityId(i % 6), NOW_MS - (60 - i as i64) * 60_000);
            event.with_user(user_of(i))
        })
        .collect();
    db.record_batch(&recent).unwrap();
    clock.set(NOW_MS + 3650 * DAY_MS);
    let wrong = SignalEvent::new(LIKE, EntityId(1), clock.now_ms()).with_user(user_of(2));
    db.record(&wrong).unwrap();
    clock.set(NOW_MS);

    // The statistics show the wrong time.
    let statistics = db.statistics().unwrap();
    assert!(statistics.newest_event_ms.unwrap() > clock.now_ms() + DAY_MS);
    db.record(&SignalEvent::new(LIKE, EntityId(1), NOW_MS)).unwrap();
    assert!(db.statistics().unwrap().late_drops > statistics.late_drops);
    assert_eq!(db.windowed_count(EntityId(1), LIKE, 0, 24, NOW_MS).unwrap(), 0);

    // The recipe: forget the entities that are ahead, record their recent events again.
    let ahead = ahead_of(NOW_MS, &db.export().unwrap());
    assert!(ahead.contains(&EntityId(1)) && ahead.len() > 1, "{ahead:?}");
    for &entity in &ahead {
        db.forget_entity(entity).unwrap();
    }
    let again: Vec<_> = recent
        .iter()
        .filter(|event| ahead.contains(&event.entity))
        .copied()
        .collect();
    db.record_batch(&again).unwrap();

    let expected = state_of(&[&recent]);
    let found = db.export().unwrap();
    assert_eq!(found.signals, expected.signals);
    assert_eq!(ahead_of(NOW_MS, &found), BTreeSet::new());
    for entity in (0..6).map(EntityId) {
        assert_eq!(db.windowed_count(entity, LIKE, 0, 24, NOW_MS).unwrap(), 10);
        assert!(!db.related(entity, 9, NOW_MS).unwrap().is_empty(), "{entity}");
    }
    db.close().unwrap();
    let db = TidalDb::open(PATH, options).unwrap();
    assert!(db.statistics().unwrap().newest_event_ms.unwrap() <= NOW_MS);
}

#[test]
fn events_set_back_of_all_threads_are_counted() {
    let disk = SimDisk::new();
    let db = open_at(&disk, NOW_MS);
    let counted: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let db = &db;
                scope.spawn(move || {
                    let batch = [
                        view(thread, NOW_MS + 5),
                        view(thread, NOW_MS - 5),
                        view(thread, NOW_MS + 1),
                    ];
                    let receipts = (0..50).map(|_| db.record_batch(&batch).unwrap());
                    receipts
                        .map(|receipt| u64::from(receipt.set_back.unwrap().events_len))
                        .sum::<u64>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(counted, 4 * 50 * 2);
    let statistics = db.statistics().unwrap();
    assert_eq!(statistics.events_set_back, counted);
    assert_eq!(statistics.newest_event_ms, Some(NOW_MS));
}

#[test]
fn a_failed_call_is_not_counted_as_set_back_and_its_receipt_has_the_set_back() {
    for kind in [DiskOperationKind::Write, DiskOperationKind::Sync] {
        let disk = SimDisk::new();
        let db = open_at(&disk, NOW_MS);
        db.record(&view(1, NOW_MS + 1)).unwrap();
        disk.fail_next(kind, Fault::ErrorBefore(std::io::ErrorKind::Other));
        let error = db
            .record_batch(&[view(1, NOW_MS + 1), view(1, NOW_MS), view(1, NOW_MS + 2)])
            .unwrap_err();
        let receipt = error.receipt().unwrap();
        assert_eq!(receipt.set_back, Some(set_back(2, NOW_MS)), "{kind}");
        assert_eq!(db.statistics().unwrap().events_set_back, 1, "{kind}");
    }
}
