//! Checks that the storage over fjall asks fjall for a sync.
//!
//! fjall's files are its own and a kill keeps what it wrote, so neither a simulated disk nor a crash tells. A thread
//! that syncs waits for the disk, though, and the operating system counts how often it waited.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tidaldb::Error;
use tidaldb::storage::{StorageEngine, WriteBatch};
use tidaldb::testing::lab::{TempDir, run_within};

use crate::fjall_storage::FjallStorage;
use crate::harness::{CaseCounts, CaseResult, doing};

/// How often each kind of write is made.
const TIMES: u64 = 25;
/// The longest time of the case.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Texts of the source that ask for a sync. In a file system in memory no sync waits, so there only these are checked.
const ASKS_FOR_THE_DISK: [&str; 3] = [
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
    for text in ASKS_FOR_THE_DISK {
        if !source.contains(text) {
            return Err(format!("the storage over fjall does not say {text:?}"));
        }
    }
    let dir = TempDir::new("crash-suite");
    let Some(waits) = waits_of(|index| sync_a_file(dir.path(), index))? else {
        return Ok(());
    };
    if waits < TIMES {
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
    for (what, waits) in [("write_batch", waits_of(batch)?), ("flush", waits_of(put)?)] {
        let waits = waits.unwrap_or(0);
        if waits < TIMES {
            return Err(format!(
                "{what} returned {TIMES} times and waited for the disk {waits} times"
            ));
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of an error")]
fn fail(error: Error) -> String {
    doing("fjall", &error)
}

fn sync_a_file(dir: &Path, index: u64) -> CaseResult<()> {
    let write = || {
        let mut file = File::create(dir.join("file"))?;
        file.write_all(&index.to_be_bytes())?;
        file.sync_all()
    };
    write().map_err(|error: std::io::Error| doing("syncing a file", &error))
}

/// How often the calling thread waited while it did `step` some times. `None`: the system does not count it.
fn waits_of(step: impl Fn(u64) -> CaseResult<()>) -> CaseResult<Option<u64>> {
    let before = waits();
    for index in 0..TIMES {
        step(index)?;
    }
    Ok(waits().zip(before).map(|(after, before)| after - before))
}

fn waits() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}
