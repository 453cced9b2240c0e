//! Syncs that run at the same time. A file system reports a failed write-back only once, to one of them, so the success
//! of the other one proves nothing. So the log, its directory and the store each make one sync at a time.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock, Weak};
use std::thread;

use super::*;
use crate::storage::MemoryStore;
use crate::testing::faults::{FileAnswer, FileRole, ForwardingFiles, ForwardingStorage, StorageOperation};
use crate::testing::sim_disk::{DiskOperationKind, Fault};

/// Yields during a sync, so that a second sync can start if the code allows it.
const YIELDS: usize = 10_000;

type SyncCall<'a> = &'a mut dyn FnMut() -> io::Result<FileAnswer>;

/// Opens a database on a simulated disk that calls `watch` for each sync of a file or directory, with the path and the
/// sync.
fn open_watched(
    disk: &SimDisk,
    durability: Durability,
    watch: impl Fn(&Path, SyncCall<'_>) -> io::Result<FileAnswer> + Send + Sync + 'static,
) -> TidalDb {
    let files = ForwardingFiles::new(Arc::new(disk.clone()), move |call| match call.operation.name() {
        "sync" | "sync_dir" => watch(call.path, &mut || call.forward()),
        _ => call.forward(),
    });
    let options = options(disk, durability).preallocate_bytes(0);
    TidalDb::open(PATH, options.files(Arc::new(files))).unwrap()
}

/// Counts the calls of one part of the database, those that are running, and the most that ran at the same time.
#[derive(Debug, Default)]
struct Overlap {
    running: AtomicU32,
    most: AtomicU32,
    calls: AtomicU64,
}

impl Overlap {
    fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        self.calls.fetch_add(1, SeqCst);
        // Lets another call overlap if it can.
        (0..20).for_each(|_| thread::yield_now());
        let result = call();
        (0..20).for_each(|_| thread::yield_now());
        self.running.fetch_sub(1, SeqCst);
        result
    }
}

#[test]
fn no_event_is_acknowledged_that_a_group_sync_or_a_simultaneous_rotation_lost() {
    for group_fails in [true, false] {
        let disk = SimDisk::new();
        // 1: the next sync is that of the group. 2: it runs. 3: the sync of the rotation has begun.
        let stage = Arc::new(AtomicU32::new(0));
        let (rotation_begins, rotation_synced) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (send_begun, group_sync_begun) = channel();
        let (of_watch, faulty) = (Arc::clone(&stage), disk.clone());
        let (begins, synced) = (Arc::clone(&rotation_begins), Arc::clone(&rotation_synced));
        let lose = move |sync: SyncCall<'_>| {
            faulty.fail_next(DiskOperationKind::Sync, Fault::SyncLoses(ErrorKind::Other));
            sync()
        };
        let db = open_watched(&disk, Durability::EverySynced, move |path, sync| {
            let is_log = matches!(FileRole::of(path), FileRole::Segment | FileRole::NewSegment);
            if is_log && of_watch.compare_exchange(1, 2, SeqCst, SeqCst).is_ok() {
                let failed_sync = group_fails.then(|| lose(sync));
                send_begun.send(()).unwrap();
                while !begins.load(SeqCst) {
                    thread::yield_now();
                }
                for _ in 0..YIELDS {
                    if synced.load(SeqCst) {
                        break;
                    }
                    thread::yield_now();
                }
                return failed_sync.unwrap_or_else(sync);
            }
            if is_log && of_watch.compare_exchange(2, 3, SeqCst, SeqCst).is_ok() {
                let result = if group_fails { sync() } else { lose(sync) };
                synced.store(true, SeqCst);
                return result;
            }
            sync()
        });
        let event = |entity| SignalEvent::new(SignalId(0), EntityId(entity), NOW_MS);
        db.record(&event(1)).unwrap();
        stage.store(1, SeqCst);
        let results: Vec<(u64, bool)> = thread::scope(|scope| {
            let db = &db;
            let record =
                move |entity: u64, len: usize| (entity, db.record_batch(&vec![event(entity); len]).is_ok());
            let leads = scope.spawn(move || record(2, 1));
            group_sync_begun.recv().unwrap();
            // One thread waits for the sync. The batch of the other one does not fit into the segment.
            let waits = scope.spawn(move || record(3, 1));
            while db.last_sequence() < 3 {
                thread::yield_now();
            }
            rotation_begins.store(true, SeqCst);
            let rotates = scope.spawn(move || record(4, 40));
            [leads, waits, rotates]
                .map(|thread| thread.join().unwrap())
                .into()
        });
        drop(db);
        disk.crash_now();
        let reopened = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
        for (entity, acknowledged) in results {
            let score = reopened.score(EntityId(entity), SignalId(0), 0, NOW_MS).unwrap();
            assert!(
                score > 0.0 || !acknowledged,
                "group fails: {group_fails}; the acknowledged event of entity {entity} is lost"
            );
        }
    }
}

#[test]
fn the_log_and_the_store_each_make_one_sync_at_a_time() {
    let disk = SimDisk::new();
    let (log, store): (Arc<Overlap>, Arc<Overlap>) = Default::default();
    let (of_log, of_store) = (Arc::clone(&log), Arc::clone(&store));
    let (log_dir, store_dir) = (Path::new(PATH).join("log"), Path::new(PATH).join("store"));
    let db = open_watched(&disk, Durability::EverySynced, move |path, sync| {
        if path.starts_with(&log_dir) {
            of_log.during(sync)
        } else if path.starts_with(&store_dir) {
            of_store.during(sync)
        } else {
            sync()
        }
    });
    db.create_collection("saved").unwrap();
    thread::scope(|scope| {
        let db = &db;
        for thread in 0..2 {
            scope.spawn(move || (0..60).for_each(|i| assert!(record(db, thread * 100 + i).is_ok())));
        }
        scope.spawn(move || {
            for entity in 0..40 {
                db.add_to_collection("saved", EntityId(entity)).unwrap();
            }
        });
        scope.spawn(move || {
            for _ in 0..20 {
                db.checkpoint().unwrap();
                db.sync().unwrap();
            }
        });
    });
    db.close().unwrap();
    // A thread waits for the sync of its write, so one sync covers at most one write of each thread. Two threads record
    // 60 events each in the log. In the store one thread makes 40 changes, and one makes 20 checkpoints.
    for (overlap, calls_min) in [(&log, 60), (&store, 30)] {
        assert!(overlap.calls.load(SeqCst) >= calls_min, "{overlap:?}");
        assert_eq!(overlap.most.load(SeqCst), 1, "{overlap:?}");
    }
}

#[test]
fn a_rotation_does_not_raise_the_durable_sequence_before_its_syncs_return() {
    let disk = SimDisk::new();
    let opened: Arc<OnceLock<Weak<TidalDb>>> = Arc::default();
    let (of_watch, watched_syncs) = (Arc::clone(&opened), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&watched_syncs);
    let db = open_watched(&disk, Durability::OperatingSystem, move |_, sync| {
        if let Some(db) = of_watch.get().and_then(Weak::upgrade) {
            assert!(db.durable_sequence() < db.last_sequence());
            counted.fetch_add(1, SeqCst);
        }
        sync()
    });
    let db = Arc::new(db);
    opened.set(Arc::downgrade(&db)).unwrap();
    // Only rotations sync.
    for entity in 0..60 {
        let event = SignalEvent::new(SignalId(0), EntityId(entity), NOW_MS);
        db.record_batch(&vec![event; 9]).unwrap();
    }
    assert!(watched_syncs.load(SeqCst) > 40 && db.durable_sequence() > 40);
}

#[test]
fn a_storage_engine_gets_one_flush_at_a_time() {
    let disk = SimDisk::new();
    let flushes: Arc<Overlap> = Arc::default();
    let counted = Arc::clone(&flushes);
    let storage = ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| match call.operation {
        StorageOperation::Flush | StorageOperation::Close => counted.during(|| call.forward()),
        _ => call.forward(),
    });
    let options = options(&disk, Durability::EverySynced);
    let db = TidalDb::open_with_storage(PATH, options, Arc::new(storage)).unwrap();
    db.create_collection("saved").unwrap();
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        let (db, failed) = (&db, &failed);
        let note = move |result: Result<(), Error>| {
            if let Err(error) = result {
                *failed.lock().unwrap() = Some(error);
            }
        };
        scope.spawn(move || {
            (0..40).for_each(|entity| note(db.add_to_collection("saved", EntityId(entity)).map(drop)));
        });
        scope.spawn(move || {
            for i in 0..40 {
                note(record(db, i).and_then(|_| db.checkpoint()).map(drop));
            }
        });
    });
    assert!(failed.into_inner().unwrap().is_none());
    // One flush covers at most one write of each of the two threads, and each thread makes 40 writes.
    assert!(flushes.calls.load(SeqCst) >= 40);
    assert_eq!(flushes.most.load(SeqCst), 1);
}
