//! A disk that is full for a while: what was acknowledged stays, the call that met it says where, and with room again
//! the database opens.
//!
//! To the child the disk is full where its files may grow no more; that limit is set and lifted from outside.

use std::path::{Path, PathBuf};

use tidaldb::testing::lab::process::FileSizeLimit;
use tidaldb::{EntityId, TidalDb};

use crate::child::{DatabaseChild, serve_if_asked, warn};
use crate::setup::{assert_holds, assert_says, options};
use crate::temp_dir::TempDir;

/// Where the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Append,
    Rotation,
    CheckpointBatch,
    CheckpointMarker,
    Collection,
}

impl At {
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
    if let Err(why) = &possible {
        warn(&format!("no disk is filled: {why}"));
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

/// Brings a new database to the moment before the call that will find the disk full. Gives how many events it has.
fn prepare(child: &mut DatabaseChild, dir: &Path, at: At) -> u64 {
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
        At::Rotation => {
            // The next event of about the same length as these needs a new segment.
            while len(&last_file(&log)) + frame_bytes <= 2048 {
                record(child);
            }
        }
        At::CheckpointMarker => {
            // The log's last file has to be the longer one by far, for only it to be at the limit, and to have room for the
            // next event.
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
        At::Append => {
            // A segment with room for one more.
            while len(&last_file(&log)) > 1024 {
                record(child);
            }
        }
        At::CheckpointBatch => {}
        At::Collection => drop(child.call("collect 1").unwrap()),
    }
    events
}

/// Sets the limit, makes the call that meets it, and gives what it said and in which directory the file is.
fn meet(child: &mut DatabaseChild, dir: &Path, at: At, events: u64) -> (FileSizeLimit, String) {
    let (log, store) = (dir.join("log"), dir.join("store"));
    let (bytes, call) = match at {
        At::Append => (len(&last_file(&log)) + 50, format!("record {events}")),
        At::Rotation => (20, format!("record {events}")),
        At::CheckpointBatch => (len(&last_file(&store)) + 60, "checkpoint".to_owned()),
        At::CheckpointMarker => (len(&last_file(&log)) + 20, "checkpoint".to_owned()),
        At::Collection => (len(&last_file(&store)) + 20, "collect 7".to_owned()),
    };
    let limit = FileSizeLimit::set(child.process(), bytes).unwrap();
    let said = child.call(&call).expect_err("there is no room");
    (limit, said)
}

fn comes_and_goes(at: At) {
    let dir = TempDir::new("disk-full");
    let dir = dir.path();
    let mut child = DatabaseChild::start();
    let events = prepare(&mut child, dir, at);
    let before = child.call("count").unwrap();
    let (limit, said) = meet(&mut child, dir, at, events);
    let (place, operation) = match at {
        At::Append | At::CheckpointMarker => ("log", "append to segment"),
        At::Rotation => ("log", "write segment header"),
        At::CheckpointBatch | At::Collection => ("store", "write"),
    };
    let place = dir.join(place).display().to_string();
    assert_says(&said, &[&place, operation, "File too large"]);
    // Full, and with room again: the first cause stays, nothing is tried again, and reads go on.
    let cause = said.rsplit_once(": cannot ").unwrap().1.to_owned();
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
    let found = assert_holds(dir, events, &format!("{at:?}"));

    // It goes on, also over the next full disk.
    let mut child = DatabaseChild::start();
    child.open(dir).unwrap();
    for i in found..found + 10 {
        child.record(i).unwrap();
    }
    let limit = FileSizeLimit::set(child.process(), len(&last_file(&dir.join("log"))) + 50).unwrap();
    child.record(found + 10).expect_err("there is no room again");
    limit.lift(child.process()).unwrap();
    child.open(dir).unwrap();
    child.call("checkpoint").unwrap();
    child.call("close").unwrap();
    child.kill();
    assert_holds(dir, found + 10, &format!("{at:?}, twice"));
    if at == At::Collection {
        let db = TidalDb::open(dir, options()).unwrap();
        assert!(db.collection_contains("saved", EntityId(1)).unwrap());
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_nothing_acknowledged() {
    serve_if_asked();
    if is_possible() {
        for &at in At::ALL {
            comes_and_goes(at);
        }
    }
}

#[test]
fn a_disk_that_is_full_at_opening_is_an_error_with_the_path_and_with_room_it_opens() {
    serve_if_asked();
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
        // A new child: what is open keeps its files.
        let mut refused = 0;
        for bytes in [0, 1, 20, 100, 1000] {
            let mut child = DatabaseChild::start();
            let limit = FileSizeLimit::set(child.process(), bytes).unwrap();
            if let Err(said) = child.open(dir.path()) {
                refused += 1;
                assert_says(&said, &[&dir.path().display().to_string(), "File too large"]);
            }
            limit.lift(child.process()).unwrap();
            child.open(dir.path()).unwrap();
            child.kill();
            assert_holds(dir.path(), events, &format!("{events} events, {bytes} bytes"));
        }
        assert!(refused >= 2, "{events} events: only {refused} openings failed");
    }
}
