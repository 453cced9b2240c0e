//! Storage that refuses a change of a collection: memory must not have it either.
//!
//! A change goes to storage first. Memory that went first would show the members of a change that never was: here, where
//! reads go on after the refusal, that is seen without a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidaldb::storage::{MemoryStore, Scan, StorageEngine, WriteBatch};
use tidaldb::testing::SimDisk;
use tidaldb::testing::oracle::Death;
use tidaldb::{Error, TidalDb};

use crate::account::Account;
use crate::home::with_policy;
use crate::input::{self, Operations};
use crate::outcome::{Checked, Counts, Failure, Outcome, ensure};
use crate::plan::{Input, Policy};

const DIR: &str = "/database";
const POLICY: Policy = Policy::EverySynced;

/// A store in memory that refuses to write as long as it is told to.
#[derive(Debug, Clone, Default)]
struct Refusing {
    store: MemoryStore,
    refuses: Arc<AtomicBool>,
}

impl Refusing {
    fn check(&self, operation: &'static str) -> Result<(), Error> {
        if self.refuses.load(Ordering::SeqCst) {
            Err(Error::storage(operation, "refused, as the plan has it"))
        } else {
            Ok(())
        }
    }
}

impl StorageEngine for Refusing {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.store.get(key)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.check("put")?;
        self.store.put(key, value)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        self.check("delete")?;
        self.store.delete(key)
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        self.store.scan_prefix(prefix)
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        self.check("write_batch")?;
        self.store.write_batch(batch)
    }

    fn flush(&self) -> Result<(), Error> {
        self.store.flush()
    }
    fn close(&self) -> Result<(), Error> {
        self.store.close()
    }
}

/// Refuses each change of a collection of the workload in turn.
pub(crate) fn run() -> Outcome {
    let mut counts = Counts::default();
    let failure = refuse_each(&mut counts).err();
    Outcome { counts, failure }
}

fn refuse_each(counts: &mut Counts) -> Checked<()> {
    let operations = input::operations(Input::Standard)?;
    let mut refused = 0;
    for index in 0..operations.run_len {
        if !operations.all[index].is_collection_change() {
            continue;
        }
        let mut account = Account::new(&operations.all, operations.oracle(POLICY.durability()));
        let changed = refuse(operations, index, &mut account)
            .map_err(|failure| failure.with(format!("plan: refuse operation {index}")))?;
        refused += u32::from(changed);
        *counts += account.counts();
    }
    ensure!(
        refused > 3,
        "the workload is too small to tell: {refused} changes refused"
    );
    Ok(())
}

/// Calls the operations before `index`, then that one, which storage refuses. Whether it got as far as storage.
fn refuse(operations: &Operations, index: usize, account: &mut Account<'_>) -> Checked<bool> {
    let disk = SimDisk::new();
    let storage = Refusing::default();
    let open = || {
        let options = with_policy(operations.options(), POLICY).files(Arc::new(disk.clone()));
        TidalDb::open_with_storage(DIR, options, Arc::new(storage.clone()))
            .map_err(|error| Failure::of("opening", &error))
    };
    let db = open()?;
    for before in 0..index {
        account.call(&db, before)?;
    }
    storage.refuses.store(true, Ordering::SeqCst);
    account.begin(index)?;
    let result = operations.all[index].apply(&db);
    account.ended(index, &result)?;
    let refused = result.is_err();
    let found = account.compare_live(&db)?;
    ensure!(
        found == account.acknowledged(),
        "storage refused a change and memory has it: {:?} acknowledged, {found:?} found",
        account.acknowledged()
    );
    drop(db);
    storage.refuses.store(false, Ordering::SeqCst);
    account.compare(Death::ProcessCrash, &open()?, "after reopening")?;
    Ok(refused)
}
