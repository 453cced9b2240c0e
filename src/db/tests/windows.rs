//! Windowed counts through the whole handle, after the ring has moved past the time of the read.

use super::*;

const HOUR_MS: i64 = 3_600_000;
const VIEW: SignalId = SignalId(0);
const ENTITY: EntityId = EntityId(9);
const COHORT: CohortId = CohortId(3);

fn record_view(db: &TidalDb, at_ms: i64) {
    let event = SignalEvent::new(VIEW, ENTITY, at_ms);
    db.record(&event.with_cohorts(&[COHORT])).unwrap();
}

/// The counts of the entity and of its cohort in the 24 hours that end with the hour of `now_ms`.
fn counts(db: &TidalDb, now_ms: i64) -> [u64; 2] {
    [
        db.windowed_count(ENTITY, VIEW, 0, 24, now_ms).unwrap(),
        db.cohort_windowed_count(COHORT, ENTITY, VIEW, 0, 24, now_ms)
            .unwrap(),
    ]
}

#[test]
fn a_read_in_the_hour_before_the_newest_event_counts_the_whole_window_also_after_a_reopening() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    let hour = NOW_MS.div_euclid(HOUR_MS);
    // Twice in each of the 24 hours that end before this one, then once in this one.
    let last_ms = hour * HOUR_MS - 1;
    for age in 0..24 {
        record_view(&db, last_ms - age * HOUR_MS);
        record_view(&db, last_ms - age * HOUR_MS);
    }
    record_view(&db, NOW_MS);
    let in_hour = |number| (number, if number == hour { 1 } else { 2 });
    let retained: Vec<_> = (hour - 24..=hour).map(in_hour).collect();
    let check = |db: &TidalDb| {
        assert_eq!(counts(db, last_ms), [48, 48]);
        assert_eq!(counts(db, NOW_MS), [47, 47]);
        // An older read counts only the retained ones of its 24 hours.
        assert_eq!(counts(db, last_ms - HOUR_MS), [46, 46]);
        let export = db.export().unwrap();
        assert_eq!(export.signals[0].windows[0].buckets, retained);
        assert_eq!(export.cohorts[0].state.windows[0].buckets, retained);
    };
    check(&db);
    assert_eq!(db.statistics().unwrap().late_drops, 0);
    db.checkpoint().unwrap();
    db.close().unwrap();
    drop(db);

    let db = open(&disk, Durability::EverySynced).unwrap();
    assert_eq!(db.recovery_report().events_replayed, 0);
    check(&db);
    // Late for the hours, and not for the days: once for the entity, once for its cohort.
    record_view(&db, (hour - 24) * HOUR_MS - 1);
    check(&db);
    assert_eq!(db.statistics().unwrap().late_drops, 2);
    let more = db.windowed_count(ENTITY, VIEW, 0, 25, NOW_MS).unwrap_err();
    assert!(
        matches!(
            more,
            Error::InvalidInput {
                field: "buckets_len",
                ..
            }
        ),
        "a window cannot contain the additional bucket: {more}"
    );
}
