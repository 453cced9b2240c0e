//! The timed sync and the flush of storage: the time at which they are due, the calls that wait for them, and panics in
//! them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::storage::MemoryStore;
use crate::testing::faults::{ForwardingStorage, StorageOperation};
use crate::testing::threads;

const EVERY_SECOND: Durability = Durability::SyncedEvery { interval_ms: 1000 };

/// A database that syncs every second of the clock.
fn open_timed(disk: &SimDisk) -> (TidalDb, TestClock) {
    let clock = TestClock::at(NOW_MS);
    let options = options(disk, EVERY_SECOND).clock(Arc::new(clock.clone()));
    (TidalDb::open(PATH, options).unwrap(), clock)
}

#[test]
fn a_clock_that_steps_back_does_not_end_the_timed_sync_of_the_caller() {
    let disk = SimDisk::new();
    let (db, clock) = open_timed(&disk);
    record(&db, 0).unwrap();
    clock.set(NOW_MS - 3_000_000);
    record(&db, 1).unwrap();
    record(&db, 2).unwrap();
    clock.set(NOW_MS - 3_000_000 + 1000);
    record(&db, 3).unwrap();
    assert_eq!(db.durable_sequence(), 3);
}

#[test]
fn the_largest_interval_never_ends() {
    let disk = SimDisk::new();
    let policy = Durability::SyncedEvery {
        interval_ms: u64::MAX,
    };
    let db = open(&disk, policy).unwrap();
    for i in 0..3 {
        record(&db, i).unwrap();
    }
    assert_eq!(db.durable_sequence(), 0);
}

#[test]
fn changes_of_collections_make_the_timed_sync_of_the_caller() {
    let disk = SimDisk::new();
    let (db, clock) = open_timed(&disk);
    db.create_collection("saved").unwrap();
    record(&db, 0).unwrap();
    clock.set(NOW_MS + 1000);
    db.add_to_collection("saved", EntityId(1)).unwrap();
    assert_eq!(db.durable_sequence(), 1);
    let reopened = open(&crashed(&disk, &ImageChoice::Synced), EVERY_SECOND).unwrap();
    assert_eq!(reopened.collections().unwrap(), [b"saved".to_vec()]);
}

#[test]
fn forgets_make_the_timed_sync_of_the_caller() {
    for forgets_a_user in [false, true] {
        let disk = SimDisk::new();
        let (db, clock) = open_timed(&disk);
        record(&db, 0).unwrap();
        clock.set(NOW_MS + 1000);
        if forgets_a_user {
            db.forget_user(UserId(1)).unwrap();
        } else {
            db.forget_entity(EntityId(1)).unwrap();
        }
        assert_eq!(db.durable_sequence(), 1);
    }
}

#[test]
fn calls_of_every_kind_make_timed_syncs_in_a_workload() {
    use crate::testing::workload::{Operation, STANDARD_SYNC_MS, Workload, standard_schema, tiny_options};
    let mut syncs = [0; 3];
    let mut untimed = 0;
    for seed in 0..12 {
        for durability in [
            Durability::SyncedEvery {
                interval_ms: STANDARD_SYNC_MS,
            },
            Durability::OperatingSystem,
        ] {
            let disk = SimDisk::new();
            let options = tiny_options(standard_schema())
                .durability(durability)
                .checkpoint_log_bytes(1 << 20)
                .files(Arc::new(disk.clone()));
            let db = TidalDb::open(PATH, options).unwrap();
            for operation in Workload::standard(seed, 100).operations {
                let durable = db.durable_sequence();
                operation.apply(&db).ok();
                let kind = match operation {
                    Operation::Record { .. } => 0,
                    Operation::ForgetEntity(_) | Operation::ForgetUser(_) => 1,
                    _ if operation.is_collection_change() => 2,
                    _ => continue,
                };
                let raised = usize::from(db.durable_sequence() > durable);
                if durability == Durability::OperatingSystem {
                    untimed += raised;
                } else {
                    syncs[kind] += raised;
                }
            }
        }
    }
    assert!(syncs.iter().all(|&len| len > 0), "{syncs:?}");
    assert!(syncs[0] > 2 * untimed, "{syncs:?}, {untimed} without a timer");
}

/// A store that calls `before` before each flush and before its close.
fn flushing(before: impl Fn() + Send + Sync + 'static) -> ForwardingStorage {
    ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| {
        if let StorageOperation::Flush | StorageOperation::Close = call.operation {
            before();
        }
        call.forward()
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a broken engine must not hang the test")]
fn a_panic_in_the_timed_flush_poisons_the_handle() {
    let disk = SimDisk::new();
    let panics = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&panics);
    let storage = flushing(move || {
        if armed.load(Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("planned"));
        }
    });
    let options =
        options(&disk, Durability::SyncedEvery { interval_ms: 1 }).background(Background::OwnThreads);
    let db = TidalDb::open_with_storage(PATH, options, Arc::new(storage)).unwrap();
    panics.store(true, Ordering::Relaxed);
    db.create_collection("saved").unwrap();
    // Without the poison, the promise of the policy would be broken without an error after the end of the thread.
    let deadline = Instant::now() + Duration::from_secs(20);
    while db.statistics().unwrap().poison.is_none() {
        assert!(Instant::now() < deadline, "the thread ended without an error");
        std::thread::yield_now();
    }
    assert!(matches!(record(&db, 0), Err(Error::Poisoned { .. })));
    assert!(db.export().is_ok(), "memory is not half changed");
}

#[test]
fn a_change_of_a_collection_waits_for_no_flush_that_its_policy_does_not_require() {
    let disk = SimDisk::new();
    let (entered, entry) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let armed = Arc::new(AtomicBool::new(false));
    let (arm, left) = (Arc::clone(&armed), Mutex::new(left));
    let storage = flushing(move || {
        if armed.swap(false, Ordering::Relaxed) {
            entered.send(()).unwrap();
            left.lock().unwrap().recv().unwrap();
        }
    });
    let options = options(&disk, Durability::OperatingSystem);
    let db = Arc::new(TidalDb::open_with_storage(PATH, options, Arc::new(storage)).unwrap());
    db.create_collection("saved").unwrap();
    arm.store(true, Ordering::Relaxed);
    let syncing = Arc::clone(&db);
    let syncer = threads::spawn("syncer", move || syncing.sync().unwrap()).unwrap();
    entry.recv().unwrap();
    let (done, changed) = mpsc::channel();
    let changing = Arc::clone(&db);
    let changer = threads::spawn("changer", move || {
        changing.add_to_collection("saved", EntityId(1)).unwrap();
        done.send(()).unwrap();
    })
    .unwrap();
    let acknowledged = changed.recv_timeout(Duration::from_secs(20));
    leave.send(()).unwrap();
    syncer.join().unwrap();
    changer.join().unwrap();
    acknowledged.expect("the change waited for the flush of another call");
}
