//! A compressed set of `u64` ids: what a collection holds in memory.
//!
//! The layout is that of Roaring bitmaps (Chambi, Lemire, Kaser, Godin, "Better bitmap performance with Roaring
//! bitmaps", Software: Practice and Experience 46(5), 2016), with the high 48 bits of the id as key where the paper
//! has the high 16 of a `u32`. A directory maps each key to a container of the low 16 bits, and the container is
//! whichever of two forms is smaller:
//!
//! | container | holds | bytes |
//! |---|---|---|
//! | array | 1 to [`ARRAY_LEN_MAX`] values, ascending | 2 each |
//! | bits | more than [`ARRAY_LEN_MAX`] values, one bit for each possible value | 8192 |
//!
//! The directory is a `BTreeMap`, not the paper's sorted vector: ids may be hashes, which puts nearly every id in a
//! container of its own, and a vector would then shift half the directory at each insertion.
//!
//! # Invariant
//! The form of a container is decided by its length alone and no container is empty, so that equal sets have equal
//! representations and the derived `PartialEq` compares sets. There is no hysteresis for that reason: a set that
//! swings between 4096 and 4097 values of one container pays one 8 KiB conversion per swing, some microseconds,
//! less than the storage put in front of it. [`Bitmap::validate`] checks the whole invariant.
//!
//! # Crash
//! Nothing here is durable and no step has an effect outside memory: after a crash the set is gone and is built
//! again from storage.
mod bits;
mod container;
mod iter;
mod join;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use self::container::Container;
pub(crate) use self::iter::Iter;
use self::join::{Joined, join};
use crate::limits::ARRAY_LEN_MAX;

/// How many low bits of an id its container holds; the rest is the container's key.
const LOW_BITS: u32 = 16;

/// The largest key of a container.
const HIGH_MAX: u64 = u64::MAX >> LOW_BITS;

// A key and a low part are together exactly one id.
const _: () = assert!(LOW_BITS == u16::BITS);
// An array at its longest takes what the bits take, so the shorter form is always the chosen one.
const _: () = assert!(ARRAY_LEN_MAX * size_of::<u16>() == bits::WORDS_LEN * size_of::<u64>());

/// A compressed set of `u64` ids; every value is legal.
///
/// Equal sets compare equal whatever calls built them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    /// The containers by the high 48 bits of their ids; none is empty.
    containers: BTreeMap<u64, Container>,
    /// The sum of the containers' lengths.
    len: u64,
}

impl Bitmap {
    /// Makes an empty set; takes no memory from the heap.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds `id`; returns whether it was absent.
    pub(crate) fn insert(&mut self, id: u64) -> bool {
        let (high, low) = split(id);
        let inserted = self.containers.entry(high).or_default().insert(low);
        self.len += u64::from(inserted);
        inserted
    }

    /// Removes `id`; returns whether it was present.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let (high, low) = split(id);
        let Entry::Occupied(mut entry) = self.containers.entry(high) else {
            return false;
        };
        let removed = entry.get_mut().remove(low);
        if entry.get().is_empty() {
            entry.remove();
        }
        self.len -= u64::from(removed);
        removed
    }

    /// Returns whether `id` is in the set.
    pub(crate) fn contains(&self, id: u64) -> bool {
        let (high, low) = split(id);
        self.containers
            .get(&high)
            .is_some_and(|container| container.contains(low))
    }

    /// Returns the number of ids; constant time.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns the ids in ascending order.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter::new(&self.containers, self.len)
    }

    /// Returns the ids that are in both sets.
    #[must_use]
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self::from_ascending_containers(self.join(other).filter_map(|joined| match joined {
            Joined::Both((high, left), (_, right)) => Some((*high, left.and(right))),
            Joined::Left(_) | Joined::Right(_) => None,
        }))
    }

    /// Returns the ids that are in either set or in both.
    #[must_use]
    pub(crate) fn or(&self, other: &Self) -> Self {
        Self::from_ascending_containers(self.join(other).map(|joined| match joined {
            Joined::Both((high, left), (_, right)) => (*high, left.or(right)),
            Joined::Left((high, only)) | Joined::Right((high, only)) => (*high, only.clone()),
        }))
    }

    /// Returns the ids that are in this set and not in `other`.
    #[must_use]
    pub(crate) fn difference(&self, other: &Self) -> Self {
        Self::from_ascending_containers(self.join(other).filter_map(|joined| match joined {
            Joined::Both((high, left), (_, right)) => Some((*high, left.difference(right))),
            Joined::Left((high, left)) => Some((*high, left.clone())),
            Joined::Right(_) => None,
        }))
    }

    /// Returns the bytes the set takes from the heap, for statistics.
    ///
    /// An estimate: containers are counted at their capacity, the directory's nodes as if they were full, the
    /// allocator's own overhead not at all.
    pub(crate) fn heap_bytes(&self) -> u64 {
        let entry_bytes = size_of::<(u64, Container)>() as u64;
        self.containers
            .values()
            .map(|container| entry_bytes + container.heap_bytes())
            .sum()
    }

    /// Checks the whole invariant; linear in the size of the set.
    ///
    /// # Errors
    /// What is broken. Only a bug in this module can bring that about.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let mut len = 0;
        for (&high, container) in &self.containers {
            if high > HIGH_MAX {
                return Err("a container's key has more than 48 bits");
            }
            container.validate()?;
            len += u64::from(container.len());
        }
        if len == self.len {
            Ok(())
        } else {
            Err("the set's length is not the sum of its containers'")
        }
    }

    /// Pairs the containers of both sets by key.
    fn join<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Joined<(&'a u64, &'a Container)>> {
        join(&self.containers, &other.containers, |&(high, _)| *high)
    }

    /// Makes a set of whole containers, dropping the empty ones; linear when the keys ascend.
    ///
    /// The keys must be distinct and the containers valid; debug builds check the result.
    fn from_ascending_containers(containers: impl IntoIterator<Item = (u64, Container)>) -> Self {
        let containers: BTreeMap<_, _> = containers
            .into_iter()
            .filter(|(_, container)| !container.is_empty())
            .collect();
        let len = containers
            .values()
            .map(|container| u64::from(container.len()))
            .sum();
        let bitmap = Self { containers, len };
        debug_assert_eq!(bitmap.validate(), Ok(()));
        bitmap
    }
}

/// Builds a set from ids in any order, repeats allowed; linear when they ascend, as a scan of storage yields them.
impl FromIterator<u64> for Bitmap {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        let mut ids = ids.into_iter();
        let mut ascending: Vec<(u64, Container)> = Vec::new();
        let mut out_of_order = None;
        for id in ids.by_ref() {
            let (high, low) = split(id);
            match ascending.last_mut() {
                Some((last, container)) if *last == high => {
                    container.insert(low);
                }
                Some((last, _)) if *last > high => {
                    out_of_order = Some(id);
                    break;
                }
                _ => ascending.push((high, Container::of(low))),
            }
        }
        let mut bitmap = Self::from_ascending_containers(ascending);
        for id in out_of_order.into_iter().chain(ids) {
            bitmap.insert(id);
        }
        bitmap
    }
}

impl<'a> IntoIterator for &'a Bitmap {
    type Item = u64;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

/// Splits an id into the key of its container and its value there.
fn split(id: u64) -> (u64, u16) {
    (id >> LOW_BITS, id as u16)
}
