//! Collections: named sets of entity ids, storage first, then memory.
//!
//! Invariant: the index in memory equals what storage holds, except between the two halves of one change. A crash
//! between them leaves the change in storage: opening rebuilds the index from there. Each change is atomic by itself
//! and is not ordered with events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::bitmap::Bitmap;
use crate::poison::{Memory, Poison};
use crate::schema::check_name;
use crate::storage::{StorageEngine, WriteBatch, keys};
use crate::{Durability, EntityId, Error};

const CHANGE: &str = "change of a collection";

/// The collections in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CollectionIndex {
    by_name: BTreeMap<Vec<u8>, Bitmap>,
}

impl CollectionIndex {
    /// The collections that `storage` holds.
    ///
    /// # Errors
    /// `CorruptValue`, or that of the storage engine.
    fn load(storage: &dyn StorageEngine) -> Result<Self, Error> {
        let corrupt = |key: Vec<u8>, what| Error::CorruptValue { key, what };
        let mut by_name = BTreeMap::new();
        for pair in storage.scan_prefix(keys::COLLECTIONS)? {
            let (key, sealed) = pair?;
            keys::unseal(&key, &sealed)?;
            match keys::parse_collection(&key) {
                Some(name) => by_name.insert(name.to_vec(), Bitmap::new()),
                None => return Err(corrupt(key, "it is not the key of a collection")),
            };
        }
        for (name, members) in &mut by_name {
            let mut ids = Vec::new();
            for pair in storage.scan_prefix(&keys::members(name))? {
                let (key, sealed) = pair?;
                keys::unseal(&key, &sealed)?;
                match keys::parse_member(&key) {
                    Some((_, entity)) => ids.push(entity.0),
                    None => return Err(corrupt(key, "it is not the key of a member")),
                }
            }
            *members = ids.into_iter().collect();
        }
        Ok(Self { by_name })
    }

    /// The members of the collection `name`.
    ///
    /// # Errors
    /// `UnknownCollection`.
    pub(crate) fn members(&self, name: &[u8]) -> Result<&Bitmap, Error> {
        self.by_name
            .get(name)
            .ok_or_else(|| Error::UnknownCollection { name: lossy(name) })
    }

    /// Memory that names and members take.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.by_name
            .iter()
            .map(|(name, members)| name.len() as u64 + members.heap_bytes())
            .sum()
    }

    /// The names, in byte order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.by_name.keys().map(Vec::as_slice)
    }
}

/// The collections of a database: the index, and the order in which a change goes to storage and to it.
#[derive(Debug)]
pub(crate) struct Collections {
    /// Held for a whole change, so that storage and memory see changes in the same order.
    changing: Mutex<()>,
    index: RwLock<CollectionIndex>,
    /// How many changes storage has taken.
    stored: AtomicU64,
    /// How many of them are flushed. Held while flushing, and by nobody who does not need a flush.
    flushed: Mutex<u64>,
    flush_each: bool,
}

impl Collections {
    /// Rebuilds the index from `storage`.
    ///
    /// # Errors
    /// `CorruptValue`, or that of the storage engine.
    pub(crate) fn load(storage: &dyn StorageEngine, durability: Durability) -> Result<Self, Error> {
        Ok(Self {
            changing: Mutex::new(()),
            index: RwLock::new(CollectionIndex::load(storage)?),
            stored: AtomicU64::new(0),
            flushed: Mutex::new(0),
            flush_each: durability == Durability::EverySynced,
        })
    }

    /// Makes an empty collection.
    pub(crate) fn create_collection(&self, scope: &Scope<'_>, name: &[u8]) -> Result<(), Error> {
        check_name("collection name", name)?;
        let _changing = self.begin(scope)?;
        if self.read(scope.poison)?.members(name).is_ok() {
            return Err(Error::CollectionExists { name: lossy(name) });
        }
        let _unwinding = scope.poison.on_unwind(CHANGE, Memory::Half);
        let key = keys::collection(name);
        self.stored(scope, scope.storage.put(&key, &keys::seal(&key, Vec::new())))?;

        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

        self.write(scope.poison)?
            .by_name
            .insert(name.to_vec(), Bitmap::new());
        self.acknowledge(scope)
    }

    /// Removes a collection and its members.
    pub(crate) fn delete_collection(&self, scope: &Scope<'_>, name: &[u8]) -> Result<(), Error> {
        let _changing = self.begin(scope)?;
        let mut batch = WriteBatch::new();
        {
            let index = self.read(scope.poison)?;
            // First, since only the name of a collection that is there is known to be legal.
            let members = index.members(name)?;
            batch.delete(keys::collection(name));
            for entity in members {
                batch.delete(keys::member(name, EntityId(entity)));
            }
        }
        let _unwinding = scope.poison.on_unwind(CHANGE, Memory::Half);
        self.stored(scope, scope.storage.write_batch(batch))?;

        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

        self.write(scope.poison)?.by_name.remove(name);
        self.acknowledge(scope)
    }

    /// Adds a member; whether it was not one before.
    pub(crate) fn add_to_collection(
        &self,
        scope: &Scope<'_>,
        name: &[u8],
        entity: EntityId,
    ) -> Result<bool, Error> {
        let _changing = self.begin(scope)?;
        if self.read(scope.poison)?.members(name)?.contains(entity.0) {
            return Ok(false);
        }
        let _unwinding = scope.poison.on_unwind(CHANGE, Memory::Half);
        let key = keys::member(name, entity);
        self.stored(scope, scope.storage.put(&key, &keys::seal(&key, Vec::new())))?;

        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

        if let Some(members) = self.write(scope.poison)?.by_name.get_mut(name) {
            members.insert(entity.0);
        }
        self.acknowledge(scope)?;
        Ok(true)
    }

    /// Removes a member; whether it was one.
    pub(crate) fn remove_from_collection(
        &self,
        scope: &Scope<'_>,
        name: &[u8],
        entity: EntityId,
    ) -> Result<bool, Error> {
        let _changing = self.begin(scope)?;
        if !self.read(scope.poison)?.members(name)?.contains(entity.0) {
            return Ok(false);
        }
        let _unwinding = scope.poison.on_unwind(CHANGE, Memory::Half);
        self.stored(scope, scope.storage.delete(&keys::member(name, entity)))?;

        #[cfg(any(test, feature = "test-utils"))]
        crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

        if let Some(members) = self.write(scope.poison)?.by_name.get_mut(name) {
            members.remove(entity.0);
        }
        self.acknowledge(scope)?;
        Ok(true)
    }

    /// The index, for reading.
    ///
    /// # Errors
    /// `Poisoned` if a thread panicked in the middle of a change.
    pub(crate) fn read(&self, poison: &Poison) -> Result<RwLockReadGuard<'_, CollectionIndex>, Error> {
        self.index.read().map_err(|_| poison.panicked(CHANGE))
    }

    /// Flushes storage if a change may not be flushed yet.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one.
    pub(crate) fn flush(&self, scope: &Scope<'_>) -> Result<(), Error> {
        // Held while flushing, so that whoever finds nothing to flush knows that it is done. A plain value, whole
        // whatever happened to another holder of the lock.
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        scope.poison.check_write()?;
        let stored = self.stored.load(Ordering::Acquire);
        if *flushed < stored {
            // A thread that only flushes has no other guard, and nobody would miss it.
            let _unwinding = scope.poison.on_unwind("flush", Memory::Whole);
            scope.storage.flush().map_err(|error| scope.poison.fail(error))?;
            *flushed = stored;
        }
        Ok(())
    }

    /// Waits until no change is on its way.
    pub(crate) fn wait_idle(&self, poison: &Poison) -> Result<(), Error> {
        self.changing
            .lock()
            .map(drop)
            .map_err(|_| poison.panicked(CHANGE))
    }

    fn begin(&self, scope: &Scope<'_>) -> Result<MutexGuard<'_, ()>, Error> {
        let changing = self.changing.lock().map_err(|_| scope.poison.panicked(CHANGE))?;
        (scope.check_open)()?;
        scope.poison.check_write()?;
        Ok(changing)
    }

    /// Takes note of a change in storage, or of its failure.
    fn stored(&self, scope: &Scope<'_>, result: Result<(), Error>) -> Result<(), Error> {
        result.map_err(|error| scope.poison.fail(error))?;
        self.stored.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn write(&self, poison: &Poison) -> Result<RwLockWriteGuard<'_, CollectionIndex>, Error> {
        self.index.write().map_err(|_| poison.panicked(CHANGE))
    }

    /// The flush that the policy asks for.
    fn acknowledge(&self, scope: &Scope<'_>) -> Result<(), Error> {
        if self.flush_each {
            self.flush(scope)
        } else {
            Ok(())
        }
    }
}

/// What a change needs of the handle.
pub(crate) struct Scope<'a> {
    pub(crate) storage: &'a dyn StorageEngine,
    pub(crate) poison: &'a Poison,
    /// Fails once the handle is closed.
    pub(crate) check_open: &'a dyn Fn() -> Result<(), Error>,
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
