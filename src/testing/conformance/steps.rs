//! The writes of a workload. Each can be recognised in a content by itself, so that of any content it can be said which
//! writes are in it, and then whether it is what these writes make.

use std::fmt;
use std::str::FromStr;

use super::mirrored::Pairs;
use crate::Error;
use crate::storage::{BatchOperation, StorageEngine, WriteBatch};
use crate::testing::workload::Random;

/// What a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A batch of some hundred bytes, with several operations on one key.
    Batch,
    /// A single put.
    Put,
    /// A single delete, of a key that a batch before it made for this.
    Delete,
    /// A batch of tens of kilobytes, more than an engine would buffer.
    LargeBatch,
    /// A single put of tens of kilobytes.
    LargePut,
}

impl Shape {
    const ALL: [(Self, &str); 5] = [
        (Self::Batch, "batch"),
        (Self::Put, "put"),
        (Self::Delete, "delete"),
        (Self::LargeBatch, "large-batch"),
        (Self::LargePut, "large-put"),
    ];

    /// The shape of the write with this index in a workload of small ones.
    pub(super) fn of(index: usize) -> Self {
        match index % 4 {
            1 => Self::Put,
            3 => Self::Delete,
            _ => Self::Batch,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(shape, _)| shape == self);
        f.pad(name.map_or("", |(_, name)| name))
    }
}

impl FromStr for Shape {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let shape = Self::ALL.iter().find(|(_, name)| *name == text);
        shape.map(|(shape, _)| *shape).ok_or(())
    }
}

/// Whether a write is in a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    There,
    Missing,
    /// It makes no difference: the key that it deletes was never there.
    Unknowable,
}

/// One write.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) index: usize,
    pub(super) shape: Shape,
    operations: Vec<BatchOperation>,
}

impl Step {
    pub(super) fn new(index: usize, shape: Shape) -> Self {
        let mut operations = WriteBatch::new();
        let mut random = Random::new(index as u64);
        let mut value = |len: usize| random.bytes(len);
        match shape {
            Shape::Put => operations.put(mark(index), value(60)),
            Shape::LargePut => operations.put(mark(index), value(40_000)),
            Shape::Delete => operations.delete(spare(index)),
            Shape::Batch | Shape::LargeBatch => {
                let (own_len, own_bytes) = match shape {
                    Shape::Batch => (2, [30, 600][index / 2 % 2]),
                    _ => (24, 1_600),
                };
                operations.put("temporary", index.to_string());
                operations.delete(shared(index));
                operations.put(mark(index), index.to_string());
                for number in 0..own_len {
                    operations.put(own(index, number), value(own_bytes));
                }
                operations.put(shared(index), "not the last");
                operations.put(shared(index), index.to_string());
                operations.put(spare(index + 1), "");
                if let Some(earlier) = index.checked_sub(4) {
                    operations.delete(own(earlier, 0));
                }
                operations.delete("temporary");
            }
        }
        Self {
            index,
            shape,
            operations: operations.into_operations(),
        }
    }

    /// The write with this index in a workload of small ones.
    pub(super) fn small(index: usize) -> Self {
        Self::new(index, Shape::of(index))
    }

    /// Makes the write, by the call that its shape asks for.
    pub(super) fn run(&self, engine: &dyn StorageEngine) -> Result<(), Error> {
        match (self.shape, &self.operations[..]) {
            (Shape::Put | Shape::LargePut, [BatchOperation::Put { key, value }]) => engine.put(key, value),
            (Shape::Delete, [BatchOperation::Delete { key }]) => engine.delete(key),
            (_, operations) => {
                let mut batch = WriteBatch::new();
                for operation in operations.iter().cloned() {
                    match operation {
                        BatchOperation::Put { key, value } => batch.put(key, value),
                        BatchOperation::Delete { key } => batch.delete(key),
                    }
                }
                engine.write_batch(batch)
            }
        }
    }

    /// Makes the write in a map.
    pub(super) fn apply(&self, pairs: &mut Pairs) {
        for operation in self.operations.iter().cloned() {
            apply(pairs, operation);
        }
    }

    /// Whether the write is in `found`, given whether the one with the index before is.
    pub(super) fn presence(&self, found: &Pairs, before: Option<(usize, Shape, Presence)>) -> Presence {
        let there = match (self.shape, before) {
            (Shape::Delete, Some((index, Shape::Batch | Shape::LargeBatch, Presence::There)))
                if index + 1 == self.index =>
            {
                !found.contains_key(spare(self.index).as_slice())
            }
            (Shape::Delete, _) => return Presence::Unknowable,
            _ => found.contains_key(mark(self.index).as_slice()),
        };
        if there { Presence::There } else { Presence::Missing }
    }

    /// The largest part of it, in bytes.
    pub(super) fn bytes_len(&self) -> usize {
        let len = |operation: &BatchOperation| match operation {
            BatchOperation::Put { key, value } => key.len() + value.len(),
            BatchOperation::Delete { key } => key.len(),
        };
        self.operations.iter().map(len).sum()
    }
}

pub(super) fn apply(pairs: &mut Pairs, operation: BatchOperation) {
    match operation {
        BatchOperation::Put { key, value } => pairs.insert(key, value),
        BatchOperation::Delete { key } => pairs.remove(&key),
    };
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {} ({})", self.index, self.shape)
    }
}

fn mark(index: usize) -> Vec<u8> {
    format!("mark/{index:06}").into_bytes()
}

fn own(index: usize, number: usize) -> Vec<u8> {
    format!("own/{index:06}/{number}").into_bytes()
}

fn shared(index: usize) -> Vec<u8> {
    format!("shared/{}", index % 3).into_bytes()
}

fn spare(index: usize) -> Vec<u8> {
    format!("spare/{index:06}").into_bytes()
}
