//! New bounds of co-engagement at an open: the reduced state, and the state after a crash inside that open.

use std::collections::BTreeSet;

use super::*;
use crate::CoEngagementConfig;
use crate::testing::sim_disk::{DiskModel, Fault, Side};
use crate::testing::workload::Random;
use crate::testing::{CrashInjector, CrashPoint, CrossingRecorder, run_with_crash, scoped_recorder};

const OLD: CoEngagementConfig = CoEngagementConfig {
    ring_len_max: 4,
    degree_max: 5,
    half_life_ms: 3_600_000,
    users_max: 6,
    nodes_max: 9,
};

/// Each bound lowered and raised, alone and together with the others.
const OTHERS: [CoEngagementConfig; 12] = [
    CoEngagementConfig {
        ring_len_max: 2,
        ..OLD
    },
    CoEngagementConfig { degree_max: 3, ..OLD },
    CoEngagementConfig { users_max: 3, ..OLD },
    CoEngagementConfig { nodes_max: 5, ..OLD },
    CoEngagementConfig {
        ring_len_max: 6,
        ..OLD
    },
    CoEngagementConfig { degree_max: 8, ..OLD },
    CoEngagementConfig { users_max: 8, ..OLD },
    CoEngagementConfig { nodes_max: 12, ..OLD },
    LOWER,
    HIGHER,
    MIXED,
    CoEngagementConfig {
        ring_len_max: 1,
        degree_max: 1,
        users_max: 1,
        nodes_max: 1,
        ..OLD
    },
];
const LOWER: CoEngagementConfig = CoEngagementConfig {
    ring_len_max: 3,
    degree_max: 3,
    users_max: 4,
    nodes_max: 6,
    ..OLD
};
const HIGHER: CoEngagementConfig = CoEngagementConfig {
    ring_len_max: 7,
    degree_max: 9,
    users_max: 9,
    nodes_max: 14,
    ..OLD
};
const MIXED: CoEngagementConfig = CoEngagementConfig {
    ring_len_max: 6,
    degree_max: 2,
    users_max: 3,
    nodes_max: 15,
    ..OLD
};

fn with(disk: &SimDisk, bounds: CoEngagementConfig) -> Options {
    Options {
        schema: schema().co_engagement(bounds),
        ..options(disk, Durability::EverySynced)
    }
}

fn open_with(disk: &SimDisk, bounds: CoEngagementConfig) -> Result<TidalDb, Error> {
    TidalDb::open(PATH, with(disk, bounds))
}

/// The options of an open with the stored bounds.
fn unset(disk: &SimDisk) -> Options {
    options(disk, Durability::EverySynced)
}

/// Records event number `i`, which names one of `users_len` users and of `items_len` items.
fn engage(db: &TidalDb, i: u64, users_len: u64, items_len: u64) {
    let mut random = Random::new(i);
    let (user, item) = (random.below(users_len), random.below(items_len));
    let at_ms = NOW_MS - 1000 * (200 - i as i64);
    let event = SignalEvent::new(SignalId(1), EntityId(item), at_ms)
        .with_user(UserId(user))
        .with_weight(1.0 + random.below(7) as f64);
    db.record(&event).unwrap();
}

/// A database under [`OLD`] that has reached all its bounds, and its state. A few events are later than its last
/// checkpoint.
fn full() -> (SimDisk, Export) {
    let disk = SimDisk::new();
    let db = open_with(&disk, OLD).unwrap();
    db.create_collection("saved").unwrap();
    for i in 0..60 {
        engage(&db, i, 10, 18);
        if i == 54 {
            db.checkpoint().unwrap();
        }
    }
    let state = db.export().unwrap();
    drop(db);
    let longest = |lens: &mut dyn Iterator<Item = usize>| lens.max().unwrap() as u64;
    assert_eq!(
        longest(&mut state.user_rings.iter().map(|ring| ring.items.len())),
        4
    );
    assert_eq!(longest(&mut state.related.iter().map(|item| item.edges.len())), 5);
    assert_eq!((state.user_rings.len(), state.related.len()), (6, 9));
    (disk, state)
}

/// The state reduced to the bounds, by a second implementation of the rules.
fn within(bounds: CoEngagementConfig, state: &Export) -> Export {
    let mut state = state.clone();
    while state.users_by_recency.len() as u64 > bounds.users_max {
        let longest = state.users_by_recency.remove(0);
        state.user_rings.retain(|ring| ring.user != longest);
    }
    while state.items_by_recency.len() as u64 > bounds.nodes_max {
        let longest = state.items_by_recency.remove(0);
        state.related.retain(|related| related.item != longest);
    }
    for ring in &mut state.user_rings {
        while ring.items.len() > bounds.ring_len_max as usize {
            ring.items.remove(0);
        }
    }
    for related in &mut state.related {
        while related.edges.len() > bounds.degree_max as usize {
            let mut lightest = 0;
            for (index, edge) in related.edges.iter().enumerate() {
                if edge.1 <= related.edges[lightest].1 {
                    lightest = index;
                }
            }
            related.edges.remove(lightest);
        }
    }
    state
}

fn stored_bounds(disk: &SimDisk) -> CoEngagementConfig {
    let db = TidalDb::open(PATH, unset(disk)).unwrap();
    *db.schema().co_engagement_config()
}

#[test]
fn new_bounds_reduce_the_state_by_the_rules_and_it_stays_reduced() {
    let (disk, before) = full();
    let image = content(&disk);
    for bounds in OTHERS {
        let disk = SimDisk::from_image(&image);
        let expected = within(bounds, &before);
        let db = open_with(&disk, bounds).unwrap();
        assert_eq!(*db.schema(), schema().co_engagement(bounds).resolved(None));
        assert_eq!(db.export().unwrap(), expected, "{bounds:?}");
        drop(db);
        for round in 0..4 {
            let db = if round % 2 == 0 {
                open_with(&disk, bounds).unwrap()
            } else {
                TidalDb::open(PATH, unset(&disk)).unwrap()
            };
            assert_eq!(db.export().unwrap(), expected, "{bounds:?}, round {round}");
            assert_eq!(*db.schema().co_engagement_config(), bounds);
            assert_eq!(db.recovery_report().frames_replayed, 0);
            if round == 1 {
                db.close().unwrap();
            }
        }
        // Higher bounds restore no dropped record.
        let db = open_with(&disk, OLD).unwrap();
        assert_eq!(db.export().unwrap(), within(OLD, &expected), "{bounds:?}");
    }
}

#[test]
fn after_new_bounds_events_count_as_in_a_database_that_always_had_them() {
    // So few events that no bound is reached.
    let few = |db: &TidalDb| (0..3).for_each(|i| engage(db, i, 3, 5));
    let many = |db: &TidalDb, events: std::ops::Range<u64>| events.for_each(|i| engage(db, i, 12, 20));
    for bounds in &OTHERS[..11] {
        let always = SimDisk::new();
        let always = open_with(&always, *bounds).unwrap();
        few(&always);
        let disk = SimDisk::new();
        let db = open_with(&disk, OLD).unwrap();
        few(&db);
        drop(db);
        let db = open_with(&disk, *bounds).unwrap();
        assert_eq!(db.export().unwrap(), always.export().unwrap(), "{bounds:?}");
        for events in [3..100, 100..200] {
            many(&db, events.clone());
            many(&always, events);
            let state = always.export().unwrap();
            assert_eq!(db.export().unwrap(), state, "{bounds:?}");
            assert_eq!(state.user_rings.len() as u64, bounds.users_max);
            assert_eq!(state.related.len() as u64, bounds.nodes_max);
            // Replay applies the later frames under the bounds of their recording.
            let copy = crashed(&disk, &ImageChoice::Synced);
            let replayed = TidalDb::open(PATH, unset(&copy)).unwrap();
            assert!(replayed.recovery_report().frames_replayed > 60);
            assert_eq!(replayed.export().unwrap(), state, "{bounds:?}");
        }
    }
}

#[test]
fn the_counted_bytes_of_an_event_follow_the_bounds_in_force() {
    let (disk, _) = full();
    for bounds in [HIGHER, LOWER, OLD] {
        let db = open_with(&disk, bounds).unwrap();
        let event = [SignalEvent::new(SignalId(1), EntityId(1), NOW_MS).with_user(UserId(1))];
        let changed = || db.statistics().unwrap().state_bytes_since_checkpoint;
        let statistics = db.statistics().unwrap();
        assert_eq!((changed(), statistics.log_bytes_since_checkpoint), (0, 0));
        assert_eq!(
            statistics.checkpoint_sequence + 1,
            statistics.last_sequence,
            "the marker follows"
        );
        let counted = db.shared.ledger.state.changed_bytes_max(&event).unwrap();
        db.record(&event[0]).unwrap();
        assert!((1..=counted).contains(&changed()), "{bounds:?}: {counted}");
    }
}

#[test]
fn an_open_crosses_the_crash_points_of_a_checkpoint_only_if_it_changes_bounds() {
    let (disk, _) = full();
    for (bounds, expected) in [(OLD, 0), (LOWER, 1), (LOWER, 0), (OLD, 1)] {
        let recorder = CrossingRecorder::new();
        let guard = scoped_recorder(&recorder);
        drop(open_with(&disk, bounds).unwrap());
        drop(guard);
        for point in [CrashPoint::CheckpointPreFlush, CrashPoint::CheckpointPostFlush] {
            let crossings = recorder.crossings();
            let crossed = crossings
                .iter()
                .filter(|crossing| crossing.point == point)
                .count();
            assert_eq!(crossed, expected, "{point} {bounds:?}");
        }
    }
}

#[test]
fn a_crash_at_a_crash_point_of_a_change_of_bounds_leaves_old_or_new_bounds_with_their_state() {
    let (disk, before) = full();
    let image = content(&disk);
    for (point, stored) in [
        (CrashPoint::CheckpointPreFlush, OLD),
        (CrashPoint::CheckpointPostFlush, MIXED),
    ] {
        let disk = SimDisk::from_image(&image);
        let injector = CrashInjector::new(point, 0);
        let crash = run_with_crash(&injector, || open_with(&disk, MIXED).map(drop));
        assert_eq!(crash.unwrap_err(), point);
        assert!(disk.locks_held().is_empty());
        for choice in [ImageChoice::All, ImageChoice::Synced] {
            assert_eq!(
                stored_bounds(&crashed(&disk, &choice)),
                stored,
                "{point} {choice}"
            );
            check_opens_under_any_bounds(
                &crashed(&disk, &choice),
                &before,
                MIXED,
                &format!("{point} {choice}"),
            );
        }
    }
}

/// Opens copies of the disk with the stored bounds, the old bounds and the `new` bounds. Checks their states, and
/// returns the stored bounds.
fn check_opens_under_any_bounds(
    disk: &SimDisk,
    before: &Export,
    new: CoEngagementConfig,
    context: &str,
) -> CoEngagementConfig {
    let copy = || crashed(disk, &ImageChoice::All);
    let stored = stored_bounds(&copy());
    assert!(stored == OLD || stored == new, "{context}: {stored:?}");
    let state = within(stored, before);
    for bounds in [stored, OLD, new] {
        let copy = copy();
        let db = open_with(&copy, bounds).unwrap_or_else(|error| panic!("{context}: {bounds:?}: {error}"));
        assert_eq!(
            db.export().unwrap(),
            within(bounds, &state),
            "{context}: {stored:?} {bounds:?}"
        );
        engage(&db, 60, 10, 18);
        let after = db.export().unwrap();
        drop(db);
        let db = TidalDb::open(PATH, unset(&crashed(&copy, &ImageChoice::Synced))).unwrap();
        assert_eq!(db.export().unwrap(), after, "{context}: {stored:?} {bounds:?}");
    }
    stored
}

#[test]
fn a_change_of_bounds_returns_an_error_of_any_operation_and_loses_nothing() {
    let (disk, before) = full();
    let image = content(&disk);
    let count = SimDisk::from_image(&image);
    drop(open_with(&count, MIXED).unwrap());
    let (mut old, mut changed) = (0, 0);
    for ordinal in 0..count.operations_len() {
        let disk = SimDisk::from_image(&image);
        disk.fail_from(ordinal, Fault::ErrorBefore(std::io::ErrorKind::StorageFull));
        let error = open_with(&disk, MIXED).map(drop).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "operation {ordinal}: {error}");
        disk.clear_faults();
        match check_opens_under_any_bounds(&disk, &before, MIXED, &format!("operation {ordinal} failed")) {
            OLD => old += 1,
            _ => changed += 1,
        }
    }
    assert!(
        old > 3 && changed > 3,
        "{old} with the old bounds, {changed} with the new ones"
    );
}

#[test]
fn an_interrupted_creation_accepts_new_bounds() {
    let disk = SimDisk::new();
    drop(open_with(&disk, OLD).unwrap());
    let recording = disk.recording();
    let mut images = recording.images();
    let mut existing = 0;
    for ordinal in 0..recording.len() {
        images.seek(ordinal, Side::After).unwrap();
        for choice in [ImageChoice::Synced, ImageChoice::All] {
            let disk = SimDisk::from_image(&images.image(&choice));
            let db = open_with(&disk, MIXED)
                .unwrap_or_else(|error| panic!("after operation {ordinal}: {choice}: {error}"));
            existing += u32::from(!db.recovery_report().created);
            engage(&db, 0, 10, 18);
            let state = db.export().unwrap();
            drop(db);
            let db = TidalDb::open(PATH, unset(&crashed(&disk, &ImageChoice::Synced))).unwrap();
            assert_eq!(*db.schema().co_engagement_config(), MIXED);
            assert_eq!(db.export().unwrap(), state, "after operation {ordinal}: {choice}");
        }
    }
    assert!(existing > 3, "{existing} were created under the old bounds");
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_power_loss_at_any_operation_of_a_change_of_bounds_leaves_old_or_new_bounds_with_their_state() {
        for new in [LOWER, HIGHER, MIXED] {
            let (disk, before) = full();
            let begin = disk.operations_len();
            drop(open_with(&disk, new).unwrap());
            let recording = disk.recording();
            let mut images = recording.images();
            let mut image_hashes = BTreeSet::new();
            let (mut old, mut changed) = (0, 0);
            for ordinal in begin..recording.len() {
                images.seek(ordinal, Side::After).unwrap();
                let choices = images.choices(DiskModel::WEAKEST, 12, 1).choices;
                for choice in choices
                    .into_iter()
                    .filter(|choice| image_hashes.insert(images.image_hash(choice)))
                {
                    let copy = SimDisk::from_image(&images.image(&choice));
                    let context = format!("after operation {ordinal}: {choice}");
                    match check_opens_under_any_bounds(&copy, &before, new, &context) {
                        OLD => old += 1,
                        _ => changed += 1,
                    }
                }
            }
            assert!(
                old > 10 && changed > 10,
                "{old} with the old bounds, {changed} with the new ones"
            );
        }
    }

    #[test]
    fn a_signal_appended_together_with_new_bounds_is_stored_with_them_or_not() {
        let (disk, before) = full();
        let begin = disk.operations_len();
        let mut both = with(&disk, LOWER);
        both.schema = both.schema.signal(Signal::new("share").half_life_ms(1000));
        let schema = TidalDb::open(PATH, both).unwrap().schema().clone();
        let recording = disk.recording();
        let mut images = recording.images();
        let (mut old, mut changed) = (0, 0);
        for ordinal in begin..recording.len() {
            images.seek(ordinal, Side::After).unwrap();
            for choice in images.choices(DiskModel::WEAKEST, 12, 1).choices {
                let copy = SimDisk::from_image(&images.image(&choice));
                let options = Options::stored_schema()
                    .background(Background::Caller)
                    .files(Arc::new(copy.clone()));
                let db = TidalDb::open(PATH, options).unwrap();
                let signals_len = db.schema().signals().len();
                if *db.schema() == schema {
                    changed += 1;
                    assert_eq!(db.export().unwrap(), within(LOWER, &before), "{ordinal} {choice}");
                } else {
                    old += 1;
                    assert_eq!(
                        (signals_len, *db.schema().co_engagement_config()),
                        (2, OLD),
                        "{ordinal} {choice}"
                    );
                    assert_eq!(db.export().unwrap(), before, "{ordinal} {choice}");
                }
            }
        }
        assert!(
            old > 10 && changed > 10,
            "{old} with the old schema, {changed} with the new one"
        );
    }
}
