//! Common parts of the tests: a small database, events that differ, and the state after a number of events.

use std::path::{Path, PathBuf};

use tidaldb::{
    Background, CohortId, Durability, EntityId, Error, Export, Options, Receipt, Schema, Signal, SignalEvent,
    SignalId, TidalDb, UserId,
};

use crate::temp_dir::TempDir;
use crate::text::error_chain;

pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

pub(crate) fn schema() -> Schema {
    Schema::new()
        .signal(
            Signal::new("view")
                .half_life_ms(3_600_000)
                .half_life_ms(86_400_000),
        )
        .signal(Signal::new("like").half_life_ms(3_600_000).positive())
}

/// Options with small files, background work by the caller, no automatic checkpoint, and no preallocation.
pub(crate) fn options() -> Options {
    Options::new(schema())
        .background(Background::Caller)
        .segment_bytes_max(2048)
        .preallocate_bytes(0)
        .store_segment_bytes_max(4096)
        .checkpoint_log_bytes(1 << 30)
}

/// Records event number `i`, of a user and two cohorts. All events differ.
pub(crate) fn record(db: &TidalDb, i: u64) -> Result<Receipt, Error> {
    let cohorts = [CohortId(i % 3), CohortId(7)];
    let event = SignalEvent::new(
        SignalId((i % 2) as u16),
        EntityId(i % 5),
        NOW_MS - i as i64 * 1000,
    )
    .with_weight(1.0 + i as f64 / 64.0)
    .with_user(UserId(i % 2))
    .with_cohorts(&cohorts);
    db.record(&event)
}

/// Opens the database and records these events.
pub(crate) fn open_and_record(dir: &Path, options: Options, events: std::ops::Range<u64>) -> TidalDb {
    let db = TidalDb::open(dir, options).unwrap();
    for i in events {
        record(&db, i).unwrap();
    }
    db
}

/// The state after the first `len` events, from a separate database.
pub(crate) fn state_after(len: u64) -> Export {
    let dir = TempDir::new("expected");
    let options = options()
        .durability(Durability::OperatingSystem)
        .segment_bytes_max(1 << 20);
    open_and_record(dir.path(), options, 0..len).export().unwrap()
}

/// Fails unless `text` contains each of `parts`.
pub(crate) fn assert_contains(text: &str, parts: &[&str]) {
    let missing = parts.iter().find(|part| !text.contains(**part));
    assert_eq!(missing, None, "{text}");
}

/// Opens the database and compares its state with the first `acknowledged` events, or with one more: the event in
/// flight. Ignores collections. Returns the number of recovered events. `context` begins the message of a failure.
pub(crate) fn assert_recovers(dir: &Path, acknowledged: u64, context: &str) -> u64 {
    let db = TidalDb::open(dir, options()).unwrap_or_else(|error| panic!("{context}: {}", causes(&error)));
    let mut recovered = db.export().unwrap();
    recovered.collections.clear();
    let len = (acknowledged..=acknowledged + 1).find(|len| state_after(*len) == recovered);
    len.unwrap_or_else(|| {
        panic!("{context}: the state is neither that of {acknowledged} events nor of one more: {recovered:?}")
    })
}

/// An error with its causes, in one line.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    error_chain(error).replace('\n', " ")
}

/// The name and content of every file below `dir`, and the names of directories.
pub(crate) fn content(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    collect(dir, &mut all);
    all.sort();
    all
}

fn collect(dir: &Path, all: &mut Vec<(PathBuf, Option<Vec<u8>>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, all);
            all.push((path, None));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            all.push((path, Some(bytes)));
        }
    }
}
