//! A [`StorageEngine`] over fjall: one keyspace of one fjall database.
//!
//! Every write is in fjall's journal, with the operating system, when it returns; `flush` and a batch make it power-safe.
//! fjall's batch commits to a buffer unless told otherwise, hence the durability that [`FjallStorage::write_batch`]
//! asks for: a checkpoint must be on disk before the log that it covers is trimmed. A crash leaves what fjall's own
//! journal recovery gives: each batch whole or absent, in order.

use std::collections::BTreeMap;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use tidaldb::Error;
use tidaldb::storage::{BatchOperation, Scan, StorageEngine, WriteBatch};

const KEYSPACE: &str = "tidaldb";
/// fjall panics on a longer key.
const KEY_BYTES_MAX: usize = 65_535;
/// fjall panics on a longer or an empty name.
const NAME_BYTES_MAX: usize = 255;
/// What makes a write power-safe.
const POWER_SAFE: PersistMode = PersistMode::SyncAll;

/// A keyspace of a fjall database.
pub(crate) struct FjallStorage {
    database: Database,
    keyspace: Keyspace,
}

impl FjallStorage {
    /// Opens the fjall database in the directory `path`, which is made if need be.
    ///
    /// # Errors
    /// `Storage` with fjall's error.
    pub(crate) fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_keyspace(path, KEYSPACE)
    }

    /// As [`open`](Self::open), with the keyspace of this name.
    ///
    /// # Errors
    /// `Storage` with fjall's error, or for a name that fjall would panic on.
    pub(crate) fn open_keyspace(path: impl AsRef<Path>, name: &str) -> Result<Self, Error> {
        let fail = |error| Error::storage("open", error);
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::storage(
                "open",
                "the keyspace's name is outside 1 to 255 bytes",
            ));
        }
        let database = Database::builder(path).worker_threads(1).open().map_err(fail)?;
        let keyspace = database
            .keyspace(name, KeyspaceCreateOptions::default)
            .map_err(fail)?;
        Ok(Self { database, keyspace })
    }
}

impl StorageEngine for FjallStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        check_key("get", key)?;
        let value = self
            .keyspace
            .get(key)
            .map_err(|error| Error::storage("get", error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        check_key("put", key)?;
        self.keyspace
            .insert(key, value)
            .map_err(|error| Error::storage("put", error))
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        check_key("delete", key)?;
        self.keyspace
            .remove(key)
            .map_err(|error| Error::storage("delete", error))
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        let fail = |error| Error::storage("scan_prefix", error);
        if prefix.len() > KEY_BYTES_MAX {
            // No key has it, and fjall would panic.
            return Ok(Box::new(std::iter::empty()));
        }
        // A keyspace's own iterator shows later writes; a snapshot's does not, and holds the snapshot.
        let snapshot = self.database.snapshot();
        let pairs = snapshot.prefix(&self.keyspace, prefix).map(move |guard| {
            let (key, value) = guard.into_inner().map_err(fail)?;
            Ok((key.to_vec(), value.to_vec()))
        });
        Ok(Box::new(pairs))
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        // All of a fjall batch has one sequence number, so of several operations on a key only the last may get there.
        let mut last_of_key: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for operation in batch.into_operations() {
            let (key, value) = match operation {
                BatchOperation::Put { key, value } => (key, Some(value)),
                BatchOperation::Delete { key } => (key, None),
            };
            check_key("write_batch", &key)?;
            last_of_key.insert(key, value);
        }
        let mut writes = self.database.batch().durability(Some(POWER_SAFE));
        for (key, value) in last_of_key {
            match value {
                Some(value) => writes.insert(&self.keyspace, key, value),
                None => writes.remove(&self.keyspace, key),
            }
        }
        writes
            .commit()
            .map_err(|error| Error::storage("write_batch", error))
    }

    fn flush(&self) -> Result<(), Error> {
        self.database
            .persist(POWER_SAFE)
            .map_err(|error| Error::storage("flush", error))
    }
}

/// Refuses a key that fjall would panic on.
fn check_key(operation: &'static str, key: &[u8]) -> Result<(), Error> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::storage(
            operation,
            "the key is outside fjall's 1 to 65,535 bytes",
        ));
    }
    Ok(())
}
