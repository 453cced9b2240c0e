//! Tests of the checks: the engines of the crate pass them, the checks find planted bugs, and a check without work
//! fails.

mod bugs;
mod oracle;
mod planted;
mod toy;
mod verdicts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::{CHECKS, Conformance, ConformanceReport, Survives};
use crate::storage::{FileStore, FileStoreOptions, MemoryStore};

/// The checks that need a limit on the size of real files.
const DISK_FULL: [&str; 2] = ["disk-full", "disk-full-while-opening"];
/// The checks that need only a child process.
const KILLS: [&str; 4] = [
    "killed-between-calls",
    "killed-in-a-stream",
    "killed-while-opening",
    "killed-after-closing",
];
/// The checks that need a simulated disk.
const SIMULATED: [&str; 5] = [
    "power-loss",
    "power-loss-after-closing",
    "writes-after-recovery",
    "recovery-interrupted",
    "disk-failures",
];

/// Asserts that all checks passed except the checks `not_applicable`. The checks with a full disk may also be not
/// applicable.
#[track_caller]
fn assert_all_pass_except(report: &ConformanceReport, not_applicable: &[&str]) {
    report.assert_conforms();
    let mut names: Vec<_> = report.checks.iter().map(|check| check.name).collect();
    assert_eq!(names, CHECKS);
    names.retain(|name| report.not_applicable().any(|other| other == *name));
    if super::disk_full::is_possible() {
        assert_eq!(names, not_applicable, "{report}");
    } else {
        let unexpected = names
            .iter()
            .find(|name| !not_applicable.contains(name) && !DISK_FULL.contains(name));
        assert_eq!(unexpected, None, "{report}");
    }
}

#[test]
fn the_in_memory_store_passes_all_checks_within_its_claim() {
    let stores: Mutex<BTreeMap<PathBuf, MemoryStore>> = Mutex::default();
    let conformance = Conformance::new("in memory", move |dir| {
        let mut stores = stores.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(stores.entry(dir.to_path_buf()).or_default().clone())
    })
    .survives(Survives::Reopening);
    let not_applicable = [&KILLS[..], &DISK_FULL, &SIMULATED].concat();
    let report = conformance.check();
    report.assert_conforms();
    assert_eq!(report.not_applicable().collect::<Vec<_>>(), not_applicable);
}

/// Tests that take more than a second. The quick set does not run them.
mod full {
    use super::*;

    #[test]
    fn the_embedded_store_passes_all_checks() {
        let options = FileStoreOptions {
            // A file has only some records, so that rotations and compactions are frequent.
            segment_bytes_max: 1024,
            store_id: Some(0xfeed),
        };
        let conformance = Conformance::over_file_access("embedded", move |files, dir| {
            FileStore::open(files, dir, &options)
        });
        assert_all_pass_except(&conformance.check(), &[]);
    }
}
