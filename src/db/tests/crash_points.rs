//! The state at each crash point, and the handle after a panic there.

use super::*;
use crate::storage::MemoryStore;
use crate::testing::{CrashAction, CrashInjector, CrashPoint, run_with_crash};

/// Runs `operation`, and returns the result of `look` at the first crossing of `point`.
fn at_point<T: Send + 'static>(
    point: CrashPoint,
    db: &Arc<TidalDb>,
    operation: impl FnOnce(&TidalDb),
    look: impl Fn(&TidalDb) -> T + Send + Sync + 'static,
) -> T {
    let observed = Arc::new(std::sync::Mutex::new(None));
    let (slot, inner) = (Arc::clone(&observed), Arc::clone(db));
    let action = CrashAction::call(move |_, _| *slot.lock().unwrap() = Some(look(&inner)));
    let injector = CrashInjector::with_action(point, 0, action);
    run_with_crash(&injector, || operation(db)).unwrap();
    let result = observed.lock().unwrap().take();
    result.expect("the point was crossed")
}

#[test]
fn the_log_has_an_event_before_memory_has_it() {
    let disk = SimDisk::new();
    let db = Arc::new(open(&disk, Durability::EverySynced).unwrap());
    let look = |db: &TidalDb| {
        let score = db.score(EntityId(0), SignalId(0), 0, NOW_MS).unwrap();
        (db.last_sequence(), score > 0.0)
    };
    let event = |db: &TidalDb| {
        record(db, 0).unwrap();
    };
    assert_eq!(
        at_point(CrashPoint::WalPreAggregate, &db, event, look),
        (1, false)
    );
    let event = |db: &TidalDb| {
        record(db, 10).unwrap();
    };
    assert_eq!(
        at_point(CrashPoint::WalPostAggregate, &db, event, look),
        (2, true)
    );
}

#[test]
fn the_file_has_an_event_when_the_append_has_returned() {
    for policy in POLICIES {
        let disk = SimDisk::new();
        let db = Arc::new(open(&disk, policy).unwrap());
        let (copy, event) = (disk.clone(), |db: &TidalDb| {
            record(db, 0).unwrap();
        });
        let reopened = at_point(CrashPoint::WalPreAggregate, &db, event, move |_| {
            open(&crashed(&copy, &ImageChoice::All), Durability::EverySynced)
                .unwrap()
                .export()
                .unwrap()
        });
        assert_eq!(reopened, state_after(1), "{policy:?}");
    }
}

#[test]
fn storage_has_a_member_before_memory_has_it() {
    let (disk, storage) = (SimDisk::new(), MemoryStore::new());
    let options = options(&disk, Durability::EverySynced);
    let db = Arc::new(TidalDb::open_with_storage(PATH, options, Arc::new(storage.clone())).unwrap());
    db.create_collection("saved").unwrap();
    let key = crate::storage::keys::block(0, 0);
    let look = move |db: &TidalDb| {
        use crate::storage::StorageEngine;
        (
            storage.get(&key).unwrap().is_some(),
            db.collection_contains("saved", EntityId(3)).unwrap(),
        )
    };
    let add = |db: &TidalDb| {
        db.add_to_collection("saved", EntityId(3)).unwrap();
    };
    assert_eq!(
        at_point(CrashPoint::CollectionIndexUpdate, &db, add, look.clone()),
        (true, false)
    );
    let remove = |db: &TidalDb| {
        db.remove_from_collection("saved", EntityId(3)).unwrap();
    };
    assert_eq!(
        at_point(CrashPoint::CollectionIndexUpdate, &db, remove, look),
        (false, true)
    );
}

#[test]
fn after_a_panic_inside_an_apply_all_calls_fail_with_poisoned_and_the_drop_writes_nothing() {
    let points = [
        CrashPoint::WalPreAggregate,
        CrashPoint::SignalAggregationUpdate,
        CrashPoint::WalPostAggregate,
        CrashPoint::CohortLedgerUpdate,
        CrashPoint::CoEngagementUpdate,
    ];
    for point in points {
        let disk = SimDisk::new();
        let db = open(&disk, Durability::EverySynced).unwrap();
        db.create_collection("saved").unwrap();
        for i in 0..3 {
            record(&db, i).unwrap();
        }
        let injector = CrashInjector::new(point, 0);
        assert_eq!(run_with_crash(&injector, || record(&db, 3)).unwrap_err(), point);
        let operations = disk.operations_len();
        let poisoned = |call: &str, result: Option<Error>| {
            let Some(Error::Poisoned { cause }) = result else {
                panic!("{point}: {call} returned {result:?}")
            };
            assert!(
                matches!(*cause, Error::Panicked { operation: "apply" }),
                "{point}: {cause}"
            );
        };
        poisoned("score", db.score(EntityId(0), SignalId(0), 0, NOW_MS).err());
        poisoned(
            "score of another entity",
            db.score(EntityId(4), SignalId(1), 0, NOW_MS).err(),
        );
        poisoned(
            "windowed_count",
            db.windowed_count(EntityId(0), SignalId(0), 0, 1, NOW_MS).err(),
        );
        poisoned(
            "cohort_score",
            db.cohort_score(CohortId(7), EntityId(0), SignalId(0), 0, NOW_MS)
                .err(),
        );
        poisoned("related", db.related(EntityId(0), 3, NOW_MS).err());
        poisoned("collection_len", db.collection_len("saved").err());
        poisoned("export", db.export().err());
        poisoned("record", record(&db, 4).err());
        poisoned("forget", db.forget_user(UserId(1)).err());
        poisoned("create_collection", db.create_collection("other").err());
        poisoned("sync", db.sync().err());
        poisoned("checkpoint", db.checkpoint().err());
        poisoned("close", db.close().err());
        drop(db);
        assert_eq!(
            disk.operations_len(),
            operations,
            "{point}: nothing was written after the panic"
        );
        let reopened = open(&crashed(&disk, &ImageChoice::All), Durability::EverySynced).unwrap();
        let mut expected = state_after(4);
        expected.collections.push(crate::CollectionExport {
            name: b"saved".to_vec(),
            members: Vec::new(),
        });
        assert_eq!(reopened.export().unwrap(), expected, "{point}");
    }
}

#[test]
fn after_a_panic_in_a_checkpoint_reads_continue_and_writes_fail_with_poisoned() {
    for point in [CrashPoint::CheckpointPreFlush, CrashPoint::CheckpointPostFlush] {
        let disk = SimDisk::new();
        let db = open(&disk, Durability::EverySynced).unwrap();
        for i in 0..5 {
            record(&db, i).unwrap();
        }
        let injector = CrashInjector::new(point, 0);
        assert_eq!(run_with_crash(&injector, || db.checkpoint()).unwrap_err(), point);
        assert_eq!(db.export().unwrap(), state_after(5), "{point}");
        assert!(matches!(record(&db, 5), Err(Error::Poisoned { .. })));
        assert!(matches!(db.checkpoint(), Err(Error::Poisoned { .. })));
        drop(db);
        for choice in [ImageChoice::All, ImageChoice::Synced] {
            let reopened = open(&crashed(&disk, &choice), Durability::EverySynced).unwrap();
            assert_eq!(reopened.export().unwrap(), state_after(5), "{point} {choice}");
        }
    }
}

#[test]
fn after_a_panic_in_a_change_of_a_collection_reads_and_writes_fail() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    db.create_collection("saved").unwrap();
    let injector = CrashInjector::new(CrashPoint::CollectionIndexUpdate, 0);
    let crashed_at = run_with_crash(&injector, || db.add_to_collection("saved", EntityId(1))).unwrap_err();
    assert_eq!(crashed_at, CrashPoint::CollectionIndexUpdate);
    assert!(matches!(db.collection_len("saved"), Err(Error::Poisoned { .. })));
    assert!(matches!(
        db.add_to_collection("saved", EntityId(2)),
        Err(Error::Poisoned { .. })
    ));
    drop(db);
    let reopened = open(&crashed(&disk, &ImageChoice::All), Durability::EverySynced).unwrap();
    assert_eq!(reopened.collection_members("saved").unwrap(), [EntityId(1)]);
}

#[test]
fn replay_crosses_the_crash_points_of_the_tiers_and_never_those_of_the_log() {
    use crate::testing::{CrossingRecorder, scoped_recorder};
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..10 {
        record(&db, i).unwrap();
    }
    drop(db);
    let recorder = CrossingRecorder::new();
    let guard = scoped_recorder(&recorder);
    let db = open(&disk, Durability::EverySynced).unwrap();
    drop(guard);
    assert_eq!(db.export().unwrap(), state_after(10));
    let crossed = |point| {
        recorder
            .crossings()
            .iter()
            .filter(|crossing| crossing.point == point)
            .count()
    };
    assert_eq!(
        crossed(CrashPoint::SignalAggregationUpdate),
        30,
        "each event and both of its cohorts"
    );
    assert_eq!(crossed(CrashPoint::CohortLedgerUpdate), 20);
    assert_eq!(
        crossed(CrashPoint::CoEngagementUpdate),
        5,
        "every other event is positive"
    );
    assert_eq!(
        crossed(CrashPoint::WalPreAggregate) + crossed(CrashPoint::WalPostAggregate),
        0
    );
}
