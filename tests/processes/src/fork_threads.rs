//! Cases with a forked child of a parent whose other threads call a database at the time of the fork. Locks that these
//! threads held stay locked in the child, and the child must not wait for them.

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
    a_child_that_drops_its_copy_does_not_wait_for_threads_of_the_parent_that_record_and_sync,
    a_child_opens_a_database_while_a_thread_of_the_parent_opens_and_drops_another,
);

/// Ends the loops of the other threads, also after a panic.
struct StopAtDrop<'a>(&'a AtomicBool);

impl Drop for StopAtDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Records an event for each entity from `first` on, and syncs many times after each event, until `stopped`. Returns
/// the entities of the acknowledged events. A sync without unsynced events holds the lock of the handle's owner for
/// most of its time.
fn record_and_sync(db: &TidalDb, first: u64, stopped: &AtomicBool) -> Range<u64> {
    const SYNCS: u32 = 50;
    let mut entities = first..first;
    while !stopped.load(Ordering::Relaxed) {
        let recorded = db.record(&event(entities.end));
        let synced = recorded.and_then(|_| (0..SYNCS).try_for_each(|_| db.sync()));
        must(synced);
        entities.end += 1;
    }
    entities
}

fn a_child_that_drops_its_copy_does_not_wait_for_threads_of_the_parent_that_record_and_sync(root: &Path) {
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

/// Opens and drops a database until `stopped`. A child holds a copy of the lock until it ends, so an open may be
/// refused.
fn open_and_drop(path: &Path, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        match TidalDb::open(path, options()) {
            Ok(_) | Err(Error::Locked { .. }) => {}
            Err(error) => panic!("{}", error_chain(&error)),
        }
    }
}

/// In a child, an open and a drop take 2 seconds each if the other thread was locking or unlocking a directory at the
/// fork. The case ends after the first such child.
fn a_child_opens_a_database_while_a_thread_of_the_parent_opens_and_drops_another(root: &Path) {
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
            // The child sends no line: the read of a line has no time limit.
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
