//! Collections: named sets of entity ids, storage first, then memory.
//!
//! Invariant: the index in memory equals the collections in storage, except between the two halves of one change. A crash
//! between them leaves the change in storage: opening rebuilds the index from there. Each change is atomic by itself
//! and is not ordered with events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

use crate::bitmap::Bitmap;
use crate::codec::mix::mix;
use crate::lock::{self, Whole};
use crate::poison::{Memory, Poison};
use crate::schema::check_name;
use crate::storage::{GuardedStorage, StorageEngine, WriteBatch, keys};
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
    pub(crate) fn load(storage: &dyn StorageEngine) -> Result<Self, Error> {
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

    /// A value over all names and members, for the close marker.
    ///
    /// A chain by [`mix`] over the collections in the order of their names: the length of the name, its bytes as words of 8,
    /// little-endian, the last one filled up with zeros, then the number of members and the members in ascending order.
    pub(crate) fn digest(&self) -> u64 {
        self.by_name.iter().fold(0, |digest, (name, members)| {
            let words = name.chunks(size_of::<u64>()).map(|chunk| {
                let mut word = [0; size_of::<u64>()];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            });
            let named = words.fold(mix(digest, name.len() as u64), mix);
            members.iter().fold(mix(named, members.len()), mix)
        })
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
    storage: Arc<GuardedStorage>,
    poison: Arc<Poison>,
    /// Held for a whole change, so that storage and memory see changes in the same order. True once closed.
    changing: Mutex<bool>,
    index: RwLock<Whole<CollectionIndex>>,
    flush_each: bool,
}

impl Collections {
    /// The collections of `index`, which was loaded from `storage`.
    pub(crate) fn new(
        index: CollectionIndex,
        storage: Arc<GuardedStorage>,
        poison: Arc<Poison>,
        durability: Durability,
    ) -> Self {
        Self {
            storage,
            poison,
            changing: Mutex::new(false),
            index: RwLock::new(Whole::new(CHANGE, index)),
            flush_each: durability == Durability::EverySynced,
        }
    }

    /// Makes an empty collection.
    pub(crate) fn create_collection(&self, name: &[u8]) -> Result<(), Error> {
        check_name("collection name", name)?;
        let _changing = self.begin()?;
        if self.read().get()?.members(name).is_ok() {
            return Err(Error::CollectionExists { name: lossy(name) });
        }
        self.attempt(|| {
            let key = keys::collection(name);
            let value = keys::seal(&key, Vec::new());
            self.storage.write("put", |engine| engine.put(&key, &value))?;

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

            self.change_index(|index| {
                index.by_name.insert(name.to_vec(), Bitmap::new());
            })
        })
    }

    /// Removes a collection and its members.
    pub(crate) fn delete_collection(&self, name: &[u8]) -> Result<(), Error> {
        let _changing = self.begin()?;
        let mut batch = WriteBatch::new();
        {
            let index = self.read();
            // First, since only the name of a collection that is there is known to be legal.
            let members = index.get()?.members(name)?;
            batch.delete(keys::collection(name));
            for entity in members {
                batch.delete(keys::member(name, EntityId(entity)));
            }
        }
        self.attempt(|| {
            self.storage
                .write("write_batch", |engine| engine.write_batch(batch))?;

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

            self.change_index(|index| {
                index.by_name.remove(name);
            })
        })
    }

    /// Adds a member. Returns true if it was not one before.
    pub(crate) fn add_to_collection(&self, name: &[u8], entity: EntityId) -> Result<bool, Error> {
        let _changing = self.begin()?;
        if self.read().get()?.members(name)?.contains(entity.0) {
            return Ok(false);
        }
        self.attempt(|| {
            let key = keys::member(name, entity);
            let value = keys::seal(&key, Vec::new());
            self.storage.write("put", |engine| engine.put(&key, &value))?;

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

            self.change_index(|index| {
                if let Some(members) = index.by_name.get_mut(name) {
                    members.insert(entity.0);
                }
            })
        })?;
        Ok(true)
    }

    /// Removes a member. Returns true if it was one.
    pub(crate) fn remove_from_collection(&self, name: &[u8], entity: EntityId) -> Result<bool, Error> {
        let _changing = self.begin()?;
        if !self.read().get()?.members(name)?.contains(entity.0) {
            return Ok(false);
        }
        self.attempt(|| {
            let key = keys::member(name, entity);
            self.storage.write("delete", |engine| engine.delete(&key))?;

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

            self.change_index(|index| {
                if let Some(members) = index.by_name.get_mut(name) {
                    members.remove(entity.0);
                }
            })
        })?;
        Ok(true)
    }

    /// The index, for reading.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Whole<CollectionIndex>> {
        lock::read(&self.index)
    }

    /// Waits for a running change, and refuses later ones.
    pub(crate) fn close(&self) {
        *lock::lock(&self.changing) = true;
    }

    /// [`CollectionIndex::digest`] of the collections now.
    ///
    /// # Errors
    /// `Panicked` if a change was not completed.
    pub(crate) fn digest(&self) -> Result<u64, Error> {
        Ok(self.read().get()?.digest())
    }

    /// Takes the turn of one change.
    ///
    /// # Errors
    /// `Closed`; `Poisoned` by an earlier failure. Nothing was changed.
    fn begin(&self) -> Result<MutexGuard<'_, bool>, Error> {
        let changing = lock::lock(&self.changing);
        if *changing {
            return Err(Error::Closed);
        }
        self.poison.check_write()?;
        Ok(changing)
    }

    /// Runs `change`, in storage and then in memory, and flushes if the policy asks for it.
    ///
    /// # Errors
    /// `OutcomeUnknown` with the failure.
    fn attempt(&self, change: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let changed = self.poison.complete(CHANGE, Memory::Half, change);
        let durable = changed.and_then(|()| {
            if self.flush_each {
                self.storage.flush()
            } else {
                Ok(())
            }
        });
        durable.map_err(|error| error.with_unknown_outcome(None))
    }

    fn change_index(&self, change: impl FnOnce(&mut CollectionIndex)) -> Result<(), Error> {
        lock::write(&self.index).change(|index| {
            change(index);
            Ok(())
        })
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
