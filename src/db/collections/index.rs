//! The collections in memory, and their records in storage.
//!
//! | record | key | value |
//! |---|---|---|
//! | collection | name | its number: 8 bytes, little-endian, at most [`NUMBER_MAX`] |
//! | block | number of the collection, lower bound of the ids | the ids, see [`block`] |
//!
//! Each collection has a unique number. A new collection gets a number above those of all others. No block has the
//! number of a missing collection, because one batch removes a collection with all its blocks, and a collection is
//! stored before its blocks. So a block without a collection is damage. A crash leaves each batch in storage completely
//! or not.

use std::collections::BTreeMap;

use super::block;
use super::members::{BlockChanges, Members};
use crate::Error;
use crate::codec::Reader;
use crate::codec::mix::mix;
use crate::storage::{BatchOperation, StorageEngine, keys};

/// The largest number of a collection. A larger one in storage is refused, so that counting cannot overflow.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The collections in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct CollectionIndex {
    by_name: BTreeMap<Vec<u8>, Collection>,
    /// The number of the next new collection.
    next_number: u64,
}

/// A collection in memory.
#[derive(Debug, Clone)]
struct Collection {
    number: u64,
    members: Members,
}

impl CollectionIndex {
    /// The collections that `storage` holds.
    ///
    /// # Errors
    /// `CorruptValue`, or the error of the storage engine.
    pub(crate) fn load(storage: &dyn StorageEngine) -> Result<Self, Error> {
        let mut by_number = BTreeMap::new();
        for pair in storage.scan_prefix(keys::COLLECTIONS)? {
            let (key, sealed) = pair?;
            let corrupt = |what| corrupt(&key, what);
            let name = keys::parse_collection(&key);
            let name = name.ok_or_else(|| corrupt("it is not the key of a collection"))?;
            let mut reader = Reader::new(keys::unseal(&key, &sealed)?);
            let number = reader
                .u64()
                .filter(|number| reader.is_empty() && *number <= NUMBER_MAX);
            let number = number.ok_or_else(|| corrupt("it is not the number of a collection"))?;
            if by_number
                .insert(number, (name.to_vec(), Members::default()))
                .is_some()
            {
                return Err(corrupt("another collection has the same number"));
            }
        }
        let mut before = None;
        for pair in storage.scan_prefix(keys::COLLECTION_BLOCKS)? {
            let (key, sealed) = pair?;
            let corrupt = |what| corrupt(&key, what);
            let parsed = keys::parse_block(&key);
            let (number, lower) =
                parsed.ok_or_else(|| corrupt("it is not the key of a block of a collection"))?;
            let bytes = keys::unseal(&key, &sealed)?;
            let (ids_len, last) = block::check(lower, bytes).map_err(corrupt)?;
            if before >= Some((number, lower)) {
                return Err(corrupt("the block before it has higher ids"));
            }
            before = Some((number, last));
            let (_, members) = by_number
                .get_mut(&number)
                .ok_or_else(|| corrupt("no collection has its number"))?;
            members.push(lower, bytes.to_vec(), ids_len);
        }
        let next_number = by_number.last_key_value().map_or(0, |(number, _)| number + 1);
        let by_name = by_number
            .into_iter()
            .map(|(number, (name, members))| (name, Collection { number, members }));
        Ok(Self {
            by_name: by_name.collect(),
            next_number,
        })
    }

    /// The members of the collection `name`.
    ///
    /// # Errors
    /// `UnknownCollection`.
    pub(crate) fn members(&self, name: &[u8]) -> Result<&Members, Error> {
        Ok(&self.collection(name)?.members)
    }

    fn collection(&self, name: &[u8]) -> Result<&Collection, Error> {
        self.by_name.get(name).ok_or_else(|| Error::UnknownCollection {
            name: String::from_utf8_lossy(name).into_owned(),
        })
    }

    /// The operation that stores the new collection `name`.
    pub(crate) fn creation(&self, name: &[u8]) -> BatchOperation {
        put(keys::collection(name), self.next_number.to_le_bytes().to_vec())
    }

    /// Adds the collection `name` to memory, after storage has it.
    pub(crate) fn create(&mut self, name: &[u8]) {
        let collection = Collection {
            number: self.next_number,
            members: Members::default(),
        };
        self.by_name.insert(name.to_vec(), collection);
        self.next_number += 1;
    }

    /// The operations that remove the collection `name` and its members from storage.
    ///
    /// # Errors
    /// `UnknownCollection`.
    pub(crate) fn deletion(&self, name: &[u8]) -> Result<Vec<BatchOperation>, Error> {
        // First the lookup, because `keys::collection` expects a legal name. The name of a collection is legal.
        let Collection { number, members } = self.collection(name)?;
        let keys = [keys::collection(name)].into_iter();
        let keys = keys.chain(members.lower_bounds().map(|lower| keys::block(*number, lower)));
        Ok(keys.map(|key| BatchOperation::Delete { key }).collect())
    }

    /// Removes the collection `name` from memory, after it was removed from storage.
    pub(crate) fn delete(&mut self, name: &[u8]) {
        self.by_name.remove(name);
    }

    /// The operations that store `changes` of the members of the collection `name`.
    ///
    /// # Errors
    /// `UnknownCollection`.
    pub(crate) fn change(&self, name: &[u8], changes: &BlockChanges) -> Result<Vec<BatchOperation>, Error> {
        let number = self.collection(name)?.number;
        let operations = changes.blocks.iter().map(|(lower, content)| {
            let key = keys::block(number, *lower);
            match content {
                Some(bytes) => put(key, bytes.clone()),
                None => BatchOperation::Delete { key },
            }
        });
        Ok(operations.collect())
    }

    /// Applies `changes` of the members of the collection `name` to memory, after storage has them.
    pub(crate) fn apply(&mut self, name: &[u8], changes: BlockChanges) {
        if let Some(collection) = self.by_name.get_mut(name) {
            collection.members.apply(changes);
        }
    }

    /// A hash of all names and members, for the close marker.
    ///
    /// [`mix`] gets the collections in the order of their names. For each it gets the length of the name, and the bytes
    /// of the name as little-endian words of 8 bytes, the last word padded with zeros. Then it gets the number of
    /// members and the members in ascending order.
    pub(crate) fn digest(&self) -> u64 {
        self.by_name
            .iter()
            .fold(0, |digest, (name, Collection { members, .. })| {
                let words = name.chunks(size_of::<u64>()).map(|chunk| {
                    let mut word = [0; size_of::<u64>()];
                    word[..chunk.len()].copy_from_slice(chunk);
                    u64::from_le_bytes(word)
                });
                let named = words.fold(mix(digest, name.len() as u64), mix);
                members.iter().fold(mix(named, members.len()), mix)
            })
    }

    /// Memory that names and members take, in bytes.
    pub(crate) fn heap_bytes(&self) -> u64 {
        let entry_bytes = size_of::<(Vec<u8>, Collection)>() * 3 / 2;
        let collections = self.by_name.iter();
        let bytes = collections
            .map(|(name, collection)| (entry_bytes + name.len()) as u64 + collection.members.heap_bytes());
        bytes.sum()
    }

    /// The names, in byte order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.by_name.keys().map(Vec::as_slice)
    }
}

fn corrupt(key: &[u8], what: &'static str) -> Error {
    Error::CorruptValue {
        key: key.to_vec(),
        what,
    }
}

fn put(key: Vec<u8>, value: Vec<u8>) -> BatchOperation {
    let value = keys::seal(&key, value);
    BatchOperation::Put { key, value }
}
