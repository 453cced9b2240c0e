//! Opening, recording, closing and reopening on a real disk.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at files from outside, and panic"
)]

#[path = "../src/testing/temp_dir.rs"]
mod temp_dir;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use temp_dir::TempDir;
use tidaldb::{
    Background, Clock, CohortId, Durability, EntityId, Error, Options, Schema, Signal, SignalEvent, SignalId,
    TidalDb, UserId,
};

const NOW_MS: i64 = 1_700_000_000_000;

fn schema() -> Schema {
    Schema::new()
        .signal(
            Signal::new("view")
                .half_life_ms(3_600_000)
                .half_life_ms(86_400_000),
        )
        .signal(Signal::new("like").half_life_ms(3_600_000).positive())
}

fn options() -> Options {
    Options::new(schema())
        .segment_bytes_max(2048)
        .preallocate_bytes(512)
        .store_segment_bytes_max(2048)
        .background(Background::Caller)
}

fn record_some(db: &TidalDb, from: u64, to: u64) {
    for i in from..to {
        let cohorts = [CohortId(i % 3), CohortId(7)];
        let event = SignalEvent::new(
            SignalId((i % 2) as u16),
            EntityId(i % 5),
            NOW_MS + i as i64 * 1000,
        )
        .with_user(UserId(i % 2))
        .with_cohorts(&cohorts);
        db.record(&event).unwrap();
    }
}

#[test]
fn a_dropped_database_reopens_with_the_same_state_whatever_the_policy() {
    let policies = [
        Durability::EverySynced,
        Durability::SyncedEvery { interval_ms: 5 },
        Durability::OperatingSystem,
    ];
    for (durability, background) in policies
        .into_iter()
        .flat_map(|policy| [(policy, Background::Caller), (policy, Background::OwnThreads)])
    {
        let dir = TempDir::new("lifecycle");
        let options = options()
            .durability(durability)
            .background(background)
            .checkpoint_log_bytes(4000);
        let db = TidalDb::open(dir.path(), options.clone()).unwrap();
        assert!(db.recovery_report().created);
        db.create_collection("saved").unwrap();
        db.add_to_collection("saved", EntityId(9)).unwrap();
        record_some(&db, 0, 100);
        let before = db.export().unwrap();
        let last = db.last_sequence();
        drop(db);
        let db = TidalDb::open(dir.path(), options.clone()).unwrap();
        assert_eq!(db.export().unwrap(), before, "{durability:?} {background:?}");
        assert!(!db.recovery_report().created);
        // The database's own thread may have added the marker of a checkpoint meanwhile.
        let markers = u64::from(background == Background::OwnThreads);
        assert!((last..=last + markers).contains(&db.last_sequence()));
        record_some(&db, 100, 150);
        let before = db.export().unwrap();
        db.close().unwrap();
        assert!(matches!(db.close(), Err(Error::Closed)));
        drop(db);
        let db = TidalDb::open(dir.path(), options).unwrap();
        assert_eq!(db.recovery_report().events_replayed, 0);
        assert_eq!(db.export().unwrap(), before, "{durability:?} {background:?}");
    }
}

/// A clock that goes on by a millisecond at each look: timed syncs come at the same calls in every run.
#[derive(Debug, Default)]
struct Looks(AtomicI64);

impl Clock for Looks {
    fn now_ms(&self) -> i64 {
        NOW_MS + self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[test]
fn two_runs_by_the_caller_write_the_same_bytes_under_every_policy() {
    let run = |durability| {
        let dir = TempDir::new("bytes");
        let options = options()
            .database_id(7)
            .predictable_opening_ids(1)
            .checkpoint_log_bytes(3000)
            .durability(durability)
            .clock(Arc::new(Looks::default()));
        let db = TidalDb::open(dir.path(), options.clone()).unwrap();
        record_some(&db, 0, 120);
        db.checkpoint().unwrap();
        record_some(&db, 120, 140);
        drop(db);
        drop(TidalDb::open(dir.path(), options).unwrap());
        let mut files = Vec::new();
        for sub in ["log", "store"] {
            for entry in std::fs::read_dir(dir.path().join(sub)).unwrap() {
                let path = entry.unwrap().path();
                files.push((
                    path.file_name().unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                ));
            }
        }
        files.sort();
        files
    };
    for durability in [
        Durability::EverySynced,
        Durability::SyncedEvery { interval_ms: 5 },
        Durability::OperatingSystem,
    ] {
        let first = run(durability);
        assert!(first.len() > 3, "several files are compared");
        assert!(first == run(durability), "two runs under {durability:?} differ");
    }
}

#[test]
fn a_segment_of_an_absurd_length_is_refused_and_not_read() {
    let dir = TempDir::new("absurd");
    let db = TidalDb::open(dir.path(), options()).unwrap();
    record_some(&db, 0, 3);
    drop(db);
    let segment = dir.path().join("log/00000000000000000001.wal");
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    // Sparse: it takes no space, but would take as much memory.
    file.set_len(1 << 40).unwrap();
    let error = TidalDb::open(dir.path(), options()).unwrap_err();
    let Error::Corrupt { path, what, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((path, *what), (&segment, "the segment is longer than any can be"));
}

#[test]
fn a_mistyped_path_makes_nothing_when_the_database_must_exist() {
    let dir = TempDir::new("lifecycle-missing");
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let open = |name: &str| TidalDb::open(dir.path().join(name), options().create(false));
    let made = TidalDb::open(dir.path().join("prod"), options()).unwrap();
    record_some(&made, 0, 10);
    let before = made.export().unwrap();
    drop(made);
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    for name in ["prdo", "empty"] {
        let error = open(name).map(drop).unwrap_err();
        let path = dir.path().join(name);
        assert!(
            matches!(&error, Error::DatabaseMissing { path: found } if *found == path),
            "{error}"
        );
    }
    assert_eq!(names(), ["empty", "prod"]);
    assert_eq!(std::fs::read_dir(dir.path().join("empty")).unwrap().count(), 0);
    assert_eq!(open("prod").unwrap().export().unwrap(), before);
}
