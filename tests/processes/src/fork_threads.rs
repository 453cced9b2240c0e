//! A forked child of a parent whose other threads call a database at the time of the fork: locks that they held stay locked in
//! the child, and it must not wait for them.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidaldb::{Error, TidalDb};

use crate::processes::ForkedChild;
use crate::runner::cases;
use crate::setup::{Acknowledged, assert_locked, error_chain, event, must, open, options, per_background};
use crate::sys;

cases!("fork_threads":
    a_child_that_drops_its_copy_never_waits_for_a_thread_that_records_and_syncs,
    a_child_opens_a_database_while_another_thread_opens_and_drops_one,
);

/// Ends the loops of the other threads, also after a panic.
struct StopAtDrop<'a>(&'a AtomicBool);

impl Drop for StopAtDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Records entities from `first` on and syncs often after each, until it is stopped. Returns the acknowledged ones. A sync
/// without anything to sync holds the lock of the handle's owner for most of its time.
fn record_and_sync(db: &TidalDb, first: u64, stopped: &AtomicBool) -> Range<u64> {
    const SYNCS: u32 = 50;
    let mut entities = first..first;
    while !stopped.load(Ordering::Relaxed) {
        let recorded = db.record(&event(entities.end));
        let worked = recorded.and_then(|_| (0..SYNCS).try_for_each(|_| db.sync()));
        must(worked);
        entities.end += 1;
    }
    entities
}

fn a_child_that_drops_its_copy_never_waits_for_a_thread_that_records_and_syncs(root: &Path) {
    const FORKS: u32 = 50;
    for (background, path) in per_background(root) {
        let db = open(&path, options().background(background));
        let mut acknowledged = Acknowledged::default();
        let stopped = AtomicBool::new(false);
        thread::scope(|scope| {
            let stop = StopAtDrop(&stopped);
            let start = |first| {
                scope.spawn({
                    let (db, stopped) = (&db, &stopped);
                    move || record_and_sync(db, first, stopped)
                })
            };
            let threads = [0, 1_000_000].map(start);
            for _ in 0..FORKS {
                ForkedChild::start(|_| sys::drop_copy_and_exit(&db)).end();
            }
            drop(stop);
            for thread in threads {
                let entities = thread.join().expect("a thread that records");
                assert!(!entities.is_empty());
                acknowledged.events.extend(entities);
            }
        });
        assert_locked(&path);
        acknowledged.assert_in(&db);
        drop(db);
        acknowledged.assert_at(&path);
    }
}

/// Opens and drops a database until it is stopped. A child holds a copy of the lock until it ends, so an open may be refused.
fn open_and_drop(path: &Path, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        match TidalDb::open(path, options()) {
            Ok(_) | Err(Error::Locked { .. }) => {}
            Err(error) => panic!("{}", error_chain(&error)),
        }
    }
}

/// An open and a drop take 2 seconds each in a child if the other thread was locking or unlocking a directory at the fork. The
/// first such child is the last one.
fn a_child_opens_a_database_while_another_thread_opens_and_drops_one(root: &Path) {
    const FORKS_MAX: u64 = 300;
    const WAITED: Duration = Duration::from_secs(2);
    let (other, path) = (root.join("other"), root.join("db"));
    let mut acknowledged = Acknowledged::default();
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopAtDrop(&stopped);
        scope.spawn(|| open_and_drop(&other, &stopped));
        for entity in 0..FORKS_MAX {
            let begun = Instant::now();
            // It sends no line: reading one would have no time limit.
            let child = ForkedChild::start(|_| {
                let db = open(&path, options());
                let recorded = db.record(&event(entity)).and_then(|_| db.close());
                must(recorded);
            });
            child.end();
            acknowledged.events.insert(entity);
            if begun.elapsed() >= WAITED {
                break;
            }
        }
    });
    acknowledged.assert_at(&path);
}
