//! Cases with a forked child that has a copy of its parent's handle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::thread::park_timeout;
use std::time::Duration;

use tidaldb::storage::{MemoryStore, Scan, StorageEngine, WriteBatch};
use tidaldb::{Clock, Durability, EntityId, Error, SystemClock, TidalDb, UserId};

use crate::processes::{ForkedChild, in_a_child};
use crate::runner::cases;
use crate::setup::{
    Acknowledged, POLICIES, SAVED, VIEW, assert_locked, assert_unchanged, error_chain, event, is_forked,
    must, open, open_and_work, options, per_background, tree,
};

cases!("fork":
    a_child_that_drops_its_copy_changes_nothing_for_the_parent,
    a_child_that_closes_its_copy_is_refused_and_changes_nothing_for_the_parent,
    a_child_that_drops_its_copy_runs_no_destructor_of_the_storage_engine,
    a_child_that_exits_changes_nothing_for_the_parent,
    a_grandchild_that_drops_its_copy_changes_nothing_for_the_parent,
    every_write_of_a_child_is_refused_when_every_event_is_synced,
    every_write_of_a_child_is_refused_when_events_are_synced_at_an_interval,
    every_write_of_a_child_is_refused_when_syncs_are_left_to_the_operating_system,
    a_child_reads_the_state_that_the_parent_had_at_the_fork,
    a_child_cannot_open_the_database_while_the_parent_has_it_open,
);

/// Runs `end` with the copy of the handle in a child, then checks the files, the lock and further calls of the parent.
fn assert_no_change_for_the_parent(root: &Path, end: impl Fn(TidalDb, &Path, u32) -> Result<(), String>) {
    for (background, path) in per_background(root) {
        let mut acknowledged = Acknowledged::default();
        // The child takes its copy of the handle by value. The parent still has the handle.
        let mut db = Some(open(&path, options().background(background)));
        acknowledged.must_work(db.as_ref().unwrap(), 0..5);
        let before = tree(&path);
        let opened_by = process::id();
        let ended = in_a_child(|| [end(db.take().unwrap(), &path, opened_by)]);
        assert_eq!(ended, [Ok(())], "{background:?}");
        assert_unchanged(&before, &path);
        assert_locked(&path);
        let db = db.take().unwrap();
        acknowledged.must_work(&db, 100..140);
        assert_locked(&path);
        acknowledged.assert_closed(db, &path);
    }
}

/// Returns `Ok` in a child if the call was refused because of the fork.
pub(crate) fn expect_refusal<T>(result: Result<T, Error>, path: &Path, opened_by: u32) -> Result<(), String> {
    match result {
        Err(error) if is_forked(&error, path, opened_by) => Ok(()),
        Err(error) => Err(error_chain(&error)),
        Ok(_) => Err("the call succeeds".to_owned()),
    }
}

fn a_child_that_drops_its_copy_changes_nothing_for_the_parent(root: &Path) {
    assert_no_change_for_the_parent(root, |db, _, _| {
        drop(db);
        Ok(())
    });
}

fn a_child_that_closes_its_copy_is_refused_and_changes_nothing_for_the_parent(root: &Path) {
    assert_no_change_for_the_parent(root, |db, path, opened_by| {
        expect_refusal(db.close(), path, opened_by)
    });
}

/// A storage engine whose destructor writes a file.
struct WritesAtDrop {
    engine: MemoryStore,
    file: PathBuf,
}

impl Drop for WritesAtDrop {
    fn drop(&mut self) {
        fs::write(&self.file, process::id().to_string()).expect("the file of the destructor");
    }
}

impl StorageEngine for WritesAtDrop {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.engine.get(key)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.engine.put(key, value)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.engine.delete(key)
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        self.engine.scan_prefix(prefix)
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        self.engine.write_batch(batch)
    }

    fn flush(&self) -> Result<(), Error> {
        self.engine.flush()
    }
}

fn a_child_that_drops_its_copy_runs_no_destructor_of_the_storage_engine(root: &Path) {
    for (background, path) in per_background(root) {
        let file = path.with_extension("dropped");
        let engine = WritesAtDrop {
            engine: MemoryStore::new(),
            file: file.clone(),
        };
        // Only the handle owns the engine.
        let db = TidalDb::open_with_storage(&path, options().background(background), Arc::new(engine));
        let mut db = Some(must(db));
        ForkedChild::start(|_| drop(db.take())).end();
        assert!(!file.exists(), "{background:?}: the child ran the destructor");
        drop(db);
        assert_eq!(fs::read_to_string(&file).unwrap(), process::id().to_string());
    }
}

fn a_child_that_exits_changes_nothing_for_the_parent(root: &Path) {
    assert_no_change_for_the_parent(root, |db, _, _| {
        // The child ends with `_exit`: no destructor runs.
        std::mem::forget(db);
        Ok(())
    });
}

fn a_grandchild_that_drops_its_copy_changes_nothing_for_the_parent(root: &Path) {
    assert_no_change_for_the_parent(root, |db, path, opened_by| {
        let mut db = Some(db);
        let [refused] = in_a_child(|| {
            let db = db.take().unwrap();
            [expect_refusal(db.sync(), path, opened_by)]
        });
        std::mem::forget(db);
        refused
    });
}

type WriteCall = fn(&TidalDb) -> Result<(), Error>;

/// Every call that writes. Expects that the collection has the member 0.
const WRITES: &[(&str, WriteCall)] = &[
    ("record", |db| db.record(&event(900)).map(drop)),
    ("record_batch", |db| {
        db.record_batch(&[event(901), event(902)]).map(drop)
    }),
    ("forget_entity", |db| db.forget_entity(EntityId(1)).map(drop)),
    ("forget_user", |db| db.forget_user(UserId(1)).map(drop)),
    ("sync", TidalDb::sync),
    ("checkpoint", |db| db.checkpoint().map(drop)),
    ("create_collection", |db| db.create_collection("new")),
    ("delete_collection", |db| db.delete_collection(SAVED)),
    ("add_to_collection", |db| {
        db.add_to_collection(SAVED, EntityId(903)).map(drop)
    }),
    ("remove_from_collection", |db| {
        db.remove_from_collection(SAVED, EntityId(0)).map(drop)
    }),
    ("close", TidalDb::close),
];

/// Waits until the time of the clock changes, in milliseconds.
pub(crate) fn wait_for_next_ms() {
    let now_ms = SystemClock.now_ms();
    while SystemClock.now_ms() == now_ms {
        park_timeout(Duration::from_micros(100));
    }
}

fn every_write_of_a_child_is_refused_when_every_event_is_synced(root: &Path) {
    every_write_is_refused(root, POLICIES[0]);
}

fn every_write_of_a_child_is_refused_when_events_are_synced_at_an_interval(root: &Path) {
    every_write_is_refused(root, POLICIES[1]);
}

fn every_write_of_a_child_is_refused_when_syncs_are_left_to_the_operating_system(root: &Path) {
    every_write_is_refused(root, POLICIES[2]);
}

/// Makes each call in a separate child, so that it is the first call of this child. The parent works after each child.
fn every_write_is_refused(root: &Path, policy: Durability) {
    for (background, path) in per_background(root) {
        let (db, mut acknowledged) =
            open_and_work(&path, options().durability(policy).background(background), 0..3);
        let mut wrong = Vec::new();
        for (next, &(name, call)) in (1..).zip(WRITES) {
            let before = tree(&path);
            if let Err(text) = first_call_of_a_child(&db, &path, policy, name, call) {
                wrong.push(format!("{name}: {text}"));
            }
            // If a write was not refused, the files may differ from the state of the parent's handle.
            if wrong.is_empty() {
                assert_unchanged(&before, &path);
                acknowledged.must_work(&db, next * 10..next * 10 + 3);
                acknowledged.assert_in(&db);
            }
        }
        assert!(
            wrong.is_empty(),
            "{background:?}, calls that were not refused:\n{}",
            wrong.join("\n")
        );
        acknowledged.assert_closed(db, &path);
    }
}

/// Makes a call in a new child, and a second call after it. Returns `Ok` if both were refused.
fn first_call_of_a_child(
    db: &TidalDb,
    path: &Path,
    policy: Durability,
    name: &str,
    call: WriteCall,
) -> Result<(), String> {
    let opened_by = process::id();
    // These calls compare the process id at once under every policy. The others do so at their sync or in the next
    // millisecond.
    let compares_at_once =
        policy == Durability::EverySynced || ["sync", "checkpoint", "close"].contains(&name);
    let refused = in_a_child(|| {
        if !compares_at_once {
            wait_for_next_ms();
        }
        let first = call(db);
        let second = if name == "close" { db.close() } else { db.sync() };
        [first, second].map(|result| expect_refusal(result, path, opened_by))
    });
    refused.into_iter().collect()
}

fn a_child_reads_the_state_that_the_parent_had_at_the_fork(root: &Path) {
    for (background, path) in per_background(root) {
        let (db, mut acknowledged) = open_and_work(&path, options().background(background), 0..5);
        let opened_by = process::id();
        let refused = in_a_child(|| {
            let read = || {
                acknowledged.assert_in(&db);
                let score = db.score(EntityId(4), VIEW, 0, 0).unwrap();
                assert_eq!(score.to_bits(), 1_f64.to_bits());
                assert_eq!(db.collection_members(SAVED).unwrap(), [EntityId(0)]);
                assert!(db.last_sequence() > 0 && db.statistics().is_ok());
            };
            read();
            // The reads are correct also after a refused write.
            let refused = expect_refusal(db.sync(), &path, opened_by);
            read();
            [refused]
        });
        assert_eq!(refused, [Ok(())]);
        acknowledged.must_work(&db, 100..110);
        drop(db);
        acknowledged.assert_at(&path);
    }
}

fn a_child_cannot_open_the_database_while_the_parent_has_it_open(root: &Path) {
    let path = root.join("db");
    let (db, mut acknowledged) = open_and_work(&path, options(), 0..5);
    let mut copy = Some(db);
    let refused = in_a_child(|| {
        let expect_locked = || match TidalDb::open(&path, options()) {
            Err(Error::Locked { .. }) => Ok(()),
            Err(error) => Err(error_chain(&error)),
            Ok(_) => Err("the database opens".to_owned()),
        };
        let with_copy = expect_locked();
        drop(copy.take());
        [with_copy, expect_locked()]
    });
    assert_eq!(refused, [Ok(()), Ok(())]);
    let db = copy.unwrap();
    acknowledged.must_work(&db, 100..110);
    drop(db);
    acknowledged.assert_at(&path);
}
