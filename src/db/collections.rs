//! Collections: named sets of entity ids, storage first, then memory.
//!
//! Invariant: the index in memory equals the collections in storage, except between the two steps of one change. A
//! crash between the steps leaves the change in storage; an open loads the index from there. Each change is atomic, and
//! has no order relative to events.

pub(crate) mod block;
pub(crate) mod index;
mod members;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use self::index::CollectionIndex;
use self::members::BlockChanges;
pub(crate) use self::members::Members;
use crate::intact::Intact;
use crate::limits::Limits;
use crate::poison::{Memory, Poison};
use crate::schema::check_name;
use crate::storage::{BatchOperation, GuardedStorage};
use crate::sync::{self, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use crate::{Durability, EntityId, Error};

const CHANGE: &str = "change of a collection";

/// The collections of a database: the index, and the lock that serializes changes.
#[derive(Debug)]
pub(crate) struct Collections {
    storage: Arc<GuardedStorage>,
    poison: Arc<Poison>,
    /// Held for a whole change, so that storage and memory get changes in the same order. True after
    /// [`close`](Self::close).
    changing: Mutex<bool>,
    index: RwLock<Intact<CollectionIndex>>,
    /// True if each change is flushed before it is acknowledged.
    flush_each: bool,
    limits: Limits,
}

impl Collections {
    /// The collections of `index`, which was loaded from `storage`.
    pub(crate) fn new(
        index: CollectionIndex,
        storage: Arc<GuardedStorage>,
        poison: Arc<Poison>,
        durability: Durability,
        limits: Limits,
    ) -> Self {
        Self {
            storage,
            poison,
            changing: Mutex::new(false),
            index: RwLock::new(Intact::new(CHANGE, index)),
            flush_each: durability == Durability::EverySynced,
            limits,
        }
    }

    /// Makes an empty collection.
    pub(crate) fn create_collection(&self, name: &[u8]) -> Result<(), Error> {
        check_name("collection name", name)?;
        let _changing = self.begin()?;
        let operation = {
            let index = self.read();
            let index = index.get()?;
            if index.members(name).is_ok() {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(Error::CollectionExists { name });
            }
            index.creation(name)
        };
        self.attempt(|| {
            self.store(vec![operation])?;

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

            self.change_index(|index| index.create(name))
        })
    }

    /// Removes a collection and its members.
    pub(crate) fn delete_collection(&self, name: &[u8]) -> Result<(), Error> {
        let _changing = self.begin()?;
        let operations = self.read().get()?.deletion(name)?;
        self.attempt(|| {
            self.store(operations)?;

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

            self.change_index(|index| index.delete(name))
        })
    }

    /// Adds a member. Returns true if it was no member before.
    pub(crate) fn add_to_collection(&self, name: &[u8], entity: EntityId) -> Result<bool, Error> {
        let _changing = self.begin()?;
        let compute = |members: &Members| members.adding(entity.0, &self.limits);
        let Some((operations, changes)) = self.compute(name, compute)? else {
            return Ok(false);
        };
        self.attempt(|| {
            self.store(operations)?;

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

            self.change_index(|index| index.apply(name, changes))
        })?;
        Ok(true)
    }

    /// Removes a member. Returns true if it was a member.
    pub(crate) fn remove_from_collection(&self, name: &[u8], entity: EntityId) -> Result<bool, Error> {
        let _changing = self.begin()?;
        let compute = |members: &Members| members.removing(entity.0, &self.limits);
        let Some((operations, changes)) = self.compute(name, compute)? else {
            return Ok(false);
        };
        self.attempt(|| {
            self.store(operations)?;

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CollectionIndexUpdate);

            self.change_index(|index| index.apply(name, changes))
        })?;
        Ok(true)
    }

    /// Computes a change of the members of the collection `name`, and the operations that store it. `None` if nothing
    /// changes.
    ///
    /// # Errors
    /// `UnknownCollection`; `Panicked` if an earlier change was not completed.
    fn compute(
        &self,
        name: &[u8],
        compute: impl FnOnce(&Members) -> Option<BlockChanges>,
    ) -> Result<Option<(Vec<BatchOperation>, BlockChanges)>, Error> {
        let index = self.read();
        let index = index.get()?;
        let changes = compute(index.members(name)?);
        changes
            .map(|changes| Ok((index.change(name, &changes)?, changes)))
            .transpose()
    }

    /// Stores one change: a single operation by `put` or `delete`, several by one batch.
    fn store(&self, operations: Vec<BatchOperation>) -> Result<(), Error> {
        match &operations[..] {
            [BatchOperation::Put { key, value }] => {
                self.storage.write("put", |engine| engine.put(key, value))
            }
            [BatchOperation::Delete { key }] => self.storage.write("delete", |engine| engine.delete(key)),
            _ => self
                .storage
                .write("write_batch", |engine| engine.write_batch(operations.into())),
        }
    }

    /// The index, for reading.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Intact<CollectionIndex>> {
        sync::read(&self.index)
    }

    /// Waits for a running change, and refuses later changes.
    pub(crate) fn close(&self) {
        *sync::lock(&self.changing) = true;
    }

    /// The [digest](CollectionIndex::digest) of the current collections.
    ///
    /// # Errors
    /// `Panicked` if a change was not completed.
    pub(crate) fn digest(&self) -> Result<u64, Error> {
        Ok(self.read().get()?.digest())
    }

    /// Begins a change: no other change runs until the guard is dropped.
    ///
    /// # Errors
    /// `Closed`; `Poisoned` by an earlier failure. Nothing was changed.
    fn begin(&self) -> Result<MutexGuard<'_, bool>, Error> {
        let changing = sync::lock(&self.changing);
        if *changing {
            return Err(Error::Closed);
        }
        self.poison.check_write()?;
        Ok(changing)
    }

    /// Runs `change`, which changes storage and then memory. Then flushes if the policy requires it.
    ///
    /// # Errors
    /// `OutcomeUnknown`, whose source is the failure.
    fn attempt(&self, change: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let changed = self.poison.complete(CHANGE, Memory::HalfChanged, change);
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
        sync::write(&self.index).change(|index| {
            change(index);
            Ok(())
        })
    }
}
