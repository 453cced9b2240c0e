//! Checks that the storage engine over fjall asks fjall for a sync.
//!
//! fjall writes its files without the simulated disk, and unsynced writes survive a kill of the process. So neither a
//! simulated disk nor a crash shows a missing sync. But a thread that syncs waits for the disk, and the operating
//! system counts the waits of a thread.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tidaldb::Error;
use tidaldb::storage::{StorageEngine, WriteBatch};
use tidaldb::testing::lab::{TempDir, run_within};

use crate::fjall_storage::FjallStorage;
use crate::harness::{CaseCounts, CaseResult, step_failed};

/// The number of calls of each kind of write.
const CALLS_LEN: u64 = 25;
/// The longest time of the case.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Texts of the source that ask for a sync. In an in-memory file system no sync waits, so the case checks only these
/// texts.
const SYNC_REQUESTS: [&str; 3] = [
    "const POWER_SAFE: PersistMode = PersistMode::SyncAll;",
    ".batch().durability(Some(POWER_SAFE))",
    ".persist(POWER_SAFE)",
];

pub(crate) fn run() -> CaseResult<CaseCounts> {
    let checked = run_within(TIME_MAX, "fjall-waits", check);
    checked.map_err(|hang| hang.to_string())??;
    Ok(CaseCounts::default())
}

fn check() -> CaseResult<()> {
    let source = include_str!("../support/fjall_storage.rs");
    for text in SYNC_REQUESTS {
        if !source.contains(text) {
            return Err(format!(
                "the source of the storage over fjall does not contain {text:?}"
            ));
        }
    }
    let dir = TempDir::new("crash-suite");
    let Some(waits) = waits_during(|index| sync_a_file(dir.path(), index))? else {
        return Ok(());
    };
    if waits < CALLS_LEN {
        return Ok(());
    }
    let storage = FjallStorage::open(dir.path().join("fjall")).map_err(fail)?;
    let batch = |index: u64| {
        let mut batch = WriteBatch::new();
        batch.put(index.to_be_bytes(), *b"batch");
        storage.write_batch(batch).map_err(fail)
    };
    let put = |index: u64| {
        storage.put(&index.to_be_bytes(), b"put").map_err(fail)?;
        storage.flush().map_err(fail)
    };
    for (call, waits) in [
        ("write_batch", waits_during(batch)?),
        ("flush", waits_during(put)?),
    ] {
        let waits = waits.unwrap_or(0);
        if waits < CALLS_LEN {
            return Err(format!(
                "{call} returned {CALLS_LEN} times and waited for the disk {waits} times"
            ));
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of an error")]
fn fail(error: Error) -> String {
    step_failed("fjall", &error)
}

fn sync_a_file(dir: &Path, index: u64) -> CaseResult<()> {
    let write = || {
        let mut file = File::create(dir.join("file"))?;
        file.write_all(&index.to_be_bytes())?;
        file.sync_all()
    };
    write().map_err(|error: std::io::Error| step_failed("syncing a file", &error))
}

/// The number of waits of the calling thread during [`CALLS_LEN`] calls of `step`. `None` if the system does not count
/// waits.
fn waits_during(step: impl Fn(u64) -> CaseResult<()>) -> CaseResult<Option<u64>> {
    let before = waits();
    for index in 0..CALLS_LEN {
        step(index)?;
    }
    Ok(waits().zip(before).map(|(after, before)| after - before))
}

/// The number of times that the calling thread has waited.
fn waits() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}
