//! Runs the conformance checks of the test kit on the storage engine over fjall: in one process, in child processes
//! that are killed, and on a full disk. The checks of the embedded and the in-memory store are tests of the kit.

#[path = "support/fjall_storage.rs"]
mod fjall_storage;
#[cfg(not(feature = "test-utils"))]
#[path = "../src/testing/temp_dir.rs"]
mod temp_dir;

#[cfg(feature = "test-utils")]
#[test]
fn the_storage_engine_over_fjall_conforms() {
    use fjall_storage::FjallStorage;
    use tidaldb::testing::conformance::Conformance;

    let report = Conformance::new("fjall", |dir| FjallStorage::open(dir)).check();
    report.assert_conforms();

    // fjall does not write to a simulated disk. The kit makes all other checks; those of a full disk only if it can
    // fill one.
    let not_applicable: Vec<_> = report.not_applicable().collect();
    let simulated = [
        "power-loss",
        "power-loss-after-closing",
        "writes-after-recovery",
        "recovery-interrupted",
        "disk-failures",
    ];
    let others: Vec<_> = not_applicable
        .iter()
        .filter(|name| !simulated.contains(name))
        .collect();
    assert_eq!(not_applicable.len() - others.len(), simulated.len());
    assert!(
        others.iter().all(|name| name.starts_with("disk-full")),
        "{report}"
    );
}

/// Without the test kit this file checks only one property.
#[cfg(not(feature = "test-utils"))]
#[test]
fn a_batch_in_fjall_exists_after_reopening() {
    use tidaldb::storage::{StorageEngine, WriteBatch};

    let dir = temp_dir::TempDir::new("fjall");
    let storage = fjall_storage::FjallStorage::open(dir.path()).expect("fjall opens");
    let mut batch = WriteBatch::new();
    batch.put(*b"present", *b"1");
    batch.put(*b"removed", *b"2");
    batch.delete(*b"removed");
    storage.write_batch(batch).expect("the batch is written");
    storage.flush().expect("the storage is flushed");
    drop(storage);
    let storage = fjall_storage::FjallStorage::open(dir.path()).expect("fjall opens again");
    let pairs: Vec<_> = storage
        .scan_prefix(b"")
        .expect("the scan begins")
        .map(Result::unwrap)
        .collect();
    assert_eq!(pairs, [(b"present".to_vec(), b"1".to_vec())]);
}
