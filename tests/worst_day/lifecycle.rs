//! Tests that open, record in, close and reopen a database.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidaldb::{Background, Clock, Durability, EntityId, Error, Options, TidalDb};

use crate::setup::{NOW_MS, content, open_and_record, record};
use crate::temp_dir::TempDir;

const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 5 },
    Durability::OperatingSystem,
];

fn options() -> Options {
    crate::setup::options()
        .preallocate_bytes(512)
        .store_segment_bytes_max(2048)
        .checkpoint_log_bytes(4000)
}

fn record_some(db: &TidalDb, from: u64, to: u64) {
    for i in from..to {
        record(db, i).unwrap();
    }
}

#[test]
fn a_dropped_database_reopens_with_the_same_state_under_every_policy() {
    for (durability, background) in POLICIES
        .into_iter()
        .flat_map(|policy| [(policy, Background::Caller), (policy, Background::OwnThreads)])
    {
        let dir = TempDir::new("lifecycle");
        let options = options().durability(durability).background(background);
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
        // The background thread of the database may have appended the marker of a checkpoint in the meantime.
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

/// A clock that advances by a millisecond at each reading, so that timed syncs come at the same calls in every run.
#[derive(Debug, Default)]
struct MillisecondClock(AtomicI64);

impl Clock for MillisecondClock {
    fn now_ms(&self) -> i64 {
        NOW_MS + self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[test]
fn two_equal_runs_with_background_work_by_the_caller_write_the_same_bytes() {
    let run = |durability| {
        let dir = TempDir::new("bytes");
        let options = options()
            .database_id(7)
            .predictable_opening_ids(1)
            .checkpoint_log_bytes(3000)
            .durability(durability)
            .clock(Arc::new(MillisecondClock::default()));
        let db = open_and_record(dir.path(), options.clone(), 0..120);
        db.checkpoint().unwrap();
        record_some(&db, 120, 140);
        drop(db);
        drop(TidalDb::open(dir.path(), options).unwrap());
        let files = content(dir.path()).into_iter();
        let files = files.filter_map(|(path, bytes)| Some((path.file_name()?.to_owned(), bytes?)));
        files.collect::<Vec<_>>()
    };
    for durability in POLICIES {
        let first = run(durability);
        assert!(first.len() > 4, "several files are compared");
        assert!(first == run(durability), "two runs under {durability:?} differ");
    }
}

#[test]
fn a_segment_longer_than_the_limit_is_refused_without_reading_it() {
    let dir = TempDir::new("absurd");
    drop(open_and_record(dir.path(), options(), 0..3));
    let segment = dir.path().join("log/00000000000000000001.wal");
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    // The file is sparse: it needs no disk space, but reading it would need a tebibyte of memory.
    file.set_len(1 << 40).unwrap();
    let error = TidalDb::open(dir.path(), options()).unwrap_err();
    let Error::Corrupt { path, what, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (path, *what),
        (&segment, "the segment is longer than the largest legal segment")
    );
}

#[test]
fn an_open_without_create_at_a_wrong_path_is_an_error_and_creates_nothing() {
    let dir = TempDir::new("lifecycle-missing");
    let open = |name: &str| TidalDb::open(dir.path().join(name), options().create(false));
    let made = open_and_record(&dir.path().join("prod"), options(), 0..10);
    let before = made.export().unwrap();
    drop(made);
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let files = content(dir.path());
    for name in ["prdo", "empty"] {
        let error = open(name).map(drop).unwrap_err();
        let path = dir.path().join(name);
        assert!(
            matches!(&error, Error::DatabaseMissing { path: found } if *found == path),
            "{error}"
        );
    }
    assert_eq!(content(dir.path()), files);
    assert_eq!(open("prod").unwrap().export().unwrap(), before);
}
