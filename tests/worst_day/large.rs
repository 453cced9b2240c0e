//! Large numbers of segments, collections and signals, and names of the maximum length.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidaldb::fs::RealFiles;
use tidaldb::limits::{NAME_BYTES_MAX, SIGNALS_MAX};
use tidaldb::testing::faults::{FileOperation, ForwardingFiles};
use tidaldb::{Durability, EntityId, Options, Schema, Signal, SignalEvent, SignalId, TidalDb};

use crate::setup::{NOW_MS, options, record, state_after};
use crate::temp_dir::TempDir;

/// Options on the real file system without syncs, for large tests that do not test a power loss.
fn unsynced_options() -> Options {
    let files = ForwardingFiles::new(Arc::new(RealFiles), |call| match call.operation {
        FileOperation::Sync | FileOperation::SyncDir => call.skip(),
        _ => call.forward(),
    });
    options()
        .durability(Durability::OperatingSystem)
        .files(Arc::new(files))
}

#[test]
fn the_number_of_small_segments_is_bounded_and_a_checkpoint_trims_them() {
    const EVENTS: u64 = 20_000;
    // A checkpoint is due at 64 full segments. At four times this number writers wait for it.
    const SEGMENTS_MAX: u64 = 4 * 64 + 2;
    let dir = TempDir::new("large");
    let options = unsynced_options().segment_bytes_max(512);
    let db = TidalDb::open(dir.path(), options.clone()).unwrap();
    let log = dir.path().join("log");
    let segments = || std::fs::read_dir(&log).unwrap().count();
    for number in 0..EVENTS {
        record(&db, number).unwrap();
        let segments_len = db.statistics().unwrap().log_segments_len;
        assert!(segments_len <= SEGMENTS_MAX, "{segments_len} segments");
    }
    drop(db);
    let db = TidalDb::open(dir.path(), options.clone()).unwrap();
    let report = db.recovery_report();
    assert!(report.segments_found as u64 <= SEGMENTS_MAX, "{report:?}");
    let expected = state_after(EVENTS);
    assert_eq!(db.export().unwrap(), expected);
    record(&db, EVENTS).unwrap();
    db.checkpoint().unwrap();
    assert!(segments() <= 2, "{} are left", segments());
    drop(db);
    let db = TidalDb::open(dir.path(), options).unwrap();
    assert_eq!(db.recovery_report().events_replayed, 0);
    assert_eq!(db.export().unwrap(), state_after(EVENTS + 1));
}

/// A name of every legal length, each a prefix of the longer ones, and many names of the maximum length. None is valid
/// UTF-8.
fn names() -> Vec<Vec<u8>> {
    let prefixes = (1..=NAME_BYTES_MAX).map(|len| vec![0xff; len]);
    let longest = (0..NAME_BYTES_MAX).map(|at| {
        let mut name = vec![0xff; NAME_BYTES_MAX];
        name[at] = 0;
        name
    });
    prefixes.chain(longest).collect()
}

#[test]
fn collections_with_names_of_every_legal_length_stay_separate() {
    let dir = TempDir::new("large");
    let options = unsynced_options().store_segment_bytes_max(16 << 10);
    let db = TidalDb::open(dir.path(), options.clone()).unwrap();
    let mut expected: BTreeMap<Vec<u8>, Vec<EntityId>> = BTreeMap::new();
    for (number, name) in (0..).zip(names()) {
        db.create_collection(&name).unwrap();
        let members = [0, number, u64::MAX - number, u64::MAX].map(EntityId);
        for member in members {
            db.add_to_collection(&name, member).unwrap();
        }
        let mut members = members.to_vec();
        members.sort();
        members.dedup();
        expected.insert(name, members);
    }
    // A third of the collections lose one member, another third are deleted.
    for (number, name) in names().into_iter().enumerate() {
        match number % 3 {
            0 => {
                assert!(db.remove_from_collection(&name, EntityId(u64::MAX)).unwrap());
                expected
                    .get_mut(&name)
                    .unwrap()
                    .retain(|member| member.0 != u64::MAX);
            }
            1 => {
                db.delete_collection(&name).unwrap();
                expected.remove(&name);
            }
            _ => {}
        }
    }
    let found = |db: &TidalDb| -> BTreeMap<Vec<u8>, Vec<EntityId>> {
        let collections = db.export().unwrap().collections;
        collections.into_iter().map(|it| (it.name, it.members)).collect()
    };
    assert_eq!(found(&db), expected);
    drop(db);
    let db = TidalDb::open(dir.path(), options).unwrap();
    assert_eq!(found(&db), expected);
}

#[test]
fn a_schema_with_the_maximum_number_of_signals_and_the_longest_names_survives_a_reopening() {
    let name = |number: usize| {
        let mut name = vec![b'n'; NAME_BYTES_MAX];
        name[NAME_BYTES_MAX - 8..].copy_from_slice(format!("{number:08}").as_bytes());
        name
    };
    let schema = |len: usize| {
        (0..len).fold(Schema::new(), |schema, number| {
            schema.signal(Signal::new(name(number)).half_life_ms(1000))
        })
    };
    let options = |len: usize| Options::new(schema(len)).durability(Durability::OperatingSystem);
    let dir = TempDir::new("large");
    let db = TidalDb::open(dir.path(), options(SIGNALS_MAX - 1)).unwrap();
    assert_eq!(
        db.signal(name(1000)).unwrap(),
        SignalId(1000),
        "found by its whole name"
    );
    assert!(db.signal(&name(1000)[..254]).is_err());
    drop(db);
    // The next open appends one more signal to the schema: now it has the maximum number.
    let db = TidalDb::open(dir.path(), options(SIGNALS_MAX)).unwrap();
    let ids = [0, 1, 511, SIGNALS_MAX - 1].map(|number| SignalId(number as u16));
    for (entity, signal) in (0..).zip(ids) {
        db.record(&SignalEvent::new(signal, EntityId(entity), NOW_MS))
            .unwrap();
    }
    let before = db.export().unwrap();
    assert_eq!(before.signals.len(), ids.len());
    db.checkpoint().unwrap();
    drop(db);
    let db = TidalDb::open(dir.path(), options(SIGNALS_MAX)).unwrap();
    assert_eq!(db.export().unwrap(), before);
    drop(db);
    assert!(TidalDb::open(dir.path(), options(SIGNALS_MAX + 1)).is_err());
}
