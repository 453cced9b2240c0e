//! A [`StorageEngine`] over fjall: one keyspace of one fjall database.
//!
//! When a call returns, its write is in fjall's journal, at least in the operating system's memory. `flush` and
//! `write_batch` sync the journal. By default fjall's batch commits to a buffer, so [`FjallStorage::write_batch`] sets
//! the durability: a checkpoint must be on disk before the log that it covers is trimmed. After a crash fjall recovers
//! its journal: each batch is complete or missing, in order.

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
/// The mode of a write that survives a power loss.
const POWER_SAFE: PersistMode = PersistMode::SyncAll;

/// A keyspace of a fjall database.
pub(crate) struct FjallStorage {
    database: Database,
    keyspace: Keyspace,
}

impl FjallStorage {
    /// Opens the fjall database in the directory `path`. Creates the directory if it is missing.
    ///
    /// # Errors
    /// `Storage` with fjall's error.
    pub(crate) fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_keyspace(path, KEYSPACE)
    }

    /// Like [`open`](Self::open), with the keyspace `name`.
    ///
    /// # Errors
    /// `Storage` with fjall's error, or if fjall would panic on the name.
    pub(crate) fn open_keyspace(path: impl AsRef<Path>, name: &str) -> Result<Self, Error> {
        let fail = |error| Error::storage("open", error);
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::storage(
                "open",
                "the name of the keyspace must have 1 to 255 bytes",
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
            // No key has such a prefix, and fjall would panic.
            return Ok(Box::new(std::iter::empty()));
        }
        // An iterator of the keyspace shows later writes. An iterator of a snapshot does not, and it owns the snapshot.
        let snapshot = self.database.snapshot();
        let pairs = snapshot.prefix(&self.keyspace, prefix).map(move |guard| {
            let (key, value) = guard.into_inner().map_err(fail)?;
            Ok((key.to_vec(), value.to_vec()))
        });
        Ok(Box::new(pairs))
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        // All operations of a fjall batch have one sequence number, so the batch gets only the last operation on each
        // key.
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
            "a key of fjall must have 1 to 65,535 bytes",
        ));
    }
    Ok(())
}
