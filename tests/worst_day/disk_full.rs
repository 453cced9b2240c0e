//! A disk that is full for some time: acknowledged events stay, the error of the failed call names the place, and the
//! database opens again when the disk has space.
//!
//! The parent sets and lifts a limit on the size of the child's files. Beyond the limit the child's writes fail as on a
//! full disk.

use std::path::{Path, PathBuf};

use tidaldb::testing::lab::process::FileSizeLimit;
use tidaldb::{EntityId, TidalDb};

use crate::child::{DatabaseChild, run_if_child, warn};
use crate::setup::{assert_contains, assert_recovers, options};
use crate::temp_dir::TempDir;

/// The write that finds the disk full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FullAt {
    Append,
    Rotation,
    CheckpointBatch,
    CheckpointMarker,
    Collection,
}

impl FullAt {
    const ALL: &[Self] = &[
        Self::Append,
        Self::Rotation,
        Self::CheckpointBatch,
        Self::CheckpointMarker,
        Self::Collection,
    ];
}

fn is_possible() -> bool {
    let possible = FileSizeLimit::check_available();
    if let Err(cause) = &possible {
        warn(&format!("full disks are not tested: {cause}"));
    }
    possible.is_ok()
}

/// The last file of `dir`, by name.
fn last_file(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).max().unwrap()
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Records events in a new database until the next call is the one that will find the disk full. Returns the number of
/// events.
fn prepare(child: &mut DatabaseChild, dir: &Path, at: FullAt) -> u64 {
    child.open(dir).unwrap();
    let log = dir.join("log");
    let frame_bytes = 128;
    let mut events = 0;
    let mut record = |child: &mut DatabaseChild| {
        child.record(events).unwrap();
        events += 1;
        events
    };
    while record(child) < 20 {}
    match at {
        FullAt::Rotation => {
            // The next event, of about the same length, needs a new segment.
            while len(&last_file(&log)) + frame_bytes <= 2048 {
                record(child);
            }
        }
        FullAt::CheckpointMarker => {
            // The last file of the log must be much longer than the last file of the store, so that only the log
            // reaches the limit. It must also have space for the next event.
            let store = dir.join("store");
            loop {
                record(child);
                child.call("checkpoint").unwrap();
                let log_len = len(&last_file(&log));
                if log_len > len(&last_file(&store)) + 1000 && log_len + frame_bytes <= 2048 {
                    break;
                }
            }
            record(child);
        }
        FullAt::Append => {
            // The segment must have space for one more event.
            while len(&last_file(&log)) > 1024 {
                record(child);
            }
        }
        FullAt::CheckpointBatch => {}
        FullAt::Collection => drop(child.call("collect 1").unwrap()),
    }
    events
}

/// Sets the limit and makes the call that fails because of it. Returns the limit and the message of the error.
fn fill_disk(child: &mut DatabaseChild, dir: &Path, at: FullAt, events: u64) -> (FileSizeLimit, String) {
    let (log, store) = (dir.join("log"), dir.join("store"));
    let (bytes, call) = match at {
        FullAt::Append => (len(&last_file(&log)) + 50, format!("record {events}")),
        FullAt::Rotation => (20, format!("record {events}")),
        FullAt::CheckpointBatch => (len(&last_file(&store)) + 60, "checkpoint".to_owned()),
        FullAt::CheckpointMarker => (len(&last_file(&log)) + 20, "checkpoint".to_owned()),
        FullAt::Collection => (len(&last_file(&store)) + 20, "collect 7".to_owned()),
    };
    let limit = FileSizeLimit::set(child.process(), bytes).unwrap();
    let message = child.call(&call).expect_err("the disk is full");
    (limit, message)
}

/// Fills the disk at a write, checks the failed handle, lifts the limit and checks the recovered database.
fn fill_disk_and_recover(at: FullAt) {
    let dir = TempDir::new("disk-full");
    let dir = dir.path();
    let mut child = DatabaseChild::start();
    let events = prepare(&mut child, dir, at);
    let before = child.call("count").unwrap();
    let (limit, message) = fill_disk(&mut child, dir, at, events);
    let (place, operation) = match at {
        FullAt::Append | FullAt::CheckpointMarker => ("log", "append to segment"),
        FullAt::Rotation => ("log", "write segment header"),
        FullAt::CheckpointBatch | FullAt::Collection => ("store", "write"),
    };
    let place = dir.join(place).display().to_string();
    assert_contains(&message, &[&place, operation, "File too large"]);
    // While the disk is full and after that: every write fails with the first cause, and reads continue.
    let cause = message.rsplit_once(": cannot ").unwrap().1.to_owned();
    let mut limit = Some(limit);
    for _ in 0..2 {
        for call in [
            &format!("record {events}") as &str,
            "checkpoint",
            "sync",
            "collect 8",
        ] {
            let again = child.call(call).expect_err("the handle is poisoned");
            assert!(again.ends_with(&cause), "{at:?}, {call}: {again}");
        }
        let after = child.call("count");
        assert_eq!(after.as_ref(), Ok(&before), "{at:?}");
        if let Some(limit) = limit.take() {
            limit.lift(child.process()).unwrap();
        }
    }
    child.kill();
    let recovered = assert_recovers(dir, events, &format!("{at:?}"));

    // The recovered database works, and survives the next full disk.
    let mut child = DatabaseChild::start();
    child.open(dir).unwrap();
    for i in recovered..recovered + 10 {
        child.record(i).unwrap();
    }
    let limit = FileSizeLimit::set(child.process(), len(&last_file(&dir.join("log"))) + 50).unwrap();
    child.record(recovered + 10).expect_err("the disk is full again");
    limit.lift(child.process()).unwrap();
    child.open(dir).unwrap();
    child.call("checkpoint").unwrap();
    child.call("close").unwrap();
    child.kill();
    assert_recovers(dir, recovered + 10, &format!("{at:?}, twice"));
    if at == FullAt::Collection {
        let db = TidalDb::open(dir, options()).unwrap();
        assert!(db.collection_contains("saved", EntityId(1)).unwrap());
    }
}

#[test]
fn no_acknowledged_event_is_lost_when_the_disk_is_full_for_some_time() {
    run_if_child();
    if is_possible() {
        for &at in FullAt::ALL {
            fill_disk_and_recover(at);
        }
    }
}

#[test]
fn an_open_on_a_full_disk_is_an_error_with_the_path_and_succeeds_when_there_is_space() {
    run_if_child();
    if !is_possible() {
        return;
    }
    for (events, checkpoint) in [(0, false), (30, false), (30, true)] {
        let dir = TempDir::new("disk-full");
        let mut child = DatabaseChild::start();
        if events > 0 {
            child.open(dir.path()).unwrap();
            for i in 0..events {
                child.record(i).unwrap();
            }
            if checkpoint {
                child.call("checkpoint").unwrap();
            }
        }
        child.kill();
        // Each limit gets a new child, because the limit does not change files that are already open.
        let mut refused = 0;
        for bytes in [0, 1, 20, 100, 1000] {
            let mut child = DatabaseChild::start();
            let limit = FileSizeLimit::set(child.process(), bytes).unwrap();
            if let Err(message) = child.open(dir.path()) {
                refused += 1;
                assert_contains(&message, &[&dir.path().display().to_string(), "File too large"]);
            }
            limit.lift(child.process()).unwrap();
            child.open(dir.path()).unwrap();
            child.kill();
            assert_recovers(dir.path(), events, &format!("{events} events, {bytes} bytes"));
        }
        assert!(refused >= 2, "{events} events: only {refused} openings failed");
    }
}
