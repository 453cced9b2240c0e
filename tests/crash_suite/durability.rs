//! Acknowledged before synced: seen without a crash, since a killed process keeps what it wrote and did not sync.
//!
//! The workload runs over [`TrackedFiles`]. After each call that returned, what the policy promises must be synced; the
//! order of the log's own steps is held by the files themselves.

use std::sync::Arc;

use tidaldb::testing::oracle;
use tidaldb::testing::workload::Operation;

use crate::account::Account;
use crate::common::TempDir;
use crate::home::{Home, with_policy};
use crate::input::{self, Operations};
use crate::outcome::{Checked, Counts, Failure, Outcome, ensure};
use crate::plan::{Input, Policy, Store};
use crate::tracked_files::{Part, TrackedFiles};

/// Runs the workload under the policy.
pub(crate) fn run(policy: Policy) -> Outcome {
    let mut counts = Counts::default();
    let failure = watch(policy, &mut counts).err();
    Outcome { counts, failure }
}

fn watch(policy: Policy, counts: &mut Counts) -> Checked<()> {
    let operations = input::operations(Input::Standard)?;
    let mut account = Account::new(&operations.all, operations.oracle(policy.durability()));
    let result = watch_all(policy, operations, &mut account);
    *counts = account.counts();
    result
}

fn watch_all(policy: Policy, operations: &Operations, account: &mut Account<'_>) -> Checked<()> {
    let dir = TempDir::new("crash-suite");
    let home = Home::new(dir.path(), Store::Embedded);
    let files = TrackedFiles::default();
    let options = || with_policy(operations.options(), policy).files(Arc::new(files.clone()));
    let db = home
        .open(options())
        .map_err(|error| Failure::of("opening", &error))?;
    expect_synced(&files, Part::Whole, "opening")?;
    for (index, operation) in operations.all.iter().enumerate() {
        let frames = files.frames_written();
        account.call(&db, index)?;
        let call = format!("operation {index} ({operation})");
        if operation.must_be_refused() {
            ensure!(
                files.frames_written() == frames,
                "{call} was refused and something was written to the log"
            );
        } else if operation.is_frame() {
            ensure!(
                files.frames_written() > frames,
                "{call} was acknowledged and nothing was written to the log"
            );
        }
        if let Some(part) = promised(policy, operation) {
            expect_synced(&files, part, &call)?;
        }
        let trims = files.unsynced_trims();
        ensure!(
            trims.is_empty(),
            "{call} was done and a power loss could bring back the trimmed {trims:?}"
        );
        if matches!(operation, Operation::Sync) {
            ensure!(
                db.durable_sequence() == db.last_sequence(),
                "after {call} the durable sequence number is {} and the last one {}",
                db.durable_sequence(),
                db.last_sequence()
            );
        }
    }
    db.close().map_err(|error| Failure::of("closing", &error))?;
    account.closed(db.durable_sequence());
    expect_synced(&files, Part::Whole, "closing")?;
    drop(db);
    let (made, removed) = files.segments();
    ensure!(
        made > 3 && removed > 1,
        "the workload is too small to tell: {made} segments made, {removed} removed"
    );
    let db = home
        .open(options())
        .map_err(|error| Failure::of("reopening", &error))?;
    account.compare(oracle::Death::ProcessCrash, &db, "after closing and reopening")?;
    expect_synced(&files, Part::Whole, "reopening")
}

/// What must be synced once a call has returned.
fn promised(policy: Policy, operation: &Operation) -> Option<Part> {
    match (policy, operation) {
        (_, Operation::Sync) => Some(Part::Whole),
        // The marker that ends a checkpoint needs no sync.
        (_, Operation::Checkpoint) => Some(Part::Store),
        (Policy::EverySynced, frame) if frame.is_frame() => Some(Part::Log),
        (Policy::EverySynced, _) => Some(Part::Store),
        (Policy::TimedSyncs | Policy::LeftToOs, _) => None,
    }
}

fn expect_synced(files: &TrackedFiles, part: Part, after: &str) -> Checked<()> {
    let wrong = files.wrong();
    ensure!(wrong.is_empty(), "until {after} was done: {}", wrong.join("; "));
    let unsynced = files.unsynced(part);
    ensure!(
        unsynced.is_empty(),
        "{after} was done and a power loss could take {}",
        unsynced.join(", ")
    );
    Ok(())
}
