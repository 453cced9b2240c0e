//! fjall as a storage engine goes through the conformance checks of the test kit, in real child processes and on a real
//! disk that is full for a while. The embedded store and the one in memory go through them beside the kit itself.

#[path = "support/fjall_storage.rs"]
mod fjall_storage;
#[cfg(not(feature = "test-utils"))]
#[path = "../src/testing/temp_dir.rs"]
mod temp_dir;

#[cfg(feature = "test-utils")]
#[test]
fn fjall_conforms() {
    use fjall_storage::FjallStorage;
    use tidaldb::testing::conformance::Conformance;

    let report = Conformance::new("fjall", |dir| FjallStorage::open(dir)).check();
    report.assert_conforms();

    // No simulated disk reaches inside of it; everything else was checked, where a disk can be filled.
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

/// Without the test kit there is no proof of conformance, only that a batch is there after reopening.
#[cfg(not(feature = "test-utils"))]
#[test]
fn without_the_kit_fjall_is_only_seen_to_keep_a_batch_over_a_reopening() {
    use tidaldb::storage::{StorageEngine, WriteBatch};

    let dir = temp_dir::TempDir::new("fjall");
    let storage = fjall_storage::FjallStorage::open(dir.path()).expect("it opens");
    let mut batch = WriteBatch::new();
    batch.put(*b"kept", *b"1");
    batch.put(*b"removed", *b"2");
    batch.delete(*b"removed");
    storage.write_batch(batch).expect("it is written");
    storage.flush().expect("it is flushed");
    drop(storage);
    let storage = fjall_storage::FjallStorage::open(dir.path()).expect("it opens again");
    let pairs: Vec<_> = storage
        .scan_prefix(b"")
        .expect("it is scanned")
        .map(Result::unwrap)
        .collect();
    assert_eq!(pairs, [(b"kept".to_vec(), b"1".to_vec())]);
}
