//! Timed syncs in the runs of sweeps: the calls that begin with a timed sync, and the calls that do not.

use super::*;
use crate::testing::faults::FileRole;
use crate::testing::sim_disk::{DiskOperationKind, Side};
use crate::testing::workload::{SessionChange, Workload};
use std::collections::BTreeSet;

/// The first part of the operation's token.
fn name_of(operation: &Operation) -> String {
    let mut token = operation.to_string();
    token.truncate(token.find([':', '@']).unwrap_or(token.len()));
    token
}

/// The kinds of calls of a run in two sets: calls that begin with a timed sync, and calls that do not although there
/// are undurable frames.
fn calls_with_and_without_sync(durability: Durability, seed: u64) -> [BTreeSet<String>; 2] {
    let mut workload = Workload::sessions(seed, 150);
    for operation in &mut workload.operations {
        if let Operation::Reopen(reopening) = operation {
            reopening
                .changes
                .retain(|change| !matches!(change, SessionChange::Durability(_)));
        }
    }
    let setup = CrashSweep::of(workload).durability(durability).setup;
    let run = record::RunRecord::of_work(&setup, &SimDisk::new());
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    let disk_operations: Vec<_> = run.recording.operations().collect();
    let of_segment = |path: &Path| FileRole::of(path) == FileRole::Segment;
    let (mut with, mut without) = (BTreeSet::new(), BTreeSet::new());
    // Only the sites before disk operations, each with the call in flight.
    let sites = run.sites.iter().filter_map(|(site, position)| match site {
        Site::Disk {
            ordinal,
            side: Side::Before,
        } => Some((
            run.snapshots[position.snapshot_index].operation?,
            *ordinal as usize,
        )),
        _ => None,
    });
    let sites: Vec<_> = sites.collect();
    let mut is_written = false;
    for of_call in sites.chunk_by(|a, b| a.0 == b.0) {
        let (call, first) = of_call[0];
        let first = disk_operations[first];
        let operation = &run.operations[call];
        let is_sync = first.kind == DiskOperationKind::Sync && of_segment(&first.path);
        let mut kinds = of_call.iter().map(|(_, ordinal)| disk_operations[*ordinal].kind);
        if kinds.any(|kind| kind == DiskOperationKind::Create) {
            // A rotation or a checkpoint may sync first.
        } else if is_sync {
            with.insert(name_of(operation));
        } else if is_written {
            without.insert(name_of(operation));
        }
        for (_, ordinal) in of_call {
            let it = disk_operations[*ordinal];
            match it.kind {
                DiskOperationKind::Write if of_segment(&it.path) => is_written = true,
                DiskOperationKind::Sync if of_segment(&it.path) => is_written = false,
                _ => {}
            }
        }
    }
    [with, without]
}

/// The sets of [`calls_with_and_without_sync`], over several runs.
fn calls_with_and_without_sync_in_runs(interval_ms: u64) -> [BTreeSet<String>; 2] {
    let timed = Durability::SyncedEvery { interval_ms };
    let mut all = [BTreeSet::new(), BTreeSet::new()];
    for seed in 1..=16 {
        for (all, more) in all.iter_mut().zip(calls_with_and_without_sync(timed, seed)) {
            all.extend(more);
        }
    }
    all
}

/// The kinds of calls that read the clock. The other calls make a sync themselves, or need no sync.
const TIMED: [&str; 7] = [
    "record",
    "forget-entity",
    "forget-user",
    "create",
    "delete",
    "add",
    "remove",
];

#[test]
fn each_kind_of_writing_call_begins_with_a_timed_sync_after_the_interval() {
    for interval_ms in [1, 700] {
        let [with, _] = calls_with_and_without_sync_in_runs(interval_ms);
        for kind in TIMED {
            assert!(with.contains(kind), "{interval_ms} ms: no {kind} in {with:?}");
        }
        assert!(!with.contains("checkpoint"), "{interval_ms} ms: {with:?}");
    }
}

#[test]
fn no_call_begins_with_a_timed_sync_before_the_end_of_the_interval() {
    let [_, without] = calls_with_and_without_sync_in_runs(STANDARD_SYNC_MS);
    for kind in TIMED {
        assert!(without.contains(kind), "no {kind} in {without:?}");
    }
    // This interval is longer than all sessions together.
    let [with, without] = calls_with_and_without_sync_in_runs(u64::MAX);
    for kind in TIMED {
        assert!(!with.contains(kind), "{kind} in {with:?}");
        assert!(without.contains(kind), "no {kind} in {without:?}");
    }
}
