//! Closing: against a second close, a late checkpoint, a storage engine that writes when dropped; and again and again.

use std::sync::Mutex;

use super::*;
use crate::signals::checkpoint::{Due, Growth};
use crate::storage::{MemoryStore, Scan, StorageEngine, WriteBatch};
use crate::testing::{CrashAction, CrashInjector, CrashPoint, run_with_crash};

#[test]
fn a_second_close_does_not_unlock_what_the_first_is_still_writing() {
    let disk = SimDisk::new();
    let db = Arc::new(open(&disk, Durability::EverySynced).unwrap());
    record(&db, 0).unwrap();
    let seen = Arc::new(Mutex::new(None));
    let (again, other, slot) = (Arc::clone(&db), disk.clone(), Arc::clone(&seen));
    let action = CrashAction::call(move |_, _| {
        let closed = again.close();
        let opened = open(&other, Durability::EverySynced);
        *slot.lock().unwrap() = Some((closed, opened.map(drop)));
    });
    let injector = CrashInjector::with_action(CrashPoint::CheckpointPreFlush, 0, action);
    run_with_crash(&injector, || db.close()).unwrap().unwrap();
    let (closed, opened) = seen.lock().unwrap().take().unwrap();
    assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
    assert!(matches!(opened, Err(Error::Locked { .. })), "{opened:?}");
    open(&disk, Durability::EverySynced).unwrap();
}

#[test]
fn a_checkpoint_that_was_asked_for_before_the_close_and_comes_after_it_writes_nothing() {
    let (disk, storage) = (SimDisk::new(), MemoryStore::new());
    let options = options(&disk, Durability::EverySynced);
    let db = TidalDb::open_with_storage(PATH, options, Arc::new(storage)).unwrap();
    record(&db, 0).unwrap();
    db.close().unwrap();
    let operations = disk.operations_len();
    // The call looked whether the handle is open, and was then held up.
    let shared = &db.shared;
    let late = shared
        .checkpointer
        .checkpoint(&shared.ledger, &shared.storage, Due::Grown(Growth::ANY));
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    assert_eq!(
        disk.operations_len(),
        operations,
        "the lock is another one's by now"
    );
}

#[test]
fn a_change_of_a_collection_that_was_asked_for_before_the_close_and_comes_after_it_writes_nothing() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    db.create_collection("saved").unwrap();
    db.close().unwrap();
    let operations = disk.operations_len();
    // The calls looked whether the handle is open, and were then held up.
    let collections = &db.shared.collections;
    let late = [
        collections.create_collection(b"late"),
        collections.add_to_collection(b"saved", EntityId(1)).map(drop),
        collections.delete_collection(b"saved"),
    ];
    for late in late {
        assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    }
    assert_eq!(disk.operations_len(), operations);
}

#[test]
fn opening_and_closing_again_and_again_piles_up_no_segments() {
    let disk = SimDisk::new();
    for round in 0..6 {
        let db = open(&disk, Durability::EverySynced).unwrap();
        if round == 0 {
            record(&db, 0).unwrap();
        }
        db.close().unwrap();
        drop(db);
        let segments = log_files(&content(&disk));
        assert!(segments.len() <= 2, "round {round}: {segments:?}");
        assert_eq!(disk.undurable(), []);
    }
    assert_eq!(
        open(&disk, Durability::EverySynced).unwrap().export().unwrap(),
        state_after(1)
    );
}

#[test]
fn closing_right_after_a_checkpoint_leaves_no_old_log_to_read() {
    // A close found nothing new after a checkpoint and left the whole last segment to be read and copied.
    let disk = SimDisk::new();
    let options = options(&disk, Durability::EverySynced).segment_bytes_max(1 << 20);
    let db = TidalDb::open(PATH, options).unwrap();
    for event in 0..200 {
        record(&db, event).unwrap();
    }
    db.checkpoint().unwrap();
    let log = Path::new(PATH).join("log");
    let bytes = |disk: &SimDisk| -> usize {
        let image = content(disk);
        let in_log = image.files().filter(|(path, _)| path.starts_with(&log));
        in_log.map(|(_, content)| content.len()).sum()
    };
    assert!(
        bytes(&disk) > 8192,
        "the log is too short to tell: {}",
        bytes(&disk)
    );
    db.close().unwrap();
    drop(db);
    assert!(bytes(&disk) < 1024, "{} bytes of log are left", bytes(&disk));
    let db = open(&disk, Durability::EverySynced).unwrap();
    assert_eq!(db.recovery_report().frames_replayed, 0);
    assert_eq!(db.export().unwrap(), state_after(200));
}

#[test]
fn the_lock_is_held_until_the_storage_engine_is_gone() {
    struct Probe(MemoryStore, SimDisk, Arc<Mutex<Option<bool>>>);
    impl StorageEngine for Probe {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
            self.0.get(key)
        }
        fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
            self.0.put(key, value)
        }
        fn delete(&self, key: &[u8]) -> Result<(), Error> {
            self.0.delete(key)
        }
        fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
            self.0.scan_prefix(prefix)
        }
        fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
            self.0.write_batch(batch)
        }
        fn flush(&self) -> Result<(), Error> {
            self.0.flush()
        }
        fn close(&self) -> Result<(), Error> {
            self.0.close()
        }
    }
    impl Drop for Probe {
        // Some engines write when they are dropped.
        fn drop(&mut self) {
            *self.2.lock().unwrap() = Some(!self.1.locks_held().is_empty());
        }
    }
    let (disk, locked) = (SimDisk::new(), Arc::new(Mutex::new(None)));
    let probe = Probe(MemoryStore::new(), disk.clone(), Arc::clone(&locked));
    let db =
        TidalDb::open_with_storage(PATH, options(&disk, Durability::EverySynced), Arc::new(probe)).unwrap();
    drop(db);
    assert_eq!(*locked.lock().unwrap(), Some(true));
    assert_eq!(disk.locks_held(), []);
}
