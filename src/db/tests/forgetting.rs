//! Forgets through the handle: the traces in storage, and checkpoints at the same time.

use super::*;
use crate::limits::Limits;
use crate::storage::{MemoryStore, StorageEngine, keys};
use crate::testing::threads;

const ITEM: u64 = 0x5ca1_ab1e_0dd5_eed5;

/// A new database, and its storage engine.
fn new_database() -> (Arc<dyn StorageEngine>, TidalDb) {
    let engine: Arc<dyn StorageEngine> = Arc::new(MemoryStore::new());
    let options = options(&SimDisk::new(), Durability::EverySynced);
    let db = TidalDb::open_with_storage(PATH, options, Arc::clone(&engine)).unwrap();
    (engine, db)
}

/// The number of pairs in `engine` whose key or value contains the bytes of [`ITEM`], in either byte order.
fn traces(engine: &dyn StorageEngine) -> usize {
    let (little, big) = (ITEM.to_le_bytes(), ITEM.to_be_bytes());
    let has = |bytes: &[u8]| bytes.windows(8).any(|window| window == little || window == big);
    let prefixes = [keys::STATES, keys::COHORT_STATES].into_iter();
    let prefixes = prefixes.chain(keys::CO_ENGAGEMENT);
    let pairs = prefixes.flat_map(|prefix| engine.scan_prefix(prefix).unwrap());
    pairs
        .map(Result::unwrap)
        .filter(|(key, value)| has(key) || has(value))
        .count()
}

/// Records a positive event of three users for each of the items 1 to 5 and [`ITEM`].
fn engage(db: &TidalDb) {
    for user in 0..3 {
        for item in [1, 2, ITEM, 3, 4, 5] {
            let event = SignalEvent::new(SignalId(1), EntityId(item), NOW_MS).with_user(UserId(user));
            db.record(&event).unwrap();
        }
    }
}

#[test]
fn after_a_reopening_a_close_removes_a_forgotten_item_from_storage() {
    let engine: Arc<dyn StorageEngine> = Arc::new(MemoryStore::new());
    let disk = SimDisk::new();
    let open = || {
        let options = Options {
            limits: Limits {
                forgetting_steps_len: 1,
                ..Limits::default()
            },
            ..options(&disk, Durability::EverySynced)
        };
        TidalDb::open_with_storage(PATH, options, Arc::clone(&engine)).unwrap()
    };
    let db = open();
    engage(&db);
    db.checkpoint().unwrap();
    db.forget_entity(EntityId(ITEM)).unwrap();
    let after = db.export().unwrap();
    assert_eq!(db.statistics().unwrap().tombstones_len, 1);
    db.close().unwrap();
    assert!(
        traces(engine.as_ref()) > 3,
        "the records are stored with the tombstone"
    );
    for closes in [true, false] {
        let db = open();
        assert_eq!(db.export().unwrap(), after);
        assert_eq!(db.statistics().unwrap().tombstones_len, 0);
        if closes {
            db.close().unwrap();
        }
        assert_eq!(traces(engine.as_ref()), 0);
    }
}

#[test]
fn later_calls_remove_forgotten_entries_and_the_next_checkpoint_stores_none() {
    let (engine, db) = new_database();
    engage(&db);
    db.checkpoint().unwrap();
    db.forget_entity(EntityId(ITEM)).unwrap();
    let mut calls = 0;
    while db.statistics().unwrap().tombstones_len > 0 {
        let event = SignalEvent::new(SignalId(1), EntityId(1), NOW_MS).with_user(UserId(0));
        db.record(&event).unwrap();
        calls += 1;
        assert!(calls < 20);
    }
    assert!(traces(engine.as_ref()) > 3);
    db.checkpoint().unwrap();
    assert_eq!(traces(engine.as_ref()), 0);
}

#[test]
fn the_next_checkpoint_removes_a_forgotten_user_from_storage() {
    let (engine, db) = new_database();
    let event = |user| SignalEvent::new(SignalId(1), EntityId(1), NOW_MS).with_user(UserId(user));
    db.record(&event(ITEM)).unwrap();
    db.checkpoint().unwrap();
    assert_eq!(traces(engine.as_ref()), 1);
    db.forget_user(UserId(ITEM)).unwrap();
    db.checkpoint().unwrap();
    assert_eq!(traces(engine.as_ref()), 0);
}

/// Makes checkpoints while another thread forgets an entity with many states, one state at a time.
#[test]
fn a_checkpoint_holds_all_states_of_an_entity_that_is_being_forgotten_or_none() {
    const COHORTS: u64 = 2000;
    let disk = SimDisk::new();
    let options = || {
        let limits = Limits {
            forgotten_slots_len_max: 1,
            ..Limits::default()
        };
        Options {
            limits,
            ..options(&disk, Durability::OperatingSystem)
        }
    };
    let db = Arc::new(TidalDb::open(PATH, options()).unwrap());
    for round in 0..10 {
        let cohorts: Vec<_> = (0..COHORTS).map(CohortId).collect();
        for cohorts in cohorts.chunks(50) {
            let event = SignalEvent::new(SignalId(0), EntityId(1), NOW_MS).with_cohorts(cohorts);
            db.record(&event).unwrap();
        }
        db.checkpoint().unwrap();
        let before = db.statistics().unwrap().checkpoint_sequence;
        let forgetting = Arc::clone(&db);
        let forgets = threads::spawn("forget", move || {
            forgetting.forget_entity(EntityId(1)).unwrap();
        })
        .unwrap();
        while db.last_sequence() == before + 1 {
            std::thread::yield_now();
        }
        db.checkpoint().unwrap();
        let at_checkpoint = crashed(&disk, &ImageChoice::All);
        forgets.join().unwrap();
        let reopened = open(&at_checkpoint, Durability::OperatingSystem).unwrap();
        let export = reopened.export().unwrap();
        assert_eq!(
            (export.signals.len(), export.cohorts.len()),
            (0, 0),
            "round {round}"
        );
    }
}
