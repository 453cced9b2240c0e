//! The schema at an open: not set, partly set, or different from the stored schema.

use super::*;
use crate::storage::{MemoryStore, StorageEngine, keys};
use crate::{CoEngagementConfig, Ring};

const RINGS: [Ring; 2] = [
    Ring {
        bucket_ms: 60_000,
        buckets: 90,
    },
    Ring {
        bucket_ms: 86_400_000,
        buckets: 3,
    },
];
const BOUNDS: CoEngagementConfig = CoEngagementConfig {
    ring_len_max: 3,
    degree_max: 2,
    half_life_ms: 5000,
    users_max: 9,
    nodes_max: 4,
};

fn view() -> Signal {
    Signal::new("view")
        .half_life_ms(3_600_000)
        .half_life_ms(86_400_000)
}

fn like() -> Signal {
    Signal::new("like").half_life_ms(3_600_000).positive()
}

/// [`schema`] with the rings and bounds of a release with other defaults.
fn schema_with_other_defaults() -> Schema {
    Schema::new()
        .signal(view().rings(RINGS))
        .signal(like().rings(RINGS))
        .co_engagement(BOUNDS)
}

fn with(disk: &SimDisk, schema: Schema) -> Options {
    Options {
        schema,
        ..options(disk, Durability::EverySynced)
    }
}

/// The options of an open without a schema.
fn stored_schema_options(disk: &SimDisk) -> Options {
    Options::stored_schema()
        .background(Background::Caller)
        .clock(Arc::new(TestClock::at(NOW_MS)))
        .files(Arc::new(disk.clone()))
}

/// A database of that schema with `len` events, and its state.
fn new_database(schema: Schema, len: u64) -> (SimDisk, Export) {
    let disk = SimDisk::new();
    let db = TidalDb::open(PATH, with(&disk, schema)).unwrap();
    for i in 0..len {
        record(&db, i).unwrap();
    }
    let state = db.export().unwrap();
    (disk, state)
}

#[test]
fn a_handle_opened_without_a_schema_reads_and_writes_under_the_stored_schema() {
    let (disk, state) = new_database(schema_with_other_defaults(), 20);
    let db = TidalDb::open(PATH, stored_schema_options(&disk)).unwrap();
    assert_eq!(*db.schema(), schema_with_other_defaults());
    assert_eq!(db.export().unwrap(), state);
    record(&db, 20).unwrap();
    let state = db.export().unwrap();
    db.close().unwrap();
    let db = TidalDb::open(PATH, with(&disk, schema_with_other_defaults())).unwrap();
    assert_eq!(db.export().unwrap(), state);
}

#[test]
fn an_open_without_a_schema_never_creates_a_database() {
    for options in [
        |disk: &SimDisk| stored_schema_options(disk),
        |disk: &SimDisk| stored_schema_options(disk).create(true),
    ] {
        let (disk, storage) = (SimDisk::new(), MemoryStore::new());
        let opened = [
            TidalDb::open(PATH, options(&disk)),
            TidalDb::open_with_storage(PATH, options(&disk), Arc::new(storage.clone())),
        ];
        for opened in opened {
            let error = opened.map(drop).unwrap_err();
            assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
        }
        assert_eq!(content(&disk).differences(&Image::new()), [""; 0]);
        assert_eq!(storage.scan_prefix(&[]).unwrap().count(), 0);
    }
}

#[test]
fn unset_rings_and_bounds_are_those_of_the_stored_schema() {
    // Otherwise a new default in a later release would make an open of every older database fail.
    let (disk, state) = new_database(schema_with_other_defaults(), 20);
    for appended in [false, true, true] {
        let mut unset = Schema::new().signal(view()).signal(like());
        let mut resolved = schema_with_other_defaults();
        if appended {
            unset = unset.signal(Signal::new("share").half_life_ms(1000));
            // The signal is new, so it has the default rings.
            let share = Signal::new("share").half_life_ms(1000);
            let rings = share.window_rings().to_vec();
            resolved = resolved.signal(share.rings(rings));
        }
        let db = TidalDb::open(PATH, with(&disk, unset)).unwrap();
        assert_eq!(*db.schema(), resolved);
        assert_eq!(db.export().unwrap(), state);
        drop(db);
        let db = TidalDb::open(PATH, stored_schema_options(&disk)).unwrap();
        assert_eq!(*db.schema(), resolved, "the stored schema");
    }
}

#[test]
fn unset_rings_and_bounds_are_the_default_in_a_new_database() {
    let storage = MemoryStore::new();
    let disk = SimDisk::new();
    let options = with(&disk, Schema::new().signal(view()).signal(like()));
    let db = TidalDb::open_with_storage(PATH, options, Arc::new(storage.clone())).unwrap();
    let rings = view().window_rings().to_vec();
    let explicit = Schema::new()
        .signal(view().rings(rings.clone()))
        .signal(like().rings(rings))
        .co_engagement(CoEngagementConfig::default());
    assert_eq!(*db.schema(), explicit);
    let sealed = storage.get(keys::SCHEMA).unwrap().unwrap();
    assert_eq!(keys::unseal(keys::SCHEMA, &sealed).unwrap(), explicit.encode());
}

#[test]
fn a_difference_from_the_stored_schema_is_named_and_nothing_is_changed() {
    let (disk, state) = new_database(schema_with_other_defaults(), 20);
    let before = content(&disk);
    let half_life = CoEngagementConfig {
        half_life_ms: 5001,
        ..BOUNDS
    };
    for (schema, what) in [
        (
            Schema::new()
                .signal(view())
                .signal(like().rings(view().window_rings())),
            "signal \"like\" differs from the persisted schema: it has other window rings",
        ),
        (
            Schema::new().signal(view()).signal(like().rings([])),
            "signal \"like\" differs from the persisted schema: it has other window rings",
        ),
        (
            schema_with_other_defaults().co_engagement(half_life),
            "signal \"(co-engagement)\" differs from the persisted schema: it has another half-life",
        ),
    ] {
        let error = TidalDb::open(PATH, with(&disk, schema)).map(drop).unwrap_err();
        assert_eq!(error.to_string(), what);
        assert_eq!(content(&disk).differences(&before), [""; 0]);
    }
    let db = TidalDb::open(PATH, with(&disk, schema_with_other_defaults())).unwrap();
    assert_eq!(db.export().unwrap(), state);
}
