//! fjall as a storage engine goes through the conformance checks of the test kit, in real child processes and on a real
//! disk that is full for a while. The embedded store and the one in memory go through them beside the kit itself.

#[cfg(feature = "test-utils")]
#[path = "support/fjall_storage.rs"]
mod fjall_storage;

#[cfg(feature = "test-utils")]
#[test]
fn fjall_conforms() {
    use fjall_storage::FjallStorage;
    use tidaldb::testing::conformance::Conformance;

    let report = Conformance::new("fjall", |dir| FjallStorage::open(dir)).check();
    report.assert_conforms();

    // No simulated disk reaches inside of it; everything else was checked, where a disk can be filled.
    let not_applicable: Vec<_> = report.not_applicable().collect();
    let simulated = ["power-loss", "works-on", "recovery-interrupted", "disk-failures"];
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

/// So that nobody takes a run without the feature for a proof.
#[cfg(not(feature = "test-utils"))]
#[test]
#[ignore = "the storage conformance of fjall needs the test kit: run with `--features test-utils`"]
fn fjall_conforms() {}
