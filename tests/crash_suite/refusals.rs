//! A storage engine that refuses a change of a collection. The change must not be in memory either.
//!
//! The database writes a change to storage first, and then changes its memory. In the wrong order, reads would show a
//! refused change. Reads continue after the refusal, so the case needs no crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidaldb::storage::{MemoryStore, StorageEngine};
use tidaldb::testing::SimDisk;
use tidaldb::testing::faults::ForwardingStorage;
use tidaldb::testing::oracle::{Counts, CrashKind, Oracle};
use tidaldb::testing::workload::{Operation, standard_schema, tiny_options};
use tidaldb::{Durability, Error, TidalDb};

use crate::harness::{CaseCounts, CaseResult, step_failed};
use crate::input::{self, Input};

/// The number of operations of the workload.
const RUN_LEN: usize = 120;

/// Refuses each change of a collection in the workload, one in each run.
pub(crate) fn run() -> CaseResult<CaseCounts> {
    let operations = &input::operations(Input::Standard).all[..RUN_LEN];
    let mut counts = Counts::default();
    let mut refused = 0;
    for (index, operation) in operations.iter().enumerate() {
        if operation.is_collection_change() {
            let (was_refused, counted) = refuse_change(&operations[..index], operation)
                .map_err(|failure| format!("{failure}\nplan: refuse operation {index}"))?;
            refused += u32::from(was_refused);
            counts += counted;
        }
    }
    if refused <= 3 {
        return Err(format!(
            "the workload is too small: {refused} changes were refused"
        ));
    }
    Ok(CaseCounts { counts })
}

/// Applies the operations `before`, then `change`, which storage refuses. Returns true if the database sent the change
/// to storage, and the counts after reopening.
fn refuse_change(before: &[Operation], change: &Operation) -> CaseResult<(bool, Counts)> {
    let disk = SimDisk::new();
    let refuses = Arc::new(AtomicBool::new(false));
    let refusing = Arc::clone(&refuses);
    let memory: Arc<dyn StorageEngine> = Arc::new(MemoryStore::new());
    let storage: Arc<dyn StorageEngine> = Arc::new(ForwardingStorage::new(memory, move |call| {
        let is_write = ["put", "delete", "write_batch"].contains(&call.operation.name());
        if is_write && refusing.load(Ordering::SeqCst) {
            return Err(Error::storage("write", "refused by the test"));
        }
        call.forward()
    }));
    let open = || {
        let options = tiny_options(standard_schema()).files(Arc::new(disk.clone()));
        TidalDb::open_with_storage("/db", options, Arc::clone(&storage))
            .map_err(|error| step_failed("opening", &error))
    };
    let mut oracle = Oracle::new(&standard_schema(), Durability::EverySynced);
    let mut changes_acknowledged = 0;
    let db = open()?;
    for operation in before {
        let is_acknowledged = apply(&db, operation, &mut oracle);
        changes_acknowledged += usize::from(is_acknowledged && operation.is_collection_change());
    }
    refuses.store(true, Ordering::SeqCst);
    let was_refused = !apply(&db, change, &mut oracle);
    changes_acknowledged += usize::from(!was_refused);
    let live = oracle.check(CrashKind::ProcessCrash, &db);
    if !live.is_ok() || live.prefix.collection_changes != changes_acknowledged {
        return Err(format!(
            "{changes_acknowledged} changes were acknowledged and the next was refused; reads show {live}"
        ));
    }
    drop(db);
    refuses.store(false, Ordering::SeqCst);
    let verdict = oracle.check(CrashKind::ProcessCrash, &open()?);
    if !verdict.is_ok() {
        return Err(format!("after reopening: {verdict}"));
    }
    Ok((was_refused, verdict.counts))
}

/// Applies an operation. Returns true if it was acknowledged.
fn apply(db: &TidalDb, operation: &Operation, oracle: &mut Oracle) -> bool {
    let id = oracle.begin(operation);
    let result = operation.apply(db);
    oracle.ended(id, &result);
    result.is_ok()
}
